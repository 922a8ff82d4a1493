//! The claims and the body of a verified request.

#[cfg(feature = "inbox")]
use bytes::Bytes;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::json::Object;
use crate::payload::json;
use crate::rejection::Rejection;
use crate::text::Text;

/// The claims and the body of a verified request, kept for [`Trigger`](super::Trigger).
pub(crate) struct ConnectPayload {
    /// The claims of the token.
    pub(super) claims: Object,
    /// The members of the body. Only those that repeat a claim are proven.
    pub(super) body: Object,
}

impl ConnectPayload {
    /// Returns the claims, which came in a header.
    #[cfg(feature = "inbox")]
    pub(crate) fn beside_the_body(&self) -> &[u8] {
        self.claims.text()
    }

    /// Undoes [`beside_the_body`](Self::beside_the_body).
    #[cfg(feature = "inbox")]
    pub(crate) fn restore(claims: &Bytes, body: &Bytes) -> Option<Self> {
        let body = if body.is_empty() { Object::default() } else { Object::read(body)? };
        Some(Self { claims: Object::read(claims)?, body })
    }

    /// Returns the claim, else the body's member, read from null if there is neither.
    pub(super) fn member<T: DeserializeOwned>(&self, name: &str) -> Result<T, Rejection> {
        json(self.claims.get(name).or_else(|| self.body.get(name)).unwrap_or(b"null"))
    }

    /// Returns what stays the same if this trigger is repeated. Connect has no event id, and counts
    /// time in whole seconds, in which a webhook may be triggered twice. So it is everything
    /// that was said: the claims, except what every token has anew, and what only the body
    /// says. Without a time of the trigger, it is the very token if there is no body, and otherwise
    /// nothing.
    ///
    /// What repeats a claim is left out, so that a body that is only laid out anew is a repetition.
    pub(super) fn identity(&self, body: &[u8]) -> Option<Text> {
        if self.member::<String>("triggered_at").is_err() {
            return body.is_empty().then(|| String::from_utf8_lossy(self.claims.text()).into_owned().into());
        }
        let mut unsigned: Vec<_> = self.body.iter().filter(|(name, _)| !self.claims.contains(name)).collect();
        unsigned.sort_unstable();
        let claims = self.claims.iter().filter(|(name, _)| !OF_THE_TOKEN.contains(name));
        let mut digest = Sha256::new_with_prefix((unsigned.len() as u64).to_be_bytes());
        for (name, value) in claims.chain(unsigned) {
            for part in [name.as_bytes(), value] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        Some(hex::encode(digest.finalize()).into())
    }
}

/// Claims about the token rather than the trigger.
const OF_THE_TOKEN: [&str; 4] = ["exp", "iat", "nbf", "jti"];
