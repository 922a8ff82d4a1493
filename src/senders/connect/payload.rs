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

    /// Returns what stays the same if this trigger is repeated, and in no other one: a hash of the claims, and of what only the
    /// body says. Connect has no event id, and webhook and time don't name an event, as there may be two in a second.
    ///
    /// What repeats a claim is left out, so that a body that is only laid out anew is a repetition.
    pub(super) fn identity(&self, _: &[u8]) -> Option<Text> {
        let mut unsigned: Vec<_> = self.body.iter().filter(|(name, _)| !self.claims.contains(name)).collect();
        unsigned.sort_unstable();
        let parts = unsigned.iter().flat_map(|(name, value)| [name.as_bytes(), value]);
        let hash = std::iter::once(self.claims.text()).chain(parts).fold(Sha256::new(), |hash, part| {
            // The length keeps bytes from moving between two parts.
            hash.chain_update(part.len().to_be_bytes()).chain_update(part)
        });
        Some(hex::encode(hash.finalize()).into())
    }
}
