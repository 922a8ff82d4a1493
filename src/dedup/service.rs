//! The service: starts the future of each request.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::body::ResponseBody;

use super::future::DedupFuture;
use super::layer::Shared;

/// The service that [`DedupLayer`](super::DedupLayer) makes.
#[derive(Clone)]
pub struct DedupService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> DedupService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for DedupService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = DedupFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        DedupFuture::new(&self.shared, ready, request)
    }
}

impl<S: fmt::Debug> fmt::Debug for DedupService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.debug(f.debug_struct("DedupService").field("inner", &self.inner))
    }
}
