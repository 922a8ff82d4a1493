//! Life of a request past, or into, an endpoint.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{ResponseBody, polled_again};
use crate::grpc::Protocol;
use crate::observe;
use crate::rejection::{BoxError, Reason, Rejection};

use super::EndpointBody;

pin_project! {
    /// The future of [`EndpointService`](crate::endpoint::EndpointService).
    pub struct EndpointFuture<S, E, B>
    where
        S: Service<Request<B>>,
        E: Service<Request<B>>,
    {
        #[pin]
        state: EndpointState<S, E, B>,
    }
}

pin_project! {
    #[project = EndpointStateProj]
    enum EndpointState<S, E, B>
    where
        S: Service<Request<B>>,
        E: Service<Request<B>>,
    {
        /// The wrapped service works.
        Inner { #[pin] future: S::Future },
        /// The endpoint's own service is not ready yet.
        Ready { service: E, request: Option<Request<B>>, protocol: Protocol },
        /// The endpoint works.
        Endpoint { #[pin] future: E::Future, protocol: Protocol },
    }
}

impl<S, E, B> EndpointFuture<S, E, B>
where
    S: Service<Request<B>>,
    E: Service<Request<B>>,
{
    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: EndpointState::Inner { future } }
    }

    pub(super) fn endpoint(service: E, request: Request<B>) -> Self {
        let protocol = Protocol::of(request.method(), request.version(), request.headers());
        Self { state: EndpointState::Ready { service, request: Some(request), protocol } }
    }
}

impl<S, E, B, R, A> Future for EndpointFuture<S, E, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    E: Service<Request<B>, Response = Response<A>>,
    E::Error: Into<BoxError>,
{
    type Output = Result<Response<EndpointBody<R, A>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                EndpointStateProj::Inner { future } => {
                    return future.poll(cx).map_ok(|response| response.map(EndpointBody::inner));
                }
                EndpointStateProj::Ready { service, request, protocol } => {
                    let protocol = *protocol;
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Ok(failed(error.into(), protocol)));
                    }
                    let Some(request) = request.take() else { polled_again() };
                    let future = service.call(request);
                    state.set(EndpointState::Endpoint { future, protocol });
                }
                EndpointStateProj::Endpoint { future, protocol } => {
                    let protocol = *protocol;
                    return Poll::Ready(Ok(match ready!(future.poll(cx)) {
                        Ok(response) => response.map(|body| EndpointBody::endpoint(ResponseBody::inner(body))),
                        Err(error) => failed(error.into(), protocol),
                    }));
                }
            }
        }
    }
}

/// Answers for a handler that failed.
fn failed<R, A>(error: BoxError, protocol: Protocol) -> Response<EndpointBody<R, A>> {
    let rejection = match error.downcast::<Rejection>() {
        Ok(rejection) => *rejection,
        Err(error) => Rejection::new(Reason::HandlerFailed).with_source(error),
    };
    observe::handler_failed(&rejection);
    protocol.translate(rejection.into_http_response()).map(|body| EndpointBody::endpoint(ResponseBody::fixed(body)))
}

impl<S, E, B> fmt::Debug for EndpointFuture<S, E, B>
where
    S: Service<Request<B>>,
    E: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointFuture").finish_non_exhaustive()
    }
}
