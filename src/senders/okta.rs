//! Okta event hooks.

use http::{HeaderName, Method};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, header, json, printable};
use crate::secrets::Secrets;

use super::{SenderConfig, knowledge};

/// [Okta event hooks](https://developer.okta.com/docs/concepts/event-hooks), with the secret in `Authorization`.
///
/// Answers the one-time verification. The body is not signed. Okta repeats a request once, but
/// never after a 4xx.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn okta(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    okta_in("authorization", secrets)
}

/// Like [`okta`], with the secret in another header.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the header's name is not valid.
pub fn okta_in(name: &str, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let _: HeaderName = name.parse().map_err(|_| ConfigError::invalid("a header name is not valid"))?;
    Scheme::token(header(name))
        .event(json("/eventType"))
        .id(json("/eventId"))
        .with_identity_at("/eventId")
        .with_handshake(Handshake::header_to_json("x-okta-verification-challenge", "verification"))
        .secret(secrets)
        .with_behavior(knowledge::okta)
        .build("okta")
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    match config.header.take() {
        Some(header) => okta_in(&header, config.take_secrets()?),
        None => okta(config.take_secrets()?),
    }
}

impl Handshake {
    /// Answers a GET that has this header with a JSON object whose only member is the header's
    /// value.
    pub fn header_to_json(header: impl Into<String>, member: impl Into<String>) -> Self {
        let (header, member) = (header.into(), member.into());
        Self::header(Method::GET, &header, move |_, _, value| {
            Ok(Answer::object(&[(&member, &printable(value.as_bytes())?)]))
        })
    }
}
