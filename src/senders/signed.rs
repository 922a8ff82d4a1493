//! Senders that sign with a private key.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, header, json, member, member_is};
use crate::secrets::Secrets;

use super::plain::single;
use super::senders;
use super::timed::standard_frame;

senders! {
    SIGNED;

    /// Interactions and webhook events. Answers the pings of both, which are signed. Every refusal is a 401: Discord probes
    /// for it with deliberately wrong signatures. The tolerance of 300 seconds is ours. Keys are hexadecimal.
    key discord = "Discord", "https://discord.com/developers/docs/events/webhook-events", Official:
        Scheme::ed25519()
            .signature(header("x-signature-ed25519").hex())
            .timestamp(header("x-signature-timestamp").unix_seconds())
            .signed("{timestamp}{body}")
            .event(json("/event/type"))
            .id(json("/id"))
            .refuse_with(StatusCode::UNAUTHORIZED)
            .handshake(Handshake::signed_body(|_, body, _| Ok(discord_ping(body))));

    /// The event webhook, with the key of its settings page. A body is an array of events. The tolerance of 300 seconds
    /// is ours.
    key_p256 sendgrid = "Twilio SendGrid",
        "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
        Official:
        Scheme::ecdsa_p256()
            .signature(header("x-twilio-email-event-webhook-signature").base64())
            .timestamp(header("x-twilio-email-event-webhook-timestamp").unix_seconds())
            .signed("{timestamp}{body}")
            .event(json("/0/event"))
            .identity(|body| single(body, "/1/event", "/0/sg_event_id"));

    key telnyx = "Telnyx", "https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks", Official:
        Scheme::ed25519()
            .signature(header("telnyx-signature-ed25519").base64())
            .timestamp(header("telnyx-timestamp").unix_seconds())
            .signed("{timestamp}|{body}")
            .event(json("/data/event_type"))
            .id(json("/data/id"));
}

/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), signed
/// with a key pair (`v1a`, Ed25519). Feature `asymmetric`.
///
/// Keys are `whpk_` and base64.
///
/// # Errors
///
/// Where a key is missing or not in this form.
pub fn standard_webhooks_signed(public_keys: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    standard_frame(Scheme::ed25519(), "webhook")
        .signature(header("webhook-signature").list(' ').prefix("v1a,").base64())
        .public_key(public_keys)
        .build("standard_webhooks")
}

/// An interaction's ping has the type 1; so has every webhook *event*, beside a member `event`. The ping of webhook events
/// has the type 0.
fn discord_ping(body: &[u8]) -> Option<Answer> {
    if member_is(body, "/type", "1") && !has_member(body, "event") {
        return Some(Answer::json(r#"{"type":1}"#));
    }
    member_is(body, "/type", "0").then(|| {
        Answer::empty(StatusCode::NO_CONTENT).with_header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    })
}

fn has_member(body: &[u8], name: &str) -> bool {
    let members = serde_json::from_slice::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(body);
    members.is_ok_and(|members| members.contains_key(name)) || member(body, "/event").is_err()
}
