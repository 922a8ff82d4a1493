//! Meta: WhatsApp, Messenger, Instagram, Pages.

use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, header, json};
use crate::secrets::Secrets;

use super::{SenderConfig, knowledge};

/// [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started): WhatsApp, Messenger, Instagram, Pages.
///
/// The secret is the app secret. To answer the subscription, add [`Handshake::subscribe`] by [`Scheme::with_handshake`]. The
/// older `X-Hub-Signature` (SHA-1) is ignored.
///
/// # Examples
///
/// ```
/// use tower_webhook::scheme::Handshake;
/// use tower_webhook::senders;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let meta = senders::meta("the app secret")?.with_handshake(Handshake::subscribe("the verify token")?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn meta(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha256()
        .signature(header("x-hub-signature-256").prefix("sha256=").hex())
        .event(json("/object"))
        .secret(secrets)
        .with_behavior(*knowledge::of("meta"))
        .build("meta")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let scheme = meta(config.take_secrets()?)?;
    Ok(match config.verify_token.take() {
        Some(token) => scheme.with_handshake(Handshake::subscribe(token)?),
        None => scheme,
    })
}
