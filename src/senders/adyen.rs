//! Adyen's payment notifications: every item signed by itself.

use std::fmt;

#[cfg(feature = "testing")]
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::mac::{Mac, MacKind};
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Item, Rule, Scheme, SchemeBuilder, json};
use crate::secrets::{KeyFormat, Secrets};
#[cfg(feature = "testing")]
use crate::sign::SignError;
#[cfg(feature = "testing")]
use crate::sign::SignWith;
use crate::text::Text;

use super::knowledge;

/// Adyen sends one item over HTTP; the format allows for several, each of which costs a MAC for
/// each key.
const MAX_ITEMS: usize = 32;

/// [Adyen payments](https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures), the standard
/// webhook.
///
/// The secret is hexadecimal, as the Customer Area shows it. Every item of the body has its own
/// signature, over eight of its fields, and every one must verify; **other fields are not signed**.
/// The handler answers `[accepted]`.
///
/// # Errors
///
/// Returns an error if a secret is missing or not hexadecimal.
pub fn adyen_payments(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    SchemeBuilder::rule(Items, |secret| Ok(Mac::new(MacKind::SHA256, secret)))
        .with_key_format(KeyFormat::Hex)
        .event(json("/notificationItems/0/NotificationRequestItem/eventCode"))
        .with_identity(identity)
        .secret(secrets)
        .with_behavior(knowledge::adyen_payments)
        .build("adyen_payments")
}

struct Items;

impl Rule for Items {
    fn items(&self, body: &[u8]) -> Result<Vec<Item>, Rejection> {
        items(body)
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        "HMAC-SHA256 over eight fields of each `notificationItems` entry, in its `additionalData/hmacSignature` (base64)"
            .to_owned()
    }

    #[cfg(feature = "testing")]
    fn sign(&self, body: &mut Bytes, sign: &SignWith<'_>) -> Result<(), SignError> {
        let unfit = || SignError::new("the body is not in the sender's form");
        let mut json: serde_json::Value = serde_json::from_slice(body).map_err(|_| unfit())?;
        for (index, item) in read(body).ok_or_else(unfit)?.into_iter().enumerate() {
            let signature = Encoding::Base64.encode(&sign(item.signed().as_bytes())?);
            let entry = &mut json["notificationItems"][index]["NotificationRequestItem"];
            entry["additionalData"]["hmacSignature"] = signature.into();
        }
        *body = json.to_string().into();
        Ok(())
    }
}

/// serde's structs refuse a member that comes twice.
#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "notificationItems")]
    items: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "NotificationRequestItem")]
    item: Fields,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Fields {
    psp_reference: Scalar,
    original_reference: Scalar,
    merchant_account_code: Scalar,
    merchant_reference: Scalar,
    amount: Amount,
    event_code: Scalar,
    success: Scalar,
    additional_data: AdditionalData,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Amount {
    value: Scalar,
    currency: Scalar,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AdditionalData {
    #[serde(rename = "hmacSignature")]
    signature: Option<String>,
}

/// A text, whole number or truth value, as it is signed; absent and null are empty.
#[derive(Default)]
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number or a truth value")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::default())
    }
}

fn read(body: &[u8]) -> Option<Vec<Fields>> {
    let notification: Notification = serde_json::from_slice(body).ok()?;
    Some(notification.items.into_iter().map(|entry| entry.item).collect())
}

fn items(body: &[u8]) -> Result<Vec<Item>, Rejection> {
    let malformed = |detail| Rejection::new(Reason::MalformedBody).with_detail(detail);
    let items = read(body).ok_or_else(|| malformed("it is no notification, or has a member twice"))?;
    if items.is_empty() {
        return Err(Rejection::new(Reason::MissingSignature).with_detail("there are no `notificationItems`"));
    }
    let unsigned =
        || Rejection::new(Reason::MissingSignature).with_detail("an item has no `additionalData/hmacSignature`");
    if items.len() > MAX_ITEMS {
        let detail = format!("there are more than {MAX_ITEMS} `notificationItems`");
        return Err(Rejection::new(Reason::TooManySignatures).with_detail(detail));
    }
    items
        .into_iter()
        .map(|item| {
            let signature = item.additional_data.signature.as_deref().ok_or_else(unsigned)?;
            Item::new(
                vec![item.signed().into_bytes()],
                signature.as_bytes(),
                Encoding::Base64,
                MacKind::SHA256.digest_len,
            )
        })
        .collect()
}

impl Fields {
    fn signed(&self) -> String {
        let fields = [
            &self.psp_reference,
            &self.original_reference,
            &self.merchant_account_code,
            &self.merchant_reference,
            &self.amount.value,
            &self.amount.currency,
            &self.event_code,
            &self.success,
        ];
        fields.map(|field| field.0.as_str()).join(":")
    }
}

/// Everything that is signed, and nothing else: the rest of the body could be changed by anyone.
fn identity(body: &[u8]) -> Option<Text> {
    let mut items: Vec<_> = read(body)?.iter().map(Fields::signed).collect();
    // In another order they are the same items.
    items.sort_unstable();
    items.dedup();
    Some(items.join("\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_text_is_built() {
        let body =
            br#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"pspReference":"7914073381342284",
            "merchantAccountCode":"TestMerchant","merchantReference":"TestPayment-1407325143704",
            "amount":{"value":1130,"currency":"EUR"},"eventCode":"AUTHORISATION","success":"true"}}]}"#;
        let text = "7914073381342284::TestMerchant:TestPayment-1407325143704:1130:EUR:AUTHORISATION:true";
        assert_eq!(read(body).unwrap()[0].signed(), text);
        assert_eq!(&*identity(body).unwrap(), text);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for body in [
            r#"{"notificationItems":[]}"#,
            r#"{"notificationItems":[{"NotificationRequestItem":{}}]}"#,
            r#"{"notificationItems":[],"notificationItems":[]}"#,
            r#"{"notificationItems":[{"NotificationRequestItem":{"eventCode":"A","eventCode":"B"}}]}"#,
            r#"{"notificationItems":[{"NotificationRequestItem":{"eventCode":["A"]}}]}"#,
            r#"{"notificationItems":[{"NotificationRequestItem":{"amount":{"value":1.5}}}]}"#,
            "null",
        ] {
            assert!(items(body.as_bytes()).is_err(), "{body}");
        }
    }
}
