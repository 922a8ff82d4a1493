//! Senders that repeat a shared token.

use http::HeaderName;

use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, header, json, member};
use crate::secret::Secrets;

use super::{Evidence, Sender, SenderConfig, senders};

senders! {
    TOKEN;

    /// A secret token in a header: body, event name and ids are not signed. GitLab can sign as Standard Webhooks do as well;
    /// prefer that where it is offered: [`standard_webhooks`](super::standard_webhooks).
    secret gitlab = "GitLab", "https://docs.gitlab.com/user/project/integrations/webhooks", Official:
        Scheme::token(header("x-gitlab-token")).event(header("x-gitlab-event")).id(header("idempotency-key"));

    /// A secret token in a header; the body is not signed.
    secret telegram = "Telegram", "https://core.telegram.org/bots/api#setwebhook", Unverified:
        Scheme::token(header("x-telegram-bot-api-secret-token")).id(json("/update_id")).identity(|body| Some(member(body, "/update_id").ok()??.into()));
}

/// Senders whose functions have more to say.
pub(super) const TOKEN_MORE: &[Sender] = &[Sender {
    name: "okta",
    title: "Okta event hooks",
    document: "https://developer.okta.com/docs/concepts/event-hooks",
    evidence: Evidence::Official,
    build: |config| match config.header.take() {
        Some(header) => okta_in(&header, config.take_secrets()?),
        None => okta(config.take_secrets()?),
    },
    sample: SenderConfig::sample_secret,
}];

/// [Okta event hooks](https://developer.okta.com/docs/concepts/event-hooks), with the secret in `Authorization`.
///
/// Answers the one-time verification. The body is not signed. Okta repeats a request once, and none that got a 4xx.
///
/// # Errors
///
/// Where a secret is missing or empty.
pub fn okta(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    okta_in("authorization", secrets)
}

/// As [`okta`], with the secret in another header.
///
/// # Errors
///
/// Where a secret is missing or empty, or the header's name is not valid.
pub fn okta_in(name: &str, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let _: HeaderName = name.parse().map_err(|_| ConfigError::new("a header name is not valid"))?;
    Scheme::token(header(name))
        .event(json("/eventType"))
        .id(json("/eventId"))
        .identity(|body| Some(member(body, "/eventId").ok()??.into()))
        .handshake(Handshake::header_to_json("x-okta-verification-challenge", "verification"))
        .secret(secrets)
        .build("okta")
}
