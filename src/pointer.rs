//! One member of a JSON body.

use std::borrow::Cow;
use std::sync::OnceLock;

use memchr::memmem;

use crate::json::{NotJson, pick};

pub(crate) use crate::json::is_one_value;

/// Returns the scalar at a JSON pointer as text: see [`pick`].
pub(crate) fn member(text: &[u8], pointer: &str) -> Result<Option<String>, NotJson> {
    let [found] = pick(text, [pointer])?;
    Ok(found.map(Cow::into_owned))
}

/// Returns whether the scalar at a JSON pointer is this text.
pub(crate) fn member_is(body: &[u8], pointer: &str, text: &str) -> bool {
    member(body, pointer).is_ok_and(|found| found.as_deref() == Some(text))
}

/// A question by its mark, a text at a JSON pointer, which nearly no body has: a body is parsed
/// only if it has the text somewhere, or may have it with escapes.
pub(crate) struct Mark {
    pointer: &'static str,
    /// It has no slash, which may be escaped in a way of its own.
    text: &'static str,
    finder: OnceLock<memmem::Finder<'static>>,
}

impl Mark {
    pub(crate) const fn new(pointer: &'static str, text: &'static str) -> Self {
        Self { pointer, text, finder: OnceLock::new() }
    }

    pub(crate) fn is_in(&self, body: &[u8]) -> bool {
        let finder = self.finder.get_or_init(|| memmem::Finder::new(self.text));
        let may_be_there = || finder.find(body).is_some() || has_escape(body);
        may_be_there() && member_is(body, self.pointer, self.text)
    }
}

/// Returns whether a letter may be written with an escape.
fn has_escape(body: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', body).any(|at| body.get(at + 1) == Some(&b'u'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_however_it_is_written_and_nowhere_else() {
        static MARK: Mark = Mark::new("/type", "url_verification");
        let padding = "x".repeat(300);
        for (body, found) in [
            (r#"{"type":"url_verification"}"#, true),
            (r#"{"type":"url\u005fverification"}"#, true),
            (r#"{"type":"\u0075rl_verification","a":"b\n"}"#, true),
            (r#"{"type":"event","text":"url_verification"}"#, false),
            (r#"{"type":"event","text":"\u0075"}"#, false),
            (r#"{"type":"event"}"#, false),
            ("url_verification", false),
        ] {
            assert_eq!(MARK.is_in(body.as_bytes()), found, "{body}");
            let long = body.replacen('{', &format!(r#"{{"p":"{padding}","#), 1);
            assert_eq!(MARK.is_in(long.as_bytes()), found, "{long}");
        }
    }
}
