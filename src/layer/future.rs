//! Life of a request: looked up, received, verified, handled.

use std::fmt;
use std::future::Future;
use std::mem;
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
use crate::body::{Deadline, Lease, Received, Receiver, ResponseBody};
use crate::grpc::Protocol;
use crate::observe::Stopwatch;
use crate::provider::{Begin, BoxFuture, MaybeReady, Outcome, Provider};
use crate::rejection::{BoxError, Reason, Rejection};

use super::shared::WebhookSettings;

pin_project! {
    /// The future of [`WebhookService`](crate::layer::WebhookService).
    ///
    /// Dropping it at any time leaves nothing behind.
    //
    // The caller moves the future around, so it is kept small: a verification is on the stack if the body is there at once, and
    // in a box if it has to wait. Head and handler share their place.
    pub struct ResponseFuture<S, P, B>
    where
        S: Service<Request<Full<Bytes>>>,
        P: Provider,
    {
        #[pin]
        state: RequestState<S, P>,
        // Dropped once it is complete.
        #[pin]
        body: Option<B>,
        shared: Arc<WebhookSettings<P>>,
        watch: Stopwatch,
        protocol: Protocol,
    }
}

pin_project! {
    #[project = RequestStateProj]
    enum RequestState<S, P>
    where
        S: Service<Request<Full<Bytes>>>,
        P: Provider,
    {
        /// Nothing has been done yet.
        Begin { call: Option<PendingCall<S>> },
        /// The verification waits for a secret.
        LookUp { call: Option<PendingCall<S>>, pending: BoxFuture<Result<Begin<P::Verification>, Rejection>>, deadline: Deadline },
        /// The body arrives. In observe mode there may be a verdict already, and then no verification.
        Receive { call: Option<PendingCall<S>>, waiting: Box<(Option<P::Verification>, Receiver)> },
        /// The body is complete, and the verdict waits for a key or a certificate.
        Decide { call: Option<PendingCall<S>>, pending: BoxFuture<Result<Outcome, Rejection>>, received: Received },
        /// The handler works.
        Handle { #[pin] handling: S::Future, lease: Lease },
        /// The answer is known without a handler.
        Reply { response: Option<Response<Bytes>> },
    }
}

/// The service that was polled ready, and the head of the request that it may get.
struct PendingCall<S> {
    inner: S,
    head: Parts,
}

impl<S, P, B> ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    pub(crate) fn new(shared: Arc<WebhookSettings<P>>, inner: S, request: Request<B>) -> Self {
        let watch = Stopwatch::start();
        let protocol = Protocol::of(request.method(), request.version(), request.headers());
        let (head, body) = request.into_parts();
        let state = RequestState::Begin { call: Some(PendingCall { inner, head }) };
        Self { state, body: Some(body), shared, watch, protocol }
    }
}

/// One step of a request: what is shared by the states that have no handler yet.
struct Driver<'a, S, P> {
    shared: &'a WebhookSettings<P>,
    watch: Stopwatch,
    call: &'a mut Option<PendingCall<S>>,
    /// Whether the body was polled and has to be waited for.
    waits: bool,
}

impl<S, P> Driver<'_, S, P>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    /// Judges the head, and the body too if it is there at once.
    fn begin<B>(&mut self, body: Pin<&mut B>, cx: &mut Context<'_>) -> RequestState<S, P>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let shared = self.shared;
        let head = head(self.call);
        let mut begun = shared.provider.begin(head, &*shared.clock);
        // Nearly every request goes this way, so nothing large is moved on it.
        if let Ok(MaybeReady::Ready(Begin::Verify(verification))) = &mut begun {
            if let Err(rejection) = shared.check_announced(head, &*body) {
                return self.refuse(rejection);
            }
            let mut receiver = shared.receiver();
            let feed = |chunk: &[u8]| shared.provider.receive(verification, head, chunk);
            match receiver.poll(body, cx, feed) {
                Poll::Ready(Err(rejection)) => return self.refuse(rejection),
                Poll::Ready(Ok(())) => return self.finish(verification, receiver.finish()),
                Poll::Pending => self.waits = true,
            }
            let verification = match begun {
                Ok(MaybeReady::Ready(Begin::Verify(verification))) => Some(verification),
                _ => None,
            };
            return self.receive(verification, receiver);
        }
        match begun {
            Ok(MaybeReady::Pending(pending)) => {
                // The announced length is checked before anything is looked up for the request.
                if let Err(rejection) = shared.check_announced(head, &*body) {
                    return self.refuse(rejection);
                }
                let deadline = Deadline::new(Some(shared.lookup_timeout));
                RequestState::LookUp { call: self.call.take(), pending, deadline }
            }
            Ok(MaybeReady::Ready(begun)) => self.begun(Ok(begun), &*body),
            Err(rejection) => self.begun(Err(rejection), &*body),
        }
    }

    /// Acts on what the head and a look-up led to.
    fn begun(&mut self, begun: Result<Begin<P::Verification>, Rejection>, body: &impl Body) -> RequestState<S, P> {
        let would = match begun {
            Ok(Begin::Verify(verification)) => return self.receive(Some(verification), self.shared.receiver()),
            Ok(Begin::Answer(answer)) if self.shared.observe_only => Ok(answer),
            Err(rejection) if self.shared.observe_only => Err(rejection),
            Ok(Begin::Answer(answer)) => return self.answer(answer),
            Err(rejection) => return self.refuse(rejection),
        };
        self.observe(would);
        match self.shared.check_announced(head(self.call), body) {
            Ok(()) => self.receive(None, self.shared.receiver()),
            Err(rejection) => self.refuse(rejection),
        }
    }

    fn receive(&mut self, verification: Option<P::Verification>, receiver: Receiver) -> RequestState<S, P> {
        RequestState::Receive { call: self.call.take(), waiting: Box::new((verification, receiver)) }
    }

    /// Has a whole body judged.
    #[inline]
    fn finish(&mut self, verification: &mut P::Verification, received: Received) -> RequestState<S, P> {
        let head = head(self.call);
        let rest = &received.body[received.fed..];
        let mut verdict = self.shared.provider.finish(verification, head, &received.body, rest);
        if let Ok(MaybeReady::Ready(Outcome::Deliver(verified))) = &mut verdict {
            self.shared.deliver(self.watch, verified, received.body.clone(), &mut head.extensions);
            return self.hand_on(received);
        }
        match verdict {
            Ok(MaybeReady::Pending(pending)) => RequestState::Decide { call: self.call.take(), pending, received },
            Ok(MaybeReady::Ready(outcome)) => self.decide(Ok(outcome), received),
            Err(rejection) => self.decide(Err(rejection), received),
        }
    }

    /// Acts on a verdict.
    fn decide(&mut self, verdict: Result<Outcome, Rejection>, received: Received) -> RequestState<S, P> {
        match verdict {
            Ok(Outcome::Deliver(mut verified)) => {
                let extensions = &mut head(self.call).extensions;
                self.shared.deliver(self.watch, &mut verified, received.body.clone(), extensions);
            }
            Ok(Outcome::Answer(answer)) if self.shared.observe_only => self.observe(Ok(answer)),
            Err(rejection) if self.shared.observe_only => self.observe(Err(rejection)),
            Ok(Outcome::Answer(answer)) => return self.answer(answer),
            Err(rejection) => return self.refuse(rejection),
        }
        self.hand_on(received)
    }

    /// Tells the handler, in observe mode, what the layer would have done.
    fn observe(&mut self, would: Result<Answer, Rejection>) {
        let head = head(self.call);
        let verdict = self.shared.observed(self.watch, head, would);
        head.extensions.insert(verdict);
    }

    fn answer(&mut self, answer: Answer) -> RequestState<S, P> {
        RequestState::reply(self.shared.answer(self.watch, head(self.call), answer))
    }

    fn refuse(&mut self, rejection: Rejection) -> RequestState<S, P> {
        RequestState::reply(self.shared.refuse(self.watch, head(self.call), rejection))
    }

    /// Calls the handler.
    fn hand_on(&mut self, received: Received) -> RequestState<S, P> {
        let Some(PendingCall { mut inner, head }) = self.call.take() else { polled_again() };
        #[cfg(feature = "axum")]
        let is_large = received.body.len() > AXUM_BODY_LIMIT;
        #[cfg_attr(not(feature = "axum"), allow(unused_mut))]
        let mut request = Request::from_parts(head, Full::new(received.body));
        #[cfg(feature = "axum")]
        if is_large {
            // The body is bounded already: axum's own limit would refuse, unseen, what the layer has verified.
            axum_core::extract::DefaultBodyLimit::disable().apply(&mut request);
        }
        RequestState::Handle { handling: inner.call(request), lease: received.lease }
    }
}

impl<S, P> RequestState<S, P>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    fn reply(response: Response<Bytes>) -> Self {
        Self::Reply { response: Some(response) }
    }
}

fn head<S>(call: &mut Option<PendingCall<S>>) -> &mut Parts {
    match call {
        Some(call) => &mut call.head,
        None => polled_again(),
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
            let state = match this.state.as_mut().project() {
                RequestStateProj::Begin { call } => {
                    let Some(body) = this.body.as_mut().as_pin_mut() else { polled_again() };
                    let mut driver = Driver { shared, watch, call, waits: false };
                    let state = driver.begin(body, cx);
                    if driver.waits {
                        this.state.set(state);
                        return Poll::Pending;
                    }
                    state
                }
                RequestStateProj::LookUp { call, pending, deadline } => {
                    let found = match pending.as_mut().poll(cx) {
                        Poll::Ready(found) => found,
                        Poll::Pending => {
                            ready!(deadline.poll(cx));
                            Err(Rejection::new(Reason::SecretUnavailable).with_detail("the look-up took too long"))
                        }
                    };
                    let Some(body) = this.body.as_mut().as_pin_mut() else { polled_again() };
                    Driver { shared, watch, call, waits: false }.begun(found, &*body)
                }
                RequestStateProj::Receive { call, waiting } => {
                    let Some(body) = this.body.as_mut().as_pin_mut() else { polled_again() };
                    let (verification, receiver) = &mut **waiting;
                    let head = head(call);
                    let received = ready!(receiver.poll(body, cx, |chunk| {
                        if let Some(verification) = verification {
                            shared.provider.receive(verification, head, chunk);
                        }
                    }));
                    let mut driver = Driver { shared, watch, call, waits: false };
                    match (received, verification) {
                        (Err(rejection), _) => driver.refuse(rejection),
                        (Ok(()), Some(verification)) => driver.finish(verification, receiver.finish()),
                        (Ok(()), None) => driver.hand_on(receiver.finish()),
                    }
                }
                RequestStateProj::Decide { call, pending, received } => {
                    let verdict = ready!(pending.as_mut().poll(cx));
                    Driver { shared, watch, call, waits: false }.decide(verdict, mem::take(received))
                }
                RequestStateProj::Handle { handling, .. } => {
                    let response = ready!(handling.poll(cx))?;
                    shared.observe_response(&response);
                    return Poll::Ready(Ok(this.protocol.pass_on(response)));
                }
                RequestStateProj::Reply { response } => {
                    let Some(response) = response.take() else { polled_again() };
                    return Poll::Ready(Ok(this.protocol.translate(response).map(ResponseBody::fixed)));
                }
            };
            if !matches!(state, RequestState::LookUp { .. } | RequestState::Receive { .. }) {
                this.body.set(None);
            }
            this.state.set(state);
        }
    }
}

/// The limit of axum's extractors by default. Smaller bodies pass them anyway, and lifting it costs an allocation.
#[cfg(feature = "axum")]
const AXUM_BODY_LIMIT: usize = 2 * 1024 * 1024;

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
