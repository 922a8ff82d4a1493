//! The layer: which requests are the endpoint's, and what answers them.

use std::fmt;
use std::sync::Arc;

use http::Request;
use http::request::Parts;
use tower_layer::Layer;

use crate::text::Text;

use super::EndpointService;

/// A [tower layer](tower_layer::Layer) that answers one path with a webhook handler and passes every other request on
/// to the service that it wraps.
///
/// The wrapped service may be anything: a tonic server, an axum router, a bare hyper service. What is passed on is
/// untouched: the same head, the same body, not read and not buffered, nothing allocated. Several endpoints stack, each
/// with a layer of its own.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use tower::{ServiceBuilder, service_fn};
/// use tower_webhook::cdr_manager::Report;
/// use tower_webhook::{CdrManager, EndpointLayer, Rejection, Webhook, WebhookLayer};
///
/// async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
///     let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions())?;
///     println!("{:?} is ready", report.file_name);
///     Ok(Response::new(Full::default()))
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let cdr = WebhookLayer::new(CdrManager::new("the key from the portal")?);
/// let service = ServiceBuilder::new()
///     .layer(EndpointLayer::new("/webhooks/cdr", cdr, service_fn(on_report)))
///     .service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
/// # let _ = service;
/// # Ok(())
/// # }
/// ```
///
/// # The handler
///
/// The handler is a [`Service`](tower_service::Service) of `Request<Full<Bytes>>`: a `service_fn`, an
/// `axum::routing::MethodRouter`, a whole `axum::Router`. It has to be `Clone` and, on servers with threads, `Sync`. It may
/// fail with any error: a [`Rejection`](crate::Rejection) is answered as the webhook layer would answer it, and any other
/// error is answered 503 ([`Reason::HandlerFailed`](crate::Reason::HandlerFailed)), so that the sender tries again; it
/// is logged as the cause, so it should hold neither secrets nor payloads. Thus the error of the whole stays the wrapped
/// service's own. The webhook layer's `on_reject` sees what a handler answers, not
/// what it fails with: to have it called, answer [`Rejection::into_http_response`](crate::Rejection::into_http_response).
///
/// Between path and handler stands a [`WebhookLayer`](crate::WebhookLayer), or a stack of layers with one in it; without
/// one the handler would get unverified requests, and `Webhook` and `Delivery` would refuse them all.
///
/// # Readiness
///
/// The layer is ready when the wrapped service is, so that a limit inside is felt outside as it was without the
/// layer; before a request has come nobody can know whose it will be. A request of the endpoint gives back what was
/// reserved of the wrapped service, and waits for its own handler inside its future, which holds up nobody else.
pub struct EndpointLayer<E> {
    endpoint: Arc<Endpoint<E>>,
}

/// What a layer and all its services share.
pub(super) struct Endpoint<E> {
    matcher: Matcher,
    service: E,
}

enum Matcher {
    Path(Text),
    Head(Box<dyn Fn(&Parts) -> bool + Send + Sync>),
}

impl<E> EndpointLayer<E> {
    /// An endpoint at exactly this path, for every method.
    ///
    /// The path is compared byte for byte with the one that the request has when it comes here: `/a/` is not `/a`, `/%61` is
    /// not `/a`, and behind a router that strips a prefix it is what is left. The query has no part in it.
    ///
    /// # Panics
    ///
    /// Where the path does not start with `/` or has a query: it would never match, and a set-up that silently
    /// answers nothing is found too late.
    #[must_use]
    pub fn new<L, H>(path: impl Into<Text>, webhook: L, handler: H) -> Self
    where
        L: Layer<H, Service = E>,
    {
        let path = path.into();
        assert!(
            path.starts_with('/') && !path.contains(['?', '#']),
            "an endpoint's path starts with / and has no query"
        );
        Self::build(Matcher::Path(path), webhook.layer(handler))
    }

    /// An endpoint for every request whose head this closure accepts. It runs on every request, so it should be quick.
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
        Self::build(Matcher::Head(Box::new(accepts)), webhook.layer(handler))
    }

    fn build(matcher: Matcher, service: E) -> Self {
        Self { endpoint: Arc::new(Endpoint { matcher, service }) }
    }
}

impl<E> Endpoint<E> {
    /// Whether the request is the endpoint's. It comes back as it was.
    pub(super) fn claims<B>(&self, request: Request<B>) -> (bool, Request<B>) {
        match &self.matcher {
            Matcher::Path(path) => (request.uri().path() == path.as_str(), request),
            Matcher::Head(accepts) => {
                let (head, body) = request.into_parts();
                (accepts(&head), Request::from_parts(head, body))
            }
        }
    }

    pub(super) fn service(&self) -> &E {
        &self.service
    }
}

impl<S, E> Layer<S> for EndpointLayer<E> {
    type Service = EndpointService<S, E>;

    fn layer(&self, inner: S) -> Self::Service {
        EndpointService::new(inner, self.endpoint.clone())
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
