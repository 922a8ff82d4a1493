//! The service: starts the future of each request.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_layer::Layer as _;
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::WebhookLayer;
use super::shared::WebhookSettings;
use crate::accessors::inner_service_accessors;
use crate::body::ResponseBody;
use crate::provider::Provider;
use crate::rejection::BoxError;

/// The service of a [`WebhookLayer`]: it verifies requests before the inner service gets them.
pub struct WebhookService<S, P> {
    inner: S,
    shared: Arc<WebhookSettings<P>>,
}

impl<S, P: Provider> WebhookService<S, P> {
    /// Wraps a service, with the default settings of [`WebhookLayer::new`].
    pub fn new(inner: S, provider: P) -> Self {
        WebhookLayer::new(provider).layer(inner)
    }
}

impl<S, P> WebhookService<S, P> {
    pub(super) fn with_shared(inner: S, shared: Arc<WebhookSettings<P>>) -> Self {
        Self { inner, shared }
    }

    inner_service_accessors!();
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

    #[inline]
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
