//! Single members of a JSON text, read in one pass and without building the rest of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

/// The text isn't JSON, has data after its end, or repeats a member on the way to one that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

impl fmt::Display for NotJson {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body isn't a single JSON value, or repeats a member that is read")
    }
}

impl std::error::Error for NotJson {}

/// Returns the scalars at some JSON pointers as text: the content of a string, and a whole number
/// or a truth value as JSON writes it. Whatever is absent or isn't such a scalar is `None`.
pub(crate) fn pick<'a, const N: usize>(
    text: &'a [u8],
    pointers: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], NotJson> {
    let mut found = [const { None }; N];
    pick_each(text, pointers, &mut found)?;
    Ok(found.map(|scalar| scalar.map(|Scalar { text, .. }| text)))
}

/// A scalar of a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar<'a> {
    pub(crate) text: Cow<'a, str>,
    /// Whether it is a string, rather than a number or a truth value.
    pub(crate) is_string: bool,
}

/// As [`pick`], for any number of pointers. `found` has a place for each.
pub(crate) fn pick_each<'a, 'p>(
    text: &'a [u8],
    pointers: impl IntoIterator<Item = &'p str>,
    found: &mut [Option<Scalar<'a>>],
) -> Result<(), NotJson> {
    let wanted = pointers.into_iter().enumerate().map(|(place, rest)| Wanted { rest, place, met: false }).collect();
    let mut json = serde_json::Deserializer::from_slice(text);
    Pick { wanted, found }.deserialize(&mut json).map_err(|_| NotJson)?;
    json.end().map_err(|_| NotJson)
}

/// Returns whether the text is exactly one JSON value.
#[inline]
pub(crate) fn is_one_value(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// A pointer that leads to the present value or into it.
struct Wanted<'p> {
    /// What is left of the pointer: empty, or `/` and more.
    rest: &'p str,
    /// Where the scalar goes.
    place: usize,
    /// Whether the present object has had the pointer's next member.
    met: bool,
}

impl<'p> Wanted<'p> {
    /// Returns the next name or index, and the pointer behind it.
    #[inline]
    fn step(&self) -> Option<(&'p str, Self)> {
        let path = self.rest.strip_prefix('/')?;
        let (step, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        Some((step, Self { rest, place: self.place, met: false }))
    }
}

/// Enough for an id, an event and what identifies a delivery.
type WantedList<'p> = SmallVec<[Wanted<'p>; 3]>;

/// Reads one value and puts the scalars that are wanted of it into their places.
struct Pick<'p, 'f, 'a> {
    wanted: WantedList<'p>,
    found: &'f mut [Option<Scalar<'a>>],
}

impl<'a> Pick<'_, '_, 'a> {
    fn scalar<E>(self, text: Cow<'a, str>, is_string: bool) -> Result<(), E> {
        for wanted in self.wanted.iter().filter(|wanted| wanted.rest.is_empty()) {
            self.found[wanted.place] = Some(Scalar { text: text.clone(), is_string });
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    #[inline]
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(if value { "true" } else { "false" }.into(), false)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value.to_string().into(), false)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value.to_string().into(), false)
    }

    /// A number that serde has rounded.
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<(), E> {
        self.scalar(value.into(), true)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value.to_owned().into(), true)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let steps = self.wanted.iter().filter_map(Wanted::step);
            let wanted: WantedList<'_> =
                steps.filter(|(step, _)| step.parse() == Ok(index)).map(|(_, rest)| rest).collect();
            let item = if wanted.is_empty() {
                items.next_element::<IgnoredAny>()?.map(drop)
            } else {
                items.next_element_seed(Pick { wanted, found: &mut *self.found })?
            };
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(wanted) = members.next_key_seed(Name(&mut self.wanted))? {
            if wanted.is_empty() {
                members.next_value::<IgnoredAny>()?;
            } else {
                members.next_value_seed(Pick { wanted, found: &mut *self.found })?;
            }
        }
        Ok(())
    }
}

/// Returns whether a step of a pointer means the member of this name. In a pointer `/` is written
/// `~1`, and `~` is `~0`.
#[inline]
fn is_name(step: &str, name: &str) -> bool {
    if step.contains('~') { step.replace("~1", "/").replace("~0", "~") == name } else { step == name }
}

/// Reads the name of a member and returns what is wanted of its value.
struct Name<'w, 'p>(&'w mut WantedList<'p>);

impl<'de, 'p> DeserializeSeed<'de> for Name<'_, 'p> {
    type Value = WantedList<'p>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<WantedList<'p>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Name<'_, 'p> {
    type Value = WantedList<'p>;

    #[inline]
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<WantedList<'p>, E> {
        let mut inside = WantedList::new();
        for wanted in self.0 {
            let Some((_, rest)) = wanted.step().filter(|(step, _)| is_name(step, name)) else { continue };
            if std::mem::replace(&mut wanted.met, true) {
                return Err(E::custom("a member comes twice"));
            }
            inside.push(rest);
        }
        Ok(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &[u8], pointer: &str) -> Result<Option<String>, NotJson> {
        pick(text, [pointer]).map(|[found]| found.map(Cow::into_owned))
    }

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
    fn many_members_are_found_in_one_pass_wherever_their_ways_part() {
        let text = br#"{"a":{"b":[{"c":"x"},{"c":-17}],"t":true},"n":null,"a2":"y"}"#;
        let found = pick(text, ["/a/b/1/c", "/a2", "/zzz", "/a/t", "/a/b/0/c", "/a/t", "/a"]).unwrap();
        let found = found.map(|found| found.map(Cow::into_owned));
        assert_eq!(
            found.each_ref().map(Option::as_deref),
            [Some("-17"), Some("y"), None, Some("true"), Some("x"), Some("true"), None]
        );
        assert_eq!(pick(text, []), Ok([]));
    }

    #[test]
    fn a_slash_and_a_tilde_in_a_name_are_written_with_escapes() {
        let text = br#"{"a/b":1,"m~n":2,"~1":3}"#;
        assert_eq!(
            pick(text, ["/a~1b", "/m~0n", "/~01"]).unwrap().map(|found| found.unwrap().into_owned()),
            ["1", "2", "3"]
        );
    }

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(pick(br#"{"a":"x"}"#, ["/a"]), Ok([Some(Cow::Borrowed("x"))])));
    }

    #[test]
    fn a_member_that_comes_twice_is_refused_where_it_is_read() {
        for (text, pointer) in
            [(r#"{"a":1,"a":2}"#, "/a"), (r#"{"a":{"b":1},"\u0061":{}}"#, "/a/b"), (r#"{"a":{"b":1,"b":1}}"#, "/a/b")]
        {
            assert_eq!(member(text.as_bytes(), pointer), Err(NotJson), "{text}");
            assert_eq!(pick(text.as_bytes(), ["/x", pointer]), Err(NotJson), "{text}");
        }
        assert_eq!(member(br#"{"x":1,"x":2,"a":3}"#, "/a").unwrap().as_deref(), Some("3"));
        // The same name in two objects is no repetition.
        assert!(pick(br#"{"a":[{"b":1},{"b":2}]}"#, ["/a/0/b", "/a/1/b"]).is_ok());
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
