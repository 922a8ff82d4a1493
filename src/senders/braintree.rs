//! Braintree: a form whose field `bt_payload` is signed, by a key that is hashed first.

#[cfg(feature = "testing")]
use bytes::Bytes;
use sha1::{Digest as _, Sha1};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::mac::{Mac, MacKind};
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Handshake, Item, Rule, Scheme, SchemeBuilder};
use crate::secrets::Secrets;
#[cfg(feature = "testing")]
use crate::sign::SignWith;
#[cfg(feature = "testing")]
use crate::sign::{SignError, with_field};
use crate::urlencoded::field as form_field;

use super::knowledge;

/// The most signatures in one request. An account has a few key pairs.
const MAX_PAIRS: usize = 16;

/// [Braintree](https://developer.paypal.com/braintree/docs/guides/webhooks/overview), with the key pair of the account: the
/// public key names it, the secret is the private key. SHA-1.
///
/// The form's field `bt_payload` is signed, and is XML in base64. Answers the challenge of a GET.
///
/// # Errors
///
/// Returns an error if a key is missing or empty.
pub fn braintree(public_key: impl Into<String>, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let public_key = public_key.into();
    if public_key.is_empty() || !public_key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(ConfigError::invalid("the public key is not letters, digits and _"));
    }
    let account = public_key.clone();
    let key = |secret: &[u8]| Ok(Mac::new(MacKind::SHA1, &Sha1::digest(secret)));
    SchemeBuilder::rule(Payload { public_key }, key)
        // With its last line feed and without, it is the same to the signature, so it is the same delivery.
        .with_identity(|body| Some(payload(body).ok()?.trim_end_matches('\n').to_owned().into()))
        .with_handshake(Handshake::query_mac("bt_challenge", move |mac, challenge| answer(mac, challenge, &account)))
        .secret(secrets)
        .with_behavior(knowledge::braintree)
        .build("braintree")
}

/// A challenge of other characters could be a payload.
fn answer(mac: &Mac, challenge: &str, public_key: &str) -> Result<Answer, Rejection> {
    let is_challenge = (20..=32).contains(&challenge.len()) && challenge.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_challenge {
        return Err(Rejection::new(Reason::MalformedHeader).with_detail("the challenge is not 20 to 32 hex digits"));
    }
    Ok(Answer::text(format!("{public_key}|{}", hex::encode(mac.of(challenge.as_bytes()).as_bytes()))))
}

/// The payload as the form holds it: XML, in base64 with line feeds. A challenge is none: decoded,
/// it does not begin as XML.
fn payload(body: &[u8]) -> Result<String, Rejection> {
    let malformed = || Rejection::new(Reason::MalformedBody).with_detail("bt_payload is not base64");
    let payload = form_field(body, "bt_payload", Reason::MalformedBody)?.ok_or_else(malformed)?;
    let is_base64 = payload.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\n".contains(byte));
    match String::from_utf8(payload.into_owned()) {
        Ok(text) if is_base64 && is_xml(&text) => Ok(text),
        _ => Err(malformed()),
    }
}

fn is_xml(payload: &str) -> bool {
    let one_line: String = payload.split('\n').collect();
    let xml = Encoding::Base64.decode(one_line.as_bytes());
    xml.is_some_and(|xml| xml.trim_ascii_start().starts_with(b"<"))
}

struct Payload {
    public_key: String,
}

impl Rule for Payload {
    fn items(&self, body: &[u8]) -> Result<Vec<Item>, Rejection> {
        let refuse = |reason, detail| Rejection::new(reason).with_detail(detail);
        let pairs = form_field(body, "bt_signature", Reason::MalformedBody)?
            .ok_or_else(|| refuse(Reason::MissingSignature, "none in form field `bt_signature`"))?;
        let pairs = std::str::from_utf8(&pairs)
            .map_err(|_| refuse(Reason::MalformedSignature, "`bt_signature` is not UTF-8"))?;
        if pairs.split('&').count() > MAX_PAIRS {
            return Err(refuse(Reason::TooManySignatures, "in form field `bt_signature`"));
        }
        let mut own =
            pairs.split('&').filter_map(|pair| pair.split_once('|')).filter(|(key, _)| *key == self.public_key);
        let (Some((_, signature)), None) = (own.next(), own.next()) else {
            return Err(refuse(
                Reason::MissingSignature,
                "`bt_signature` has none, or more than one, by our public key",
            ));
        };
        let payload = payload(body)?.into_bytes();
        let with_line_feed = [&payload[..], b"\n"].concat();
        Ok(vec![Item::new(
            vec![payload, with_line_feed],
            signature.as_bytes(),
            Encoding::Hex,
            MacKind::SHA1.digest_len,
        )?])
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        "HMAC-SHA1 by the hashed key over form field `bt_payload`, in form field `bt_signature` (hex)".to_owned()
    }

    #[cfg(feature = "testing")]
    fn sign(&self, body: &mut Bytes, sign: &SignWith<'_>) -> Result<(), SignError> {
        let payload = payload(body).map_err(|_| SignError::new("the body has no payload"))?;
        let signature = hex::encode(sign(payload.as_bytes())?);
        let form = with_field("", "bt_signature", &format!("{}|{signature}", self.public_key));
        *body = with_field(&form, "bt_payload", &payload).into();
        Ok(())
    }
}
