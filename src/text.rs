//! Short strings that are cloned with every request: names, ids, event names.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

use http::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A short immutable string whose clone never allocates: a literal, a shared string, or the bytes
/// of a header.
///
/// # Examples
///
/// ```
/// use tower_webhook::Text;
///
/// let text = Text::from("invoice.paid");
/// assert_eq!(text.clone(), "invoice.paid");
/// ```
#[derive(Clone)]
pub struct Text(TextRepr);

#[derive(Clone)]
enum TextRepr {
    Static(&'static str),
    Shared(Arc<str>),
    Header(HeaderPart),
    /// A part of a header that is short enough to be copied, which costs less than to share it:
    /// visible ASCII, and its length.
    Inline([u8; MAX_INLINE], u8),
}

/// A value whose `to_str` succeeded, and which part of it is meant.
//
// Laid out so that the unused bits of the value are at its end, where they tell the kinds of text apart: a text
// is moved several times with every request.
#[derive(Clone)]
#[repr(C)]
struct HeaderPart {
    start: u32,
    end: u32,
    value: HeaderValue,
}

/// The longest text that is copied: as much as has room beside the other kinds. Ids of 36
/// characters have, as UUIDs are.
const MAX_INLINE: usize = 38;

impl Text {
    /// An empty text, with room for a short one.
    #[inline]
    pub(crate) const fn empty() -> Self {
        Self(TextRepr::Inline([0; MAX_INLINE], 0))
    }

    /// Creates a text from a literal.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(TextRepr::Static(text))
    }

    /// Returns the text as a `str`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            TextRepr::Static(text) => text,
            TextRepr::Shared(text) => text,
            TextRepr::Inline(bytes, len) => {
                bytes.get(..usize::from(*len)).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
            }
            TextRepr::Header(HeaderPart { start, end, value }) => {
                value.to_str().ok().and_then(|text| text.get(*start as usize..*end as usize)).unwrap_or_default()
            }
        }
    }

    /// Returns the bytes of the text, which costs less than the text does.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            TextRepr::Static(text) => text.as_bytes(),
            TextRepr::Shared(text) => text.as_bytes(),
            TextRepr::Inline(bytes, len) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            TextRepr::Header(HeaderPart { start, end, value }) => {
                value.as_bytes().get(*start as usize..*end as usize).unwrap_or_default()
            }
        }
    }

    /// Creates a text that shares the bytes of a header's value. Returns `None` if it isn't visible
    /// ASCII.
    #[must_use]
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        Self::from_header_part(value, 0..value.len())
    }

    /// Creates a text that shares a part of a header's value. Returns `None` if the value isn't
    /// visible ASCII.
    pub(crate) fn from_header_part(value: &HeaderValue, part: Range<usize>) -> Option<Self> {
        let mut text = Self::empty();
        text.set_header_part(value, part)?;
        Some(text)
    }

    /// Becomes the text that [`from_header_part`](Self::from_header_part) returns. If it is
    /// [empty](Self::empty()), a short one is written in its place: the processor waits for a copy
    /// of what was just written.
    #[inline]
    pub(crate) fn set_header_part(&mut self, value: &HeaderValue, part: Range<usize>) -> Option<()> {
        // As `to_str`: a header's value has no control characters but tabs.
        let text = value.as_bytes().get(part.clone()).filter(|_| value.as_bytes().is_ascii())?;
        if let TextRepr::Inline(bytes, len) = &mut self.0
            && let Some(start) = bytes.get_mut(..text.len())
        {
            start.copy_from_slice(text);
            *len = text.len().try_into().ok()?;
            return Some(());
        }
        let (start, end) = (part.start.try_into().ok()?, part.end.try_into().ok()?);
        self.0 = TextRepr::Header(HeaderPart { start, end, value: value.clone() });
        Some(())
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
        Self(TextRepr::Static(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(TextRepr::Shared(text.into()))
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self(TextRepr::Shared(text))
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

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from_static("")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

/// Hashes as the `str` does, so that a map of `Text` can be asked for a `&str`.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    #[test]
    fn a_part_of_a_header_is_the_same_text_whether_it_is_copied_or_shared() {
        let letters: String = ('a'..='z').cycle().take(2 * MAX_INLINE).collect();
        let value = HeaderValue::from_str(&letters).unwrap();
        for part in [0..0, 3..4, 1..MAX_INLINE + 1, 1..MAX_INLINE + 2, 0..letters.len()] {
            let mut text = Text::empty();
            text.set_header_part(&value, part.clone()).unwrap();
            assert_eq!((text.as_str(), text.as_bytes()), (&letters[part.clone()], letters[part.clone()].as_bytes()));
            // One that has a text is overwritten.
            text.set_header_part(&value, 2..5).unwrap();
            assert_eq!(text, "cde");
            assert_eq!(Text::from_header_part(&value, part.clone()).unwrap(), letters[part]);
        }
        assert!(Text::empty().set_header_part(&value, 0..letters.len() + 1).is_none());
        assert!(Text::empty().set_header_part(&HeaderValue::from_bytes(b"abc\xff").unwrap(), 0..2).is_none());
    }

    #[test]
    fn it_is_a_string_wherever_one_is_asked_for() {
        let header = HeaderValue::from_static("v1=push");
        let part = Text::from_header_part(&header, 3..7).unwrap();
        assert_eq!(part, "push");
        assert_eq!(String::from(part.clone()), "push");
        let names = HashMap::from([(part.clone(), 1)]);
        assert_eq!(names.get("push"), Some(&1));
        let sorted = BTreeSet::from([Text::from("b"), Text::from("a".to_owned()), part]);
        assert!(sorted.iter().map(Text::as_str).eq(["a", "b", "push"]));
        assert_eq!(serde_json::to_string(&sorted).unwrap(), r#"["a","b","push"]"#);
        assert!(Text::from_header(&HeaderValue::from_bytes(b"\xff").unwrap()).is_none());
    }
}
