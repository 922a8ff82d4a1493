//! The service: starts the future of each request.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::accessors::inner_service_accessors;
use crate::body::ResponseBody;

use super::future::DedupFuture;
use super::layer::DedupLayer;
use super::shared::DedupSettings;
use super::store::Store;

/// The service of a [`DedupLayer`]: it lets each delivery through to the inner service once.
#[derive(Clone)]
pub struct DedupService<S> {
    inner: S,
    settings: Arc<DedupSettings>,
}

impl<S> DedupService<S> {
    /// Wraps a service, with this store and the default times of [`DedupLayer::new`].
    pub fn new(inner: S, store: impl Store) -> Self {
        DedupLayer::new(store).layer(inner)
    }

    pub(super) fn with_settings(inner: S, settings: Arc<DedupSettings>) -> Self {
        Self { inner, settings }
    }

    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for DedupService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = DedupFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        DedupFuture::new(&self.settings, &mut self.inner, request)
    }
}

impl<S: fmt::Debug> fmt::Debug for DedupService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(f.debug_struct("DedupService").field("inner", &self.inner))
    }
}
