//! HTTP Message Signatures (RFC 9421), and the digest of the content that they sign (RFC 9530).
//! Feature `asymmetric`.
//!
//! Only what is signed is written here: keys and algorithms are those of every other sender. What
//! a signature says of its algorithm is compared, and what it covers has to be what the rules
//! demand, since the one who signs chooses it. Of the components of RFC 9421, parameters of fields
//! (`sf`, `key`, `bs`, `tr`, `req`) are refused.

mod base;
mod digest;
mod fields;
mod rules;

pub(crate) use digest::check as check_digest;
#[cfg(feature = "testing")]
pub(crate) use digest::write as write_digest;
pub use rules::MessageRules;
pub(crate) use rules::{Kind, Offered};

use std::borrow::Cow;

use crate::rejection::{Reason, Rejection};

/// A header that is not in the form of these signatures.
fn malformed(detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(Reason::MalformedSignature).with_detail(detail)
}
