//! What a handler gets.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;
use crate::payload::{FromDelivery, json};
use crate::rejection::{Reason, Rejection};

/// Anything that SNS sends, for handlers that want to see more than notifications.
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
    /// Something was published.
    Notification(Notification<String>),
    /// An endpoint was subscribed; with [`Confirm::Manual`](super::Confirm::Manual) alone.
    Confirmation(Confirmation),
    /// The endpoint was unsubscribed.
    Unsubscribed(Unsubscribed),
}

/// Something that was published to a topic.
///
/// `T` is read from the JSON in the message; with `T = String` it is the message itself, whatever it is.
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
    /// What was published.
    pub message: T,
    /// The subject that it was published with.
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

impl<T> Notification<T> {
    /// The attributes that the message was published with. They are **not signed**, so nothing may be authorised by them.
    ///
    /// # Errors
    ///
    /// [`Reason::MalformedPayload`] where they do not have the form that SNS gives them.
    pub fn unsigned_attributes(&self) -> Result<BTreeMap<String, Attribute>, Rejection> {
        self.attributes.as_deref().map_or_else(|| Ok(BTreeMap::new()), |text| json(text.as_bytes()))
    }

    /// The address that ends the subscription, for whoever knows it: keep it out of logs. It is **not signed**, so do not
    /// visit it unless its host is the one that you expect. `Debug` leaves it out.
    #[must_use]
    pub fn unsigned_unsubscribe_url(&self) -> Option<&str> {
        self.unsubscribe_url.as_deref()
    }

    /// The same with another payload.
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

impl<T: fmt::Debug> fmt::Debug for Notification<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("message", &self.message)
            .field("subject", &self.subject)
            .field("message_id", &self.message_id)
            .field("topic_arn", &self.topic_arn)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// An attribute of a message. It is not signed.
///
/// ```
/// use tower_webhook::sns::Notification;
///
/// fn trace_id(notification: &Notification) -> Option<String> {
///     let attributes = notification.unsigned_attributes().ok()?;
///     Some(attributes.get("trace")?.value.clone())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Attribute {
    /// `String`, `String.Array`, `Number` or `Binary`, perhaps with a suffix.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The value; base64 where it is binary.
    pub value: String,
}

/// What both confirmations hold.
#[derive(Clone)]
pub(super) struct Handshake {
    pub(super) topic_arn: String,
    pub(super) message_id: String,
    pub(super) timestamp: SystemTime,
    pub(super) token: String,
    pub(super) link: String,
}

/// What both confirmations say of themselves. Whoever holds the token can act on it, so `Debug` leaves it and the link out.
macro_rules! handshake {
    ($type:ident, $when:literal) => {
        impl $type {
            /// The topic's full name.
            #[must_use]
            pub fn topic_arn(&self) -> &str {
                &self.0.topic_arn
            }

            /// The message's id, a UUID that stays the same over retries.
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

handshake!(Confirmation, "When the endpoint was subscribed.");
handshake!(Unsubscribed, "When the endpoint was unsubscribed.");

/// A verified request to confirm a subscription. Whoever holds its token can confirm, so `Debug` leaves it out.
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
pub struct Confirmation(pub(super) Handshake);

impl Confirmation {
    /// The token, for the API call `ConfirmSubscription`. With that call, which is signed by you,
    /// `AuthenticateOnUnsubscribe` can be asked for: then not everybody who sees a notification can unsubscribe you.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.0.token
    }

    /// The link that confirms the subscription once it is visited, made from the verified topic and token. It ends after a
    /// few days.
    #[must_use]
    pub fn subscribe_url(&self) -> &str {
        &self.0.link
    }
}

/// A verified notice that the endpoint was unsubscribed. Whoever holds its token can subscribe it again, so `Debug` leaves
/// it out.
///
/// ```
/// use tower_webhook::{Webhook, sns::Unsubscribed};
///
/// async fn on_end(Webhook(it): Webhook<Unsubscribed>) {
///     println!("no longer subscribed to {}", it.topic_arn());
/// }
/// ```
#[derive(Clone)]
pub struct Unsubscribed(pub(super) Handshake);

impl Unsubscribed {
    /// The link that subscribes the endpoint again once it is visited.
    #[must_use]
    pub fn resubscribe_url(&self) -> &str {
        &self.0.link
    }
}

impl Message {
    /// The topic's full name.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self {
            Self::Notification(it) => &it.topic_arn,
            Self::Confirmation(it) => it.topic_arn(),
            Self::Unsubscribed(it) => it.topic_arn(),
        }
    }
}

impl FromDelivery for Message {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        message(delivery).cloned()
    }
}

/// `T` is read from JSON, but a `String` is the message as it is.
impl<T: DeserializeOwned + 'static> FromDelivery for Notification<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let Message::Notification(notification) = message(delivery)? else {
            return Err(other("the handler takes notifications alone"));
        };
        let mut whole = None::<T>;
        let message = match (&mut whole as &mut dyn Any).downcast_mut::<Option<String>>() {
            Some(text) => {
                *text = Some(notification.message.clone());
                None
            }
            None => Some(json(notification.message.as_bytes())?),
        };
        let message = whole.or(message).ok_or_else(|| other("there is no message"))?;
        Ok(notification.clone().map(|_| message))
    }
}

impl FromDelivery for Confirmation {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        match message(delivery)? {
            Message::Confirmation(confirmation) => Ok(confirmation.clone()),
            _ => Err(other("the handler takes confirmations alone")),
        }
    }
}

impl FromDelivery for Unsubscribed {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        match message(delivery)? {
            Message::Unsubscribed(unsubscribed) => Ok(unsubscribed.clone()),
            _ => Err(other("the handler takes unsubscriptions alone")),
        }
    }
}

/// What the verification parsed.
pub(crate) fn message(delivery: &Delivery) -> Result<&Message, Rejection> {
    delivery.parsed().ok_or_else(|| other("another provider than SNS verified the request"))
}

fn other(detail: &'static str) -> Rejection {
    Rejection::new(Reason::MalformedPayload).with_detail(detail)
}
