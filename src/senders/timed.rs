//! Senders that sign a time or an id together with the body.

use std::time::Duration;

use http::Method;

use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{
    Computed, ComputedCovers, Handshake, LONGEST_HEADER, Piece, Scheme, SchemeBuilder, Source, Values, challenge_in,
    echo, header, json, member_is, object, single,
};
use crate::secrets::{KeyFormat, Secrets};

use super::{Evidence, Sender, SenderConfig, senders};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The tolerance for senders whose documents name none.
const OURS: Duration = seconds(300);

/// The largest body that Linear's own library reads: 5 MiB.
const LINEAR_LIMIT: usize = 5 * 1024 * 1024;

senders! {
    TIMED;

    /// Webhooks of the Standard Webhooks form.
    secret openai = "OpenAI", "https://platform.openai.com/docs/webhooks", Official: standard("webhook");

    /// The secret (`whsec_..`) is used as text. `v0` entries are no signatures.
    secret stripe = "Stripe", "https://docs.stripe.com/webhooks/signature", Official:
        timed_list("stripe-signature", ',', "t=", "v1=")
            .signed("{timestamp}.{body}")
            .event(json("/type"))
            .id(json("/id"));

    /// Answers `url_verification`, which is signed. Bodies are JSON or forms; answer within 3 seconds.
    secret slack = "Slack", "https://docs.slack.dev/authentication/verifying-requests-from-slack", Official:
        Scheme::hmac_sha256()
            .signature(header("x-slack-signature").prefix("v0=").hex())
            .timestamp(header("x-slack-request-timestamp").unix_seconds())
            .signed("v0:{timestamp}:{body}")
            .event(json("/event/type"))
            .id(json("/event_id"))
            .handshake(Handshake::signed_body(|_, body, _| match member_is(body, "/type", "url_verification") {
                true => challenge_in(body, "/challenge").and_then(|text| echo(&text)).map(Some),
                false => Ok(None),
            }));

    /// Answers `endpoint.url_validation`, which is signed. The tolerance of 300 seconds is ours. Answer within 3 seconds.
    secret zoom = "Zoom", "https://developers.zoom.us/docs/api/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-zm-signature").prefix("v0=").hex())
            .timestamp(header("x-zm-request-timestamp").unix_seconds().within(OURS))
            .signed("v0:{timestamp}:{body}")
            .event(json("/event"))
            .handshake(Handshake::signed_body(|_, body, mac| {
                let Some(mac) = mac.filter(|_| member_is(body, "/event", "endpoint.url_validation")) else {
                    return Ok(None);
                };
                let plain = challenge_in(body, "/payload/plainToken")?;
                let encrypted = hex::encode(mac.of(plain.as_bytes()).as_bytes());
                Ok(Some(object(&[("plainToken", &plain), ("encryptedToken", &encrypted)])))
            }));

    /// Paddle's own tolerance of 5 seconds needs a good clock.
    secret paddle = "Paddle", "https://developer.paddle.com/webhooks/signature-verification", Official:
        Scheme::hmac_sha256()
            .signature(header("paddle-signature").list(';').prefix("h1=").hex())
            .timestamp(header("paddle-signature").list(';').prefix("ts=").unix_seconds().within(seconds(5)))
            .signed("{timestamp}:{body}")
            .event(json("/event_type"))
            .id(json("/event_id"));

    secret mux = "Mux", "https://www.mux.com/docs/core/verify-webhook-signatures", Official:
        timed_list("mux-signature", ',', "t=", "v1=")
            .signed("{timestamp}.{body}")
            .event(json("/type"))
            .id(json("/id"));

    /// Times are milliseconds.
    secret workos = "WorkOS", "https://workos.com/docs/events/data-syncing/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("workos-signature").list(',').prefix("v1=").hex())
            .timestamp(header("workos-signature").list(',').prefix("t=").unix_millis().within(seconds(180)))
            .signed("{timestamp}.{body}")
            .event(json("/event"))
            .id(json("/id"));

    secret calendly = "Calendly", "https://developer.calendly.com/api-docs/webhook-signatures", Unverified:
        Scheme::hmac_sha256()
            .signature(header("calendly-webhook-signature").list(',').prefix("v1=").hex())
            .timestamp(header("calendly-webhook-signature").list(',').prefix("t=").unix_seconds().within(seconds(180)))
            .signed("{timestamp}.{body}")
            .event(json("/event"));

    /// The tolerance of 300 seconds is ours. Retries go on for 7 days, after a 4xx too.
    secret customerio = "Customer.io", "https://docs.customer.io/integrations/api/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-cio-signature").hex())
            .timestamp(header("x-cio-timestamp").unix_seconds().within(OURS))
            .signed("v0:{timestamp}:{body}")
            .event(json("/metric"))
            .id(json("/event_id"));

    /// Times are milliseconds. Some escapes of the address are undone before it is signed.
    address hubspot_v3 = "HubSpot, version 3",
        "https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests", Official:
        Scheme::hmac_sha256()
            .signature(header("x-hubspot-signature-v3").base64())
            .timestamp(header("x-hubspot-request-timestamp").unix_millis())
            .signed_pieces(vec![
                Piece::Method,
                Piece::Computed(Computed { name: "url", feed: hubspot_url, covers: ComputedCovers::Url }),
                Piece::Body,
                Piece::Timestamp,
            ])
            .event(json("/0/subscriptionType"));

    /// SHA-256 of the secret and the body, which is no HMAC: prefer [`hubspot_v3`]. The body has to be one JSON value.
    secret hubspot_v1 = "HubSpot, version 1",
        "https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests", Official:
        Scheme::sha256_of_secret_and_text_for_legacy_senders_only()
            .signature(header("x-hubspot-signature").hex())
            .requires("x-hubspot-signature-version", "v1")
            .event(json("/0/subscriptionType"));

    /// The time is a member of the body, in milliseconds. Event and delivery id are in unsigned headers.
    secret linear = "Linear", "https://linear.app/developers/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("linear-signature").hex())
            .timestamp(json("/webhookTimestamp").unix_millis().within(seconds(60)))
            .event(header("linear-event"))
            .id(header("linear-delivery"))
            .body_limit(LINEAR_LIMIT);

    /// EventSub. Answers `webhook_callback_verification`, which is signed. The message type and the subscription type are in
    /// unsigned headers, the message id is signed.
    secret twitch = "Twitch EventSub", "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/", Official:
        Scheme::hmac_sha256()
            .signature(header("twitch-eventsub-message-signature").prefix("sha256=").hex())
            .timestamp(header("twitch-eventsub-message-timestamp").rfc3339().within(seconds(600)))
            .id(header("twitch-eventsub-message-id"))
            .signed("{id}{timestamp}{body}")
            .event(header("twitch-eventsub-subscription-type"))
            .handshake(Handshake::signed_body(|head, body, _| {
                match head.headers.get("twitch-eventsub-message-type").map(|kind| kind.as_bytes()) {
                    Some(b"webhook_callback_verification") => {
                        challenge_in(body, "/challenge").and_then(|text| echo(&text)).map(Some)
                    }
                    _ => Ok(None),
                }
            }));

    /// The tolerance of 300 seconds is ours. GET and DELETE have no body.
    secret zendesk = "Zendesk", "https://developer.zendesk.com/documentation/webhooks/verifying/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-zendesk-webhook-signature").base64())
            .timestamp(header("x-zendesk-webhook-signature-timestamp").rfc3339().within(OURS))
            .signed("{timestamp}{body}")
            .methods([Method::POST, Method::GET, Method::PUT, Method::PATCH, Method::DELETE])
            .event(json("/type"))
            .id(json("/id"));

    /// Signs as Svix does.
    secret clerk = "Clerk", "https://clerk.com/docs/webhooks/overview", Unverified: standard("svix");

    /// Signs as Svix does.
    secret resend = "Resend", "https://resend.com/docs/dashboard/webhooks/verify-webhooks-requests", Unverified:
        standard("svix");

    /// Webhooks of the Standard Webhooks form.
    secret replicate = "Replicate", "https://replicate.com/docs/topics/webhooks/verify-webhook", Unverified:
        standard("webhook");

    /// Any of two keys, each with a header of its own; their time is RFC 3339.
    secret box_com = "Box", "https://developer.box.com/guides/webhooks/v2/signatures-v2/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("box-signature-primary").base64().or(header("box-signature-secondary")))
            .timestamp(header("box-delivery-timestamp").rfc3339().within(seconds(600)))
            .signed("{body}{timestamp}")
            .event(json("/trigger"))
            .id(json("/id"));

    /// Signs the method, the path and the headers that `x-contentful-signed-headers` lists, which has to name itself, the
    /// time, and the topic where there is one. Times are milliseconds.
    secret contentful = "Contentful",
        "https://www.contentful.com/developers/docs/webhooks/request-verification/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-contentful-signature").hex())
            .timestamp(header("x-contentful-timestamp").unix_millis().within(seconds(30)))
            .methods([Method::POST, Method::PUT, Method::PATCH, Method::GET, Method::DELETE])
            .signed_pieces(vec![
                Piece::Method,
                Piece::Literal(b"\n"[..].into()),
                Piece::Computed(Computed { name: "path", feed: contentful_path, covers: ComputedCovers::Path }),
                Piece::Literal(b"\n"[..].into()),
                Piece::Computed(Computed {
                    name: "signed headers",
                    feed: contentful_headers,
                    covers: ComputedCovers::Headers,
                }),
                Piece::Literal(b"\n"[..].into()),
                Piece::Body,
            ])
            .event(header("x-contentful-topic"));
}

/// Senders whose functions have more to say.
pub(super) const TIMED_MORE: &[Sender] = &[
    Sender {
        name: "standard_webhooks",
        title: "Standard Webhooks",
        document: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        evidence: Evidence::Official,
        build: standard_webhooks_from,
        sample: SenderConfig::sample_secret,
    },
    Sender {
        name: "svix",
        title: "Svix",
        document: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
        evidence: Evidence::Official,
        build: |config| svix(config.take_secrets()?),
        sample: SenderConfig::sample_secret,
    },
];

fn standard_webhooks_from(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    #[cfg(feature = "asymmetric")]
    if !config.public_keys.is_empty() {
        let signed = super::standard_webhooks_signed(config.take_public_keys()?)?;
        return Ok(match config.secrets.is_empty() {
            true => signed,
            false => standard_webhooks(config.take_secrets()?)?.or(signed),
        });
    }
    standard_webhooks(config.take_secrets()?)
}

/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), signed
/// with a shared secret (`v1`).
///
/// Secrets are `whsec_` and base64. A sender that uses key pairs as well (`v1a`) is added by
/// [`Scheme::or`] and `standard_webhooks_signed`, with the feature `asymmetric`.
///
/// # Errors
///
/// Where a secret is missing or not in this form.
pub fn standard_webhooks(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    standard("webhook").secret(secrets).build("standard_webhooks")
}

/// [Svix](https://docs.svix.com/receiving/verifying-payloads/how-manual), which signs as Standard Webhooks do, in headers of
/// its own name or in the common ones, but never in a mixture.
///
/// # Errors
///
/// Where a secret is missing or not `whsec_` and base64.
pub fn svix(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let secrets = secrets.into();
    let own = standard("svix").secret(secrets.clone()).build("svix")?;
    Ok(own.or(standard("webhook").secret(secrets).build("svix")?))
}

/// A sender that signs as Standard Webhooks say, with this family of headers.
fn standard(family: &str) -> SchemeBuilder {
    standard_frame(Scheme::hmac_sha256(), family)
        .signature(header(format!("{family}-signature")).list(' ').prefix("v1,").base64())
        .key_format(KeyFormat::StandardWebhooks)
}

pub(super) fn standard_frame(scheme: SchemeBuilder, family: &str) -> SchemeBuilder {
    scheme
        .timestamp(header(format!("{family}-timestamp")).unix_seconds())
        .id(header(format!("{family}-id")))
        .signed("{id}.{timestamp}.{body}")
        .event(json("/type"))
}

/// Time and signatures as fields of one header, the signatures in hexadecimal.
fn timed_list(name: &str, separator: char, time: &'static str, signature: &'static str) -> SchemeBuilder {
    let fields = |prefix| -> Source { header(name).list(separator).prefix(prefix) };
    Scheme::hmac_sha256().signature(fields(signature).hex()).timestamp(fields(time).unix_seconds())
}

/// The address with the escapes undone that HubSpot undoes: of `: / ? @ ! $ ' ( ) * , ;`.
fn hubspot_url(values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
    const UNDONE: [(&str, &str); 12] = [
        ("3A", ":"),
        ("2F", "/"),
        ("3F", "?"),
        ("40", "@"),
        ("21", "!"),
        ("24", "$"),
        ("27", "'"),
        ("28", "("),
        ("29", ")"),
        ("2A", "*"),
        ("2C", ","),
        ("3B", ";"),
    ];
    let mut url = Vec::new();
    values.url.ok_or(Reason::MissingHeader)?.feed(values.head, |bytes| url.extend_from_slice(bytes))?;
    let mut rest = &url[..];
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        sink(&rest[..at]);
        let undone = rest.get(at + 1..at + 3).and_then(|escape| {
            UNDONE.iter().find(|(digits, _)| digits.as_bytes().eq_ignore_ascii_case(escape)).map(|(_, text)| text)
        });
        let taken = match undone {
            Some(text) => {
                sink(text.as_bytes());
                3
            }
            None => {
                sink(b"%");
                1
            }
        };
        rest = &rest[at + taken..];
    }
    sink(rest);
    Ok(())
}

/// The path, and the query escaped as one text; then the whole escaped as JavaScript's `encodeURI` does.
fn contentful_path(values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
    let uri = crate::uri::requested_uri(values.head);
    let mut text = uri.path().to_owned();
    if let Some(query) = uri.query() {
        text.push('?');
        escape(query, b"-_.!~*'()", &mut text);
    }
    let mut encoded = String::new();
    escape(&text, b"-_.!~*'();/?:@&=+$,#", &mut encoded);
    sink(encoded.as_bytes());
    Ok(())
}

fn escape(text: &str, kept: &[u8], out: &mut String) {
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            true => out.push(byte.into()),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The headers that the list names, sorted.
fn contentful_headers(values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
    /// Contentful signs its own headers and those that a user sets; this is more than a webhook can have.
    const MOST_HEADERS: usize = 64;
    const LIST: http::HeaderName = http::HeaderName::from_static("x-contentful-signed-headers");
    let malformed = |detail| Rejection::new(Reason::MalformedHeader).with_detail(detail);
    let list = single(values.head, &LIST, LONGEST_HEADER)?.ok_or(Reason::MissingHeader)?;
    let list = list.to_str().map_err(|_| malformed("the list of signed headers is not ASCII"))?;
    let mut names: Vec<_> = list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    if names.len() > MOST_HEADERS {
        return Err(malformed("the list of signed headers is too long"));
    }
    let required = |name: &str| names.iter().any(|own| own == name);
    let topic = !values.head.headers.contains_key("x-contentful-topic") || required("x-contentful-topic");
    if !(topic && required("x-contentful-timestamp") && required(LIST.as_str())) {
        return Err(malformed("a header that is read is not among the signed ones"));
    }
    names.sort_unstable();
    for (index, name) in names.iter().enumerate() {
        let header = name.parse().map_err(|_| malformed("the list of signed headers has an impossible name"))?;
        let value = single(values.head, &header, LONGEST_HEADER)?.ok_or(Reason::MissingHeader)?;
        sink(if index == 0 { b"" } else { b";" });
        sink(name.as_bytes());
        sink(b":");
        sink(value.as_bytes().trim_ascii());
    }
    Ok(())
}
