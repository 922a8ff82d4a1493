//! The way of one request: looked up, received, verified, handled.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::answer::Answer;
use crate::body::{Deadline, Lease, Receive, Received, ResponseBody, check_announced};
use crate::delivery::Delivery;
use crate::grpc::Protocol;
use crate::layer::Shared;
use crate::observe::{self, End, Stopwatch};
use crate::provider::{Begin, Outcome, Pending, Provider, Verification};
use crate::reject::{BoxError, Reason, Rejection};
use crate::verdict::Verdict;

pin_project! {
    /// The future of [`WebhookService`](crate::WebhookService).
    ///
    /// Dropping it at any time leaves nothing behind.
    //
    // A state that is entered is copied as a whole, so what is large and outlives a state stands beside the states: here
    // each costs one copy on the way in and one on the way out.
    pub struct ResponseFuture<S, P, B>
    where
        S: Service<Request<Full<Bytes>>>,
        P: Provider,
    {
        #[pin]
        state: State<S, P, B>,
        verification: Option<Judged<P::Verification>>,
        call: Option<Call<S>>,
        shared: Arc<Shared<P>>,
        watch: Stopwatch,
        protocol: Protocol,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, P, B>
    where
        S: Service<Request<Full<Bytes>>>,
        P: Provider,
    {
        /// What the verification needs is being looked up.
        Pend { pending: Pending<P::Verification>, #[pin] deadline: Deadline, body: Option<B> },
        /// The body arrives.
        Receive { #[pin] receive: Receive<B> },
        /// The body is complete.
        Verify { #[pin] verdict: <P::Verification as Verification>::Verdict, received: Option<Received> },
        /// The handler works.
        Handle { #[pin] handling: S::Future, lease: Lease },
        /// The answer is known without a handler.
        Reply { response: Option<Response<Bytes>> },
    }
}

/// The service that was polled ready, and the head of the request that it may get.
struct Call<S> {
    inner: S,
    head: Parts,
}

/// A verification that runs; or, in observe mode, one that is over while its body is still to be received.
enum Judged<V> {
    Verifying(V),
    Observed(Verdict),
}

impl<S, P, B> ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(shared: Arc<Shared<P>>, inner: S, request: Request<B>) -> Self {
        let watch = Stopwatch::start();
        let (head, body) = request.into_parts();
        let protocol = Protocol::of(&head.method, head.version, &head.headers);
        let state = State::Reply { response: None };
        let mut future = Self { state, verification: None, call: Some(Call { inner, head }), shared, watch, protocol };
        if let Some(call) = &future.call {
            future.state = State::begin(&future.shared, watch, &mut future.verification, &call.head, body);
        }
        future
    }
}

impl<S, P, B> State<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Judges the head.
    fn begin(
        shared: &Shared<P>,
        watch: Stopwatch,
        judged: &mut Option<Judged<P::Verification>>,
        head: &Parts,
        body: B,
    ) -> Self {
        match shared.provider.begin(head, shared.clock.now()) {
            Ok(Begin::Verify(verification)) => *judged = Some(Judged::Verifying(verification)),
            Ok(Begin::Pending(pending)) => {
                // The announced length is checked before anything is looked up for the request.
                return match check_announced(&head.headers, &body, shared.body_limit) {
                    Ok(()) => {
                        Self::Pend { pending, deadline: Deadline::new(Some(shared.lookup_timeout)), body: Some(body) }
                    }
                    Err(rejection) => Self::reply(shared.refuse(watch, rejection)),
                };
            }
            Ok(Begin::Answer(_)) if shared.observe_only => {
                *judged = Some(Judged::Observed(shared.observed(watch, Ok(()))));
            }
            Ok(Begin::Answer(answer)) => return Self::reply(shared.answer(watch, answer)),
            Err(rejection) if shared.observe_only => {
                *judged = Some(Judged::Observed(shared.observed(watch, Err(rejection))));
            }
            Err(rejection) => return Self::reply(shared.refuse(watch, rejection)),
        }
        Self::receive(shared, watch, head, body)
    }

    fn receive(shared: &Shared<P>, watch: Stopwatch, head: &Parts, body: B) -> Self {
        match check_announced(&head.headers, &body, shared.body_limit) {
            Ok(()) => {
                let lease = Lease::new(shared.budget.clone());
                Self::Receive { receive: Receive::new(body, shared.body_limit, shared.body_timeout, lease) }
            }
            Err(rejection) => Self::reply(shared.refuse(watch, rejection)),
        }
    }

    /// Acts on the verdict.
    fn decide(
        shared: &Shared<P>,
        watch: Stopwatch,
        verdict: Result<Outcome, Rejection>,
        received: Received,
        mut call: Call<S>,
    ) -> Self {
        let verdict = match verdict {
            Ok(Outcome::Deliver(verified)) => {
                let delivery = Delivery::new(shared.provider.name(), verified, received.body.clone());
                observe::verdict(delivery.provider(), watch, End::Delivered);
                call.head.extensions.insert(delivery);
                if !shared.observe_only {
                    return Self::handle(received, call);
                }
                Verdict::Verified
            }
            Ok(Outcome::Answer(_)) if shared.observe_only => shared.observed(watch, Ok(())),
            Err(rejection) if shared.observe_only => shared.observed(watch, Err(rejection)),
            Ok(Outcome::Answer(answer)) => return Self::reply(shared.answer(watch, answer)),
            Err(rejection) => return Self::reply(shared.refuse(watch, rejection)),
        };
        call.head.extensions.insert(verdict);
        Self::handle(received, call)
    }

    fn handle(received: Received, call: Call<S>) -> Self {
        let Call { mut inner, head } = call;
        let Received { body, lease } = received;
        Self::Handle { handling: inner.call(Request::from_parts(head, Full::new(body))), lease }
    }

    fn reply(response: Response<Bytes>) -> Self {
        Self::Reply { response: Some(response) }
    }
}

impl<P: Provider> Shared<P> {
    fn refuse(&self, watch: Stopwatch, rejection: Rejection) -> Response<Bytes> {
        self.report(watch, rejection).into_response()
    }

    fn report(&self, watch: Stopwatch, rejection: Rejection) -> Rejection {
        let rejection = rejection.with_provider(self.provider.name());
        observe::verdict(rejection.provider().unwrap_or_default(), watch, End::Rejected(&rejection));
        if let Some(hook) = &self.on_reject {
            hook(&rejection);
        }
        rejection
    }

    fn answer(&self, watch: Stopwatch, answer: Answer) -> Response<Bytes> {
        observe::verdict(self.provider.name(), watch, End::Answered);
        answer.into_response()
    }

    /// The verdict of observe mode on what would have been an answer or a refusal.
    fn observed(&self, watch: Stopwatch, would: Result<(), Rejection>) -> Verdict {
        match would {
            Ok(()) => {
                observe::verdict(self.provider.name(), watch, End::Answered);
                Verdict::Answered
            }
            Err(rejection) => Verdict::Rejected(self.report(watch, rejection)),
        }
    }

    /// Reports what an extractor behind the layer refused.
    fn observe_response<R>(&self, response: &Response<R>) {
        let Some(rejection) = Rejection::of_response(response.extensions()) else { return };
        observe::refused_behind(rejection.provider().unwrap_or(self.provider.name()), rejection);
        if let Some(hook) = &self.on_reject {
            hook(rejection);
        }
    }
}

impl<S, P, B, R> Future for ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    P: Provider,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (shared, watch) = (&**this.shared, *this.watch);
        loop {
            match this.state.as_mut().project() {
                StateProj::Pend { pending, deadline, body } => {
                    let found = match pending.as_mut().poll(cx) {
                        Poll::Ready(found) => found,
                        Poll::Pending => {
                            ready!(deadline.poll(cx));
                            Err(Rejection::new(Reason::SecretUnavailable).with_detail("the look-up took too long"))
                        }
                    };
                    let (Some(body), Some(call)) = (body.take(), &this.call) else { polled_again() };
                    let judged = match found {
                        Ok(verification) => Ok(Judged::Verifying(verification)),
                        Err(rejection) if shared.observe_only => {
                            Ok(Judged::Observed(shared.observed(watch, Err(rejection))))
                        }
                        Err(rejection) => Err(rejection),
                    };
                    match judged {
                        Ok(judged) => {
                            *this.verification = Some(judged);
                            this.state.set(State::receive(shared, watch, &call.head, body));
                        }
                        Err(rejection) => this.state.set(State::reply(shared.refuse(watch, rejection))),
                    }
                }
                StateProj::Receive { receive } => {
                    let verification = &mut *this.verification;
                    let received = ready!(receive.poll(cx, |frame| {
                        if let Some(Judged::Verifying(verification)) = verification {
                            verification.receive(frame);
                        }
                    }));
                    let received = match received {
                        Ok(received) => received,
                        Err(rejection) => {
                            this.state.set(State::reply(shared.refuse(watch, rejection)));
                            continue;
                        }
                    };
                    match this.verification.take() {
                        Some(Judged::Verifying(verification)) => {
                            let Some(call) = this.call else { polled_again() };
                            let verdict = verification.finish(&call.head, &received.body);
                            this.state.set(State::Verify { verdict, received: Some(received) });
                        }
                        Some(Judged::Observed(verdict)) => {
                            let Some(mut call) = this.call.take() else { polled_again() };
                            call.head.extensions.insert(verdict);
                            this.state.set(State::handle(received, call));
                        }
                        None => polled_again(),
                    }
                }
                StateProj::Verify { verdict, received } => {
                    let verdict = ready!(verdict.poll(cx));
                    let (Some(received), Some(call)) = (received.take(), this.call.take()) else { polled_again() };
                    this.state.set(State::decide(shared, watch, verdict, received, call));
                }
                StateProj::Handle { handling, .. } => {
                    let response = ready!(handling.poll(cx))?;
                    shared.observe_response(&response);
                    return Poll::Ready(Ok(this.protocol.pass_on(response)));
                }
                StateProj::Reply { response } => {
                    let Some(response) = response.take() else { polled_again() };
                    return Poll::Ready(Ok(this.protocol.translate(response).map(ResponseBody::fixed)));
                }
            }
        }
    }
}

/// What a state needs is there until the state is left, so this is reached by one way only.
fn polled_again() -> ! {
    panic!("a webhook response future was polled after it was ready");
}

impl<S, P, B> fmt::Debug for ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
