//! The messages that a handler gets.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;
use crate::payload::{FromDelivery, json};
use crate::rejection::{Reason, Rejection};

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageType {
    /// A message was published to the topic.
    Notification,
    /// An endpoint was subscribed to the topic. The subscription starts once it is confirmed.
    SubscriptionConfirmation,
    /// The endpoint was unsubscribed.
    UnsubscribeConfirmation,
}

impl MessageType {
    /// Returns the name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Notification, Self::SubscriptionConfirmation, Self::UnsubscribeConfirmation]
            .into_iter()
            .find(|known| known.as_str() == name)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Any message that SNS sends, for handlers that want more than notifications.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Webhook, sns};
///
/// async fn on_message(Webhook(message): Webhook<sns::Message>) {
///     match message {
///         sns::Message::Notification(notification) => println!("{}", notification.message),
///         sns::Message::Confirmation(confirmation) => println!("to confirm, visit {}", confirmation.subscribe_url()),
///         sns::Message::Unsubscribed(it) => println!("no longer subscribed to {}", it.topic_arn()),
///         _ => {}
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Message {
    /// A message was published.
    Notification(Notification<String>),
    /// An endpoint was subscribed. The handler gets this with
    /// [`Confirm::Manual`](super::Confirm::Manual) only.
    Confirmation(Confirmation),
    /// The endpoint was unsubscribed.
    Unsubscribed(Unsubscribed),
}

/// A message that was published to a topic.
///
/// `T` is parsed from the JSON in the message. With `T = String` it is the message itself.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use tower_webhook::{Webhook, sns::Notification};
///
/// #[derive(Deserialize)]
/// struct Usage {
///     iccid: String,
/// }
///
/// async fn on_usage(Webhook(usage): Webhook<Notification<Usage>>) {
///     println!("{} of {}", usage.message.iccid, usage.topic_arn);
/// }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Notification<T = String> {
    /// The message that was published.
    pub message: T,
    /// The subject, if it was published with one.
    pub subject: Option<String>,
    /// The message's id, a UUID that stays the same over retries.
    pub message_id: String,
    /// The topic's full name.
    pub topic_arn: String,
    /// When it was published. `None` in raw delivery.
    pub timestamp: Option<SystemTime>,
    pub(super) unsubscribe_url: Option<String>,
    pub(super) attributes: Option<String>,
}

impl Notification<String> {
    /// Returns what is known of a raw delivery.
    pub(super) fn raw(message: &str, message_id: &str, topic_arn: &str) -> Self {
        Self {
            message: message.to_owned(),
            subject: None,
            message_id: message_id.to_owned(),
            topic_arn: topic_arn.to_owned(),
            timestamp: None,
            unsubscribe_url: None,
            attributes: None,
        }
    }
}

impl<T> Notification<T> {
    /// Returns the attributes that the message was published with. They are **not signed**, so
    /// never authorize anything by them.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::MalformedPayload`] if they are not in SNS's form.
    pub fn unsigned_attributes(&self) -> Result<BTreeMap<String, Attribute>, Rejection> {
        self.attributes.as_deref().map_or_else(|| Ok(BTreeMap::new()), |text| json(text.as_bytes()))
    }

    /// Returns the URL that ends the subscription for anyone who knows it, so keep it out of logs.
    /// It is **not signed**, so don't visit it unless its host is the one that you expect.
    /// `Debug` leaves it out.
    #[must_use]
    pub fn unsigned_unsubscribe_url(&self) -> Option<&str> {
        self.unsubscribe_url.as_deref()
    }

    /// Turns the payload into another one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Notification<U> {
        Notification {
            message: change(self.message),
            subject: self.subject,
            message_id: self.message_id,
            topic_arn: self.topic_arn,
            timestamp: self.timestamp,
            unsubscribe_url: self.unsubscribe_url,
            attributes: self.attributes,
        }
    }
}

/// Prints nothing of what was published.
impl<T> fmt::Debug for Notification<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("message_id", &self.message_id)
            .field("topic_arn", &self.topic_arn)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// An attribute of a message. It is not signed.
///
/// # Examples
///
/// ```
/// use tower_webhook::sns::Notification;
///
/// fn trace_id(notification: &Notification) -> Option<String> {
///     let attributes = notification.unsigned_attributes().ok()?;
///     Some(attributes.get("trace")?.value.clone())
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Attribute {
    /// `String`, `String.Array`, `Number` or `Binary`, possibly with a suffix.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The value, in base64 if it is binary.
    pub value: String,
}

/// Leaves out the value, which is content of the message.
impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attribute").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The content of both confirmations.
#[derive(Clone)]
pub(super) struct SubscriptionLink {
    pub(super) topic_arn: String,
    pub(super) message_id: String,
    pub(super) timestamp: SystemTime,
    pub(super) token: String,
    pub(super) url: String,
}

/// The accessors of both confirmations. Anyone who holds the token can act on it, so `Debug` leaves
/// out token and link.
macro_rules! subscription_link {
    ($type:ident, $when:literal) => {
        impl $type {
            /// Returns the topic's full name.
            #[must_use]
            pub fn topic_arn(&self) -> &str {
                &self.0.topic_arn
            }

            /// Returns the message's id, a UUID that stays the same over retries.
            #[must_use]
            pub fn message_id(&self) -> &str {
                &self.0.message_id
            }

            #[doc = $when]
            #[must_use]
            pub fn timestamp(&self) -> SystemTime {
                self.0.timestamp
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("topic_arn", &self.0.topic_arn)
                    .field("message_id", &self.0.message_id)
                    .field("timestamp", &self.0.timestamp)
                    .finish_non_exhaustive()
            }
        }
    };
}

subscription_link!(Confirmation, "Returns when the endpoint was subscribed.");
subscription_link!(Unsubscribed, "Returns when the endpoint was unsubscribed.");

/// A verified request to confirm a subscription. Anyone who holds its token can confirm it, so
/// `Debug` leaves the token out.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Webhook, sns::Confirmation};
///
/// // Behind a layer with `Confirm::Manual`.
/// async fn on_confirmation(Webhook(confirmation): Webhook<Confirmation>) {
///     println!("to subscribe to {}, visit {}", confirmation.topic_arn(), confirmation.subscribe_url());
/// }
/// ```
#[derive(Clone)]
pub struct Confirmation(pub(super) SubscriptionLink);

impl Confirmation {
    /// Returns the token, for the API call `ConfirmSubscription`. That call is signed by you, so it
    /// can set `AuthenticateOnUnsubscribe`, which keeps anyone who sees a notification from
    /// unsubscribing you.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.0.token
    }

    /// Returns the link that confirms the subscription when it is visited, built from the verified
    /// topic and token. It expires after a few days.
    #[must_use]
    pub fn subscribe_url(&self) -> &str {
        &self.0.url
    }
}

/// A verified notice that the endpoint was unsubscribed. Anyone who holds its token can subscribe
/// it again, so `Debug` leaves the token out.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Webhook, sns::Unsubscribed};
///
/// async fn on_end(Webhook(it): Webhook<Unsubscribed>) {
///     println!("no longer subscribed to {}", it.topic_arn());
/// }
/// ```
#[derive(Clone)]
pub struct Unsubscribed(pub(super) SubscriptionLink);

impl Unsubscribed {
    /// Returns the link that subscribes the endpoint again when it is visited.
    #[must_use]
    pub fn resubscribe_url(&self) -> &str {
        &self.0.url
    }
}

/// What tells a raw delivery from others where it is stored; no link begins with it.
#[cfg(feature = "inbox")]
pub(super) const RAW: &str = "raw:";

impl Message {
    /// Returns the message's type.
    #[must_use]
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Notification(_) => MessageType::Notification,
            Self::Confirmation(_) => MessageType::SubscriptionConfirmation,
            Self::Unsubscribed(_) => MessageType::UnsubscribeConfirmation,
        }
    }

    /// Returns the message's id, a UUID that stays the same over retries.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Notification(it) => &it.message_id,
            Self::Confirmation(it) => it.message_id(),
            Self::Unsubscribed(it) => it.message_id(),
        }
    }

    /// Returns the topic's full name.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self {
            Self::Notification(it) => &it.topic_arn,
            Self::Confirmation(it) => it.topic_arn(),
            Self::Unsubscribed(it) => it.topic_arn(),
        }
    }

    /// Returns what the body doesn't say: the topic of a raw delivery, or where a link leads.
    #[cfg(feature = "inbox")]
    pub(crate) fn beside_the_body(&self) -> String {
        match self {
            Self::Notification(it) if it.timestamp.is_none() => format!("{RAW}{}", it.topic_arn),
            Self::Notification(_) => String::new(),
            Self::Confirmation(Confirmation(link)) | Self::Unsubscribed(Unsubscribed(link)) => link.url.clone(),
        }
    }
}

impl FromDelivery for Message {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        message(delivery).cloned()
    }
}

/// `T` is parsed from JSON, but a `String` is the message as it is.
impl<T: DeserializeOwned + 'static> FromDelivery for Notification<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let Message::Notification(notification) = message(delivery)? else {
            return Err(other("the handler takes only notifications"));
        };
        let mut whole = None::<T>;
        let message = match (&mut whole as &mut dyn Any).downcast_mut::<Option<String>>() {
            Some(text) => {
                *text = Some(notification.message.clone());
                None
            }
            None => Some(json(notification.message.as_bytes())?),
        };
        let message = whole.or(message).ok_or_else(|| other("the message is missing"))?;
        Ok(notification.clone().map(|_| message))
    }
}

impl FromDelivery for Confirmation {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        match message(delivery)? {
            Message::Confirmation(confirmation) => Ok(confirmation.clone()),
            _ => Err(other("the handler takes only confirmations")),
        }
    }
}

impl FromDelivery for Unsubscribed {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        match message(delivery)? {
            Message::Unsubscribed(unsubscribed) => Ok(unsubscribed.clone()),
            _ => Err(other("the handler takes only unsubscriptions")),
        }
    }
}

/// Returns the message that the verification parsed.
pub(crate) fn message(delivery: &Delivery) -> Result<&Message, Rejection> {
    delivery.parsed().ok_or_else(|| other("the request was verified by another provider than SNS"))
}

fn other(detail: &'static str) -> Rejection {
    Rejection::new(Reason::MalformedPayload).with_detail(detail)
}
