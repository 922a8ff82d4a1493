//! The layer: which requests belong to the endpoint, and what answers them.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use crate::config::ConfigError;
use crate::text::Text;

use super::EndpointService;

/// A [tower layer](tower_layer::Layer) that answers one path with a webhook handler and passes
/// every other request on to the service that it wraps.
///
/// The wrapped service may be anything: a tonic server, an axum router, a bare hyper service. What
/// is passed on is untouched: the same head, the same body, neither read nor buffered. Several
/// endpoints stack, each with a layer of its own.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use tower::{ServiceBuilder, service_fn};
/// use tower_webhook::{EndpointLayer, Json, Rejection, Webhook, WebhookLayer, senders};
///
/// async fn on_push(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
///     let Webhook(Json(push)) = Webhook::<Json<serde_json::Value>>::from_extensions(request.extensions())?;
///     println!("a push to {}", push["ref"]);
///     Ok(Response::new(Full::default()))
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let github = WebhookLayer::new(senders::github("the secret of the webhook")?);
/// let service = ServiceBuilder::new()
///     .layer(EndpointLayer::new("/webhooks/github", github, service_fn(on_push))?)
///     .service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
/// # let _ = service;
/// # Ok(())
/// # }
/// ```
///
/// # The handler
///
/// The handler is a [`Service`](tower_service::Service) of `Request<Full<Bytes>>`: a `service_fn`,
/// an `axum::routing::MethodRouter`, a whole `axum::Router`. It must be `Clone` and, on servers
/// with threads, `Sync`.
///
/// It may fail with any error, and the error type of the whole stays that of the wrapped service. A
/// [`Rejection`](crate::Rejection) is answered as the webhook layer would answer it. Any other
/// error is answered 503 ([`Reason::HandlerFailed`](crate::Reason::HandlerFailed)), after which
/// most senders try again, and logged as the cause, so it should hold neither secrets nor payloads.
/// The webhook layer's `on_reject` sees what a handler answers, not what it fails with: to have it
/// called, answer [`Rejection::into_http_response`](crate::Rejection::into_http_response).
///
/// Put a [`WebhookLayer`](crate::WebhookLayer), or a stack of layers with one in it, between path
/// and handler. Without one, the handler would get unverified requests, and `Webhook` and
/// `Delivery` would refuse them all.
///
/// # Readiness
///
/// The layer is ready when the wrapped service is, so limits inside apply outside as well. A
/// request for the endpoint returns what was reserved of the wrapped service, and waits for its own
/// handler inside its future, which holds up no other request.
pub struct EndpointLayer<E> {
    endpoint: Arc<Endpoint<E>>,
}

/// What a layer and all its services share.
pub(super) struct Endpoint<E> {
    matcher: Matcher,
    service: E,
}

/// Which requests belong to an endpoint.
pub(super) enum Matcher {
    Path(Text),
    Head(Box<dyn Fn(&Parts) -> bool + Send + Sync>),
}

impl<E> EndpointLayer<E> {
    /// Creates an endpoint at exactly this path, for every method.
    ///
    /// The path is compared byte for byte with the request's when it gets here: `/a/` isn't `/a`,
    /// `/%61` isn't `/a`, and behind a router that strips a prefix it is the rest. The query is
    /// ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if the path doesn't start with `/`, or has a query: no request would ever
    /// match it.
    pub fn new<L, H>(path: impl Into<Text>, webhook: L, handler: H) -> Result<Self, ConfigError>
    where
        L: Layer<H, Service = E>,
    {
        Ok(Self { endpoint: Arc::new(Endpoint::at(path.into(), webhook.layer(handler))?) })
    }

    /// Creates an endpoint for every request whose head this closure accepts. It runs on every
    /// request, so it should be fast.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower::service_fn;
    /// use tower_webhook::{CdrManager, EndpointLayer, WebhookLayer};
    /// # use bytes::Bytes; use http::{Request, Response}; use http_body_util::Full;
    /// # async fn handler(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> { unreachable!() }
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let webhook = WebhookLayer::new(CdrManager::new("the key from the portal")?);
    /// let tenants = EndpointLayer::matching(|head| head.uri.path().starts_with("/cdr/"), webhook, service_fn(handler));
    /// # let _ = tenants;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn matching<L, H>(accepts: impl Fn(&Parts) -> bool + Send + Sync + 'static, webhook: L, handler: H) -> Self
    where
        L: Layer<H, Service = E>,
    {
        let endpoint = Endpoint { matcher: Matcher::Head(Box::new(accepts)), service: webhook.layer(handler) };
        Self { endpoint: Arc::new(endpoint) }
    }
}

impl<E> Endpoint<E> {
    pub(super) fn at(path: Text, service: E) -> Result<Self, ConfigError> {
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Err(ConfigError::invalid("an endpoint's path starts with / and has no query"));
        }
        Ok(Self { matcher: Matcher::Path(path), service })
    }

    pub(super) fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    pub(super) fn service(&self) -> &E {
        &self.service
    }
}

impl<S, E> Layer<S> for EndpointLayer<E> {
    type Service = EndpointService<S, E>;

    fn layer(&self, inner: S) -> Self::Service {
        EndpointService::with_endpoint(inner, self.endpoint.clone())
    }
}

impl<E> Clone for EndpointLayer<E> {
    fn clone(&self) -> Self {
        Self { endpoint: self.endpoint.clone() }
    }
}

impl<E> fmt::Debug for EndpointLayer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointLayer").field("endpoint", &self.endpoint).finish()
    }
}

impl<E> fmt::Debug for Endpoint<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matcher {
            Matcher::Path(path) => write!(f, "Endpoint({path:?})"),
            Matcher::Head(_) => f.write_str("Endpoint(..)"),
        }
    }
}
