//! JSON read strictly: no member twice, numbers as they are written, nothing after the end.
//!
//! serde's own maps keep the last of two members with one name, and its numbers are rounded.
//! Whatever reads the body later might take the other member, so where a part of a JSON text is
//! trusted because it was signed, neither will do.

#[cfg(feature = "jwt")]
mod object;
mod pick;

#[cfg(feature = "jwt")]
pub(crate) use object::{Object, equal};
pub(crate) use pick::{NotJson, Scalar, is_one_value, pick, pick_each};
