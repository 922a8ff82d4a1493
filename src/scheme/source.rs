//! How a scheme says where in a request something is.

use http::header::{AUTHORIZATION, HeaderName};

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
/// // `t=1492774577,v1=5a5f..,v1=99ac..`: a list in one header, of which the entries with a prefix are meant.
/// let signature = header("stripe-signature").list(',').prefix("v1=").hex();
/// let timestamp = header("stripe-signature").list(',').prefix("t=").unix_seconds();
/// ```
#[must_use]
pub fn header(name: impl AsRef<str>) -> Source {
    Source::new(
        HeaderName::from_bytes(name.as_ref().as_bytes())
            .map(Spot::Header)
            .map_err(|_| ConfigError::invalid("a header name is not valid")),
    )
}

/// Headers that end in a number: `x-docusign-signature-1`, `-2` and so on up to 100. For signatures, of which any may
/// match.
#[must_use]
pub fn numbered_headers(stem: &'static str) -> Source {
    Source::new(match HeaderName::from_bytes(stem.as_bytes()) {
        Ok(_) => Ok(Spot::Numbered(stem)),
        Err(_) => Err(ConfigError::invalid("a header name is not valid")),
    })
}

/// A parameter of the query, decoded.
#[must_use]
pub fn query(parameter: &'static str) -> Source {
    Source::new(Ok(Spot::Query(parameter)))
}

/// A member of a JSON body, by its pointer (RFC 6901, without escapes), such as `/event/id`. Strings, whole numbers and
/// truth values are read.
#[must_use]
pub fn json(pointer: &'static str) -> Source {
    Source::new(match pointer.starts_with('/') && !pointer.contains('~') {
        true => Ok(Spot::Json(pointer)),
        false => Err(ConfigError::invalid("a JSON pointer starts with / and has no ~")),
    })
}

/// A field of a form body, decoded.
#[must_use]
pub fn form(field: &'static str) -> Source {
    Source::new(Ok(Spot::Form(field)))
}

/// `Authorization: Bearer`.
#[must_use]
pub fn bearer() -> Source {
    Source::new(Ok(Spot::Header(AUTHORIZATION))).prefix("Bearer ")
}

/// `Authorization: Basic`: the value is `user:password`.
#[must_use]
pub fn basic() -> Source {
    Source::new(Ok(Spot::Basic))
}

/// The last segment of the path that was requested, as it was received.
#[must_use]
pub fn path_segment() -> Source {
    Source::new(Ok(Spot::PathEnd))
}

/// A place in a request: see [`header`].
#[derive(Clone, Debug)]
pub struct Source {
    spot: Result<Spot, ConfigError>,
    prefix: &'static str,
    list: Option<u8>,
}

impl Source {
    fn new(spot: Result<Spot, ConfigError>) -> Self {
        Self { spot, prefix: "", list: None }
    }

    /// A text that stands before the value, exactly. In a [list](Self::list) it chooses the entries that are meant, and
    /// others are skipped; elsewhere a value without it is refused.
    #[must_use]
    pub fn prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    /// The value is a list with this separator, usually `,`, `;` or a space. Spaces around the entries are ignored. Of a
    /// signature up to 16 entries are tried; anything else must be there once.
    #[must_use]
    pub fn list(mut self, separator: char) -> Self {
        match u8::try_from(separator) {
            Ok(separator) if separator.is_ascii() => self.list = Some(separator),
            _ => self.spot = Err(ConfigError::invalid("a list separator is one ASCII character")),
        }
        self
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

    pub(super) fn place(self) -> Result<Place, ConfigError> {
        Ok(Place { spot: self.spot?, prefix: self.prefix, list: self.list })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_means_nothing_is_refused() {
        for bad in [header("a b"), header(""), numbered_headers("a b"), json("a"), json("/a~b"), header("a").list('é')]
        {
            assert!(bad.place().is_err());
        }
    }
}
