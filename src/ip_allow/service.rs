//! The service and its future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::grpc::Protocol;
use crate::observe;

use super::layer::Rules;

/// The service that [`IpAllowList`](super::IpAllowList) makes.
#[derive(Clone)]
pub struct IpAllowListService<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> IpAllowListService<S> {
    pub(super) fn new(inner: S, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl<S, B, R> Service<Request<B>> for IpAllowListService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = IpAllowListFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let state = match self.rules.check(&head) {
            Ok(()) => State::Handle { handling: self.inner.call(Request::from_parts(head, body)) },
            Err(rejection) => {
                observe::refused_peer(&rejection);
                let protocol = Protocol::of(&head.method, head.version, &head.headers);
                State::Refuse { response: Some(protocol.translate(rejection.into_response())) }
            }
        };
        IpAllowListFuture { state }
    }
}

pin_project! {
    /// The future of [`IpAllowListService`].
    #[derive(Debug)]
    pub struct IpAllowListFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F> {
        Handle { #[pin] handling: F },
        Refuse { response: Option<Response<Bytes>> },
    }
}

impl<F, R, E> Future for IpAllowListFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    #[allow(clippy::expect_used, reason = "a future is not polled after it was ready, by Future's contract")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Handle { handling } => handling.poll(cx).map_ok(|response| response.map(ResponseBody::inner)),
            StateProj::Refuse { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(ResponseBody::fixed)))
            }
        }
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for IpAllowListService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IpAllowListService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
