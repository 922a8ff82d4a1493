//! Shared tokens: a secret that the sender repeats, and that covers nothing.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::secrets::Ring;

/// A token's digest: digests are compared, so that neither the length nor a common start of the token shows in the time.
#[derive(Clone, Copy)]
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The position of the first token that is one of those received. All are compared.
pub(crate) fn matching_token(tokens: &Ring<Token>, received: &[Token]) -> Option<usize> {
    let mut matched = None;
    for (position, token) in tokens.iter().enumerate() {
        for candidate in received {
            if token.is(candidate) && matched.is_none() {
                matched = Some(position);
            }
        }
    }
    matched
}
