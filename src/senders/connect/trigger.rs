//! A typed trigger: the claims of the token take precedence over the members of the body.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::Uri;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::delivery::Delivery;
use crate::payload::{FromDelivery, json};
use crate::rejection::{Reason, Rejection};
use crate::time::TimeFormat;

use super::payload::ConnectPayload;

/// A trigger of one webhook: a hint to look into a queue, not the object itself.
///
/// Each value is the token's claim, which is proven, or else the body's member, which **anyone on
/// the network path may have changed**. [`is_signed`](Self::is_signed) tells them apart, and
/// [`Connect::with_required_claims`](super::Connect::with_required_claims) refuses tokens that
/// leave a name to the body. Absent and null values are `None`. Members that are not listed here
/// are only in the body.
///
/// `D` is the type of the customer's own `data`, which only a POST has. It is read from `null` if
/// there is none, so `Option<MyData>` fits both methods.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use tower_webhook::{Webhook, connect};
///
/// #[derive(Deserialize)]
/// struct MyData {
///     region: String,
/// }
///
/// async fn on_trigger(Webhook(trigger): Webhook<connect::Trigger<Option<MyData>>>) {
///     if let Some(url) = trigger.pending_requests_url() {
///         println!("look into {url}");
///     }
///     println!("region: {:?}", trigger.data.map(|data| data.region));
/// }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trigger<D = Value> {
    /// The webhook's id, such as `WH-123-456-789`.
    pub webhook_id: Option<String>,
    /// The name that the webhook was given.
    pub webhook_name: Option<String>,
    /// The kind of object that the webhook watches.
    pub object_class: Option<ObjectClass>,
    /// The account of the webhook's owner, such as `VA-123-456`.
    pub account_id: Option<String>,
    /// The product that the webhook watches, such as `PRD-123-456-789`.
    pub product_id: Option<String>,
    /// The base URL of Connect's API. `None` unless it is **signed**: your API token goes there, so
    /// the body alone is not trusted.
    pub api_url: Option<String>,
    /// When the webhook was triggered.
    pub triggered_at: Option<Timestamp>,
    /// When the webhook was last answered with success.
    pub last_success_at: Option<Timestamp>,
    /// When the webhook last failed or was not answered.
    pub last_failure_at: Option<Timestamp>,
    /// How long Connect waits for the trigger to be processed, in whole seconds.
    pub processing_timeout: Option<Duration>,
    /// The customer's own JSON.
    pub data: D,
    signed: Vec<Box<str>>,
}

impl<D> Trigger<D> {
    /// Returns whether a value comes from the signed token, by Connect's name for it, such as
    /// `product_id`.
    #[must_use]
    pub fn is_signed(&self, name: &str) -> bool {
        self.signed.iter().any(|signed| **signed == *name)
    }

    /// Returns the documented next step: the URL that lists the pending requests of the product. It
    /// is `None` if the class is another one than fulfillment requests, if the API's URL is not
    /// signed or not https, or if there is no product id of letters, digits and `-`.
    ///
    /// Compare its host with the one you expect before you send your API token there.
    #[must_use]
    pub fn pending_requests_url(&self) -> Option<Uri> {
        if self.object_class.as_ref().is_some_and(|class| *class != ObjectClass::FulfillmentRequest) {
            return None;
        }
        let product = self.product_id.as_deref().filter(|id| !id.is_empty() && id.bytes().all(is_id_byte))?;
        let base = self.api_url.as_deref()?;
        if base.contains(['?', '#', '@']) {
            return None;
        }
        let slash = if base.ends_with('/') { "" } else { "/" };
        let url: Uri = format!("{base}{slash}requests?status=pending&product_id={product}").parse().ok()?;
        (url.scheme_str() == Some("https")).then_some(url)
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

impl<D: DeserializeOwned> FromDelivery for Trigger<D> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let payload = delivery
            .parsed::<ConnectPayload>()
            .ok_or_else(|| Rejection::new(Reason::NoDelivery).with_detail("the delivery is not one of Connect's"))?;
        Ok(Self {
            webhook_id: payload.member("webhook_id")?,
            webhook_name: payload.member("webhook_name")?,
            object_class: payload.member("object_class")?,
            account_id: payload.member("account_id")?,
            product_id: payload.member("product_id")?,
            api_url: payload.claims.get("api_url").map_or(Ok(None), json)?,
            triggered_at: payload.member("triggered_at")?,
            last_success_at: payload.member("last_success_at")?,
            last_failure_at: payload.member("last_failure_at")?,
            processing_timeout: payload.member::<Option<u64>>("processing_timeout")?.map(Duration::from_secs),
            data: payload.member("data")?,
            signed: payload.claims.iter().map(|(name, _)| name.into()).collect(),
        })
    }
}

/// Leaves out `data`, which is the customer's own.
impl<D> fmt::Debug for Trigger<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger")
            .field("webhook_id", &self.webhook_id)
            .field("webhook_name", &self.webhook_name)
            .field("object_class", &self.object_class)
            .field("account_id", &self.account_id)
            .field("product_id", &self.product_id)
            .field("triggered_at", &self.triggered_at)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}

/// The kind of object that a webhook watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectClass {
    /// `fulfillment_request`. The document's sample has it in the plural, which is accepted too.
    FulfillmentRequest,
    /// `tier_config_request`
    TierConfigRequest,
    /// `tier_account_request`
    TierAccountRequest,
    /// `listing_request`
    ListingRequest,
    /// `billing_request`
    BillingRequest,
    /// `usage_file`
    UsageFile,
    /// A class that isn't documented.
    Other(String),
}

impl ObjectClass {
    /// Returns the name in the API.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::FulfillmentRequest => "fulfillment_request",
            Self::TierConfigRequest => "tier_config_request",
            Self::TierAccountRequest => "tier_account_request",
            Self::ListingRequest => "listing_request",
            Self::BillingRequest => "billing_request",
            Self::UsageFile => "usage_file",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for ObjectClass {
    fn from(name: String) -> Self {
        match name.as_str() {
            "fulfillment_request" | "fulfillment_requests" => Self::FulfillmentRequest,
            "tier_config_request" => Self::TierConfigRequest,
            "tier_account_request" => Self::TierAccountRequest,
            "listing_request" => Self::ListingRequest,
            "billing_request" => Self::BillingRequest,
            "usage_file" => Self::UsageFile,
            _ => Self::Other(name),
        }
    }
}

impl fmt::Display for ObjectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ObjectClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A time as Connect wrote it: RFC 3339 with an offset, such as `2021-05-27T09:54:03+00:00`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(String);

impl Timestamp {
    /// Returns the text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the time, or `None` if the text is not RFC 3339.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        TimeFormat::Rfc3339.parse(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_requests_are_asked_for_at_a_signed_https_address_only() {
        let url = |class: Option<&str>, product: &str, api: Option<&str>| {
            let trigger = Trigger::<Value> {
                object_class: class.map(|class| ObjectClass::from(class.to_owned())),
                product_id: Some(product.to_owned()),
                api_url: api.map(String::from),
                ..Trigger::default()
            };
            trigger.pending_requests_url().map(|url| url.to_string())
        };
        let listed = Some("https://api.example.test/v1/requests?status=pending&product_id=PRD-1".to_owned());
        let api = Some("https://api.example.test/v1/");
        assert_eq!(url(None, "PRD-1", api), listed);
        assert_eq!(url(Some("fulfillment_requests"), "PRD-1", Some("https://api.example.test/v1")), listed);
        assert_eq!(url(Some("usage_file"), "PRD-1", api), None);
        assert_eq!(url(Some("something_new"), "PRD-1", api), None);
        assert_eq!(url(None, "PRD-1", None), None);
        for product in ["", "PRD-1&status=approved", "PRD 1", "../x", "PRD-1#", "\u{e9}"] {
            assert_eq!(url(None, product, api), None, "{product}");
        }
        for api in
            ["http://api.example.test/", "https://a@b.test/", "https://b.test/?x=", "https://b.test/#", "/v1/", ""]
        {
            assert_eq!(url(None, "PRD-1", Some(api)), None, "{api}");
        }
    }

    #[test]
    fn the_names_of_classes_are_the_apis_and_others_are_kept() {
        for name in [
            "fulfillment_request",
            "tier_config_request",
            "tier_account_request",
            "listing_request",
            "billing_request",
            "usage_file",
            "something_new",
        ] {
            let class: ObjectClass = serde_json::from_value(name.into()).unwrap();
            assert_eq!((class.as_str(), class.to_string().as_str()), (name, name));
            assert_eq!(matches!(class, ObjectClass::Other(_)), name == "something_new");
        }
    }
}
