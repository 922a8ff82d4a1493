//! Where in a request something is, as a scheme says it.

use std::borrow::Cow;

use http::header::HeaderName;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::time::TimeFormat;

use super::place::{Place, Spot};
use super::signature::SignatureSpec;
use super::timestamp::TimestampSpec;

/// A header that holds a signature, a timestamp, an id or an event name.
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::scheme::header;
///
/// let signature = header("x-acme-signature").prefix("v1=").hex();
/// let timestamp = header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300));
/// let id = header("x-acme-delivery");
///
/// // `t=1492774577,v1=5a5f..,v1=99ac..`: a list in one header. The prefix chooses entries.
/// let signature = header("stripe-signature").list(',').prefix("v1=").hex();
/// let timestamp = header("stripe-signature").list(',').prefix("t=").unix_seconds();
/// ```
#[must_use]
pub fn header(name: impl AsRef<str>) -> Source {
    Source::new(header_name(name.as_ref()).map(Spot::Header))
}

/// Headers that end in a number: `x-docusign-signature-1`, `-2` and so on, up to 100. They hold signatures, any of which
/// may match.
#[must_use]
pub fn numbered_headers(stem: impl AsRef<str>) -> Source {
    Source::new(header_name(stem.as_ref()).map(Spot::Numbered))
}

/// A query parameter, decoded.
#[must_use]
pub fn query(parameter: impl Into<Cow<'static, str>>) -> Source {
    Source::new(Ok(Spot::Query(parameter.into())))
}

/// A member of a JSON body, by its pointer (RFC 6901, without escapes), such as `/event/id`. Strings, whole numbers and
/// booleans are read.
#[must_use]
pub fn json(pointer: impl Into<Cow<'static, str>>) -> Source {
    let pointer = pointer.into();
    Source::new(if pointer.starts_with('/') && !pointer.contains('~') {
        Ok(Spot::Json(pointer))
    } else {
        Err(ConfigError::invalid("a JSON pointer starts with / and has no ~"))
    })
}

/// A field of a form body, decoded.
#[must_use]
pub fn form(field: impl Into<Cow<'static, str>>) -> Source {
    Source::new(Ok(Spot::Form(field.into())))
}

/// A field of a multipart form.
pub(crate) fn part(field: &'static str) -> Source {
    Source::new(Ok(Spot::Part(field)))
}

/// The credentials of `Authorization: Bearer`.
#[must_use]
pub fn bearer() -> Source {
    Source::new(Ok(Spot::Bearer))
}

/// The credentials of `Authorization: Basic`, decoded: `user:password`.
#[must_use]
pub fn basic() -> Source {
    Source::new(Ok(Spot::Basic))
}

/// The last segment of the requested path, as it was received.
#[must_use]
pub fn path_segment() -> Source {
    Source::new(Ok(Spot::PathEnd))
}

pub(super) fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::invalid("a header name is not valid"))
}

/// A place in a request: see [`header`].
#[derive(Clone, Debug)]
pub struct Source(pub(super) Result<Place, ConfigError>);

impl Source {
    fn new(spot: Result<Spot, ConfigError>) -> Self {
        Self(spot.map(|spot| Place { spot, prefix: Cow::Borrowed(""), list: None, scope: None }))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.0.as_ref().map(drop).map_err(ConfigError::clone)
    }

    /// Sets a prefix that the value must have, exactly. In a [list](Self::list) it chooses entries, and others are skipped;
    /// elsewhere a value without it is refused.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        if let Ok(place) = &mut self.0 {
            place.prefix = prefix.into();
        }
        self
    }

    /// Sets where the scope is that an id is unique within. Where it is there, the id is the two of them.
    pub(crate) fn scoped_by(self, scope: Self) -> Self {
        Self(self.0.and_then(|place| Ok(Place { scope: Some(Box::new(scope.0?)), ..place })))
    }

    /// Reads the value as a list with this separator, usually `,`, `;` or a space. Spaces around the entries are ignored. A
    /// signature may have up to 16 entries; anything else must be there once.
    #[must_use]
    pub fn list(self, separator: char) -> Self {
        let separator = u8::try_from(separator)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| ConfigError::invalid("a list separator is one ASCII character"));
        Self(self.0.and_then(|place| Ok(Place { list: Some(separator?), ..place })))
    }

    /// A signature in lower-case hexadecimal.
    #[must_use]
    pub fn hex(self) -> SignatureSpec {
        self.encoded(Encoding::Hex)
    }

    /// A signature in standard base64, padded.
    #[must_use]
    pub fn base64(self) -> SignatureSpec {
        self.encoded(Encoding::Base64)
    }

    /// A signature in URL-safe base64, unpadded.
    #[must_use]
    pub fn base64url(self) -> SignatureSpec {
        self.encoded(Encoding::Base64Url)
    }

    /// A signature in this encoding.
    #[must_use]
    pub fn encoded(self, encoding: Encoding) -> SignatureSpec {
        SignatureSpec::new(self, encoding)
    }

    /// A time in whole seconds since 1970.
    #[must_use]
    pub fn unix_seconds(self) -> TimestampSpec {
        TimestampSpec::new(self, TimeFormat::UnixSeconds)
    }

    /// A time in whole milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(self) -> TimestampSpec {
        TimestampSpec::new(self, TimeFormat::UnixMillis)
    }

    /// A time in RFC 3339.
    #[must_use]
    pub fn rfc3339(self) -> TimestampSpec {
        TimestampSpec::new(self, TimeFormat::Rfc3339)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_means_nothing_is_refused() {
        for bad in [header("a b"), header(""), numbered_headers("a b"), json("a"), json("/a~b"), header("a").list('é')]
        {
            assert!(bad.0.is_err());
        }
    }
}
