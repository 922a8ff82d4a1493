//! The claims and the body of a verified request.

use serde::de::DeserializeOwned;

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

    /// Returns what stays the same if this trigger is repeated. Connect has no event id, so it is the webhook and the time that
    /// it was triggered; or all the claims if there is no body. If the token has neither, the body must tell.
    pub(super) fn identity(&self, body: &[u8]) -> Option<Text> {
        let claim = |name| self.claims.parse::<String>(name);
        match (claim("webhook_id"), claim("triggered_at")) {
            (Some(webhook), Some(time)) => Some(format!("{webhook} {time}").into()),
            _ if body.is_empty() => Some(String::from_utf8_lossy(self.claims.text()).into_owned().into()),
            _ => None,
        }
    }
}
