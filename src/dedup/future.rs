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
use super::claim_guard::{ClaimGuard, Finalize};
use super::key::Key;
use super::shared::{DedupSettings, MAX_ANSWER_LIMIT, StoreFailure};
use super::store::{Claim, StoreError};

pin_project! {
    /// The future of [`DedupService`](super::DedupService).
    ///
    /// Dropping it releases the claim, unless the handler has succeeded already.
    //
    // The caller moves the future around, so what only some stores and answers need is in boxes.
    pub struct DedupFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        // Before the guard: the handler is dropped before the claim is released.
        #[pin]
        state: DedupState<S, B, R>,
        guard: Option<ClaimGuard>,
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
        Claim { call: Box<PendingCall<S, B>> },
        /// The handler works. Its claim, if it has one, is renewed.
        Handle { #[pin] handling: S::Future },
        /// The handler has answered, and the answer is collected, to be kept. The claim is renewed.
        Collect { #[pin] body: R, waiting: Option<Box<Collected>> },
        /// The handler is done, and the claim is committed or released.
        Finalize { finalizing: Box<(Finalize, Result<Response<ResponseBody<R>>, S::Error>)> },
        /// The answer is known without a handler.
        Reply { response: Response<Bytes> },
        /// Between two states, and at the end.
        Done,
    }
}

/// What has arrived of a response.
struct Collected {
    head: Parts,
    /// The first frame, which nearly always is the only one.
    first: Bytes,
    /// All frames, if there are several.
    joined: BytesMut,
    trailers: Option<Box<HeaderMap>>,
}

impl Collected {
    fn new(head: Parts) -> Self {
        Self { head, first: Bytes::new(), joined: BytesMut::new(), trailers: None }
    }

    /// Polls for the rest of a body. Returns whether it arrived as it had announced itself, within
    /// this limit.
    fn poll<R: Body<Data = Bytes>>(&mut self, mut body: Pin<&mut R>, limit: usize, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let frame = match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended.is_none()),
            };
            match frame.into_data() {
                Ok(data) if self.first.len() + self.joined.len() + data.len() > limit => return Poll::Ready(false),
                Ok(data) if self.first.is_empty() && self.joined.is_empty() => self.first = data,
                Ok(data) => {
                    self.joined.extend_from_slice(&mem::take(&mut self.first));
                    self.joined.extend_from_slice(&data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
    }

    fn into_parts(self) -> (Parts, Bytes, Option<HeaderMap>) {
        let body = if self.joined.is_empty() { self.first } else { self.joined.freeze() };
        (self.head, body, self.trailers.map(|trailers| *trailers))
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
    /// Gets the service that was polled ready, and leaves a clone of it if it takes it along.
    #[inline]
    pub(super) fn new(settings: &Arc<DedupSettings>, inner: &mut S, mut request: Request<B>) -> Self
    where
        S: Clone,
    {
        // Its parts are large, and are to be written where they stay.
        let mut this = Self { state: DedupState::Done, guard: None };
        let begun = match &settings.key {
            None => begin(settings, request.extensions(), |delivery| settings.key(delivery), &mut this.guard),
            Some(choose) => {
                let (head, body) = request.into_parts();
                let key = |delivery: &Delivery| settings.named(choose(delivery, &head));
                let begun = begin(settings, &head.extensions, key, &mut this.guard);
                request = Request::from_parts(head, body);
                begun
            }
        };
        this.state = match begun {
            Begun::Handle => DedupState::Handle { handling: inner.call(request) },
            Begun::Claim => {
                let clone = inner.clone();
                DedupState::Claim { call: Box::new(PendingCall { inner: mem::replace(inner, clone), request }) }
            }
            Begun::Reply(response) => DedupState::Reply { response },
        };
        this
    }
}

/// What happens to a request first.
enum Begun {
    /// The handler gets it, with a claim or without one.
    Handle,
    /// The store's answer to the claim has to be waited for.
    Claim,
    Reply(Response<Bytes>),
}

/// Asks for a claim, if the delivery is to have one.
#[inline]
fn begin(
    settings: &Arc<DedupSettings>,
    extensions: &Extensions,
    key: impl FnOnce(&Delivery) -> Option<Key>,
    guard: &mut Option<ClaimGuard>,
) -> Begun {
    // In observe mode nothing is refused, and nothing is kept from the handler.
    if extensions.get::<Verdict>().is_some() {
        return Begun::Handle;
    }
    let Some(delivery) = extensions.get::<Delivery>() else {
        let rejection =
            Rejection::new(Reason::NoDelivery).with_detail("the deduplication isn't behind a webhook layer");
        // No webhook layer is around that would report it.
        observe::refused_behind("", &rejection);
        return Begun::Reply(rejection.into_http_response());
    };
    let Some(key) = key(delivery) else { return Begun::Handle };
    let claim = guard.insert(ClaimGuard::new(settings, delivery, key)).claim();
    match claim.map(|claim| decide(claim, guard)) {
        None => Begun::Claim,
        Some(None) => Begun::Handle,
        Some(Some(response)) => Begun::Reply(response),
    }
}

/// Acts on the store's answer to a claim: returns what the sender is answered, unless the handler
/// gets the request.
fn decide(claim: Result<Claim, StoreError>, claimed: &mut Option<ClaimGuard>) -> Option<Response<Bytes>> {
    let guard = claimed.as_mut()?;
    match claim {
        Ok(Claim::Won) => None,
        Ok(Claim::InFlight) => {
            let rejection = Rejection::new(Reason::InFlight).with_provider(guard.provider());
            let rejection = match guard.settings().in_flight_status {
                Some(status) => rejection.with_status(status),
                None => rejection,
            };
            guard.forget();
            Some(rejection.into_http_response())
        }
        Ok(Claim::Done(answer)) => {
            observe::duplicate(guard.provider());
            guard.forget();
            Some(answer.into_response())
        }
        Err(error) => {
            observe::store_failure(guard.provider(), StoreCall::Claim, &error);
            let (failure, provider) = (guard.failure(), guard.provider().clone());
            // The store may have granted the claim without being able to say so.
            *claimed = None;
            match failure {
                StoreFailure::Admit => {
                    observe::admitted(&provider);
                    None
                }
                StoreFailure::Refuse => {
                    let rejection =
                        Rejection::new(Reason::StoreUnavailable).with_provider(&provider).with_source(error);
                    Some(rejection.into_http_response())
                }
            }
        }
    }
}

impl<S, B, R> Future for DedupFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut state, claimed) = (this.state, this.guard);
        // A response stays on the stack unless its body has to be waited for, as it is large.
        let mut collecting: Option<Collected> = None;
        loop {
            // What the handler answered, and of it what is kept if the delivery is done.
            let (result, answer) = match state.as_mut().project() {
                DedupStateProj::Handle { handling } => {
                    let Poll::Ready(result) = handling.poll(cx) else {
                        if let Some(guard) = claimed {
                            guard.poll_renewal(cx);
                        }
                        return Poll::Pending;
                    };
                    match (result, &claimed) {
                        (Ok(response), Some(guard)) if grpc::succeeded(&response) => {
                            let limit = guard.settings().answer_limit as u64;
                            let (head, body) = response.into_parts();
                            let is_short = body.size_hint().upper().is_some_and(|upper| upper <= limit);
                            if is_short && !body.is_end_stream() && DoneAnswer::tells_all(&head.headers) {
                                collecting = Some(Collected::new(head));
                                state.set(DedupState::Collect { body, waiting: None });
                                continue;
                            }
                            let answer = DoneAnswer::new(head.status);
                            (Ok(Response::from_parts(head, ResponseBody::inner(body))), Some(answer))
                        }
                        (result, _) => (result.map(|response| response.map(ResponseBody::inner)), None),
                    }
                }
                DedupStateProj::Collect { body, waiting } => {
                    let Some(collected) = collecting.as_mut().or(waiting.as_deref_mut()) else { polled_again() };
                    let Poll::Ready(is_whole) = collected.poll(body, MAX_ANSWER_LIMIT, cx) else {
                        if let Some(collected) = collecting {
                            *waiting = Some(Box::new(collected));
                        }
                        if let Some(guard) = claimed {
                            guard.poll_renewal(cx);
                        }
                        return Poll::Pending;
                    };
                    let Some(collected) = collecting.take().or_else(|| waiting.take().map(|waiting| *waiting)) else {
                        polled_again()
                    };
                    if is_whole {
                        let (head, body, trailers) = collected.into_parts();
                        let answer = DoneAnswer::of(head.status, &head.headers, body.clone());
                        (Ok(Response::from_parts(head, ResponseBody::collected(body, trailers))), Some(answer))
                    } else {
                        // An answer that failed has reached nobody, so nothing is done.
                        let mut failed = Response::new(ResponseBody::fixed(Bytes::new()));
                        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                        (Ok(failed), None)
                    }
                }
                DedupStateProj::Finalize { finalizing } => {
                    ready!(finalizing.0.poll(cx));
                    let DedupStateOwned::Finalize { finalizing } = state.as_mut().project_replace(DedupState::Done)
                    else {
                        continue;
                    };
                    return Poll::Ready(finalizing.1);
                }
                DedupStateProj::Claim { .. } => {
                    let Some(guard) = claimed else { polled_again() };
                    let claim = ready!(guard.poll_claim(cx));
                    let reply = decide(claim, claimed);
                    let DedupStateOwned::Claim { call } = state.as_mut().project_replace(DedupState::Done) else {
                        continue;
                    };
                    state.set(match reply {
                        None => DedupState::Handle { handling: call.handle() },
                        Some(response) => DedupState::Reply { response },
                    });
                    continue;
                }
                DedupStateProj::Reply { .. } | DedupStateProj::Done => {
                    let DedupStateOwned::Reply { response } = state.as_mut().project_replace(DedupState::Done) else {
                        polled_again()
                    };
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            };
            let finalize = match (claimed.as_mut(), answer) {
                (Some(guard), Some(answer)) => guard.commit(answer),
                (Some(guard), None) => Some(guard.release()),
                (None, _) => None,
            };
            match finalize {
                Some(finalize) => state.set(DedupState::Finalize { finalizing: Box::new((finalize, result)) }),
                None => {
                    state.set(DedupState::Done);
                    return Poll::Ready(result);
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
