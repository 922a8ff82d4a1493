//! Notion, which sends the secret itself before anything else.

use std::convert::Infallible;

use http::StatusCode;

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, header, json, only_member};
use crate::secrets::{Secret, Secrets};

use super::{SenderConfig, knowledge};

/// The header of the signature.
const HEADER: &str = "x-notion-signature";

/// [Notion](https://developers.notion.com/reference/webhooks), with the verification token as the secret.
///
/// Notion sends the token in an unsigned POST when a subscription is made: add
/// [`Handshake::offered_in_body`] by [`Scheme::with_handshake`] while you wait for it. No time is
/// signed.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn notion(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha256()
        .signature(header(HEADER).prefix("sha256=").hex())
        .event(json("/type"))
        .id(json("/id"))
        .secret(secrets)
        .with_behavior(knowledge::notion)
        .build("notion")
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    if !std::mem::take(&mut config.accept_offered_secret) {
        return notion(config.take_secrets()?);
    }
    let secrets = if config.secrets.is_empty() {
        // While the first subscription is made there is no secret yet, and no delivery to be accepted.
        Secrets::lookup(|_| std::future::ready(Ok::<_, Infallible>(None::<Secret>)))
    } else {
        config.take_secrets()?
    };
    Ok(notion(secrets)?.with_handshake(Handshake::offered_in_body(HEADER, "verification_token", |_| true)))
}

impl Handshake {
    /// Answers a POST without this header, which is the one of the signature, whose body is a JSON
    /// object of one member of this name, which is a secret that the sender offers: with 200, if
    /// `accept` takes it. Anyone can send such a request: accept one only while you wait for a
    /// registration of your own, and keep the secret before you return `true`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::scheme::Handshake;
    /// use tower_webhook::senders;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let notion = senders::notion("the token of the subscription that is there already")?;
    /// let notion = notion.with_handshake(Handshake::offered_in_body(
    ///     "x-notion-signature",
    ///     "verification_token",
    ///     |secret| {
    ///         // Kept before it is accepted.
    ///         let _ = secret;
    ///         true
    ///     },
    /// ));
    /// # Ok(())
    /// # }
    /// ```
    pub fn offered_in_body(
        header: impl AsRef<str>,
        member: impl Into<String>,
        accept: impl Fn(&Secret) -> bool + Send + Sync + 'static,
    ) -> Self {
        let member = member.into();
        Self::unsigned_question(header, move |body| {
            let offered = Secret::new(only_member(body, &member)?);
            accept(&offered).then(|| Answer::empty(StatusCode::OK))
        })
    }
}
