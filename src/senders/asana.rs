//! Asana, which offers the secret itself when a webhook is made.

use std::convert::Infallible;

use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, header};
use crate::secrets::{Secret, Secrets};

use super::{SenderConfig, knowledge};

/// The header in which Asana offers the secret.
const OFFER: &str = "x-hook-secret";

/// [Asana](https://developers.asana.com/docs/webhooks-guide).
///
/// The secret is what Asana offers in `X-Hook-Secret` when a webhook is made, and shows in its answer to whoever makes it: add
/// [`Handshake::offered_secret`] by [`Scheme::with_handshake`] while you wait for a registration. A 410 deletes the webhook.
/// Heartbeats have equal bodies, so there is nothing to tell deliveries apart by.
///
/// # Examples
///
/// ```
/// use std::sync::Mutex;
///
/// use tower_webhook::Secret;
/// use tower_webhook::scheme::Handshake;
/// use tower_webhook::senders;
///
/// static OFFERED: Mutex<Option<Secret>> = Mutex::new(None);
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let asana = senders::asana("the secret of the webhook that is there already")?;
/// let asana = asana.with_handshake(Handshake::offered_secret("x-hook-secret", |_, secret| {
///     // Kept before it is accepted.
///     OFFERED.lock().is_ok_and(|mut offered| offered.replace(secret.clone()).is_none())
/// }));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn asana(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha256()
        .signature(header("x-hook-signature").hex())
        .secret(secrets)
        .with_behavior(*knowledge::of("asana"))
        .build("asana")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    if !std::mem::take(&mut config.accept_offered_secret) {
        return asana(config.take_secrets()?);
    }
    let secrets = if config.secrets.is_empty() {
        // While the first webhook is made there is no secret yet, and no delivery to be accepted.
        Secrets::lookup(|_| std::future::ready(Ok::<_, Infallible>(None::<Secret>)))
    } else {
        config.take_secrets()?
    };
    Ok(asana(secrets)?.with_handshake(Handshake::offered_secret(OFFER, |head, _| {
        // Asana's are 64 hexadecimal digits. What would not be one of anybody is not repeated.
        let is_sane = |value: &[u8]| (16..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_alphanumeric);
        head.headers.get(OFFER).is_some_and(|value| is_sane(value.as_bytes()))
    })))
}
