//! Payloads: deliveries turned into types.

use bytes::Bytes;
use http::Extensions;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;
use crate::rejection::{Reason, Rejection};

/// A type that a delivery can be turned into.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Delivery, FromDelivery, Reason, Rejection};
///
/// /// A payload of lines.
/// struct Lines(Vec<String>);
///
/// impl FromDelivery for Lines {
///     fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
///         let text = std::str::from_utf8(delivery.body()).map_err(|_| Reason::MalformedPayload)?;
///         Ok(Self(text.lines().map(String::from).collect()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from a webhook delivery",
    label = "no `FromDelivery` here",
    note = "for a JSON payload of your own type `T`, use `Webhook<Json<T>>`",
    note = "for the raw body, use `Webhook<Bytes>`"
)]
pub trait FromDelivery: Sized {
    /// Turns a verified request into a value.
    ///
    /// # Errors
    ///
    /// Returns a rejection if the delivery doesn't fit the type, usually [`Reason::MalformedPayload`], which is answered 422.
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection>;
}

impl FromDelivery for Delivery {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        Ok(delivery.clone())
    }
}

impl FromDelivery for Bytes {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        Ok(delivery.body().clone())
    }
}

/// A JSON payload of any type that serde can deserialize.
///
/// With the feature `axum`, `axum::Json` does the same. This one needs no framework.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromDelivery for Json<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        json(delivery.body()).map(Self)
    }
}

/// Deserializes a payload from JSON. The rejection says where it went wrong, and quotes nothing.
pub(crate) fn json<'de, T: serde::Deserialize<'de>>(text: &'de [u8]) -> Result<T, Rejection> {
    serde_json::from_slice(text).map_err(|error| {
        Rejection::new(Reason::MalformedPayload).with_source(JsonFault {
            category: error.classify(),
            line: error.line(),
            column: error.column(),
        })
    })
}

/// The position at which a JSON text couldn't be read. serde's own message may quote the text, so it isn't kept.
#[derive(Debug, thiserror::Error)]
#[error("{} at line {line} column {column}", name(*category))]
struct JsonFault {
    category: serde_json::error::Category,
    line: usize,
    column: usize,
}

fn name(category: serde_json::error::Category) -> &'static str {
    use serde_json::error::Category;
    match category {
        Category::Io | Category::Syntax => "not JSON",
        Category::Eof => "the JSON ends too early",
        Category::Data => "the JSON doesn't have the shape of the type",
    }
}

/// A verified payload of type `T`.
///
/// With the feature `axum` it is an extractor. Any other service takes it from the request's extensions.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower_webhook::{Json, Rejection, Webhook};
///
/// async fn handle(request: Request<Full<Bytes>>) -> Result<(), Rejection> {
///     let Webhook(Json(order)) = Webhook::<Json<serde_json::Value>>::from_extensions(request.extensions())?;
///     println!("order {}", order["number"]);
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Webhook<T>(pub T);

// The bound is on the methods, so that a type without it gets the advice above rather than "method not found".
impl<T> Webhook<T> {
    /// Returns the payload of a request that passed a webhook layer.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::NoDelivery`] if no webhook layer verified the request, else the rejection of `T`.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Rejection>
    where
        T: FromDelivery,
    {
        Self::from_delivery(Delivery::from_extensions(extensions)?)
    }

    /// Returns the payload of a delivery.
    ///
    /// # Errors
    ///
    /// Returns the rejection of `T`, usually [`Reason::MalformedPayload`].
    pub fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection>
    where
        T: FromDelivery,
    {
        T::from_delivery(delivery).map(Self).map_err(|rejection| rejection.with_provider(delivery.provider_text()))
    }
}
