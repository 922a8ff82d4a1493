//! Payloads: deliveries turned into types.

use std::any::type_name;
use std::fmt;

use bytes::Bytes;
use http::Extensions;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;
use crate::rejection::{Reason, Rejection};
use crate::urlencoded;

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
    /// Returns a rejection if the delivery doesn't fit the type, usually
    /// [`Reason::MalformedPayload`], which is answered 422.
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

/// A payload in `application/x-www-form-urlencoded`, of any type that serde can deserialize.
/// Feature `axum`.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use tower_webhook::{Form, Webhook};
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct Sms {
///     from: String,
///     body: String,
/// }
///
/// async fn on_sms(Webhook(Form(sms)): Webhook<Form<Sms>>) {
///     println!("{}: {}", sms.from, sms.body);
/// }
/// ```
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<T>(pub T);

#[cfg(feature = "axum")]
impl<T: DeserializeOwned> FromDelivery for Form<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let fields = serde_urlencoded::Deserializer::new(form_urlencoded::parse(delivery.body()));
        serde_path_to_error::deserialize(fields).map(Self).map_err(|error| {
            let expected = expectation(&error.inner().to_string());
            let expected = expected.unwrap_or_else(|| "a field does not fit the type".to_owned());
            Rejection::new(Reason::MalformedPayload).with_detail(format!("in the form: {expected}"))
        })
    }
}

/// A JSON payload in the field `payload` of a form, as Slack's interactivity and GitHub's form
/// encoding send it.
///
/// # Examples
///
/// ```
/// use serde_json::Value;
/// use tower_webhook::{FormJson, Webhook};
///
/// async fn on_action(Webhook(FormJson(action)): Webhook<FormJson<Value>>) {
///     println!("{}", action["type"]);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormJson<T>(pub T);

impl<T: DeserializeOwned> FromDelivery for FormJson<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let payload = urlencoded::field(delivery.body(), "payload", Reason::MalformedPayload)?;
        let missing = || Rejection::new(Reason::MalformedPayload).with_detail("the form has no field `payload`");
        json(&payload.ok_or_else(missing)?).map(Self)
    }
}

/// A payload of a type that another crate reads in its own way, for example from the event's name
/// and the body.
///
/// The function that reads it is given to a [`ParseLayer`](crate::ParseLayer). A type that serde
/// can deserialize needs none: see [`Json`].
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::post};
/// use tower_webhook::{Delivery, ParseLayer, Parsed, Webhook, WebhookLayer, senders};
///
/// # mod other_crate {
/// #     pub struct Event;
/// #     impl Event {
/// #         pub fn read(name: &str, body: &[u8]) -> Result<Self, std::str::Utf8Error> {
/// #             std::str::from_utf8(body).map(|_| Self)
/// #         }
/// #     }
/// # }
/// fn event(delivery: &Delivery) -> Result<other_crate::Event, std::str::Utf8Error> {
///     other_crate::Event::read(delivery.event().unwrap_or_default(), delivery.body())
/// }
///
/// async fn on_event(Webhook(Parsed(event)): Webhook<Parsed<other_crate::Event>>) {}
///
/// # fn app() -> Result<(), tower_webhook::ConfigError> {
/// let github = WebhookLayer::new(senders::github("the secret of the webhook")?);
/// let app: Router = Router::new().route("/hook", post(on_event).layer((github, ParseLayer::new(event))));
/// # Ok(())
/// # }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed<T>(pub T);

impl<T: 'static> FromDelivery for Parsed<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let parser = delivery.parser::<Parser<T>>().ok_or_else(|| {
            // Not the sender's fault, which should try again once it is mended.
            let detail = format!("no `ParseLayer` on this route makes a `{}`", type_name::<T>());
            Rejection::new(Reason::HandlerFailed).with_detail(detail)
        })?;
        (parser.0)(delivery).map(Self)
    }
}

/// Makes a `T` of a delivery.
pub(crate) struct Parser<T>(Box<dyn Fn(&Delivery) -> Result<T, Rejection> + Send + Sync>);

impl<T> Parser<T> {
    /// Of an error, only what serde says of the type is kept: the rest may quote the payload.
    pub(crate) fn new<E: fmt::Display>(parse: impl Fn(&Delivery) -> Result<T, E> + Send + Sync + 'static) -> Self {
        Self(Box::new(move |delivery| {
            parse(delivery).map_err(|error| {
                let expected = expectation(&error.to_string());
                let expected = expected.unwrap_or_else(|| "the payload does not fit the type".to_owned());
                Rejection::new(Reason::MalformedPayload).with_detail(expected)
            })
        }))
    }
}

/// The body as text, which must be UTF-8.
impl FromDelivery for String {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(delivery.body());
        let invalid = |_| Rejection::new(Reason::MalformedPayload).with_detail("the body is not UTF-8");
        text.map(Self::from).map_err(invalid)
    }
}

/// Deserializes a payload from JSON. The rejection says where it went wrong and what was expected,
/// and quotes no value.
pub(crate) fn json<'de, T: serde::Deserialize<'de>>(text: &'de [u8]) -> Result<T, Rejection> {
    serde_json::from_slice(text)
        .map_err(|error| Rejection::new(Reason::MalformedPayload).with_detail(fault::<T>(text, &error)))
}

/// Returns what is wrong with a text that could not be read as a `T`. It is read once more, which
/// only refusals cost.
fn fault<'de, T: serde::Deserialize<'de>>(text: &'de [u8], error: &serde_json::Error) -> String {
    let place = format!("line {} column {}", error.line(), error.column());
    if !error.is_data() {
        let what = if is_form(text) {
            "the body is a form, not JSON: at the sender, choose JSON as the content type of the webhook"
        } else if text.is_empty() {
            "the body is empty"
        } else if error.is_eof() {
            "the JSON ends too early"
        } else {
            "the body is not JSON"
        };
        return format!("{what} ({place})");
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => place,
        Err(error) => {
            let path: String =
                error.path().to_string().chars().filter(|letter| !letter.is_control()).take(MAX_PATH).collect();
            match expectation(&error.into_inner().to_string()) {
                Some(expected) => format!("at `{path}`: {expected} ({place})"),
                None => format!("at `{path}`: the value does not fit the type ({place})"),
            }
        }
    }
}

/// The longest path in a detail, in characters. Its names may be the sender's.
const MAX_PATH: usize = 200;

/// Returns the part of serde's message that speaks of the type. The rest may quote the payload.
fn expectation(message: &str) -> Option<String> {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    if message.starts_with("missing field ") {
        return Some(message.to_owned());
    }
    let quotes = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant ", "unknown field "];
    let known = quotes.iter().any(|start| message.starts_with(start));
    // What comes last is the type's own text, whatever the value says.
    let (_, expected) = message.rsplit_once(", expected ").filter(|_| known)?;
    Some(format!("expected {expected}"))
}

/// Returns whether a body looks like `application/x-www-form-urlencoded`: a name and a `=`.
fn is_form(text: &[u8]) -> bool {
    let name = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.%[]+".contains(byte)).count();
    name > 0 && text.get(name) == Some(&b'=')
}

/// A verified payload of type `T`.
///
/// With the feature `axum` it is an extractor. Any other service takes it from the request's
/// extensions.
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

// The bound is on the methods, so that a type without it gets the advice above rather than "method
// not found".
impl<T> Webhook<T> {
    /// Returns the payload of a request that passed a webhook layer.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::NoDelivery`] if no webhook layer verified the request, else the rejection
    /// of `T`.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Order {
        items: Vec<Item>,
        state: Option<State>,
        #[serde(default)]
        notes: BTreeMap<String, u8>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Item {
        price: u64,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum State {
        Paid,
        Open,
    }

    fn told(text: &str) -> String {
        json::<Order>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_payload_that_does_not_fit_is_told_by_path_and_type_and_never_by_value() {
        for (text, expected) in [
            (r#"{"items":[{"price":1},{"price":"SECRET"}]}"#, "at `items[1].price`: expected u64 (line 1 column 39)"),
            (r#"{"items":[{"price":", expected SECRET"}]}"#, "at `items[0].price`: expected u64"),
            (r#"{"items":[{"cost":1}]}"#, "at `items[0]`: missing field `price`"),
            (r#"{"items":[],"state":"SECRET"}"#, "at `state`: expected `paid` or `open`"),
            (r#"{"items":[],"notes":{"a":300}}"#, "at `notes.a`: expected u8"),
            (r#"{"items":"#, "the JSON ends too early (line 1 column 9)"),
            ("SECRET", "the body is not JSON (line 1 column 1)"),
            ("", "the body is empty"),
            ("payload=%7B%22SECRET%22%7D", "the body is a form, not JSON"),
        ] {
            let told = told(text);
            assert!(told.contains(expected), "{text}: {told}");
            assert!(!told.contains("SECRET"), "{told}");
        }
    }
}
