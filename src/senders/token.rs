//! Senders that repeat a shared token.

use http::{HeaderName, Method};

use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, bearer, challenge_in, header, json, member, object, query};
use crate::secrets::Secrets;

use super::{Evidence, Sender, SenderConfig, senders};

senders! {
    TOKEN;

    /// A secret token in a header: body, event name and ids are not signed. GitLab can sign as Standard Webhooks do as well;
    /// prefer that where it is offered: [`standard_webhooks`](super::standard_webhooks).
    secret gitlab = "GitLab", "https://docs.gitlab.com/user/project/integrations/webhooks", Official:
        Scheme::token(header("x-gitlab-token")).event(header("x-gitlab-event")).id(header("idempotency-key"));

    /// A secret in a header; the body is not signed.
    secret hugging_face = "Hugging Face", "https://huggingface.co/docs/hub/webhooks", Unverified:
        Scheme::token(header("x-webhook-secret")).event(json("/event/scope"));

    /// Every notification repeats the client state that the subscription was made with; the rest of it is not signed.
    /// Answers the validation of the address. Notifications hold what changed: fetch it. Only a body with one notification,
    /// or with the same state in its first, is judged by that.
    secret microsoft_graph = "Microsoft Graph change notifications",
        "https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks", Official:
        Scheme::token(json("/value/0/clientState"))
            .event(json("/value/0/changeType"))
            .handshake(Handshake::query_echo(Method::POST, "validationToken"));

    /// The CloudEvents web hook, with a bearer token. Add
    /// [`Handshake::allow_origin`](crate::scheme::Handshake::allow_origin) for senders that ask for permission first. Event and
    /// id are those of the binary form, in unsigned headers.
    secret cloudevents = "CloudEvents web hook",
        "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md", Official:
        Scheme::token(bearer()).event(header("ce-type")).id(header("ce-id"));

    /// Azure Event Grid, whose subscription has this secret in the query of its address, as `token`. Answers the validation,
    /// which has to bring the token too. Answer 200, not 202.
    secret azure_event_grid = "Azure Event Grid",
        "https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema", Official:
        Scheme::token(query("token"))
            .event(json("/0/eventType"))
            .handshake(Handshake::signed_body(|head, body, _| {
                let kind = head.headers.get("aeg-event-type").map(|kind| kind.as_bytes());
                match kind == Some(b"SubscriptionValidation") {
                    true => challenge_in(body, "/0/data/validationCode")
                        .map(|code| Some(object(&[("validationResponse", &code)]))),
                    false => Ok(None),
                }
            }));

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
    let _: HeaderName = name.parse().map_err(|_| ConfigError::invalid("a header name is not valid"))?;
    Scheme::token(header(name))
        .event(json("/eventType"))
        .id(json("/eventId"))
        .identity(|body| Some(member(body, "/eventId").ok()??.into()))
        .handshake(Handshake::header_to_json("x-okta-verification-challenge", "verification"))
        .secret(secrets)
        .build("okta")
}
