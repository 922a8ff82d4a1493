//! The service: whose request is it?

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::rejection::BoxError;

use super::layer::Endpoint;
use super::{EndpointBody, EndpointFuture};

/// The service that [`EndpointLayer`](crate::EndpointLayer) makes.
pub struct EndpointService<S, E> {
    inner: S,
    endpoint: Arc<Endpoint<E>>,
}

impl<S, E> EndpointService<S, E> {
    pub(super) fn new(inner: S, endpoint: Arc<Endpoint<E>>) -> Self {
        Self { inner, endpoint }
    }
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.endpoint.claims(request) {
            (false, request) => EndpointFuture::inner(self.inner.call(request)),
            (true, request) => {
                // What was reserved for this call (a permit, a place in a queue) is not used: it goes back with the
                // service that reserved it.
                self.inner = self.inner.clone();
                EndpointFuture::endpoint(self.endpoint.service().clone(), request)
            }
        }
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
