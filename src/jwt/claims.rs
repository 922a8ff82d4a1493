//! The claims of a verified token, for handlers.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;
use crate::payload::{FromDelivery, json};
use crate::rejection::{Reason, Rejection};

/// The claims of the token that proved a request, as a `T`.
///
/// Where the token is in the body, they are all that its sender says.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use tower_webhook::Webhook;
/// use tower_webhook::scheme::JwtClaims;
///
/// #[derive(Deserialize)]
/// struct Notification {
///     #[serde(rename = "notificationType")]
///     kind: String,
/// }
///
/// async fn on_notification(Webhook(JwtClaims(notification)): Webhook<JwtClaims<Notification>>) {
///     println!("{}", notification.kind);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JwtClaims<T>(pub T);

/// The text of the claims, as the verification found them.
#[derive(Clone)]
pub(crate) struct ProvenClaims(pub(crate) Bytes);

impl<T: DeserializeOwned> FromDelivery for JwtClaims<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let other = || Rejection::new(Reason::MalformedPayload).with_detail("the request has no token with claims");
        json(&delivery.parsed::<ProvenClaims>().ok_or_else(other)?.0).map(Self)
    }
}
