//! Asana, which offers the secret itself when a webhook is made.

use std::convert::Infallible;

use http::request::Parts;
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Handshake, Scheme, header, printable};
use crate::secrets::{Secret, Secrets};

use super::{SenderConfig, knowledge};

/// The header in which Asana offers the secret.
const OFFER: &str = "x-hook-secret";

/// [Asana](https://developers.asana.com/docs/webhooks-guide).
///
/// The secret is what Asana offers in `X-Hook-Secret` when a webhook is made, and shows in its
/// answer to the client that makes it: add [`Handshake::offered_secret`] by
/// [`Scheme::with_handshake`] while you wait for a registration. A 410 deletes the webhook.
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
        .with_behavior(knowledge::asana)
        .build("asana")
}

#[inline]
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

impl Handshake {
    /// Answers a POST that offers a secret in this header by repeating it, if `accept` takes it.
    /// The request is not signed: accept one only while you wait for a registration of your
    /// own, and keep the secret before you return `true`. Anything else is refused.
    pub fn offered_secret(
        header: impl Into<String>,
        accept: impl Fn(&Parts, &Secret) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::header(Method::POST, &header.into(), move |head, name, value| {
            if !accept(head, &Secret::new(printable(value.as_bytes())?)) {
                return Err(Rejection::new(Reason::MissingSignature).with_detail("no registration is awaited"));
            }
            Ok(Answer::empty(StatusCode::OK).with_header(name.clone(), value.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::scheme::ask;

    use super::*;

    #[test]
    fn an_offered_secret_is_taken_only_when_it_is_awaited() {
        let taken = |accept: bool| {
            let handshake = Handshake::offered_secret("x-hook-secret", move |_, _| accept);
            ask(&handshake, http::Request::post("/").header("x-hook-secret", "abc"))
        };
        assert_eq!(taken(true), Some(Ok((StatusCode::OK, String::new()))));
        assert_eq!(taken(false), Some(Err(Reason::MissingSignature)));
    }
}
