//! The service: chooses between the endpoint and the wrapped service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::accessors::inner_service_accessors;
use crate::config::ConfigError;
use crate::rejection::BoxError;
use crate::text::Text;

use super::layer::{Endpoint, Matcher};
use super::{EndpointBody, EndpointFuture};

/// The service of an [`EndpointLayer`](crate::EndpointLayer): it answers the endpoint's requests
/// and passes on all others.
pub struct EndpointService<S, E> {
    inner: S,
    endpoint: Arc<Endpoint<E>>,
}

impl<S, E> EndpointService<S, E> {
    /// Wraps a service. Requests for exactly this path go to `endpoint`, a handler behind a
    /// [`WebhookService`](crate::layer::WebhookService).
    ///
    /// # Errors
    ///
    /// Returns an error if the path doesn't start with `/`, or has a query.
    pub fn new(inner: S, path: impl Into<Text>, endpoint: E) -> Result<Self, ConfigError> {
        Ok(Self::with_endpoint(inner, Arc::new(Endpoint::at(path.into(), endpoint)?)))
    }

    pub(super) fn with_endpoint(inner: S, endpoint: Arc<Endpoint<E>>) -> Self {
        Self { inner, endpoint }
    }

    inner_service_accessors!();
}

impl<S, E, B, R, A> Service<Request<B>> for EndpointService<S, E>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    E: Service<Request<B>, Response = Response<A>> + Clone,
    E::Error: Into<BoxError>,
{
    type Response = Response<EndpointBody<R, A>>;
    type Error = S::Error;
    type Future = EndpointFuture<S, E, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let is_endpoints = match self.endpoint.matcher() {
            Matcher::Path(path) => request.uri().path() == path.as_str(),
            // A request is large, so it is taken apart for this one alone.
            Matcher::Head(accepts) => {
                let (head, body) = request.into_parts();
                let is_accepted = accepts(&head);
                request = Request::from_parts(head, body);
                is_accepted
            }
        };
        if !is_endpoints {
            return EndpointFuture::inner(self.inner.call(request));
        }
        // What was reserved for this call (a permit, a place in a queue) isn't used: it goes back with the
        // service that reserved it.
        self.inner = self.inner.clone();
        EndpointFuture::endpoint(self.endpoint.service().clone(), request)
    }
}

impl<S: Clone, E> Clone for EndpointService<S, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), endpoint: self.endpoint.clone() }
    }
}

impl<S: fmt::Debug, E> fmt::Debug for EndpointService<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointService").field("inner", &self.inner).field("endpoint", &self.endpoint).finish()
    }
}
