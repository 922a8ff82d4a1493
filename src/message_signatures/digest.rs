//! `Content-Digest` (RFC 9530): hashes of the body, in a header that is signed.

use http::HeaderName;
use http::request::Parts;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::headers::{LONGEST_HEADER, required};
use crate::rejection::{Reason, Rejection};

use super::fields::{bytes, members};
use super::malformed;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Compares the body with every SHA-256 and SHA-512 in the header, of which there must be one.
/// Other digests are left alone.
pub(crate) fn check(head: &Parts, body: &[u8]) -> Result<(), Rejection> {
    let value = required(head, &CONTENT_DIGEST, LONGEST_HEADER)?;
    let digests =
        value.to_str().ok().and_then(members).ok_or_else(|| malformed("`content-digest` is not well formed"))?;
    let mut known = 0;
    for (name, value) in digests {
        let own = match name {
            "sha-256" => Sha256::digest(body).to_vec(),
            "sha-512" => Sha512::digest(body).to_vec(),
            _ => continue,
        };
        known += 1;
        let claimed = bytes(value).ok_or_else(|| malformed("`content-digest` is not well formed"))?;
        if !bool::from(claimed.ct_eq(&own)) {
            return Err(mismatch("it is not the one whose hash is in `content-digest`"));
        }
    }
    if known == 0 {
        return Err(mismatch("`content-digest` has neither a SHA-256 nor a SHA-512 of it"));
    }
    Ok(())
}

fn mismatch(detail: &'static str) -> Rejection {
    Rejection::new(Reason::BodyMismatch).with_detail(detail)
}

/// Writes the header for a body.
#[cfg(feature = "testing")]
pub(crate) fn write(head: &mut Parts, body: &[u8]) -> Result<(), crate::sign::SignError> {
    let digest = crate::encoding::Encoding::Base64.encode(&Sha256::digest(body));
    crate::sign::set_header(head, CONTENT_DIGEST, format!("sha-256=:{digest}:"))
}
