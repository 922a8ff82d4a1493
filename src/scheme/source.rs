//! Where in a request something is, as a scheme says it.

use std::borrow::Cow;
use std::time::Duration;

use crate::config::ConfigError;
use crate::encoding::{DecodeExactly, Encoding, decode_base64, decode_base64url, decode_hex};
#[cfg(feature = "asymmetric")]
use crate::place::header_name;
use crate::place::{List, Place, Signature, Timestamp};
use crate::time::{TimeFormat, Tolerance};

/// The default tolerance of a timestamp, on both sides. It is what most senders document.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Returns the place of a header that holds a signature, a timestamp, an id or an event name.
///
/// # Examples
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
pub fn header(name: impl AsRef<str>) -> Source {
    Source(Place::header_named(name.as_ref()))
}

/// Returns the place of headers that end in a number: `x-docusign-signature-1`, `-2` and so on, up
/// to 100. They hold signatures, any of which may match.
pub fn numbered_headers(stem: impl AsRef<str>) -> Source {
    Source(Place::numbered(stem.as_ref()))
}

/// Returns the place of a query parameter. It is decoded.
pub fn query(parameter: impl Into<Cow<'static, str>>) -> Source {
    Source(Ok(Place::query(parameter.into())))
}

/// Returns the place of a member of a JSON body, by its pointer (RFC 6901, without escapes), such
/// as `/event/id`. Strings, whole numbers and booleans are read.
pub fn json(pointer: impl Into<Cow<'static, str>>) -> Source {
    let pointer = pointer.into();
    Source(if pointer.starts_with('/') && !pointer.contains('~') {
        Ok(Place::json(pointer))
    } else {
        Err(ConfigError::invalid("a JSON pointer starts with / and has no ~"))
    })
}

/// Returns the place of a field of a form body. It is decoded.
pub fn form(field: impl Into<Cow<'static, str>>) -> Source {
    Source(Ok(Place::form(field.into())))
}

/// Returns the place of a field of a multipart form.
#[inline]
pub(crate) fn part(field: &'static str) -> Source {
    Source(Ok(Place::part(field)))
}

/// Returns the place of a member of a JSON object that is in a header, in base64.
#[cfg(feature = "asymmetric")]
#[inline]
pub(crate) fn in_header(name: &str, pointer: &'static str) -> Source {
    Source(header_name(name).map(|name| Place::in_header(name, pointer)))
}

/// Returns the place that is the whole body: that of a [token](crate::Scheme::jwt) which holds all
/// that its sender says.
#[cfg(feature = "jwt")]
#[inline]
pub fn body() -> Source {
    Source(Ok(Place::body()))
}

/// Returns the place of the credentials of `Authorization: Bearer`.
#[inline]
pub fn bearer() -> Source {
    Source(Ok(Place::bearer()))
}

/// Returns the place of the credentials of `Authorization: Basic`. They are decoded:
/// `user:password`.
#[inline]
pub fn basic() -> Source {
    Source(Ok(Place::basic()))
}

/// Returns the place of the last segment of the requested path, as it was received.
#[inline]
pub fn path_segment() -> Source {
    Source(Ok(Place::path_end()))
}

/// A place in a request: see [`header`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Source(pub(crate) Result<Place, ConfigError>);

impl Source {
    #[inline]
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.0.as_ref().map(drop).map_err(ConfigError::clone)
    }

    /// Sets a prefix that the value must have, exactly. In a [list](Self::list) it chooses entries,
    /// and others are skipped; elsewhere a value without it is refused.
    pub fn prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        if let Ok(place) = &mut self.0 {
            place.prefix = prefix.into();
        }
        self
    }

    /// Sets where the scope is that an id is unique within. Where it is there, the id is the two of
    /// them.
    #[inline]
    pub(crate) fn scoped_by(self, scope: Self) -> Self {
        Self(self.0.and_then(|mut place| {
            place.scope = Some(Box::new(scope.0?));
            Ok(place)
        }))
    }

    /// Reads the value as a list with this separator, usually `,`, `;` or a space. Spaces around
    /// the entries are ignored. A signature may have up to 16 entries; anything else must be
    /// there once.
    ///
    /// Call it again for a list of lists, as of a sender that writes `t=1,v1=a t=1,v1=b` while its
    /// secret is rotated. What must be there once then may be there in each, if it is the same.
    #[inline]
    pub fn list(self, separator: char) -> Self {
        Self(self.0.and_then(|mut place| {
            let separator = ascii(separator, "a list separator is one ASCII character")?;
            let first = place.list.map_or(separator, |outer| outer.separators[0]);
            place.list = Some(List::new([first, separator]));
            Ok(place)
        }))
    }

    /// Reads a signature in lower-case hexadecimal.
    #[inline]
    pub fn hex(self) -> SignatureSpec {
        self.written(Encoding::Hex, decode_hex)
    }

    /// Reads a signature in standard base64, padded.
    #[inline]
    pub fn base64(self) -> SignatureSpec {
        self.written(Encoding::Base64, decode_base64)
    }

    /// Reads a signature in URL-safe base64, unpadded.
    #[inline]
    pub fn base64url(self) -> SignatureSpec {
        self.written(Encoding::Base64Url, decode_base64url)
    }

    /// Reads a signature in this encoding.
    #[inline]
    pub fn encoded(self, encoding: Encoding) -> SignatureSpec {
        self.written(encoding, encoding.exactly())
    }

    #[inline]
    fn written(self, encoding: Encoding, decode: DecodeExactly) -> SignatureSpec {
        SignatureSpec(self.0.map(|place| Signature::new(place, encoding, decode)))
    }

    /// Reads a time in whole seconds since 1970.
    #[inline]
    pub fn unix_seconds(self) -> TimestampSpec {
        self.timestamp(TimeFormat::UnixSeconds)
    }

    /// Reads a time in whole milliseconds since 1970.
    #[inline]
    pub fn unix_millis(self) -> TimestampSpec {
        self.timestamp(TimeFormat::UnixMillis)
    }

    /// Reads a time in RFC 3339.
    #[inline]
    pub fn rfc3339(self) -> TimestampSpec {
        self.timestamp(TimeFormat::Rfc3339)
    }

    #[inline]
    fn timestamp(self, format: TimeFormat) -> TimestampSpec {
        let tolerance = Tolerance::within(DEFAULT_TOLERANCE);
        TimestampSpec(self.0.map(|place| Timestamp::new(place, format, tolerance)))
    }
}

#[inline]
fn ascii(character: char, fault: &'static str) -> Result<u8, ConfigError> {
    u8::try_from(character).ok().filter(u8::is_ascii).ok_or_else(|| ConfigError::invalid(fault))
}

/// Where a signature is and how it is written: see [`header`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SignatureSpec(pub(crate) Result<Signature, ConfigError>);

impl SignatureSpec {
    /// Adds another place where a signature may be, in the same encoding, such as a secondary
    /// header. All that are there are tried.
    #[inline]
    pub fn or(self, source: Source) -> Self {
        Self(self.0.and_then(|signature| Ok(signature.or(source.0?))))
    }

    /// Reads what is behind the last of this ASCII character, and all if it isn't there: for
    /// senders that write the id of the key, which they don't sign, in front of the signature,
    /// as in `v1=<id>:<signature>`.
    #[inline]
    pub fn behind(self, separator: char) -> Self {
        Self(self.0.and_then(|mut signature| {
            signature.behind = Some(ascii(separator, "what is in front of a signature ends with one ASCII character")?);
            Ok(signature)
        }))
    }
}

/// Where a timestamp is, how it is written, and how far from now it may be: see [`header`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TimestampSpec(pub(crate) Result<Timestamp, ConfigError>);

impl TimestampSpec {
    /// Sets how far the timestamp may be from now, in the past and in the future. The default is
    /// 300 seconds.
    #[inline]
    pub fn within(self, distance: Duration) -> Self {
        self.with_tolerance(Tolerance::within(distance))
    }

    /// Sets how far the timestamp may be from now, with a distance for each side.
    #[inline]
    pub fn with_tolerance(self, tolerance: Tolerance) -> Self {
        Self(self.0.map(|mut timestamp| {
            timestamp.tolerance = tolerance;
            timestamp
        }))
    }

    /// Accepts requests without a timestamp. Only for timestamps in a body that is signed: their
    /// absence is signed too.
    #[inline]
    pub(crate) fn optional(self) -> Self {
        Self(self.0.map(|mut timestamp| {
            timestamp.optional = true;
            timestamp
        }))
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
