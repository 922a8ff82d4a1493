//! A hash of the body that is signed in place of the body.

use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::place::Signature;
use crate::rejection::{Reason, Rejection};

/// Where a SHA-256 of the body is, and what compares the two. The few senders that have one bring
/// it.
#[derive(Clone)]
pub(crate) struct BodyHash {
    pub(super) at: Signature,
    check: fn(&Signature, &Parts, &[u8]) -> Result<(), Rejection>,
}

impl BodyHash {
    #[inline]
    pub(super) fn new(at: Signature) -> Self {
        Self { at, check: check_hash }
    }

    /// Compares the body with its hash.
    #[inline]
    pub(super) fn check(&self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        (self.check)(&self.at, head, body)
    }
}

#[inline]
fn check_hash(hash: &Signature, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
    let digest = Sha256::digest(body);
    let claimed = hash.read(head, body, digest.len()).map_err(|rejection| match rejection.reason() {
        Reason::MissingSignature => Rejection::new(Reason::BodyMismatch)
            .with_detail(format!("nothing signs it, as its SHA-256 is not in {}", hash.names())),
        _ => rejection,
    })?;
    if claimed.iter().any(|claimed| !bool::from(claimed.as_bytes().ct_eq(&digest))) {
        return Err(
            Rejection::new(Reason::BodyMismatch).with_detail(format!("its SHA-256 is not the one in {}", hash.names()))
        );
    }
    Ok(())
}
