//! Life of a delivery: claimed, handled, committed or released.

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

use super::claim_guard::{ClaimGuard, Finalize, LeaseRenewal};
use super::shared::{DedupSettings, StoreFailure};
use super::store::{Claim, StoreError};

/// Marks an answer that was given without calling the handler.
const WEBHOOK_DUPLICATE: HeaderName = HeaderName::from_static("webhook-duplicate");

pin_project! {
    /// The future of [`DedupService`](super::DedupService).
    ///
    /// Dropping it releases the claim, unless the handler has succeeded already.
    pub struct DedupFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: DedupState<S, B>,
    }
}

pin_project! {
    #[project = DedupStateProj]
    #[project_replace = DedupStateOwned]
    enum DedupState<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The store is asked for a claim.
        Claim { guard: ClaimGuard, call: PendingCall<S, B> },
        /// The handler works, and the claim is renewed. The handler is dropped before the claim is released.
        Handle { #[pin] handling: S::Future, renewal: LeaseRenewal },
        /// The handler works without a claim.
        Pass { #[pin] handling: S::Future },
        /// The handler is done, and the claim is committed or released.
        Finalize { finalize: Option<Finalize>, result: Result<S::Response, S::Error> },
        /// The answer is known without a handler.
        Reply { response: Response<Bytes> },
        /// Between two states, and at the end.
        Done,
    }
}

/// The service that was polled ready, and the request that it may get.
struct PendingCall<S, B> {
    inner: S,
    request: Request<B>,
}

impl<S, B> PendingCall<S, B>
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
    pub(super) fn new(settings: &Arc<DedupSettings>, inner: S, request: Request<B>) -> Self {
        Self { state: DedupState::begin(settings, PendingCall { inner, request }) }
    }
}

impl<S, B> DedupState<S, B>
where
    S: Service<Request<B>>,
{
    fn begin(settings: &Arc<DedupSettings>, call: PendingCall<S, B>) -> Self {
        let (head, body) = call.request.into_parts();
        let extensions = &head.extensions;
        let claim = match extensions.get::<Delivery>() {
            // In observe mode nothing is refused, and nothing is kept from the handler.
            _ if extensions.get::<Verdict>().is_some() => Ok(None),
            Some(delivery) => Ok((settings.key)(delivery, &head).map(|key| (delivery.provider_text().clone(), key))),
            None => {
                Err(Rejection::new(Reason::NoDelivery).with_detail("the deduplication isn't behind a webhook layer"))
            }
        };
        let call = PendingCall { inner: call.inner, request: Request::from_parts(head, body) };
        match claim {
            Ok(Some((provider, key))) => Self::Claim { guard: ClaimGuard::claim(settings, provider, key), call },
            Ok(None) => Self::Pass { handling: call.handle() },
            Err(rejection) => {
                // No webhook layer is around that would report it.
                observe::refused_behind("", &rejection);
                Self::Reply { response: rejection.into_http_response() }
            }
        }
    }

    /// Acts on the store's answer.
    fn decide(claim: Result<Claim, StoreError>, guard: ClaimGuard, call: PendingCall<S, B>) -> Self {
        match claim {
            Ok(Claim::Won) => Self::Handle { handling: call.handle(), renewal: LeaseRenewal::new(guard) },
            Ok(Claim::InFlight) => {
                let rejection = Rejection::new(Reason::InFlight).with_provider(guard.provider());
                let rejection = match guard.settings().in_flight_status {
                    Some(status) => rejection.with_status(status),
                    None => rejection,
                };
                guard.forget();
                Self::Reply { response: rejection.into_http_response() }
            }
            Ok(Claim::Done(status)) => {
                observe::duplicate(guard.provider());
                guard.forget();
                Self::Reply { response: duplicate(status) }
            }
            Err(error) => {
                observe::store_failure(guard.provider(), StoreCall::Claim, &error);
                let (failure, provider) = (guard.settings().store_failure, guard.provider().clone());
                // The store may have granted the claim without being able to say so.
                drop(guard);
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
    // Only a success is ever committed. A store that says otherwise isn't believed.
    *response.status_mut() = if status.is_success() { status } else { StatusCode::OK };
    response.headers_mut().insert(WEBHOOK_DUPLICATE, HeaderValue::from_static("true"));
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
                DedupStateProj::Claim { guard, .. } => {
                    let claim = ready!(guard.poll_claim(cx));
                    let DedupStateOwned::Claim { guard, call } = state.as_mut().project_replace(DedupState::Done)
                    else {
                        continue;
                    };
                    state.set(DedupState::decide(claim, guard, call));
                }
                DedupStateProj::Handle { handling, renewal } => {
                    let Poll::Ready(result) = handling.poll(cx) else {
                        renewal.poll(cx);
                        return Poll::Pending;
                    };
                    let finalize = renewal.take().map(|guard| match &result {
                        Ok(response) if grpc::succeeded(response) => guard.commit(response.status()),
                        _ => guard.release(),
                    });
                    state.set(DedupState::Finalize { finalize, result });
                }
                DedupStateProj::Finalize { finalize, .. } => {
                    if let Some(finalize) = finalize {
                        ready!(finalize.poll(cx));
                    }
                    let DedupStateOwned::Finalize { result, .. } = state.as_mut().project_replace(DedupState::Done)
                    else {
                        continue;
                    };
                    return Poll::Ready(result.map(|response| response.map(ResponseBody::inner)));
                }
                DedupStateProj::Pass { handling } => {
                    return handling.poll(cx).map(|result| result.map(|response| response.map(ResponseBody::inner)));
                }
                DedupStateProj::Reply { .. } | DedupStateProj::Done => {
                    let DedupStateOwned::Reply { response } = state.as_mut().project_replace(DedupState::Done) else {
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
