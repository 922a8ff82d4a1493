//! axum: extractors of deliveries and payloads, and rejections as responses.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::request::Parts;

use crate::delivery::Delivery;
use crate::layer::layer::WebhookLayer;
use crate::payload::{FromDelivery, Webhook, json};
use crate::provider::Provider;
use crate::rejection::{Reason, Rejection};
use crate::verdict::Verdict;

impl<S: Sync> FromRequestParts<S> for Delivery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions).cloned()
    }
}

/// `None` if no layer verified the request, which happens behind a layer in observe mode only.
impl<S: Sync> OptionalFromRequestParts<S> for Delivery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

impl<T: FromDelivery, S: Sync> FromRequestParts<S> for Webhook<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions)
    }
}

/// The verdict of a layer in observe mode.
impl<S: Sync> FromRequestParts<S> for Verdict {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let verdict = parts.extensions.get().cloned();
        verdict.ok_or_else(|| Rejection::new(Reason::NoDelivery).with_detail("the layer isn't in observe mode"))
    }
}

/// A payload whose request this extractor verifies itself, with the [`WebhookLayer`] in the
/// router's state. Feature `axum`.
///
/// It is for routers whose webhooks are of one sender, and saves what axum adds to a route that has
/// a layer. All settings of the layer count, and a refusal is what the layer would answer. What
/// stands behind the layer as a layer of its own, such as a `DedupLayer`, needs the layer.
///
/// **A handler without it is open to anyone**, while a layer around the router protects every
/// route.
///
/// In [observe mode](WebhookLayer::observe_only), use the layer: here, a request that would have
/// been refused has no payload, and is answered 500.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use axum::routing::post;
/// use serde::Deserialize;
/// use tower_webhook::{Authentic, Json, WebhookLayer, senders};
///
/// #[derive(Deserialize)]
/// struct Event {
///     id: String,
/// }
///
/// async fn on_event(Authentic(Json(event)): Authentic<Json<Event>>) {
///     println!("{}", event.id);
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let stripe = WebhookLayer::new(senders::stripe("whsec_the_secret_of_the_endpoint")?);
/// let app: Router = Router::new().route("/webhooks/stripe", post(on_event)).with_state(stripe);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authentic<T>(pub T);

/// A router's state that has a [`WebhookLayer`], for [`Authentic`]. The layer itself is one.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Scheme, WebhookLayer, WebhookState};
///
/// #[derive(Clone)]
/// struct App {
///     stripe: WebhookLayer<Scheme>,
///     // And whatever the handlers need.
/// }
///
/// impl WebhookState for App {
///     type Provider = Scheme;
///
///     fn webhook_layer(&self) -> &WebhookLayer<Scheme> {
///         &self.stripe
///     }
/// }
/// ```
pub trait WebhookState: Send + Sync {
    /// The sender.
    type Provider: Provider;

    /// Returns the layer that verifies the sender's requests.
    fn webhook_layer(&self) -> &WebhookLayer<Self::Provider>;
}

impl<P: Provider> WebhookState for WebhookLayer<P> {
    type Provider = P;

    fn webhook_layer(&self) -> &Self {
        self
    }
}

impl<T: FromDelivery, S: WebhookState> FromRequest<S> for Authentic<T> {
    type Rejection = Response;

    #[allow(clippy::result_large_err, reason = "axum takes responses as rejections")]
    fn from_request(request: Request, state: &S) -> impl Future<Output = Result<Self, Response>> + Send {
        let payload = state.webhook_layer().extract(request);
        payload.map(|payload| payload.map(Self).map_err(|response| response.map(Into::into)))
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_http_response().map(Into::into)
    }
}

impl<T: serde::de::DeserializeOwned> FromDelivery for axum::Json<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        json(delivery.body()).map(Self)
    }
}
