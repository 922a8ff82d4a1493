//! The way of one delivery: claimed, handled, settled.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::delivery::Delivery;
use crate::grpc;
use crate::observe::{self, StoreCall};
use crate::rejection::{Reason, Rejection};
use crate::verdict::Verdict;

use super::held::{Held, Renewed, Settling};
use super::layer::{Shared, StoreFailure};
use super::store::{Claim, StoreError};

/// Tells a client, and whoever reads a log of answers, that the handler was not called.
const DUPLICATE: HeaderName = HeaderName::from_static("webhook-duplicate");

pin_project! {
    /// The future of [`DedupService`](super::DedupService).
    ///
    /// Dropping it releases the claim, unless the handler has succeeded already.
    pub struct DedupFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The claim is on its way.
        Claim { held: Held, call: Call<S, B> },
        /// The handler works, and the claim is renewed. It is dropped before the claim is released.
        Handle { #[pin] handling: S::Future, renewed: Renewed },
        /// The handler works without a claim.
        Pass { #[pin] handling: S::Future },
        /// The handler is done, and the claim is committed or released.
        Settle { settling: Option<Settling>, result: Result<S::Response, S::Error> },
        /// The answer is known without a handler.
        Reply { response: Response<Bytes> },
        /// Between two states, and at the end.
        Done,
    }
}

/// The service that was polled ready, and the request that it may get.
struct Call<S, B> {
    inner: S,
    request: Request<B>,
}

impl<S, B> Call<S, B>
where
    S: Service<Request<B>>,
{
    fn handle(mut self) -> S::Future {
        self.inner.call(self.request)
    }
}

impl<S, B> DedupFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn new(shared: &Arc<Shared>, inner: S, request: Request<B>) -> Self {
        Self { state: State::begin(shared, Call { inner, request }) }
    }
}

impl<S, B> State<S, B>
where
    S: Service<Request<B>>,
{
    fn begin(shared: &Arc<Shared>, call: Call<S, B>) -> Self {
        let (head, body) = call.request.into_parts();
        let extensions = &head.extensions;
        let claim = match extensions.get::<Delivery>() {
            // In observe mode nothing is refused, and nothing is kept from the handler.
            _ if extensions.get::<Verdict>().is_some() => Ok(None),
            Some(delivery) => Ok((shared.key)(delivery, &head).map(|key| (delivery.provider_text().clone(), key))),
            None => {
                Err(Rejection::new(Reason::NoDelivery).with_detail("the deduplication stands before or without it"))
            }
        };
        let call = Call { inner: call.inner, request: Request::from_parts(head, body) };
        match claim {
            Ok(Some((provider, key))) => Self::Claim { held: Held::claim(shared, provider, key), call },
            Ok(None) => Self::Pass { handling: call.handle() },
            Err(rejection) => {
                // There is no webhook layer around that would report it.
                observe::refused_behind("", &rejection);
                Self::Reply { response: rejection.into_http_response() }
            }
        }
    }

    /// Acts on the store's answer.
    fn decide(claim: Result<Claim, StoreError>, held: Held, call: Call<S, B>) -> Self {
        match claim {
            Ok(Claim::Won) => Self::Handle { handling: call.handle(), renewed: Renewed::new(held) },
            Ok(Claim::InFlight) => {
                let rejection = Rejection::new(Reason::InFlight).with_provider(held.provider());
                let rejection = match held.shared().conflict {
                    true => rejection.with_status(StatusCode::CONFLICT),
                    false => rejection,
                };
                held.forget();
                Self::Reply { response: rejection.into_http_response() }
            }
            Ok(Claim::Done(status)) => {
                observe::duplicate(held.provider());
                held.forget();
                Self::Reply { response: duplicate(status) }
            }
            Err(error) => {
                observe::store_failure(held.provider(), StoreCall::Claim, &error);
                let (failure, provider) = (held.shared().failure, held.provider().clone());
                // The store may have granted what it did not get to say.
                drop(held);
                match failure {
                    StoreFailure::Admit => {
                        observe::admitted(&provider);
                        Self::Pass { handling: call.handle() }
                    }
                    StoreFailure::Refuse => {
                        let rejection =
                            Rejection::new(Reason::StoreUnavailable).with_provider(&provider).with_source(error);
                        Self::Reply { response: rejection.into_http_response() }
                    }
                }
            }
        }
    }
}

fn duplicate(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    // Only a success is ever committed; a store that says otherwise is not believed.
    *response.status_mut() = if status.is_success() { status } else { StatusCode::OK };
    response.headers_mut().insert(DUPLICATE, HeaderValue::from_static("true"));
    response
}

impl<S, B, R> Future for DedupFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Claim { held, .. } => {
                    let claim = ready!(held.poll_claim(cx));
                    let StateOwned::Claim { held, call } = state.as_mut().project_replace(State::Done) else {
                        continue;
                    };
                    state.set(State::decide(claim, held, call));
                }
                StateProj::Handle { handling, renewed } => {
                    let Poll::Ready(result) = handling.poll(cx) else {
                        renewed.poll(cx);
                        return Poll::Pending;
                    };
                    let settling = renewed.take().map(|held| match &result {
                        Ok(response) if grpc::succeeded(response) => held.commit(response.status()),
                        _ => held.release(),
                    });
                    state.set(State::Settle { settling, result });
                }
                StateProj::Settle { settling, .. } => {
                    if let Some(settling) = settling {
                        ready!(settling.poll(cx));
                    }
                    let StateOwned::Settle { result, .. } = state.as_mut().project_replace(State::Done) else {
                        continue;
                    };
                    return Poll::Ready(result.map(|response| response.map(ResponseBody::inner)));
                }
                StateProj::Pass { handling } => {
                    return handling.poll(cx).map(|result| result.map(|response| response.map(ResponseBody::inner)));
                }
                StateProj::Reply { .. } | StateProj::Done => {
                    let StateOwned::Reply { response } = state.as_mut().project_replace(State::Done) else {
                        panic!("a deduplication future was polled after it was ready");
                    };
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for DedupFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupFuture").finish_non_exhaustive()
    }
}
