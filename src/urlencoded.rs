//! Names and values in `application/x-www-form-urlencoded`: query strings and form bodies.
//!
//! The crate `form_urlencoded` replaces invalid UTF-8 and accepts malformed escapes. Here two texts
//! must never read the same, since senders sign the fields.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;

use crate::headers;
use crate::rejection::{Reason, Rejection};
use crate::uri::requested_uri;

/// The most fields that a form may have. Twilio's largest have about sixty.
const MAX_FIELDS: usize = 1000;

/// The media type of forms.
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Returns whether the head says that the body is a form.
#[inline]
pub(crate) fn is_form(head: &Parts) -> bool {
    headers::first(head, &CONTENT_TYPE).is_some_and(names_form)
}

/// Returns whether a content type is that of a form.
#[inline]
pub(crate) fn names_form(value: &HeaderValue) -> bool {
    // Nearly all others are told by their length.
    let Some((essence, rest)) = value.as_bytes().trim_ascii_start().split_at_checked(FORM.len()) else { return false };
    let ends = matches!(rest.trim_ascii_start(), [] | [b';', ..]);
    ends && essence.eq_ignore_ascii_case(FORM) && value.to_str().is_ok()
}

/// A name and a value.
type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The fields in their order. A `None` is a field that is not well escaped.
fn fields(text: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    text.split(|byte| *byte == b'&').filter(|field| !field.is_empty()).map(|field| {
        let at = field.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((field, &[][..]), |at| (&field[..at], &field[at + 1..]));
        Some((decode(name)?, decode(value)?))
    })
}

/// The one value of a field. A field that comes twice is refused.
#[inline]
pub(crate) fn field<'a>(text: &'a [u8], name: &str, malformed: Reason) -> Result<Option<Cow<'a, [u8]>>, Rejection> {
    let mut found = None;
    for (count, field) in fields(text).enumerate() {
        let (candidate, value) = field.ok_or_else(|| badly_escaped(malformed))?;
        if count >= MAX_FIELDS {
            return Err(Rejection::new(malformed).with_detail("the form has more than 1000 fields"));
        }
        if *candidate == *name.as_bytes() && found.replace(value).is_some() {
            return Err(Rejection::new(malformed).with_detail(format!("the field `{name}` came more than once")));
        }
    }
    Ok(found)
}

/// The one value of a field of the query, as [`field`] returns it.
#[inline]
pub(crate) fn query_field<'a>(
    head: &'a Parts,
    name: &str,
    malformed: Reason,
) -> Result<Option<Cow<'a, [u8]>>, Rejection> {
    field(requested_uri(head).query().unwrap_or_default().as_bytes(), name, malformed)
}

/// Every field as name and value without separators, sorted by name; of a name that comes more than
/// once, each distinct value, sorted. This is what Twilio and Mandrill sign.
///
/// A form of no fields, or with a name of no letters, is refused: nothing would be signed of it, so
/// the signature of a request without a form would be good for it.
pub(crate) fn feed_sorted(body: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), Rejection> {
    let mut all = Vec::new();
    for field in fields(body) {
        if all.len() >= MAX_FIELDS {
            return Err(Rejection::new(Reason::MalformedBody).with_detail("the form has more than 1000 fields"));
        }
        all.push(field.ok_or_else(|| badly_escaped(Reason::MalformedBody))?);
    }
    if all.is_empty() || all.iter().any(|(name, _)| name.is_empty()) {
        return Err(Rejection::new(Reason::MalformedBody).with_detail("the form has no field, or one without a name"));
    }
    all.sort_unstable();
    all.dedup();
    for (name, value) in all {
        sink(&name);
        sink(&value);
    }
    Ok(())
}

#[inline]
fn badly_escaped(reason: Reason) -> Rejection {
    Rejection::new(reason).with_detail("a form field is not well escaped")
}

#[inline]
fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(*bytes.next()?)? << 4 | hex_digit(*bytes.next()?)?,
            other => *other,
        });
    }
    Some(Cow::Owned(out))
}

#[inline]
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Writes a field as a form does.
#[cfg(feature = "testing")]
#[inline]
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(byte.into()),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_decoded_and_must_be_the_only_one() {
        let one = |text: &str, name: &str| {
            let value = field(text.as_bytes(), name, Reason::MalformedBody).map_err(|rejection| rejection.reason())?;
            Ok(value.map(|value| String::from_utf8(value.into_owned()).unwrap()))
        };
        assert_eq!(one("a=1&b=x+y%2Bz&c", "b"), Ok(Some("x y+z".into())));
        assert_eq!(one("a=1&b=2&c", "c"), Ok(Some(String::new())));
        assert_eq!(one("a=1&&b=2", "d"), Ok(None));
        assert_eq!(one("a=1&%61=2", "a"), Err(Reason::MalformedBody));
        for bad in ["a=%", "a=%1", "a=%zz", "%=1"] {
            assert_eq!(one(bad, "a"), Err(Reason::MalformedBody), "{bad}");
        }
        assert_eq!(one(&"a&".repeat(1001), "b"), Err(Reason::MalformedBody));
    }

    #[test]
    fn a_form_is_told_by_its_media_type_in_any_case_and_with_any_parameters() {
        let is_form = |value: &[u8]| {
            let (head, ()) = http::Request::post("/").header(CONTENT_TYPE, value).body(()).unwrap().into_parts();
            is_form(&head)
        };
        let form = "application/x-www-form-urlencoded";
        for good in
            [form, &form.to_uppercase(), &format!(" {form}\t"), &format!("{form} ; charset=utf-8"), &format!("{form};")]
        {
            assert!(is_form(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ";",
            "application/json",
            &format!("{form}s"),
            &format!("x{form}"),
            &format!("a/b; c={form}"),
            &form[1..],
        ] {
            assert!(!is_form(bad.as_bytes()), "{bad}");
        }
        assert!(!is_form(b"application/x-www-form-urlencoded; a=\xff"));
        assert!(!super::is_form(&http::Request::new(()).into_parts().0));
    }

    #[test]
    fn a_form_of_which_nothing_would_be_signed_is_refused() {
        for bad in ["", "&", "=", "&=&", "a=1&="] {
            assert!(feed_sorted(bad.as_bytes(), |_| ()).is_err(), "{bad}");
        }
    }

    #[test]
    fn sorted_fields_are_distinct() {
        let mut text = Vec::new();
        feed_sorted(b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234", |bytes| {
            text.extend_from_slice(bytes)
        })
        .unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "Digits1234Digits5678SidCA123SidAccountAC123");
    }
}
