//! Senders that sign the body alone, without a time.

use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::rejection::Rejection;
use crate::scheme::{Handshake, Scheme, header, is_form, json, member, numbered_headers, object};
use crate::secrets::{KeyFormat, Secrets};
use crate::text::Text;

use super::{Evidence, Sender, SenderConfig, senders};

/// The largest body that GitHub documents: 25 MB.
const GITHUB_LIMIT: usize = 25 * 1024 * 1024;

senders! {
    PLAIN;

    /// Webhooks of the platform, of management and of banking. The secret is hexadecimal, as the Customer Area shows it. The
    /// header's name is not in the document, it is what others found.
    secret adyen_banking = "Adyen for Platforms, Management and Banking",
        "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures", Official:
        Scheme::hmac_sha256().signature(header("hmacsignature").base64()).key_format(KeyFormat::Hex).event(json("/type"));

    /// The secret is what Asana offers in `X-Hook-Secret` when a webhook is made: see
    /// [`Handshake::offered_secret`](crate::scheme::Handshake::offered_secret), to be added by
    /// [`Scheme::with_handshake`](crate::Scheme::with_handshake) while a registration is awaited. A 410 deletes the webhook.
    secret asana = "Asana", "https://developers.asana.com/docs/webhooks-guide", Official:
        Scheme::hmac_sha256().signature(header("x-hook-signature").hex());

    /// Event and request id are in unsigned headers. Requests of webhooks without a secret are refused.
    secret bitbucket = "Bitbucket Cloud", "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-hub-signature").prefix("sha256=").hex())
            .event(header("x-event-key"))
            .id(header("x-request-uuid"));

    /// The event's name is in an unsigned header.
    secret circleci = "CircleCI", "https://circleci.com/docs/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("circleci-signature").list(',').prefix("v1=").hex())
            .event(header("circleci-event-type"))
            .id(json("/id"));

    secret coinbase_commerce = "Coinbase Commerce", "https://docs.cdp.coinbase.com/commerce-onchain/docs/webhooks-security",
        Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-cc-webhook-signature").hex())
            .event(json("/event/type"))
            .id(json("/event/id"));

    /// Connect signs with each of up to 100 active keys, in numbered headers; any may match. The key looks like base64 and
    /// is used as text. A delivery is told from another by envelope, recipient, event and status.
    secret docusign = "DocuSign Connect", "https://www.docusign.com/blog/developers/authenticating-connect-hmac", Official:
        Scheme::hmac_sha256()
            .signature(numbered_headers("x-docusign-signature-").base64())
            .event(json("/event"))
            .identity(docusign_identity);

    /// Answers the challenge of a GET.
    secret dropbox = "Dropbox", "https://www.dropbox.com/developers/reference/webhooks", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-dropbox-signature").hex())
            .handshake(Handshake::query_echo(Method::GET, "challenge"));

    /// Bodies are JSON, or a form with the field `payload`, and have up to 25 MB. Event and delivery id are in unsigned
    /// headers. The older `X-Hub-Signature` (SHA-1) is ignored.
    secret github = "GitHub", "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries", Official:
        Scheme::hmac_sha256()
            .signature(header("x-hub-signature-256").prefix("sha256=").hex())
            .event(header("x-github-event"))
            .id(header("x-github-delivery"))
            .body_limit(GITHUB_LIMIT);

    /// A body holds several events, each with an id.
    secret gocardless = "GoCardless", "https://developer.gocardless.com", Official:
        Scheme::hmac_sha256().signature(header("webhook-signature").hex());

    secret heroku = "Heroku", "https://devcenter.heroku.com/articles/app-webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("heroku-webhook-hmac-sha256").base64())
            .event(json("/resource"))
            .id(json("/id"));

    /// SHA-1. The secret is the app's client secret.
    secret intercom = "Intercom", "https://developers.intercom.com/docs/references/webhooks/webhook-models", Unverified:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-hub-signature").prefix("sha1=").hex())
            .event(json("/topic"))
            .id(json("/id"));

    /// The event's name is in an unsigned header, and in the body.
    secret lemonsqueezy = "Lemon Squeezy", "https://docs.lemonsqueezy.com/help/webhooks", Unverified:
        Scheme::hmac_sha256().signature(header("x-signature").hex()).event(header("x-event-name"));

    /// The secret is the channel secret. A body may hold several events; the name is that of the first, and a single one
    /// is told from others by its id.
    secret line = "LINE", "https://developers.line.biz/en/docs/messaging-api/receiving-messages/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-line-signature").base64())
            .event(json("/events/0/type"))
            .identity(|body| single(body, "/events/1/type", "/events/0/webhookEventId"));

    /// Name and id are in the body.
    secret pagerduty = "PagerDuty", "https://developer.pagerduty.com/docs/webhooks/webhook-signatures/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-pagerduty-signature").list(',').prefix("v1=").hex())
            .event(json("/event/event_type"))
            .id(json("/event/id"));

    /// The id is in an unsigned header.
    secret razorpay = "Razorpay", "https://razorpay.com/docs/webhooks/validate-test/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-razorpay-signature").hex())
            .event(json("/event"))
            .id(header("x-razorpay-event-id"));

    /// The secret is the integration's client secret. Resource, id and time are in unsigned headers.
    secret sentry = "Sentry", "https://docs.sentry.io/integrations/integration-platform/webhooks/", Official:
        Scheme::hmac_sha256()
            .signature(header("sentry-hook-signature").hex())
            .event(header("sentry-hook-resource"))
            .id(header("request-id"));

    secret typeform = "Typeform", "https://www.typeform.com/developers/webhooks/secure-your-webhooks/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("typeform-signature").prefix("sha256=").base64())
            .event(json("/event_type"))
            .id(json("/event_id"));

    /// SHA-1.
    secret vercel = "Vercel", "https://vercel.com/docs/webhooks", Unverified:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-vercel-signature").hex())
            .event(json("/type"))
            .id(json("/id"));

    /// The first request of a new webhook is an unsigned form with the webhook's number, and is answered 200. Topic and
    /// delivery id are in unsigned headers, and the id is the same for two deliveries of one second.
    secret woocommerce = "WooCommerce", "https://woocommerce.github.io/code-reference/classes/WC-Webhook.html", Official:
        Scheme::hmac_sha256()
            .signature(header("x-wc-webhook-signature").base64())
            .event(header("x-wc-webhook-topic"))
            .id(header("x-wc-webhook-delivery-id"))
            .handshake(Handshake::unsigned_body(
                |head| is_form(&head.headers) && !head.headers.contains_key("x-wc-webhook-signature"),
                woocommerce_ping,
            ));

    /// Jira Cloud and Data Center. Requests of webhooks without a secret are refused.
    secret jira = "Jira", "https://developer.atlassian.com/cloud/jira/platform/webhooks/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-hub-signature").prefix("sha256=").hex())
            .event(json("/webhookEvent"))
            .id(header("x-atlassian-webhook-identifier"));

    /// SHA-512.
    secret paystack = "Paystack", "https://paystack.com/docs/payments/webhooks/", Unverified:
        Scheme::hmac_sha512().signature(header("x-paystack-signature").hex()).event(json("/event"));

    /// X, once Twitter: the secret is the consumer secret. Answers the hourly challenge.
    secret twitter = "X (Twitter) account activity",
        "https://docs.x.com/x-api/webhooks/introduction", Official:
        Scheme::hmac_sha256()
            .signature(header("x-twitter-webhooks-signature").prefix("sha256=").base64())
            .handshake(Handshake::query_mac("crc_token", "", |mac, token, _| {
                let response = format!("sha256={}", Encoding::Base64.encode(mac.of(token.as_bytes()).as_bytes()));
                Ok(object(&[("response_token", &response)]))
            }));

    /// The secret is the app's client secret. Answers the challenge, which is repeated every two hours.
    secret linkedin = "LinkedIn", "https://learn.microsoft.com/en-us/linkedin/shared/api-guide/webhook-validation",
        Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-li-signature").hex())
            .signed("hmacsha256={body}")
            .handshake(Handshake::query_mac("challengeCode", "", |mac, code, _| {
                let response = hex::encode(mac.of(code.as_bytes()).as_bytes());
                Ok(object(&[("challengeCode", code), ("challengeResponse", &response)]))
            }));

    /// The secret is base64, as Airtable gave it when the webhook was made.
    secret airtable = "Airtable", "https://airtable.com/developers/web/api/webhooks-overview", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-airtable-content-mac").prefix("hmac-sha256=").hex())
            .key_format(KeyFormat::Base64);

    /// Every refusal is a 401: Xero probes for it with deliberately wrong signatures before it delivers. The handler has to
    /// answer exactly 200, without a body, within 5 seconds.
    secret xero = "Xero", "https://developer.xero.com/documentation/webhooks/configuring-your-server", Official:
        Scheme::hmac_sha256().signature(header("x-xero-signature").base64()).refuse_with(StatusCode::UNAUTHORIZED);
}

/// The id of the event, where there is but one: several could come again in another company.
pub(super) fn single(body: &[u8], second: &str, id: &str) -> Option<Text> {
    match member(body, second).ok()? {
        None => Some(member(body, id).ok()??.into()),
        Some(_) => None,
    }
}

fn docusign_identity(body: &[u8]) -> Option<Text> {
    let part = |pointer| Some(member(body, pointer).ok()?.unwrap_or_default());
    let envelope = part("/data/envelopeId").filter(|id| !id.is_empty())?;
    let parts = [envelope, part("/data/recipientId")?, part("/event")?, part("/data/envelopeSummary/status")?];
    Some(parts.join(" ").into())
}

/// `webhook_id=` and a number, and nothing else.
fn woocommerce_ping(body: &[u8]) -> Result<Option<Answer>, Rejection> {
    let number = body.strip_prefix(b"webhook_id=").unwrap_or_default();
    let is_ping = (1..=20).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    Ok(is_ping.then(|| Answer::empty(StatusCode::OK)))
}

/// Senders whose functions have more to say.
pub(super) const PLAIN_MORE: &[Sender] = &[
    Sender {
        name: "meta",
        title: "Meta: WhatsApp, Messenger, Instagram, Pages",
        document: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        evidence: Evidence::Unverified,
        build: |config| {
            let scheme = meta(config.take_secrets()?)?;
            Ok(match config.verify_token.take() {
                Some(token) => scheme.with_handshake(Handshake::subscribe(token)?),
                None => scheme,
            })
        },
        sample: SenderConfig::sample_secret,
    },
    Sender {
        name: "shopify",
        title: "Shopify",
        document: "https://shopify.dev/docs/apps/build/webhooks",
        evidence: Evidence::Official,
        build: |config| shopify(config.take_secrets()?),
        sample: SenderConfig::sample_secret,
    },
];

/// [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started): WhatsApp, Messenger, Instagram, Pages.
///
/// The secret is the app secret. To answer the subscription, add
/// [`Handshake::subscribe`] by [`Scheme::with_handshake`]. The older `X-Hub-Signature` (SHA-1) is ignored.
///
/// Not verified: the rule comes from others who cite the sender. Try it before you rely on it.
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
/// Where a secret is missing or empty.
pub fn meta(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha256()
        .signature(header("x-hub-signature-256").prefix("sha256=").hex())
        .event(json("/object"))
        .secret(secrets)
        .build("meta")
}

/// [Shopify](https://shopify.dev/docs/apps/build/webhooks).
///
/// The secret is the app's client secret. Topic and event id are in unsigned headers. The newer headers, without `x-`, are
/// taken as well.
///
/// # Errors
///
/// Where a secret is missing or empty.
pub fn shopify(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let secrets = secrets.into();
    let usual = Scheme::hmac_sha256()
        .signature(header("x-shopify-hmac-sha256").base64())
        .event(header("x-shopify-topic"))
        .id(header("x-shopify-event-id"))
        .secret(secrets.clone())
        .build("shopify")?;
    let newer = Scheme::hmac_sha256()
        .signature(header("shopify-hmac-sha256").base64())
        .event(header("shopify-topic"))
        .id(header("shopify-event-id"))
        .secret(secrets)
        .build("shopify")?;
    Ok(usual.or(newer))
}
