//! Short texts that are cloned with every request: names, ids, event names.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use http::HeaderValue;

/// A short immutable text whose clone never allocates: a literal, a shared string, or a header's own bytes.
///
/// ```
/// use tower_webhook::Text;
///
/// let text = Text::from("invoice.paid");
/// assert_eq!(text.clone().as_str(), "invoice.paid");
/// ```
#[derive(Clone)]
pub struct Text(Inner);

#[derive(Clone)]
enum Inner {
    Static(&'static str),
    Shared(Arc<str>),
    /// Only values whose `to_str` succeeded are put here, with where the part that is meant starts and ends.
    Header(HeaderValue, u32, u32),
}

impl Text {
    /// A literal.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Inner::Static(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Inner::Static(text) => text,
            Inner::Shared(text) => text,
            Inner::Header(value, start, end) => {
                value.to_str().ok().and_then(|text| text.get(*start as usize..*end as usize)).unwrap_or_default()
            }
        }
    }

    /// A header's value, sharing its bytes. `None` where it is not visible ASCII.
    #[must_use]
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        Self::from_header_part(value, 0..value.len())
    }

    /// A part of a header's value, sharing its bytes. `None` where the value is not visible ASCII.
    pub(crate) fn from_header_part(value: &HeaderValue, part: Range<usize>) -> Option<Self> {
        value.to_str().ok()?.get(part.clone())?;
        Some(Self(Inner::Header(value.clone(), part.start.try_into().ok()?, part.end.try_into().ok()?)))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Inner::Static(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Inner::Shared(text.into()))
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
