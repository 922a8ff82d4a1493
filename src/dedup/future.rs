//! Life of a delivery: claimed, handled, committed or released.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Extensions, HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{ResponseBody, polled_again};
use crate::delivery::Delivery;
use crate::grpc;
use crate::observe::{self, StoreCall};
use crate::rejection::{Reason, Rejection};
use crate::verdict::Verdict;

use super::answer::DoneAnswer;
use super::claim_guard::{ClaimGuard, Finalize, LeaseRenewal};
use super::key::Key;
use super::shared::{DedupSettings, MAX_ANSWER_LIMIT, StoreFailure};
use super::store::{Claim, StoreError};

pin_project! {
    /// The future of [`DedupService`](super::DedupService).
    ///
    /// Dropping it releases the claim, unless the handler has succeeded already.
    pub struct DedupFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: DedupState<S, B, R>,
    }
}

pin_project! {
    #[project = DedupStateProj]
    #[project_replace = DedupStateOwned]
    enum DedupState<S, B, R>
    where
        S: Service<Request<B>>,
    {
        /// The store is asked for a claim.
        Claim { guard: ClaimGuard, call: PendingCall<S, B> },
        /// The handler works, and the claim is renewed. The handler is dropped before the claim is released.
        Handle { #[pin] handling: S::Future, renewal: LeaseRenewal },
        /// The handler has answered, and the answer is collected, to be kept. The claim is renewed.
        Collect { head: Option<Parts>, #[pin] body: R, collected: Collected, renewal: LeaseRenewal },
        /// The handler works without a claim.
        Pass { #[pin] handling: S::Future },
        /// The handler is done, and the claim is committed or released.
        Finalize { finalize: Option<Finalize>, result: Result<Response<ResponseBody<R>>, S::Error> },
        /// The answer is known without a handler.
        Reply { response: Response<Bytes> },
        /// Between two states, and at the end.
        Done,
    }
}

/// What has arrived of a body.
#[derive(Default)]
struct Collected {
    data: BytesMut,
    trailers: Option<HeaderMap>,
}

impl Collected {
    /// Polls for the rest of a body. Returns whether it arrived as it had announced itself, within
    /// this limit.
    fn poll<R: Body<Data = Bytes>>(&mut self, mut body: Pin<&mut R>, limit: usize, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let frame = match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended.is_none()),
            };
            match frame.into_data() {
                Ok(data) if self.data.len() + data.len() > limit => return Poll::Ready(false),
                Ok(data) => self.data.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
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

impl<S, B, R> DedupFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn new(settings: &Arc<DedupSettings>, inner: S, request: Request<B>) -> Self {
        Self { state: DedupState::begin(settings, PendingCall { inner, request }) }
    }
}

impl<S, B, R> DedupState<S, B, R>
where
    S: Service<Request<B>>,
{
    fn begin(settings: &Arc<DedupSettings>, mut call: PendingCall<S, B>) -> Self {
        let claim =
            |extensions: &Extensions, key: &dyn Fn(&Delivery) -> Option<Key>| {
                match extensions.get::<Delivery>() {
                    // In observe mode nothing is refused, and nothing is kept from the handler.
                    _ if extensions.get::<Verdict>().is_some() => Ok(None),
                    Some(delivery) => Ok(key(delivery).map(|key| ClaimGuard::claim(settings, delivery, key))),
                    None => Err(Rejection::new(Reason::NoDelivery)
                        .with_detail("the deduplication isn't behind a webhook layer")),
                }
            };
        let claim = match &settings.key {
            None => claim(call.request.extensions(), &|delivery| settings.key(delivery)),
            Some(choose) => {
                let (head, body) = call.request.into_parts();
                let claim = claim(&head.extensions, &|delivery| settings.named(choose(delivery, &head)));
                call.request = Request::from_parts(head, body);
                claim
            }
        };
        match claim {
            Ok(Some((guard, Some(claim)))) => Self::decide(claim, guard, call),
            Ok(Some((guard, None))) => Self::Claim { guard, call },
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
            Ok(Claim::Done(answer)) => {
                observe::duplicate(guard.provider());
                guard.forget();
                Self::Reply { response: answer.into_response() }
            }
            Err(error) => {
                observe::store_failure(guard.provider(), StoreCall::Claim, &error);
                let (failure, provider) = (guard.failure(), guard.provider().clone());
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

impl<S, B, R> DedupState<S, B, R>
where
    S: Service<Request<B>>,
    R: Body<Data = Bytes>,
{
    /// Acts on what the handler returned.
    fn handled(result: Result<Response<R>, S::Error>, guard: Option<ClaimGuard>) -> Self {
        match (result, guard) {
            (Ok(response), Some(guard)) if grpc::succeeded(&response) => {
                let limit = guard.settings().answer_limit as u64;
                let (head, body) = response.into_parts();
                let is_short = body.size_hint().upper().is_some_and(|upper| upper <= limit);
                if is_short && !body.is_end_stream() && DoneAnswer::tells_all(&head.headers) {
                    let (head, collected) = (Some(head), Collected::default());
                    return Self::Collect { head, body, collected, renewal: LeaseRenewal::new(guard) };
                }
                let finalize = Some(guard.commit(DoneAnswer::new(head.status)));
                Self::Finalize { finalize, result: Ok(Response::from_parts(head, ResponseBody::inner(body))) }
            }
            (result, guard) => {
                let finalize = guard.map(ClaimGuard::release);
                Self::Finalize { finalize, result: result.map(|response| response.map(ResponseBody::inner)) }
            }
        }
    }

    /// Acts on the answer's body. One that failed has reached nobody, so nothing is done.
    fn collected(is_whole: bool, head: Option<Parts>, collected: Collected, guard: Option<ClaimGuard>) -> Self {
        let (Some(head), true) = (head, is_whole) else {
            let mut failed = Response::new(ResponseBody::fixed(Bytes::new()));
            *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return Self::Finalize { finalize: guard.map(ClaimGuard::release), result: Ok(failed) };
        };
        let body = collected.data.freeze();
        let answer = DoneAnswer::of(head.status, &head.headers, body.clone());
        let response = Response::from_parts(head, ResponseBody::collected(body, collected.trailers));
        Self::Finalize { finalize: guard.map(|guard| guard.commit(answer)), result: Ok(response) }
    }
}

impl<S, B, R> Future for DedupFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
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
                    let next = DedupState::handled(result, renewal.take());
                    state.set(next);
                }
                DedupStateProj::Collect { head, body, collected, renewal } => {
                    let Poll::Ready(is_whole) = collected.poll(body, MAX_ANSWER_LIMIT, cx) else {
                        renewal.poll(cx);
                        return Poll::Pending;
                    };
                    let next = DedupState::collected(is_whole, head.take(), mem::take(collected), renewal.take());
                    state.set(next);
                }
                DedupStateProj::Finalize { finalize, .. } => {
                    if let Some(finalize) = finalize {
                        ready!(finalize.poll(cx));
                    }
                    let DedupStateOwned::Finalize { result, .. } = state.as_mut().project_replace(DedupState::Done)
                    else {
                        continue;
                    };
                    return Poll::Ready(result);
                }
                DedupStateProj::Pass { handling } => {
                    return handling.poll(cx).map(|result| result.map(|response| response.map(ResponseBody::inner)));
                }
                DedupStateProj::Reply { .. } | DedupStateProj::Done => {
                    let DedupStateOwned::Reply { response } = state.as_mut().project_replace(DedupState::Done) else {
                        polled_again()
                    };
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            }
        }
    }
}

impl<S, B, R> fmt::Debug for DedupFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DedupFuture").finish_non_exhaustive()
    }
}
