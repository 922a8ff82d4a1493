//! One member of a JSON body.

use std::borrow::Cow;

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
