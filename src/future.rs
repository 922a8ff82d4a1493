//! The way of one request: looked up, received, verified, handled.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::answer::Answer;
use crate::body::{Deadline, Lease, Received, Receiver, ResponseBody, check_announced};
use crate::delivery::{Delivery, Verified};
use crate::grpc::Protocol;
use crate::layer::Shared;
use crate::observe::{self, End, Stopwatch};
use crate::provider::{Begin, Outcome, Pending, Provider};
use crate::reject::{BoxError, Reason, Rejection};
use crate::verdict::Verdict;

pin_project! {
    /// The future of [`WebhookService`](crate::WebhookService).
    ///
    /// Dropping it at any time leaves nothing behind.
    //
    // Whoever calls the service moves its future about, so it is kept small: what verifies lives on the stack while the body
    // is there at once, and in a box where it has to be waited for; head and handler share their place.
    pub struct ResponseFuture<S, P, B>
    where
        S: Service<Request<Full<Bytes>>>,
        P: Provider,
    {
        #[pin]
        state: State<S, P, B>,
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
        /// The head is judged, and the body arrives.
        Arrive { call: Option<Call<S>>, step: Step<P::Verification>, #[pin] body: B },
        /// The body is complete, and what decides is being fetched.
        Decide { call: Option<Call<S>>, pending: Pending<Outcome>, received: Received },
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

/// How far a request is whose body is not complete.
enum Step<V> {
    /// Nothing has been done yet.
    Begin,
    /// What the verification needs is being looked up.
    LookUp(Pending<V>, Deadline),
    /// The body is waited for.
    Receive(Box<(Judge<V>, Receiver)>),
}

/// Who judges a request: its verification; or, in observe mode, nobody, where the head was enough for a verdict.
enum Judge<V> {
    Verification(V),
    Nobody,
}

/// What to do with a request whose body is complete.
enum Next {
    /// What the handler has to know is in the extensions.
    Handle(Received),
    /// What decides is being fetched.
    Decide(Pending<Outcome>, Received),
    /// The sender's protocol demands this. Boxed, as it is rare and larger than the rest.
    Answer(Box<Answer>),
}

impl<S, P, B> ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    pub(crate) fn new(shared: Arc<Shared<P>>, inner: S, request: Request<B>) -> Self {
        let watch = Stopwatch::start();
        let protocol = Protocol::of(request.method(), request.version(), request.headers());
        let (head, body) = request.into_parts();
        let state = State::Arrive { call: Some(Call { inner, head }), step: Step::Begin, body };
        Self { state, shared, watch, protocol }
    }
}

impl<V> Step<V> {
    /// Judges the head, receives the body of a request that may be genuine, and judges it.
    fn poll<P, B>(
        &mut self,
        shared: &Shared<P>,
        watch: Stopwatch,
        head: &mut Parts,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, Rejection>>
    where
        P: Provider<Verification = V>,
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        loop {
            *self = match self {
                Self::Begin => {
                    let mut begun = shared.provider.begin(head, &*shared.clock);
                    // Nearly every request goes this way, so nothing that is large is moved on it.
                    if let Ok(Begin::Verify(verification)) = &mut begun {
                        shared.check_announced(head, &*body)?;
                        let mut receiver = shared.receiver();
                        let received = receiver.poll(body.as_mut(), cx, |chunk| {
                            shared.provider.receive(verification, head, chunk);
                        })?;
                        if received.is_ready() {
                            return Poll::Ready(shared.judge(watch, verification, receiver.finish(), head));
                        }
                        if let Ok(Begin::Verify(verification)) = begun {
                            *self = Self::receive(Judge::Verification(verification), receiver);
                        }
                        return Poll::Pending;
                    }
                    match begun {
                        Ok(Begin::Pending(pending)) => {
                            // The announced length is checked before anything is looked up for the request.
                            shared.check_announced(head, &*body)?;
                            Self::LookUp(pending, Deadline::new(Some(shared.lookup_timeout)))
                        }
                        // Received above.
                        Ok(Begin::Verify(_)) => return Poll::Ready(Err(Reason::NoDelivery.into())),
                        judged if shared.observe_only => Self::observe(shared, watch, judged.map(drop), head, &*body)?,
                        Ok(Begin::Answer(answer)) => return Poll::Ready(Ok(Next::Answer(Box::new(answer)))),
                        Err(rejection) => return Poll::Ready(Err(rejection)),
                    }
                }
                Self::LookUp(pending, deadline) => {
                    let found = match pending.as_mut().poll(cx) {
                        Poll::Ready(found) => found,
                        Poll::Pending => {
                            ready!(deadline.poll(cx));
                            Err(Rejection::new(Reason::SecretUnavailable).with_detail("the look-up took too long"))
                        }
                    };
                    match found {
                        Ok(verification) => Self::receive(Judge::Verification(verification), shared.receiver()),
                        Err(rejection) if !shared.observe_only => return Poll::Ready(Err(rejection)),
                        Err(rejection) => Self::observe(shared, watch, Err(rejection), head, &*body)?,
                    }
                }
                Self::Receive(waiting) => {
                    let (judge, receiver) = &mut **waiting;
                    return match judge {
                        Judge::Verification(verification) => {
                            let feed = |chunk: &[u8]| shared.provider.receive(verification, head, chunk);
                            ready!(receiver.poll(body, cx, feed))?;
                            Poll::Ready(shared.judge(watch, verification, receiver.finish(), head))
                        }
                        Judge::Nobody => {
                            ready!(receiver.poll(body, cx, |_| ()))?;
                            Poll::Ready(Ok(Next::Handle(receiver.finish())))
                        }
                    };
                }
            };
        }
    }

    fn receive(judge: Judge<V>, receiver: Receiver) -> Self {
        Self::Receive(Box::new((judge, receiver)))
    }

    /// In observe mode, what the head led to is told to the handler, and the body is received all the same.
    fn observe<P: Provider>(
        shared: &Shared<P>,
        watch: Stopwatch,
        would: Result<(), Rejection>,
        head: &mut Parts,
        body: &impl Body,
    ) -> Result<Self, Rejection> {
        head.extensions.insert(shared.observed(watch, would));
        shared.check_announced(head, body)?;
        Ok(Self::receive(Judge::Nobody, shared.receiver()))
    }
}

impl<P: Provider> Shared<P> {
    fn check_announced(&self, head: &Parts, body: &impl Body) -> Result<(), Rejection> {
        check_announced(&head.headers, body, self.body_limit)
    }

    /// What takes in a body whose announced length was checked.
    fn receiver(&self) -> Receiver {
        Receiver::new(self.body_limit, self.body_timeout, Lease::new(self.budget.clone()))
    }

    /// Has a whole body judged.
    #[inline]
    fn judge(
        &self,
        watch: Stopwatch,
        verification: &mut P::Verification,
        received: Received,
        head: &mut Parts,
    ) -> Result<Next, Rejection> {
        let verdict = self.provider.finish(verification, head, &received.body, &received.body[received.fed..]);
        self.decide(watch, verdict, received, head)
    }

    /// Acts on a verdict.
    #[inline]
    fn decide(
        &self,
        watch: Stopwatch,
        mut verdict: Result<Outcome, Rejection>,
        received: Received,
        head: &mut Parts,
    ) -> Result<Next, Rejection> {
        if let Ok(Outcome::Deliver(verified)) = &mut verdict {
            self.deliver(watch, verified, received.body.clone(), &mut head.extensions);
            return Ok(Next::Handle(received));
        }
        let would = match verdict {
            Ok(Outcome::Pending(pending)) => return Ok(Next::Decide(pending, received)),
            judged if self.observe_only => judged.map(drop),
            Ok(Outcome::Answer(answer)) => return Ok(Next::Answer(Box::new(answer))),
            // Delivered above.
            Ok(Outcome::Deliver(_)) => return Err(Reason::NoDelivery.into()),
            Err(rejection) => return Err(rejection),
        };
        head.extensions.insert(self.observed(watch, would));
        Ok(Next::Handle(received))
    }

    /// Tells the handler that the request is genuine.
    #[inline]
    fn deliver(&self, watch: Stopwatch, verified: &mut Verified, body: Bytes, extensions: &mut Extensions) {
        let name = self.provider.name();
        observe::verdict(verified.provider(name), watch, End::Delivered);
        if self.observe_only {
            extensions.insert(Verdict::Verified);
        } else if extensions.is_empty() {
            *extensions = self.room.clone();
        }
        extensions.insert(Delivery::new(name, verified, body));
    }

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
            let (slot, next) = match this.state.as_mut().project() {
                StateProj::Arrive { call, step, body } => {
                    let Some(Call { head, .. }) = call else { polled_again() };
                    let next = ready!(step.poll(shared, watch, head, body, cx));
                    (call, next)
                }
                StateProj::Decide { call, pending, received } => {
                    let verdict = ready!(pending.as_mut().poll(cx));
                    let Some(Call { head, .. }) = call else { polled_again() };
                    let next = shared.decide(watch, verdict, mem::take(received), head);
                    (call, next)
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
            };
            let state = match next {
                Ok(Next::Handle(Received { body, lease, .. })) => {
                    let Some(Call { mut inner, head }) = slot.take() else { polled_again() };
                    State::Handle { handling: inner.call(Request::from_parts(head, Full::new(body))), lease }
                }
                Ok(Next::Decide(pending, received)) => State::Decide { call: slot.take(), pending, received },
                Ok(Next::Answer(answer)) => State::Reply { response: Some(shared.answer(watch, *answer)) },
                Err(rejection) => State::Reply { response: Some(shared.refuse(watch, rejection)) },
            };
            this.state.set(state);
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
