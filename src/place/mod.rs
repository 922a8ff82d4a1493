//! Where in a request a sender puts something, and what is there.

mod list;
#[cfg(feature = "testing")]
mod put;
mod read;
mod signature;
mod timestamp;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::headers::{self, LONGEST_HEADER, single};
use crate::provider::Recognition;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;

pub(crate) use signature::{Candidates, Signature};
pub(crate) use timestamp::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "asymmetric", feature = "jwt")), allow(dead_code))]
pub(crate) enum Spot {
    Header(HeaderName),
    /// Headers of this name and a number.
    Numbered(HeaderName),
    Bearer,
    Basic,
    Query(Cow<'static, str>),
    PathEnd,
    Json(Cow<'static, str>),
    Form(Cow<'static, str>),
    /// A field of a multipart form.
    Part(&'static str),
    /// A member of a JSON object that is in a header, in base64.
    InHeader(HeaderName, &'static str),
    /// The whole body.
    Body,
}

/// A place in a request.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) spot: Spot,
    read: Read,
    pub(crate) prefix: Cow<'static, str>,
    pub(crate) list: Option<List>,
    /// Where the scope is that an id is unique within.
    pub(crate) scope: Option<Box<Place>>,
}

/// How a value is read that is a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    /// What separates its entries. The two may be the same.
    pub(crate) separators: [u8; 2],
    /// Finds the entry that is there once.
    only: FindOnly,
    /// Hands on each entry, and returns how many there are.
    each: TakeAll,
}

type FindOnly = fn(&Place, List, &[u8], Reason) -> Result<Option<Range<usize>>, Rejection>;
type TakeAll = fn(&Place, List, &[u8], &mut TakeEach<'_>) -> Result<usize, Rejection>;

/// How the value at a place is read.
#[derive(Clone, Copy, Debug)]
enum Read {
    /// From a header, as it is.
    Header,
    /// From the head.
    Head(ReadHead),
    /// From the body, which is empty as long as it isn't known.
    Body(&'static FromBody),
    /// From any number of headers, by what hands on each.
    Each(ReadEach),
}

/// What is done with a value in the body.
#[derive(Debug)]
struct FromBody {
    read: ReadBody,
    /// These two add the value, as the id and as the event, to what is read of a verified body.
    id: AddField,
    event: AddField,
}

/// It gets the reason to refuse what isn't in the sender's form, and the longest header.
type ReadHead = for<'a> fn(&Place, &'a Parts, Reason, usize) -> Result<Option<Value<'a>>, Rejection>;
type ReadEach = fn(&Place, &Parts, &mut TakeEach<'_>) -> Result<usize, Rejection>;
type TakeEach<'a> = dyn FnMut(&[u8]) -> Result<(), Rejection> + 'a;
type AddField = fn(&Place, &mut Option<Arc<BodyFields>>);
type ReadBody = for<'a> fn(&Spot, &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, Rejection>;

/// A value that was found: a header's own, or one that had to be decoded.
pub(crate) enum Value<'a> {
    Header(&'a HeaderValue, Range<usize>),
    Decoded(Cow<'a, [u8]>),
}

impl Value<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Header(value, part) => &value.as_bytes()[part.clone()],
            Self::Decoded(bytes) => bytes,
        }
    }

    fn part(self, part: Range<usize>) -> Self {
        match self {
            Self::Header(value, whole) => Self::Header(value, whole.start + part.start..whole.start + part.end),
            Self::Decoded(Cow::Borrowed(bytes)) => Self::Decoded(Cow::Borrowed(&bytes[part])),
            Self::Decoded(Cow::Owned(bytes)) => Self::Decoded(Cow::Owned(bytes[part].to_vec())),
        }
    }

    /// Returns the value as a text, which shares a header's bytes.
    #[inline]
    fn into_text(self) -> Option<Text> {
        match self {
            Self::Header(value, part) => Text::from_header_part(value, part),
            Self::Decoded(bytes) => Some(String::from_utf8(bytes.into_owned()).ok()?.into()),
        }
    }
}

impl Place {
    /// Returns whether the value is in the body, so that it is known only at the end.
    pub(crate) fn in_body(&self) -> bool {
        matches!(self.read, Read::Body(_))
    }

    /// Returns whether the head has the value.
    #[inline]
    pub(crate) fn recognizes(&self, head: &Parts) -> Recognition {
        match &self.spot {
            Spot::Header(name) => headers::has(head, name).into(),
            _ => self.recognizes_elsewhere(head),
        }
    }

    #[inline]
    fn recognizes_elsewhere(&self, head: &Parts) -> Recognition {
        match &self.spot {
            Spot::Header(name) | Spot::InHeader(name, _) => headers::has(head, name),
            Spot::Numbered(stem) => head.headers.keys().any(|name| name.as_str().starts_with(stem.as_str())),
            Spot::Bearer | Spot::Basic => headers::has(head, &AUTHORIZATION),
            Spot::Query(_) => !matches!(self.raw(head, b"", Reason::MalformedSignature), Ok(None)),
            Spot::PathEnd | Spot::Json(_) | Spot::Form(_) | Spot::Part(_) | Spot::Body => return Recognition::Perhaps,
        }
        .into()
    }

    /// Returns whether the value is there, now that the body is known.
    pub(crate) fn is_there(&self, head: &Parts, body: &[u8]) -> bool {
        matches!(self.value(head, body, Reason::MalformedSignature), Ok(Some(_)))
    }

    /// Returns the header that has the value, if one has.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        match &self.spot {
            Spot::Header(name) | Spot::InHeader(name, _) => Some(name),
            Spot::Bearer | Spot::Basic => Some(&AUTHORIZATION),
            _ => None,
        }
    }

    /// Returns the header that the value is all of, but for a fixed prefix.
    pub(crate) fn whole_header(&self) -> Option<&HeaderName> {
        match (&self.spot, self.list, &self.scope) {
            (Spot::Header(name), None, None) => Some(name),
            _ => None,
        }
    }

    /// Returns the header whose value tells the sender, or the first of several.
    #[cfg(feature = "inspect")]
    pub(crate) fn mark(&self) -> Option<HeaderName> {
        match &self.spot {
            Spot::Numbered(stem) => format!("{stem}1").parse().ok(),
            _ => self.header().cloned(),
        }
    }

    /// Returns the whole value, with prefix and list. The body is empty as long as it isn't known.
    fn raw<'a>(&self, head: &'a Parts, body: &'a [u8], malformed: Reason) -> Result<Option<Value<'a>>, Rejection> {
        self.raw_within(head, body, malformed, LONGEST_HEADER)
    }

    /// As [`raw`](Self::raw), from a header of at most this length.
    fn raw_within<'a>(
        &self,
        head: &'a Parts,
        body: &'a [u8],
        malformed: Reason,
        longest: usize,
    ) -> Result<Option<Value<'a>>, Rejection> {
        if let Spot::Header(name) = &self.spot {
            return Ok(single(head, name, longest)?.map(|value| Value::Header(value, 0..value.len())));
        }
        match self.read {
            Read::Header | Read::Each(_) => Ok(None),
            Read::Head(read) => read(self, head, malformed, longest),
            Read::Body(from) => Ok((from.read)(&self.spot, body)?.map(Value::Decoded)),
        }
    }

    /// Adds the place, if it is in the body, to where the id of a verified delivery is.
    pub(crate) fn add_id(&self, in_body: &mut Option<Arc<BodyFields>>) {
        if let Read::Body(from) = self.read {
            (from.id)(self, in_body);
        }
    }

    /// As [`add_id`](Self::add_id), to where the event is.
    pub(crate) fn add_event(&self, in_body: &mut Option<Arc<BodyFields>>) {
        if let Read::Body(from) = self.read {
            (from.event)(self, in_body);
        }
    }

    /// Returns the value behind the prefix, or `None` if it is absent. `malformed` is the reason to
    /// refuse a value without the prefix.
    #[inline]
    pub(crate) fn value<'a>(
        &self,
        head: &'a Parts,
        body: &'a [u8],
        malformed: Reason,
    ) -> Result<Option<Value<'a>>, Rejection> {
        self.value_within(head, body, malformed, LONGEST_HEADER)
    }

    /// As [`value`](Self::value), from a header of at most this length.
    pub(crate) fn value_within<'a>(
        &self,
        head: &'a Parts,
        body: &'a [u8],
        malformed: Reason,
        longest: usize,
    ) -> Result<Option<Value<'a>>, Rejection> {
        let Some(value) = self.raw_within(head, body, malformed, longest)? else { return Ok(None) };
        let part = self.part_of(value.as_bytes(), malformed)?;
        Ok(part.map(|part| value.part(part)))
    }

    /// Returns which part of a whole value is meant, or `None` if it is a list without it.
    #[inline]
    fn part_of(&self, whole: &[u8], malformed: Reason) -> Result<Option<Range<usize>>, Rejection> {
        if let Some(list) = self.list {
            return (list.only)(self, list, whole, malformed);
        }
        let value = behind(whole, self.prefix.as_bytes()).ok_or_else(|| self.without_prefix(malformed))?;
        Ok(Some(whole.len() - value.len()..whole.len()))
    }

    /// Returns the value as a text, behind that of its scope if it has one.
    pub(crate) fn text(&self, head: &Parts, body: &[u8], malformed: Reason) -> Result<Option<Text>, Rejection> {
        let mut text = Text::empty();
        let is_there = self.read_text(&mut text, head, body, malformed)?;
        Ok(is_there.then_some(text))
    }

    /// As [`text`](Self::text), but puts the value into `text`, and returns whether there is one.
    pub(crate) fn read_text(
        &self,
        text: &mut Text,
        head: &Parts,
        body: &[u8],
        malformed: Reason,
    ) -> Result<bool, Rejection> {
        let found = if let Spot::Header(name) = &self.spot {
            // Where nearly every time and id is: as `value`, in fewer steps.
            let Some(value) = single(head, name, LONGEST_HEADER)? else { return Ok(false) };
            let Some(part) = self.part_of(value.as_bytes(), malformed)? else { return Ok(false) };
            text.set_header_part(value, part)
        } else {
            let Some(value) = self.value(head, body, malformed)? else { return Ok(false) };
            value.into_text().map(|found| *text = found)
        };
        found.ok_or_else(|| self.unreadable(malformed))?;
        if let Some(scope) = &self.scope
            && let Some(scope) = scope.text(head, body, malformed)?
        {
            *text = format!("{scope} {text}").into();
        }
        Ok(true)
    }

    #[inline]
    fn behind_prefix<'a>(&self, value: &'a HeaderValue) -> Result<&'a [u8], Rejection> {
        behind(value.as_bytes(), self.prefix.as_bytes()).ok_or_else(|| self.without_prefix(Reason::MalformedSignature))
    }

    /// Refuses a value that is not of the kind that belongs there.
    #[cold]
    fn unreadable(&self, malformed: Reason) -> Rejection {
        Rejection::new(malformed).with_detail(format!("{self} is not in the sender's form"))
    }

    #[cold]
    fn without_prefix(&self, malformed: Reason) -> Rejection {
        Rejection::new(malformed).with_detail(format!("what {} has does not start with `{}`", self.spot, self.prefix))
    }
}

/// As `strip_prefix`, which calls a function to compare even a byte or two. Where an empty text
/// lies in no memory at all, as it does in Rust, that costs some processors a hundred nanoseconds.
#[inline]
fn behind<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.iter().zip(prefix).all(|(own, wanted)| own == wanted).then_some(rest)
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "`{name}`"),
            Self::Numbered(stem) => write!(f, "`{stem}1` and on"),
            Self::Bearer => f.write_str("`authorization` (Bearer)"),
            Self::Basic => f.write_str("`authorization` (Basic)"),
            Self::Query(parameter) => write!(f, "query `{parameter}`"),
            Self::PathEnd => f.write_str("the end of the path"),
            Self::Json(pointer) => write!(f, "body `{pointer}`"),
            Self::Form(field) => write!(f, "form field `{field}`"),
            Self::Part(field) => write!(f, "multipart field `{field}`"),
            Self::InHeader(name, pointer) => write!(f, "`{name}` `{pointer}`"),
            Self::Body => f.write_str("the body"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scope) = &self.scope {
            write!(f, "{scope} and ")?;
        }
        match self.prefix.trim() {
            "" => self.spot.fmt(f),
            prefix => write!(f, "{} `{prefix}`", self.spot),
        }
    }
}

pub(crate) fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::invalid("a header name is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{Source, basic, bearer, form, header, json, numbered_headers, path_segment, query};

    fn head(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        build(http::Request::post("/hook/tok%20en?sig=a%2Bb&x=1")).body(()).unwrap().into_parts().0
    }

    fn value(source: Source, head: &Parts, body: &str) -> Result<Option<String>, Reason> {
        let text = source.0.unwrap().text(head, body.as_bytes(), Reason::MalformedSignature);
        text.map(|text| text.map(|text| text.to_string())).map_err(|rejection| rejection.reason())
    }

    fn each(source: Source, head: &Parts) -> Result<Vec<String>, Reason> {
        let mut all = Vec::new();
        let count = source.0.unwrap().each(head, b"", |value| {
            all.push(String::from_utf8(value.to_vec()).unwrap());
            Ok(())
        });
        assert_eq!(count.map_err(|rejection| rejection.reason())?, all.len());
        Ok(all)
    }

    #[test]
    fn every_place_is_read() {
        let head = head(|head| head.header("h", "v1=a").header("authorization", "Basic dTpw"));
        let found = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(value(header("h").prefix("v1="), &head, ""), found("a"));
        assert_eq!(value(header("h").prefix("v0="), &head, ""), Err(Reason::MalformedSignature));
        assert_eq!(value(header("i"), &head, ""), Ok(None));
        assert_eq!(value(basic(), &head, ""), found("u:p"));
        for (scheme, found) in [("Basic  dTpw", "u:p"), ("bASIC dTpw", "u:p")] {
            let head = self::head(|head| head.header("authorization", scheme));
            assert_eq!(value(basic(), &head, "").unwrap().as_deref(), Some(found), "{scheme}");
        }
        for scheme in ["Bearer tok", "bearer tok", "BEARER   tok"] {
            let head = self::head(|head| head.header("authorization", scheme));
            assert_eq!(value(bearer(), &head, "").unwrap().as_deref(), Some("tok"), "{scheme}");
        }
        assert_eq!(value(bearer(), &head, ""), Err(Reason::MalformedSignature));
        assert_eq!(value(query("sig"), &head, ""), found("a+b"));
        assert_eq!(value(path_segment(), &head, ""), found("tok%20en"));
        assert_eq!(value(json("/a/b"), &head, r#"{"a":{"b":"c"}}"#), found("c"));
        assert_eq!(value(json("/a/b"), &head, "a=1"), Err(Reason::MalformedBody));
        assert_eq!(value(form("a"), &head, "a=%31"), found("1"));
    }

    #[test]
    fn a_list_gives_the_entries_with_the_prefix() {
        let head = head(|head| head.header("s", "t=17, v1=aa,v0=bb , v1=cc").header("w", "v1,x v1a,y v1,z"));
        assert_eq!(each(header("s").list(',').prefix("v1="), &head).unwrap(), ["aa", "cc"]);
        assert_eq!(each(header("w").list(' ').prefix("v1,"), &head).unwrap(), ["x", "z"]);
        assert_eq!(each(header("w").list(' ').prefix("v2,"), &head).unwrap(), [""; 0]);
        assert_eq!(value(header("s").list(',').prefix("t="), &head, "").unwrap().as_deref(), Some("17"));
        assert_eq!(value(header("s").list(',').prefix("v1="), &head, ""), Err(Reason::MalformedSignature));
        assert_eq!(value(header("s").list(',').prefix("u="), &head, ""), Ok(None));
    }

    #[test]
    fn lists_and_headers_are_bounded() {
        let many = head(|head| head.header("s", vec!["v1=a"; 17].join(",")));
        assert_eq!(each(header("s").list(',').prefix("v1="), &many), Err(Reason::TooManySignatures));
        let long = head(|head| head.header("s", "a".repeat(LONGEST_HEADER + 1)));
        assert_eq!(each(header("s"), &long), Err(Reason::MalformedHeader));
        let numbered = head(|head| (1..=101).fold(head, |head, n| head.header(format!("sig-{n}"), n)));
        assert_eq!(each(numbered_headers("sig-"), &numbered).unwrap().len(), 100);
        let twice = head(|head| head.header("sig-2", 1).header("sig-2", 1));
        assert_eq!(each(numbered_headers("sig-"), &twice), Err(Reason::DuplicateHeader));
    }
}
