//! Where in a request a sender puts something.

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::reject::{Reason, Rejection};
use crate::text::Text;
use crate::time::TimeFormat;

use super::signature::SignatureSpec;
use super::timestamp::TimestampSpec;

/// The longest header value that is looked at. The longest genuine ones are lists of a few signatures.
pub(crate) const LONGEST_HEADER: usize = 4096;

/// A header that holds a signature, a timestamp, an id or an event name.
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::scheme::header;
///
/// let signature = header("x-acme-signature").prefix("v1=").hex();
/// let timestamp = header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300));
/// let id = header("x-acme-delivery");
/// ```
#[must_use]
pub fn header(name: &'static str) -> Source {
    Source {
        header: HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::new("a header name is not valid")),
        prefix: "",
    }
}

/// A place in a request: see [`header`].
#[derive(Clone, Debug)]
pub struct Source {
    header: Result<HeaderName, ConfigError>,
    prefix: &'static str,
}

impl Source {
    /// A text that stands before the value, exactly.
    #[must_use]
    pub fn prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
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
        SignatureSpec { source: self, encoding }
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
        Ok(Place { header: self.header?, prefix: self.prefix })
    }
}

/// A [`Source`] that was found valid.
#[derive(Debug)]
pub(crate) struct Place {
    header: HeaderName,
    prefix: &'static str,
}

impl Place {
    pub(super) fn is_present(&self, head: &Parts) -> bool {
        head.headers.contains_key(&self.header)
    }

    /// The value behind the prefix. `Ok(None)` where the header is absent; `malformed` is why a value without the prefix
    /// is refused.
    pub(super) fn value<'a>(&self, head: &'a Parts, malformed: Reason) -> Result<Option<&'a [u8]>, Rejection> {
        let Some(value) = single(head, &self.header, LONGEST_HEADER)? else { return Ok(None) };
        match value.as_bytes().strip_prefix(self.prefix.as_bytes()) {
            Some(rest) => Ok(Some(rest)),
            None => Err(Rejection::new(malformed).with_detail("the prefix is missing")),
        }
    }

    /// The value behind the prefix as a text, which shares the header's bytes where there is no prefix.
    pub(super) fn text(&self, head: &Parts, malformed: Reason) -> Result<Option<Text>, Rejection> {
        let text = match self.prefix {
            "" => single(head, &self.header, LONGEST_HEADER)?.map(Text::from_header),
            _ => self.value(head, malformed)?.map(|value| Some(std::str::from_utf8(value).ok()?.to_owned().into())),
        };
        text.map(|text| text.ok_or_else(|| malformed.into())).transpose()
    }

    #[cfg(feature = "testing")]
    pub(super) fn put(
        &self,
        headers: &mut http::HeaderMap,
        value: &str,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        headers.insert(&self.header, HeaderValue::try_from(format!("{}{value}", self.prefix))?);
        Ok(())
    }
}

/// The one value of a header. Two lines are refused even where they are equal: what stands before us may look at one,
/// and we at the other. A value of more than `longest` bytes is refused too.
pub(crate) fn single<'a>(
    head: &'a Parts,
    name: &HeaderName,
    longest: usize,
) -> Result<Option<&'a HeaderValue>, Rejection> {
    let mut values = head.headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Reason::DuplicateHeader.into());
    }
    if value.len() > longest {
        return Err(Rejection::new(Reason::MalformedHeader).with_detail("it is too long"));
    }
    Ok(Some(value))
}
