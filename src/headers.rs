//! Headers that must be there once, and the credentials in one (RFC 9110, section 11.4).

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;

use crate::encoding::Encoding;
use crate::rejection::{Reason, Rejection};

/// The longest header value that is looked at. The longest genuine ones are lists of a few
/// signatures.
pub(crate) const LONGEST_HEADER: usize = 4096;

/// With at most this many headers, looking through all of them is faster than hashing a name.
const FEW: usize = 16;

/// Returns whether a head has so few headers that looking through all is the faster way.
#[inline]
pub(crate) fn are_few(head: &Parts) -> bool {
    head.headers.len() <= FEW
}

/// Whether there is a header of this name.
#[inline]
pub(crate) fn has(head: &Parts, name: &HeaderName) -> bool {
    if !are_few(head) {
        return head.headers.contains_key(name);
    }
    head.headers.keys().any(|found| found == name)
}

/// The first value of a header.
#[inline]
pub(crate) fn first<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a HeaderValue> {
    if !are_few(head) {
        return head.headers.get(name);
    }
    head.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The one value of a header. Two lines are refused even where they are equal: what stands before
/// us may look at one, and we at the other. A value of more than `longest` bytes is refused too.
#[inline]
pub(crate) fn single<'a>(
    head: &'a Parts,
    name: &HeaderName,
    longest: usize,
) -> Result<Option<&'a HeaderValue>, Rejection> {
    let headers = &head.headers;
    if !are_few(head) {
        return only(name, headers.get_all(name).iter(), longest);
    }
    let mut values = headers.iter().filter(|(found, _)| *found == name).map(|(_, value)| value);
    // Nearly no request has two lines of any name, so that there is no other one to look for.
    if headers.len() == headers.keys_len() {
        return only(name, values.next().into_iter(), longest);
    }
    only(name, values, longest)
}

#[inline]
fn only<'a>(
    name: &HeaderName,
    mut values: impl Iterator<Item = &'a HeaderValue>,
    longest: usize,
) -> Result<Option<&'a HeaderValue>, Rejection> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(duplicate(name));
    }
    check_length(name, value, longest)?;
    Ok(Some(value))
}

/// The one value of a header that the sender always sets.
#[inline]
pub(crate) fn required<'a>(head: &'a Parts, name: &HeaderName, longest: usize) -> Result<&'a HeaderValue, Rejection> {
    single(head, name, longest)?.ok_or_else(|| Rejection::new(Reason::MissingHeader).with_detail(format!("`{name}`")))
}

#[inline]
fn check_length(name: &HeaderName, value: &HeaderValue, longest: usize) -> Result<(), Rejection> {
    if value.len() > longest {
        return Err(too_long(name, longest));
    }
    Ok(())
}

#[cold]
fn duplicate(name: &HeaderName) -> Rejection {
    Rejection::new(Reason::DuplicateHeader).with_detail(format!("`{name}`"))
}

#[cold]
fn too_long(name: &HeaderName, longest: usize) -> Rejection {
    Rejection::new(Reason::MalformedHeader).with_detail(format!("`{name}` has more than {longest} bytes"))
}

/// Returns the token of `Bearer <token>`, or `None` if the value has another scheme.
pub(crate) fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    credentials(value, "bearer")
}

/// Returns the decoded `user:password` of `Basic <base64>`, or `None` if the value has another
/// scheme or is not base64.
#[inline]
pub(crate) fn basic(value: &HeaderValue) -> Option<Vec<u8>> {
    Encoding::Base64.decode(credentials(value, "basic")?)
}

/// The name of the scheme is case-insensitive, and one or more spaces follow it.
fn credentials<'a>(value: &'a HeaderValue, scheme: &str) -> Option<&'a [u8]> {
    let (name, rest) = value.as_bytes().split_at_checked(scheme.len())?;
    let fits = name.eq_ignore_ascii_case(scheme.as_bytes()) && rest.starts_with(b" ");
    fits.then(|| rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_and_a_second_one_refused_among_few_headers_and_among_many() {
        let (name, absent) = (HeaderName::from_static("x-signature"), HeaderName::from_static("x-other"));
        for others in [0, 3, FEW - 2, FEW - 1, FEW, 4 * FEW] {
            let request = (0..others).fold(http::Request::builder(), |request, n| request.header(format!("h-{n}"), n));
            let (once, ()) = request.header(&name, "one").body(()).unwrap().into_parts();
            let found = |head: &Parts, name: &HeaderName| {
                single(head, name, 10).map(|value| value.cloned()).map_err(|rejection| rejection.reason())
            };
            assert_eq!(found(&once, &name), Ok(Some(HeaderValue::from_static("one"))), "{others}");
            assert_eq!(found(&once, &absent), Ok(None), "{others}");
            assert!(has(&once, &name) && !has(&once, &absent), "{others}");
            assert!(first(&once, &name).is_some_and(|value| value == "one") && first(&once, &absent).is_none());
            let mut twice = once;
            twice.headers.append(&name, HeaderValue::from_static("one"));
            assert_eq!(found(&twice, &name), Err(Reason::DuplicateHeader), "{others}");
            assert!(has(&twice, &name));
        }
    }

    #[test]
    fn the_scheme_is_known_in_any_case_and_ends_with_a_space() {
        for (text, token) in [
            ("Bearer tok", Some("tok")),
            ("bearer tok", Some("tok")),
            ("BEARER   tok", Some("tok")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Bearertok", None),
            ("Basic tok", None),
            (" Bearer tok", None),
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(bearer(&value), token.map(str::as_bytes), "{text}");
        }
        assert_eq!(basic(&HeaderValue::from_static("basic dTpw")).as_deref(), Some(&b"u:p"[..]));
        for bad in ["Basic dTp", "Basic", "Bearer dTpw", "Basic dTpw="] {
            assert_eq!(basic(&HeaderValue::from_static(bad)), None, "{bad}");
        }
    }
}
