//! Whole objects, with the texts of their members, and the comparison of two values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Values nested deeper than this are taken as different without being compared: a text of nothing
/// but brackets must not use up the stack. serde_json builds values to the same depth.
const MAX_DEPTH: usize = 128;

/// A JSON object: its text, and where its members are.
#[derive(Clone, Default)]
pub(crate) struct Object {
    text: Bytes,
    /// In the order of their names if there are more than [`MAX_UNSORTED`], else as they come.
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    name: Range<usize>,
    value: Range<usize>,
    /// The name, if it is written with escapes.
    unescaped: Option<Box<str>>,
}

/// An object with at most this many members isn't sorted: looking through them is faster. For
/// larger ones the time grows with the length times its logarithm.
const MAX_UNSORTED: usize = 16;

impl Object {
    /// Reads an object. Returns `None` if the text isn't one, or if two of its members have the
    /// same name.
    #[inline]
    pub(crate) fn read(text: &Bytes) -> Option<Self> {
        let whole = std::str::from_utf8(text).ok()?;
        let mut json = serde_json::Deserializer::from_str(whole);
        let mut members = json.deserialize_map(MembersOf(whole)).ok()?;
        json.end().ok()?;
        if members.len() > MAX_UNSORTED {
            members.sort_unstable_by(|a, b| a.name(text).cmp(b.name(text)));
        }
        let object = Self { text: text.clone(), members };
        (!object.has_a_name_twice()).then_some(object)
    }

    #[inline]
    fn is_sorted(&self) -> bool {
        self.members.len() > MAX_UNSORTED
    }

    #[inline]
    fn has_a_name_twice(&self) -> bool {
        let same = |a: &Member, b: &Member| a.name(&self.text) == b.name(&self.text);
        if self.is_sorted() {
            self.members.windows(2).any(|pair| same(&pair[0], &pair[1]))
        } else {
            self.members.iter().enumerate().any(|(at, a)| self.members[..at].iter().any(|b| same(a, b)))
        }
    }

    /// Returns the text of the whole object.
    #[inline]
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    #[cfg(feature = "jwt")]
    #[inline]
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// Returns the text of a member's value.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let name = name.as_bytes();
        let member = if self.is_sorted() {
            &self.members[self.members.binary_search_by(|it| it.name(&self.text).cmp(name)).ok()?]
        } else {
            self.members.iter().find(|member| member.name(&self.text) == name)?
        };
        Some(part(&self.text, &member.value))
    }

    /// Reads a member by serde. Returns `None` if it is absent, null, or not of that type.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_slice::<Option<T>>(self.get(name)?).ok()?
    }

    #[inline]
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the names of the members and the texts of their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.members.iter().map(|member| {
            let name = std::str::from_utf8(member.name(&self.text)).unwrap_or_default();
            (name, part(&self.text, &member.value))
        })
    }
}

impl Member {
    #[inline]
    fn name<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        self.unescaped.as_deref().map_or_else(|| part(text, &self.name), str::as_bytes)
    }
}

#[inline]
fn part<'a>(text: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    text.get(range.clone()).unwrap_or_default()
}

/// Returns the position in `whole` of a `part` that was borrowed from it.
#[inline]
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

struct MembersOf<'a>(&'a str);

impl<'de> Visitor<'de> for MembersOf<'de> {
    type Value = Vec<Member>;

    #[inline]
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(MAX_UNSORTED);
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            let value = place(self.0, value.get());
            members.push(match name {
                Cow::Borrowed(name) => Member { name: place(self.0, name), value, unescaped: None },
                Cow::Owned(name) => Member { name: 0..0, value, unescaped: Some(name.into()) },
            });
        }
        Ok(members)
    }
}

/// Returns whether two JSON texts have the same value, whatever the order of members, the white
/// space and the spelling of strings and numbers. Numbers of any size are compared exactly. A text
/// that isn't JSON, is nested deeper than [`MAX_DEPTH`] or has an object with two members of the
/// same name equals nothing.
#[inline]
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    match (std::str::from_utf8(a), std::str::from_utf8(b)) {
        (Ok(a), Ok(b)) => same(a.trim_ascii(), b.trim_ascii(), MAX_DEPTH),
        _ => false,
    }
}

/// Each level is read anew, so the cost is the length times the depth, which is bounded.
#[inline]
fn same(a: &str, b: &str, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    if let (true, true) = (is_number(a), is_number(b)) {
        return matches!((ExactNumber::read(a), ExactNumber::read(b)), (Some(a), Some(b)) if a == b);
    }
    let (Ok(a), Ok(b)) = (serde_json::from_str(a), serde_json::from_str(b)) else { return false };
    match (a, b) {
        (Node::Scalar(a), Node::Scalar(b)) => a == b,
        (Node::String(a), Node::String(b)) => a == b,
        (Node::Array(a), Node::Array(b)) => {
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a.get(), b.get(), levels))
        }
        (Node::Object(a), Node::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(&b).all(|((name_a, a), (name_b, b))| name_a == name_b && same(a.get(), b.get(), levels))
        }
        _ => false,
    }
}

/// One level of a value. A number is never read as one.
enum Node<'a> {
    Scalar(Option<bool>),
    String(Cow<'a, str>),
    Array(Vec<&'a RawValue>),
    Object(BTreeMap<Cow<'a, str>, &'a RawValue>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor).map(|node: Node<'de>| node)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    #[inline]
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything but a number")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Scalar(None))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Scalar(Some(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Node::String(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::String(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Node::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(Name(name)) = map.next_key()? {
            if members.insert(name, map.next_value()?).is_some() {
                return Err(A::Error::custom("two members have the same name"));
            }
        }
        Ok(Node::Object(members))
    }
}

/// A name that is only copied where it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[inline]
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A number as `0.digits * 10^exponent`, without zeros at either end of the digits, so that each
/// value has one form.
#[derive(PartialEq, Eq)]
struct ExactNumber {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl ExactNumber {
    /// Reads a JSON number. Returns `None` if the exponent doesn't fit an `i64`.
    #[inline]
    fn read(text: &str) -> Option<Self> {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = [whole, fraction].concat();
        if !all_digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all_digits.trim_start_matches('0');
        let leading_zeros = i64::try_from(all_digits.len() - digits.len()).ok()?;
        let point = i64::try_from(whole.len()).ok()?.checked_sub(leading_zeros)?;
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        Some(Self { negative, digits, exponent: exponent.parse::<i64>().ok()?.checked_add(point)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Option<Object> {
        Object::read(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn an_object_is_read_by_name_and_its_values_are_texts() {
        let object = read(r#" {"b": [1, 2] ,"a\u0062":"x","n":null} "#).unwrap();
        assert_eq!(object.get("b"), Some(&b"[1, 2]"[..]));
        assert_eq!(object.parse::<String>("ab").as_deref(), Some("x"));
        assert!(object.contains("n") && object.parse::<u8>("n").is_none());
        assert!(!object.contains("c"));
        assert_eq!(object.iter().count(), 3);
    }

    #[test]
    fn what_is_no_object_or_has_a_member_twice_is_not_read() {
        for text in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "{}x",
            "{} {}",
            "\u{feff}{}",
            r#"{"a":1,"b":2,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(Object::read(&Bytes::from_static(b"{\"\xff\":1}")).is_none());
    }

    #[test]
    fn few_members_and_many_are_found_alike() {
        for len in [1, MAX_UNSORTED, MAX_UNSORTED + 1, 500] {
            let members: Vec<_> = (0..len).rev().map(|n| format!("\"n{n}\":{n}")).collect();
            let object = |members: &[String]| Object::read(&Bytes::from(format!("{{{}}}", members.join(","))));
            let read = object(&members).unwrap();
            for n in 0..len {
                assert_eq!(read.parse::<usize>(&format!("n{n}")), Some(n));
            }
            assert!(read.get("n").is_none() && read.get(&format!("n{len}")).is_none());
            for twice in [&members[0], &members[len / 2], &members[len - 1]] {
                assert!(object(&[&members[..], std::slice::from_ref(twice)].concat()).is_none());
            }
        }
    }

    #[test]
    fn spelling_does_not_matter_and_values_do() {
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("0.001", "1E-3"),
            ("-0", "0"),
            ("0e7", "0.00"),
            ("12345678901234567890123", "1.2345678901234567890123e22"),
            (r#""A\/é""#, r#""\u0041/\u00e9""#),
            (r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ], "a" : 1.0 } "#),
        ] {
            assert!(equal(a.as_bytes(), b.as_bytes()) && equal(b.as_bytes(), a.as_bytes()), "{a} {b}");
        }
        for (a, b) in [
            ("1", "-1"),
            ("1", r#""1""#),
            ("1", "10"),
            ("12345678901234567890123", "12345678901234567890124"),
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.01"),
            ("null", "false"),
            ("true", "false"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            ("{}", "[]"),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            (r#""2021-05-27T09:54:03+00:00""#, r#""2021-05-27T09:54:03Z""#),
        ] {
            assert!(!equal(a.as_bytes(), b.as_bytes()) && !equal(b.as_bytes(), a.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn two_members_of_one_name_equal_nothing_at_any_depth() {
        let twice = br#"[{"a":1,"a":1}]"#;
        assert!(!equal(twice, twice));
    }

    #[test]
    fn depth_and_exponents_are_bounded() {
        let nested = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
        assert!(equal(nested(127).as_bytes(), nested(127).as_bytes()));
        assert!(!equal(nested(129).as_bytes(), nested(129).as_bytes()));
        assert!(!equal(nested(10_000).as_bytes(), nested(10_000).as_bytes()));
        assert!(!equal(b"1e99999999999999999999", b"1e99999999999999999999"));
    }
}
