//! Senders that sign an address or parameters, or put their signature into the body.

use std::time::Duration;

use http::Method;

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{
    Applies, Crafted, Handshake, Item, Mac, Scheme, feed_sorted, form, form_field, header, json, query,
};
use crate::secrets::Secrets;
use crate::text::Text;
use crate::time::Tolerance;

use super::{Evidence, PublicAddress, Sender, SenderConfig, adyen, senders};

/// Mailgun repeats an event for eight hours, and names no limit; this is ours.
const MAILGUN_TOLERANCE: Tolerance =
    Tolerance::past_and_future(Duration::from_secs(12 * 3600), Duration::from_secs(300));

senders! {
    ELSEWHERE;

    address square = "Square", "https://developer.squareup.com/docs/webhooks/step3validate", Official:
        Scheme::hmac_sha256()
            .signature(header("x-square-hmacsha256-signature").base64())
            .signed("{url}{body}")
            .event(json("/type"))
            .id(json("/event_id"));

    /// SHA-1, with the OAuth secret. Answers the HEAD that tries the address. Trello's document said once that it signs the
    /// low bytes of UTF-16; a body that is not ASCII may then not verify.
    address trello = "Trello", "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/", Official:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-trello-webhook").base64())
            .signed("{body}{url}")
            .event(json("/action/type"))
            .id(json("/action/id"))
            .handshake(Handshake::probe(false));

    /// SHA-1, over the address and the fields of the form, without separators between names and values. Answers the HEAD
    /// that tries the address. The field `mandrill_events` holds an array of events.
    address mandrill = "Mailchimp Transactional (Mandrill)",
        "https://mandrill.zendesk.com/hc/en-us/articles/205583257-How-to-Authenticate-Webhook-Requests", Official:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-mandrill-signature").base64())
            .signed("{url}{params}")
            .applies(Applies::Form)
            .identity(fields)
            .handshake(Handshake::probe(false));
}

/// Senders whose functions have more to say.
pub(super) const ELSEWHERE_MORE: &[Sender] = &[
    Sender {
        name: "twilio",
        title: "Twilio",
        document: "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
        evidence: Evidence::Official,
        build: |config| twilio(config.take_secrets()?, config.take_address()?),
        sample: SenderConfig::sample_address,
    },
    Sender {
        name: "mailgun",
        title: "Mailgun",
        document: "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
        evidence: Evidence::Official,
        build: |config| mailgun(config.take_secrets()?),
        sample: SenderConfig::sample_secret,
    },
    Sender {
        name: "adyen_payments",
        title: "Adyen payments",
        document: "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures",
        evidence: Evidence::Official,
        build: |config| adyen_payments(config.take_secrets()?),
        sample: SenderConfig::sample_secret,
    },
    Sender {
        name: "braintree",
        title: "Braintree",
        document: "https://developer.paypal.com/braintree/docs/guides/webhooks/overview",
        evidence: Evidence::Official,
        build: |config| {
            let key = config.public_key.take().ok_or_else(|| ConfigError::missing("`public_key` is missing"))?;
            braintree(key, config.take_secrets()?)
        },
        sample: || SenderConfig { public_key: Some("a_public_key".to_owned()), ..SenderConfig::sample_secret() },
    },
];

/// [Twilio](https://www.twilio.com/docs/usage/webhooks/webhooks-security), with the account's auth token. SHA-1.
///
/// Of a form, the address and the fields are signed, without separators between names and values. Of any other body, the
/// address is, and its query has to hold the body's SHA-256 in `bodySHA256`; without it the body is refused. A GET has
/// no body. What is a name, a value or the end of the address is not signed, only the text that they make together: take
/// tenants from the account's id in the fields rather than from the query. A status callback repeats the id of its message, so a delivery is told from others by all of its fields.
///
/// # Errors
///
/// Where a secret is missing or empty, or the URL is none.
pub fn twilio(secrets: impl Into<Secrets>, public_url: impl Into<PublicAddress>) -> Result<Scheme, ConfigError> {
    let (secrets, address) = (secrets.into(), public_url.into());
    let common = |applies| {
        address
            .set(Scheme::hmac_sha1_for_legacy_senders_only())
            .signature(header("x-twilio-signature").base64())
            .secret(secrets.clone())
            .applies(applies)
    };
    let of_form = common(Applies::Form).signed("{url}{params}").identity(fields).build("twilio")?;
    let of_json = common(Applies::NotForm).signed("{url}").body_hash(query("bodySHA256").hex()).build("twilio")?;
    let of_get = common(Applies::NoBody).signed("{url}").methods([Method::GET]).build("twilio")?;
    Ok(of_form.or(of_json).or(of_get))
}

/// [Mailgun](https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks), with the webhook signing
/// key.
///
/// **The event itself is not signed**, only a time and a token beside it: whoever has seen one delivery can send any event
/// with its signature, until the time is over. Put a `DedupLayer` (feature `dedup`) behind it, which takes each token
/// once, and fetch what matters. Both the JSON form and the older one, a form, are taken. The tolerance of twelve hours, for
/// Mailgun's retries, is ours.
///
/// # Errors
///
/// Where a secret is missing or empty.
pub fn mailgun(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let secrets = secrets.into();
    let of_json = Scheme::hmac_sha256()
        .signature(json("/signature/signature").hex())
        .timestamp(json("/signature/timestamp").unix_seconds().tolerance(MAILGUN_TOLERANCE))
        .id(json("/signature/token"))
        .signed_without_the_body("{timestamp}{id}")
        .event(json("/event-data/event"))
        .applies(Applies::NotForm)
        .secret(secrets.clone())
        .build("mailgun")?;
    let of_form = Scheme::hmac_sha256()
        .signature(form("signature").hex())
        .timestamp(form("timestamp").unix_seconds().tolerance(MAILGUN_TOLERANCE))
        .id(form("token"))
        .signed_without_the_body("{timestamp}{id}")
        .event(form("event"))
        .applies(Applies::Form)
        .secret(secrets)
        .build("mailgun")?;
    Ok(of_json.or(of_form))
}

/// [Adyen payments](https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures), the standard
/// webhook.
///
/// The secret is hexadecimal, as the Customer Area shows it. Every item of the body has its own signature, over eight of its
/// fields, and every one has to verify; **other fields are not signed**. The handler answers `[accepted]`.
///
/// # Errors
///
/// Where a secret is missing or not hexadecimal.
pub fn adyen_payments(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    adyen::payments(secrets.into())
}

/// [Braintree](https://developer.paypal.com/braintree/docs/guides/webhooks/overview), with the key pair of the account: the
/// public key names it, the secret is the private key. SHA-1.
///
/// The form's field `bt_payload` is signed, and is XML in base64. Answers the challenge of a GET.
///
/// # Errors
///
/// Where a key is missing or empty.
pub fn braintree(public_key: impl Into<String>, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let public_key = public_key.into();
    if public_key.is_empty() || !public_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(ConfigError::invalid("the public key is not letters, digits and _"));
    }
    Scheme::hmac_sha1_for_legacy_senders_only()
        .by_hashed_key()
        .crafted(Crafted {
            signed: "form field `bt_payload`, in form field `bt_signature` (hex)",
            covers_body: false,
            parameter: public_key.as_str().into(),
            read: braintree_items,
            #[cfg(feature = "testing")]
            write: braintree_sign,
        })
        // With its last line feed and without, it is the same to the signature, so it is the same delivery.
        .identity(|body| Some(payload(body).ok()?.trim_end_matches('\n').to_owned().into()))
        .handshake(Handshake::query_mac("bt_challenge", public_key, braintree_answer))
        .secret(secrets)
        .build("braintree")
}

fn braintree_answer(mac: &Mac, challenge: &str, public_key: &str) -> Result<Answer, Rejection> {
    let is_challenge = (20..=32).contains(&challenge.len()) && challenge.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_challenge {
        true => Ok(Answer::text(format!("{public_key}|{}", hex::encode(mac.of(challenge.as_bytes()).as_bytes())))),
        false => Err(Rejection::new(Reason::MalformedHeader).with_detail("the challenge is not 20 to 32 hex digits")),
    }
}

/// The payload as the form holds it: base64 with line feeds.
fn payload(body: &[u8]) -> Result<String, Rejection> {
    let malformed = || Rejection::new(Reason::MalformedBody).with_detail("bt_payload is not base64");
    let payload = form_field(body, "bt_payload", Reason::MalformedBody)?.ok_or_else(malformed)?;
    let is_base64 = payload.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\n".contains(byte));
    match String::from_utf8(payload.into_owned()) {
        Ok(text) if is_base64 && !text.is_empty() => Ok(text),
        _ => Err(malformed()),
    }
}

fn braintree_items(body: &[u8], public_key: &str) -> Result<Vec<Item>, Rejection> {
    /// An account has a few key pairs.
    const MOST_PAIRS: usize = 16;
    let pairs = form_field(body, "bt_signature", Reason::MalformedBody)?.ok_or(Reason::MissingSignature)?;
    let pairs = std::str::from_utf8(&pairs).map_err(|_| Reason::MalformedSignature)?;
    let mut own = pairs.split('&').filter_map(|pair| pair.split_once('|')).filter(|(key, _)| *key == public_key);
    if pairs.split('&').count() > MOST_PAIRS {
        return Err(Reason::TooManySignatures.into());
    }
    let (Some((_, signature)), None) = (own.next(), own.next()) else {
        return Err(Rejection::new(Reason::MissingSignature).with_detail("none, or more than one, by our public key"));
    };
    let payload = payload(body)?;
    let with_line_feed = format!("{payload}\n");
    let texts = vec![payload.into_bytes(), with_line_feed.into_bytes()];
    Ok(vec![Item::new(texts, signature, crate::Encoding::Hex, 20)?])
}

#[cfg(feature = "testing")]
fn braintree_sign(body: &[u8], mac: &Mac, public_key: &str) -> Option<Vec<u8>> {
    let payload = payload(body).ok()?;
    let signature = hex::encode(mac.of(payload.as_bytes()).as_bytes());
    let fields = [("bt_signature", format!("{public_key}|{signature}")), ("bt_payload", payload)];
    let fields = fields.map(|(name, value)| format!("{name}={}", crate::scheme::encode_form(&value)));
    Some(fields.join("&").into_bytes())
}

/// What is signed of a form. Its bytes are not: `%41` could stand for `A`, and would make another delivery of it.
fn fields(body: &[u8]) -> Option<Text> {
    let mut fields = Vec::new();
    feed_sorted(body, |bytes| fields.extend_from_slice(bytes)).ok()?;
    Some(String::from_utf8(fields).ok()?.into())
}

/// What tells one notification from another: the payment and what happened to it.
pub(super) fn joined(parts: &[&str]) -> Text {
    parts.join(" ").into()
}
