//! The claims and the body of a verified request.

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::json::Object;
use crate::payload::json;
use crate::rejection::Rejection;
use crate::text::Text;

/// The claims and the body of a verified request, kept for [`Trigger`](super::Trigger).
pub(super) struct ConnectPayload {
    /// The claims of the token.
    pub(super) claims: Object,
    /// The members of the body. Only those that repeat a claim are proven.
    pub(super) body: Object,
}

impl ConnectPayload {
    /// Returns the claim, else the body's member, read from null if there is neither.
    pub(super) fn member<T: DeserializeOwned>(&self, name: &str) -> Result<T, Rejection> {
        json(self.claims.get(name).or_else(|| self.body.get(name)).unwrap_or(b"null"))
    }

    /// Returns what stays the same if this trigger is repeated, and in nothing else: a hash of everything that was sent. Connect
    /// has no event id, and webhook and time don't name an event, as two of one second differ in their bodies.
    pub(super) fn identity(&self, body: &[u8]) -> Option<Text> {
        let claims = self.claims.text();
        // The length keeps bytes from moving between the two.
        let hash = Sha256::new().chain_update(claims.len().to_be_bytes()).chain_update(claims).chain_update(body);
        Some(hex::encode(hash.finalize()).into())
    }
}
