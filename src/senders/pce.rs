//! Priority PCE (Priority Commerce Engine): events of its API, through AWS SNS.
//!
//! Source: <https://docs.sandbox.prioritycommerce.com>, "Events and Webhooks" and "Webhook Event Types".

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::body_fields::BodyFields;
use crate::delivery::Delivery;
use crate::payload::{FromDelivery, json};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;

use super::sns::{Envelope, Message, SnsBuilder, message};

/// The webhooks of Priority PCE.
///
/// To receive them:
///
/// 1. Choose a user and a password, and set them with [`basic_auth`](SnsBuilder::basic_auth) beside
///    the topic that Priority gives you.
/// 2. Register `https://user:password@your-host/path` with Priority.
/// 3. SNS sends a confirmation, at first without the credentials. It is answered with a challenge,
///    and the subscription is confirmed anyway once signature and topic are verified, as Priority's
///    document describes.
/// 4. Events start an hour to an hour and a half later. Answer them with any 2xx.
///
/// After **five failures the endpoint is blocked** until someone enables it again by hand. So alert
/// on every rejection ([`on_reject`](crate::WebhookLayer::on_reject)), and answer with 2xx as soon
/// as the event is stored. An event can arrive more than once; its `eventId` identifies it
/// ([`Delivery::identity`]).
///
/// # Examples
///
/// ```
/// use tower_webhook::{Webhook, WebhookLayer, pce};
///
/// async fn on_event(Webhook(event): Webhook<pce::Event>) {
///     println!("{:?} of {} resources", event.event_type, event.payload.len());
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let pce = pce::Pce::builder()
///     .topic("arn:aws:sns:us-east-1:123456789012:MyTopic")
///     .basic_auth("priority", "a long password");
/// # let pce = pce.fetch(fetch);
/// let layer = WebhookLayer::new(pce.build()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Pce;

impl Pce {
    /// Returns a builder. A topic is required.
    pub fn builder() -> SnsBuilder {
        SnsBuilder::new("priority_pce").confirm_unauthenticated().body_fields(BodyFields::new().with_identity(event_id))
    }
}

/// Returns the `eventId` in a body, which is an envelope or a raw delivery.
fn event_id(body: &[u8]) -> Option<Text> {
    let envelope = Envelope::parse(body).ok();
    let text = envelope.as_ref().and_then(|envelope| envelope.message.as_deref()).map_or(body, str::as_bytes);
    serde_json::from_slice::<Event>(text).ok()?.event_id.map(Text::from)
}

/// An event of Priority's API.
///
/// Members that are absent or null are `None`. Members that Priority doesn't document are in
/// [`other`](Self::other). Ids may be strings or numbers.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Webhook, pce};
///
/// async fn on_event(Webhook(event): Webhook<pce::Event>) {
///     if event.event_type.as_deref() == Some("merchant.boarded") {
///         let urls: Vec<_> = event.payload.iter().filter_map(|resource| resource.url.as_deref()).collect();
///         println!("boarded: {urls:?}");
///     }
/// }
/// ```
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Event {
    /// The id of the notification.
    #[serde(deserialize_with = "id")]
    pub id: Option<String>,
    /// The id of the event, the same over repetitions.
    #[serde(deserialize_with = "id")]
    pub event_id: Option<String>,
    /// The kind of event.
    pub event_type: Option<String>,
    /// When the event was sent, as it was written: `MM/DD/YYYY hh:mm:ss`, in an undocumented time
    /// zone.
    pub event_time_stamp: Option<String>,
    /// When the event happened, in milliseconds since 1970. See [`created`](Self::created).
    pub event_created: Option<i64>,
    /// The resources that it happened to.
    #[serde(deserialize_with = "list")]
    pub payload: Vec<Resource>,
    /// All other members.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Event {
    /// Returns when the event happened.
    #[must_use]
    pub fn created(&self) -> Option<SystemTime> {
        let millis = u64::try_from(self.event_created?).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }
}

/// Something that an event happened to.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Resource {
    /// What it is.
    pub resource_name: Option<String>,
    /// Where it is in Priority's API.
    pub url: Option<String>,
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub id: Option<String>,
    /// All other members.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Leaves out the members that Priority doesn't document.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("event_id", &self.event_id)
            .field("event_type", &self.event_type)
            .field("event_created", &self.event_created)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

/// Leaves out the address and the members that Priority doesn't document.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("resource_name", &self.resource_name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// An id that is a string, or a number as it is written.
fn id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(serde_json::Number),
    }

    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}

/// A list that may be null.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Resource>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl FromDelivery for Event {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        match message(delivery)? {
            Message::Notification(notification) => json(notification.message.as_bytes()),
            _ => Err(Rejection::new(Reason::MalformedPayload).with_detail("the handler takes only events")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":17,"eventId":"e-1","eventType":"merchant.boarded","eventTimeStamp":"02/28/2026 11:59:01",
        "eventCreated":1772279941000,"payload":[{"resourceName":"merchant","url":"https://x/1","id":9007199254740993,"v":2}],
        "new":{"a":1}}"#;

    #[test]
    fn an_event_keeps_what_is_not_documented() {
        let event: Event = serde_json::from_str(EVENT).unwrap();
        assert_eq!((event.id.as_deref(), event.event_id.as_deref()), (Some("17"), Some("e-1")));
        assert_eq!(event.created(), Some(UNIX_EPOCH + Duration::from_millis(1_772_279_941_000)));
        assert_eq!(event.payload[0].id.as_deref(), Some("9007199254740993"));
        assert_eq!(event.payload[0].other["v"], 2);
        assert_eq!(event.other["new"]["a"], 1);
        for sparse in ["{}", r#"{"payload":null,"id":null,"eventCreated":null}"#] {
            assert_eq!(serde_json::from_str::<Event>(sparse).unwrap(), Event::default());
        }
    }

    #[test]
    fn the_event_id_is_found_in_envelopes_and_raw_deliveries() {
        assert_eq!(event_id(EVENT.as_bytes()).as_deref(), Some("e-1"));
        let envelope = serde_json::json!({"Type": "Notification", "Message": EVENT}).to_string();
        assert_eq!(event_id(envelope.as_bytes()).as_deref(), Some("e-1"));
        assert_eq!(event_id(b"{}"), None);
    }
}
