//! Single members of a JSON text, without building the rest of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text has no such form: not JSON, data behind its end, or a member on the way twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not one JSON text, or has a member twice that is read")]
pub(crate) struct NotJson;

/// The scalar at a JSON pointer, as text: a string's own, a number or truth value as JSON writes it. `None` where there
/// is none, or none that is scalar. A member on the way that comes twice is refused: what reads the body later might
/// take the other one.
pub(crate) fn member(text: &[u8], pointer: &str) -> Result<Option<String>, NotJson> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let found = Seek(pointer).deserialize(&mut json).map_err(|_| NotJson)?;
    json.end().map_err(|_| NotJson)?;
    Ok(found)
}

/// Whether the text is exactly one JSON value.
pub(crate) fn is_one_value(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// What is left of the pointer: empty, or `/` and more.
#[derive(Clone, Copy)]
struct Seek<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seek<'_> {
    fn scalar<E>(self, value: impl ToString) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| value.to_string()))
    }

    /// The first name of the pointer, and what follows.
    fn step(&self) -> Option<(&str, Seek<'_>)> {
        let path = self.0.strip_prefix('/')?;
        let end = path.find('/').unwrap_or(path.len());
        Some((&path[..end], Seek(&path[end..])))
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((step, rest)) = self.step()
            && let Ok(index) = step.parse::<usize>()
        {
            for _ in 0..index {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(rest)?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let Some((step, rest)) = self.step() else {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut found = None;
        let mut seen = false;
        while let Some(wanted) = members.next_key_seed(Is(step))? {
            if !wanted {
                members.next_value::<IgnoredAny>()?;
            } else if seen {
                return Err(A::Error::custom("a member comes twice"));
            } else {
                seen = true;
                found = members.next_value_seed(rest)?;
            }
        }
        Ok(found)
    }
}

/// Compares a member's name without keeping it.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_its_pointer() {
        let text = br#"{"a":{"b":[{"c":"x\u00e9"},{"c":17}],"t":true},"n":null,"f":1.5,"e":1e3}"#;
        for (pointer, found) in [
            ("/a/b/0/c", Some("x\u{e9}")),
            ("/a/b/1/c", Some("17")),
            ("/a/t", Some("true")),
            ("/a/b/2/c", None),
            ("/a/b", None),
            ("/a", None),
            ("/n", None),
            ("/f", None),
            ("/e", None),
            ("/zzz", None),
            ("/a/b/0/c/d", None),
        ] {
            assert_eq!(member(text, pointer).unwrap().as_deref(), found, "{pointer}");
        }
    }

    #[test]
    fn a_member_that_comes_twice_is_refused_where_it_is_read() {
        for (text, pointer) in
            [(r#"{"a":1,"a":2}"#, "/a"), (r#"{"a":{"b":1},"\u0061":{}}"#, "/a/b"), (r#"{"a":{"b":1,"b":1}}"#, "/a/b")]
        {
            assert_eq!(member(text.as_bytes(), pointer), Err(NotJson), "{text}");
        }
        assert_eq!(member(br#"{"x":1,"x":2,"a":3}"#, "/a").unwrap().as_deref(), Some("3"));
    }

    #[test]
    fn what_is_not_one_json_text_is_refused() {
        for text in ["", "{", r#"{"a":1}x"#, r#"{"a":1}{}"#, "\u{feff}{}"] {
            assert_eq!(member(text.as_bytes(), "/a"), Err(NotJson), "{text}");
            assert!(!is_one_value(text.as_bytes()));
        }
        let deep = "[".repeat(100_000);
        assert_eq!(member(deep.as_bytes(), "/0/0"), Err(NotJson));
        assert!(!is_one_value(deep.as_bytes()));
    }
}
