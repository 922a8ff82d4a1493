//! Fields of `multipart/form-data`, in a body that is there as a whole.
//!
//! Only what one sender needs: a field is found by its name, and its bytes are the value. The
//! delimiter is read from the first line, as senders write no preamble.

use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::rejection::{Reason, Rejection};

/// The most parts that a body may have.
const MAX_PARTS: usize = 1000;

/// The longest head of a part, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;

/// The longest delimiter that RFC 2046 allows, with its dashes.
const LONGEST_DELIMITER: usize = 72;

/// Returns whether the head says that the body is such a form.
#[inline]
pub(crate) fn is_multipart(head: &Parts) -> bool {
    let essence = |text: &str| {
        let end = text.find(';').unwrap_or(text.len());
        text[..end].trim().eq_ignore_ascii_case("multipart/form-data")
    };
    head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(essence)
}

/// Returns the one value of a field. A field that comes twice is refused, and so is a body without
/// an end.
#[inline]
pub(crate) fn field<'a>(body: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, Rejection> {
    let malformed = |detail| Rejection::new(Reason::MalformedBody).with_detail(detail);
    let broken = || malformed("it is no complete multipart form");
    let line = find(body, b"\r\n").filter(|end| (3..=LONGEST_DELIMITER).contains(end)).ok_or_else(broken)?;
    let delimiter = [b"\r\n", &body[..line]].concat();
    if !delimiter.starts_with(b"\r\n--") {
        return Err(broken());
    }
    let mut rest = &body[line..];
    let mut found = None;
    for _ in 0..MAX_PARTS {
        // Behind a delimiter is a line end, or the two dashes of the last one.
        let Some(part) = rest.strip_prefix(b"\r\n") else {
            return if rest.starts_with(b"--") { Ok(found) } else { Err(broken()) };
        };
        let end = find(part, &delimiter).ok_or_else(broken)?;
        let (part, behind) = part.split_at(end);
        rest = &behind[delimiter.len()..];
        let head = find(part, b"\r\n\r\n").filter(|end| *end <= LONGEST_HEAD).ok_or_else(broken)?;
        if is_named(&part[..head], name) && found.replace(&part[head + 4..]).is_some() {
            return Err(malformed("a field that has one value came more than once"));
        }
    }
    Err(malformed("the form has more than 1000 parts"))
}

/// Returns whether a part's head names this field. The name of a file is no field's.
#[inline]
fn is_named(head: &[u8], name: &str) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let disposition = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut disposition = disposition.filter(|(header, _)| header.eq_ignore_ascii_case("content-disposition"));
    let (Some((_, value)), None) = (disposition.next(), disposition.next()) else { return false };
    let quoted = format!("\"{name}\"");
    value
        .split(';')
        .map(str::trim)
        .any(|parameter| parameter.strip_prefix("name=").is_some_and(|value| value == quoted || value == name))
}

#[inline]
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == wanted[0]) {
        from += at;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nabc\r\n\
        --b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=\"file\"; filename=\"token\"\r\n\r\n\
        \r\n--x\r\n\r\n--b--\r\n";

    fn read(body: &str, name: &str) -> Result<Option<String>, Reason> {
        let value = field(body.as_bytes(), name).map_err(|rejection| rejection.reason())?;
        Ok(value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(read(BODY, "token"), Ok(Some("abc".to_owned())));
        assert_eq!(read(BODY, "file"), Ok(Some("\r\n--x\r\n".to_owned())));
        assert_eq!(read(BODY, "timestamp"), Ok(None));
    }

    #[test]
    fn a_form_that_is_cut_short_or_says_a_thing_twice_is_refused() {
        for end in 0..BODY.len() - 4 {
            assert_eq!(read(&BODY[..end], "token"), Err(Reason::MalformedBody), "{end}");
        }
        let twice = BODY.replace("name=\"file\"", "name=\"token\"");
        assert_eq!(read(&twice, "token"), Err(Reason::MalformedBody));
        let many = "--b\r\nA: b\r\n\r\n\r\n".repeat(MAX_PARTS + 1) + "--b--";
        assert_eq!(read(&many, "token"), Err(Reason::MalformedBody));
        assert_eq!(read("a=1&b=2", "a"), Err(Reason::MalformedBody));
    }
}
