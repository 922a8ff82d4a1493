//! The service: judges the head of a request and starts its future.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::future::ResponseFuture;
use super::shared::Shared;
use crate::body::ResponseBody;
use crate::provider::Provider;
use crate::rejection::BoxError;

/// The service that [`WebhookLayer`](crate::WebhookLayer) makes.
pub struct WebhookService<S, P> {
    inner: S,
    shared: Arc<Shared<P>>,
}

impl<S, P> WebhookService<S, P> {
    pub(crate) fn new(inner: S, shared: Arc<Shared<P>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, P, B, R> Service<Request<B>> for WebhookService<S, P>
where
    P: Provider,
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, P, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(self.shared.clone(), ready, request)
    }
}

impl<S: Clone, P> Clone for WebhookService<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S: fmt::Debug, P: Provider> fmt::Debug for WebhookService<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookService")
            .field("inner", &self.inner)
            .field("provider", self.shared.provider.name())
            .finish_non_exhaustive()
    }
}
