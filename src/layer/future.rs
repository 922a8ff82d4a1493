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
use crate::body::{Arrived, Deadline, Lease, Received, Receiver, ResponseBody, Timer, polled_again};
use crate::delivery::{Delivery, Verified};
use crate::grpc::Protocol;
use crate::observe::Watch;
use crate::provider::{Begin, BoxFuture, MaybeReady, Outcome, Parked, Provider};
use crate::rejection::{BoxError, Reason, Rejection};
#[cfg(feature = "inspect")]
use crate::verdict::Verdict;

#[cfg(feature = "inspect")]
use super::diagnose::MAX_DIAGNOSED;
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
        state: RequestState<S, P, B>,
        // Of the body that the handler has. Beside the state, since what is in it is copied once more.
        lease: Lease,
        shared: Arc<WebhookSettings<P>>,
        watch: Watch,
        // Known once the head was judged.
        protocol: Protocol,
    }
}

pin_project! {
    #[project = RequestStateProj]
    enum RequestState<S, P, B>
    where
        S: Service<Request<Full<Bytes>>>,
        P: Provider,
    {
        /// The request is being verified.
        Verify { call: PendingCall<S>, stage: Stage<P>, #[pin] body: B },
        /// The handler works.
        Handle { #[pin] handling: S::Future },
        /// The answer is known without a handler.
        Reply { response: Option<Response<Bytes>> },
    }
}

/// The service that was polled ready, and the head of the request that it may get, until it gets
/// it.
//
// With a representation, what tells the two apart is beside the head and not within it. So the head is copied
// once where it is taken, and not from copy to copy.
#[repr(u8)]
enum PendingCall<S> {
    Waits { inner: S, head: Parts },
    Made,
}

/// How far the verification is.
pub(crate) enum Stage<P: Provider> {
    /// Nothing has been done yet.
    Begin,
    /// It waits for a secret, and may have lent the head for that.
    LookUp(Box<(PendingBegin<P::Verification>, Option<Lent>, Deadline)>),
    /// The body arrives.
    Receive(Pin<Box<Receiving<P>>>),
    /// The body is complete, and the verdict waits for a key or a certificate.
    Decide(Box<(BoxFuture<Result<Outcome, Rejection>>, Received)>),
}

pin_project! {
    /// A request that waits for its body.
    pub(crate) struct Receiving<P> {
        // In observe mode there may be a verdict already, and then no verification.
        verification: Option<Box<dyn Parked<P>>>,
        receiver: Receiver,
        #[pin]
        timer: Timer,
    }
}

impl<P: Provider> Receiving<P> {
    fn new(verification: Option<Box<dyn Parked<P>>>, receiver: Receiver) -> Pin<Box<Self>> {
        Box::pin(Self { verification, receiver, timer: Timer::default() })
    }
}

/// A verification that is kept as it is, and how much of the body it was given.
struct Whole<V>(Option<(V, usize)>);

impl<P: Provider> Parked<P> for Whole<P::Verification> {
    fn resume(&mut self, _: &P, _: &Parts) -> Result<(P::Verification, usize), Rejection> {
        self.0.take().map_or_else(|| polled_again(), Ok)
    }

    fn keep(&mut self, verification: P::Verification, fed: usize) {
        self.0 = Some((verification, fed));
    }
}

type PendingBegin<V> = BoxFuture<Result<Begin<V>, Rejection>>;

/// The head of a request while a look-up may hold it too. In its place is an empty one.
pub(crate) struct Lent(Arc<Parts>);

impl Lent {
    fn new(head: &mut Parts) -> Self {
        Self(Arc::new(mem::replace(head, Request::new(()).into_parts().0)))
    }

    /// Puts the head back where it was, or a clone if something else holds it still.
    fn give_back(self, head: &mut Parts) {
        *head = Arc::unwrap_or_clone(self.0);
    }
}

/// What follows from a step.
enum Next<P: Provider> {
    /// The next stage, which may be ready.
    Stage(Stage<P>),
    /// The next stage, which has been polled and waits.
    Wait(Stage<P>),
    /// The handler gets the request.
    HandOn,
    Reply(Response<Bytes>),
}

impl<S, P, B> ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    #[inline]
    pub(crate) fn new(shared: Arc<WebhookSettings<P>>, inner: S, request: Request<B>) -> Self {
        let watch = Watch::start(request.method(), request.headers());
        let (head, body) = request.into_parts();
        let call = PendingCall::Waits { inner, head };
        let state = RequestState::Verify { call, stage: Stage::Begin, body };
        Self { state, lease: Lease::default(), shared, watch, protocol: Protocol::Http }
    }
}

/// Drives a verification.
pub(crate) struct Driver<'a, P> {
    shared: &'a WebhookSettings<P>,
    watch: &'a Watch,
    head: &'a mut Parts,
    /// Where the delivery goes, if not into the extensions.
    slot: Option<&'a mut Option<Delivery>>,
    /// The body, once it is complete: here, because it would be copied from call to call.
    received: Received,
}

impl<'a, P: Provider> Driver<'a, P> {
    /// Drives the verification of a request whose delivery goes into the extensions.
    fn into_extensions(shared: &'a WebhookSettings<P>, watch: &'a Watch, head: &'a mut Parts) -> Self {
        Self { shared, watch, head, slot: None, received: Received::default() }
    }

    /// Drives the verification of a request whose delivery is to be put there.
    #[cfg(feature = "axum")]
    pub(crate) fn into_slot(
        shared: &'a WebhookSettings<P>,
        watch: &'a Watch,
        head: &'a mut Parts,
        slot: &'a mut Option<Delivery>,
    ) -> Self {
        Self { shared, watch, head, slot: Some(slot), received: Received::default() }
    }

    /// Returns the body of a request that the handler may get, and the memory that it holds.
    #[inline]
    pub(crate) fn into_received(self) -> Received {
        self.received
    }

    /// Polls the verification to its end: the handler may get the request with what was received,
    /// or the answer is known without it.
    // What it returns is large, and would be copied from call to call.
    #[inline(always)]
    pub(crate) fn poll<B>(
        &mut self,
        stage: &mut Stage<P>,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Response<Bytes>>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        loop {
            let next = match stage {
                Stage::Begin => self.begin(body.as_mut(), cx),
                Stage::LookUp(waiting) => {
                    let (pending, lent, deadline) = &mut **waiting;
                    let found = match pending.as_mut().poll(cx) {
                        Poll::Ready(found) => found,
                        Poll::Pending => {
                            ready!(deadline.poll(cx));
                            Err(Rejection::new(Reason::SecretUnavailable).with_detail("the look-up took too long"))
                        }
                    };
                    let lent = lent.take();
                    // The future may hold the head.
                    *stage = Stage::Begin;
                    self.take_back(lent);
                    self.begun(found, &*body)
                }
                Stage::Receive(receiving) => {
                    let receiving = receiving.as_mut().project();
                    let (shared, head) = (self.shared, &*self.head);
                    let resumed = receiving.verification.as_mut().map(|parked| parked.resume(&shared.provider, head));
                    match resumed.transpose() {
                        Ok(mut resumed) => {
                            let mut feed = |arrived: Arrived<'_>| {
                                if let Some((verification, fed)) = &mut resumed {
                                    shared.feed(verification, head, arrived, fed);
                                }
                            };
                            match receiving.receiver.poll(body.as_mut(), cx, shared.body_limit, &mut feed) {
                                Poll::Ready(Ok(())) => {
                                    receiving.receiver.finish(&mut self.received);
                                    match resumed {
                                        Some((mut verification, fed)) => self.finish(&mut verification, fed),
                                        None => Next::HandOn,
                                    }
                                }
                                Poll::Ready(Err(rejection)) => self.refuse(rejection),
                                Poll::Pending => {
                                    if let (Some(parked), Some((verification, fed))) = (receiving.verification, resumed)
                                    {
                                        parked.keep(verification, fed);
                                    }
                                    ready!(receiving.timer.poll(shared.body_timeout, cx));
                                    self.refuse(Reason::BodyTimeout.into())
                                }
                            }
                        }
                        Err(rejection) => self.refuse(rejection),
                    }
                }
                Stage::Decide(waiting) => {
                    let (pending, received) = &mut **waiting;
                    let verdict = ready!(pending.as_mut().poll(cx));
                    self.received = mem::take(received);
                    self.decide(verdict)
                }
            };
            match next {
                Next::Stage(next) => *stage = next,
                Next::Wait(next) => {
                    *stage = next;
                    return Poll::Pending;
                }
                Next::HandOn => return Poll::Ready(Ok(())),
                Next::Reply(response) => {
                    #[cfg(feature = "inspect")]
                    let response = diagnosed(self.shared, self.head, response, body, cx);
                    return Poll::Ready(Err(response));
                }
            }
        }
    }

    /// Judges the head, and the body too if it is there at once.
    #[inline(always)]
    fn begin<B>(&mut self, mut body: Pin<&mut B>, cx: &mut Context<'_>) -> Next<P>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let shared = self.shared;
        let mut lent = None;
        let mut begun = if shared.provider.shares_head() {
            let lent = lent.insert(Lent::new(self.head));
            shared.provider.begin_shared(&lent.0, &*shared.clock)
        } else {
            shared.provider.begin(self.head, &*shared.clock)
        };
        if let Ok(MaybeReady::Pending(mut pending)) = begun {
            // The announced length is checked before anything is looked up for the request.
            let announced = shared.check_announced(lent.as_ref().map_or(self.head, |lent| &lent.0), &*body);
            begun = match announced.map(|()| pending.as_mut().poll(cx)) {
                Ok(Poll::Ready(found)) => found.map(MaybeReady::Ready),
                Ok(Poll::Pending) => {
                    let mut deadline = Deadline::new(Some(shared.lookup_timeout));
                    let is_over = deadline.poll(cx).is_ready();
                    let stage = Stage::LookUp(Box::new((pending, lent, deadline)));
                    return if is_over { Next::Stage(stage) } else { Next::Wait(stage) };
                }
                Err(rejection) => {
                    drop(pending);
                    self.take_back(lent);
                    return self.refuse(rejection);
                }
            };
        }
        self.take_back(lent);
        let head = &*self.head;
        let mut received = None;
        // Nearly every request goes this way, so nothing large is moved on it.
        if let Ok(MaybeReady::Ready(Begin::Verify(verification))) = &mut begun {
            if let Err(rejection) = shared.check_announced(head, &*body) {
                return self.refuse(rejection);
            }
            let (mut receiver, mut fed) = (shared.receiver(), 0);
            let mut feed = |arrived: Arrived<'_>| shared.feed(verification, head, arrived, &mut fed);
            match receiver.poll(body.as_mut(), cx, shared.body_limit, &mut feed) {
                Poll::Ready(Err(rejection)) => return self.refuse(rejection),
                Poll::Ready(Ok(())) => {
                    receiver.finish(&mut self.received);
                    return self.finish(verification, fed);
                }
                Poll::Pending => match shared.provider.as_ref().park(verification, fed) {
                    Some(parked) => return self.wait(Receiving::new(Some(parked), receiver), cx),
                    None => received = Some((receiver, fed)),
                },
            }
        }
        match begun {
            Ok(MaybeReady::Ready(Begin::Verify(verification))) => {
                // It is always there.
                let (receiver, fed) = received.unwrap_or_else(|| (shared.receiver(), 0));
                self.wait(Receiving::new(Some(Box::new(Whole(Some((verification, fed))))), receiver), cx)
            }
            Ok(MaybeReady::Ready(begun)) => self.begun(Ok(begun), &*body),
            // Not reached, as what was pending has been polled.
            Ok(MaybeReady::Pending(pending)) => {
                let deadline = Deadline::new(Some(shared.lookup_timeout));
                Next::Stage(Stage::LookUp(Box::new((pending, None, deadline))))
            }
            Err(rejection) => self.begun(Err(rejection), &*body),
        }
    }

    /// Begins to wait for the rest of the body.
    fn wait(&mut self, mut receiving: Pin<Box<Receiving<P>>>, cx: &mut Context<'_>) -> Next<P> {
        match receiving.as_mut().project().timer.poll(self.shared.body_timeout, cx) {
            Poll::Ready(()) => self.refuse(Reason::BodyTimeout.into()),
            Poll::Pending => Next::Wait(Stage::Receive(receiving)),
        }
    }

    /// Takes the head back that a look-up has held.
    #[inline]
    fn take_back(&mut self, lent: Option<Lent>) {
        if let Some(lent) = lent {
            lent.give_back(self.head);
        }
    }

    /// Acts on what the head and a look-up led to.
    fn begun(&mut self, begun: Result<Begin<P::Verification>, Rejection>, body: &impl Body) -> Next<P> {
        let would = match begun {
            Ok(Begin::Verify(mut verification)) => {
                let parked = self.shared.provider.as_ref().park(&mut verification, 0);
                let parked = parked.unwrap_or_else(|| Box::new(Whole(Some((verification, 0)))));
                return Next::Stage(Stage::Receive(Receiving::new(Some(parked), self.shared.receiver())));
            }
            Ok(Begin::Answer(answer)) if self.shared.observe_only => Ok(answer),
            Err(rejection) if self.shared.observe_only => Err(rejection),
            Ok(Begin::Answer(answer)) => return self.answer(answer),
            Err(rejection) => return self.refuse(rejection),
        };
        self.observe(would, false);
        match self.shared.check_announced(self.head, body) {
            Ok(()) => Next::Stage(Stage::Receive(Receiving::new(None, self.shared.receiver()))),
            Err(rejection) => self.refuse(rejection),
        }
    }

    /// Has the whole body judged, of which the verification was fed so much.
    #[inline(always)]
    fn finish(&mut self, verification: &mut P::Verification, fed: usize) -> Next<P> {
        let body = &self.received.body;
        let mut verdict = self.shared.provider.finish(verification, self.head, body, &body[fed..]);
        if let Ok(MaybeReady::Ready(Outcome::Deliver(verified))) = &mut verdict {
            self.deliver(verified);
            return Next::HandOn;
        }
        match verdict {
            Ok(MaybeReady::Pending(pending)) => {
                Next::Stage(Stage::Decide(Box::new((pending, mem::take(&mut self.received)))))
            }
            Ok(MaybeReady::Ready(outcome)) => self.decide(Ok(outcome)),
            Err(rejection) => self.decide(Err(rejection)),
        }
    }

    /// Hands on that the request is genuine.
    #[inline(always)]
    fn deliver(&mut self, verified: &mut Verified) {
        let (shared, body) = (self.shared, &mut self.received.body);
        match &mut self.slot {
            None => shared.deliver(self.watch, verified, body, self.head),
            // No one else takes the body.
            Some(slot) => {
                let body = mem::take(body);
                let delivery = slot.insert(Delivery::new(&shared.sender, verified, body));
                shared.delivered(self.watch, delivery, &self.head.headers);
            }
        }
    }

    /// Acts on a verdict on the whole body.
    fn decide(&mut self, verdict: Result<Outcome, Rejection>) -> Next<P> {
        match verdict {
            Ok(Outcome::Deliver(mut verified)) => self.deliver(&mut verified),
            Ok(Outcome::Answer(answer)) if self.shared.observe_only => self.observe(Ok(answer), true),
            Err(rejection) if self.shared.observe_only => self.observe(Err(rejection), true),
            Ok(Outcome::Answer(answer)) => return self.answer(answer),
            Err(rejection) => return self.refuse_whole(rejection),
        }
        Next::HandOn
    }

    /// Tells the handler, in observe mode, what the layer would have done, and whether it has seen
    /// the body.
    #[cfg_attr(not(feature = "inspect"), allow(unused_variables))]
    fn observe(&mut self, would: Result<Answer, Rejection>, has_body: bool) {
        let verdict = self.shared.observed(self.watch, self.head, would);
        #[cfg(feature = "inspect")]
        if let Verdict::Rejected(rejection) = &verdict {
            self.shared.diagnose(self.head, rejection, || has_body.then(|| self.received.body.clone()));
        }
        self.head.extensions.insert(verdict);
    }

    fn answer(&mut self, answer: Answer) -> Next<P> {
        Next::Reply(self.shared.answer(self.watch, self.head, answer))
    }

    fn refuse(&mut self, rejection: Rejection) -> Next<P> {
        Next::Reply(self.shared.refuse(self.watch, self.head, rejection))
    }

    /// Refuses a request whose body is there.
    fn refuse_whole(&mut self, rejection: Rejection) -> Next<P> {
        #[cfg_attr(not(feature = "inspect"), allow(unused_mut))]
        let mut response = self.shared.refuse(self.watch, self.head, rejection);
        #[cfg(feature = "inspect")]
        if self.shared.diagnosis.is_some() {
            response.extensions_mut().insert(RefusedBody(mem::take(&mut self.received.body)));
        }
        Next::Reply(response)
    }
}

/// The body of a request that was refused, on its way to a diagnosis.
#[cfg(feature = "inspect")]
#[derive(Clone)]
struct RefusedBody(Bytes);

/// Has an answer explained if it is a rejection. A body that nobody has asked for yet is looked at,
/// but not waited for.
#[cfg(feature = "inspect")]
#[cold]
fn diagnosed<P: Provider, B>(
    shared: &WebhookSettings<P>,
    head: &Parts,
    mut response: Response<Bytes>,
    body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let received = response.extensions_mut().remove::<RefusedBody>();
    let Some(rejection) = Rejection::of_response(response.extensions()) else { return response };
    // What is wrong with these is told by the reason, and the body was begun.
    if matches!(
        rejection.reason(),
        Reason::BodyTooLarge | Reason::BodyTimeout | Reason::BodyBroken | Reason::Overloaded
    ) {
        return response;
    }
    shared.diagnose(head, rejection, || {
        if let Some(RefusedBody(body)) = received {
            return Some(body);
        }
        shared.check_announced(head, &*body).ok()?;
        let mut receiver = shared.receiver();
        match receiver.poll(body, cx, shared.body_limit.min(MAX_DIAGNOSED), &mut |_| {}) {
            Poll::Ready(Ok(())) => {
                let mut received = Received::default();
                receiver.finish(&mut received);
                Some(received.body)
            }
            _ => None,
        }
    });
    response
}

/// Lifts axum's own limit: the body is bounded already, and axum would refuse, unseen, what the
/// layer has verified.
#[cfg(feature = "axum")]
#[cold]
fn lift_body_limit(head: &mut Parts) {
    let mut request = Request::new(());
    mem::swap(request.extensions_mut(), &mut head.extensions);
    axum_core::extract::DefaultBodyLimit::disable().apply(&mut request);
    mem::swap(request.extensions_mut(), &mut head.extensions);
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
        let (shared, watch) = (&**this.shared, &*this.watch);
        let _entered = watch.enter();
        loop {
            match this.state.as_mut().project() {
                RequestStateProj::Verify { call, stage, body } => {
                    let PendingCall::Waits { head, .. } = call else { polled_again() };
                    let mut driver = Driver::into_extensions(shared, watch, head);
                    // What is matched and assigned here, and in which order, decides how often head and response are
                    // copied: `scripts/instructions` sees it.
                    match driver.poll(stage, body, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(())) => {
                            let Received { body, lease, .. } = driver.into_received();
                            #[cfg(feature = "axum")]
                            if body.len() > AXUM_BODY_LIMIT {
                                lift_body_limit(head);
                            }
                            *this.protocol = Protocol::of(&head.method, head.version, &head.headers);
                            *this.lease = lease;
                            let body = Full::new(body);
                            let call = mem::replace(call, PendingCall::Made);
                            let PendingCall::Waits { mut inner, head } = call else { polled_again() };
                            let handling = inner.call(Request::from_parts(head, body));
                            this.state.set(RequestState::Handle { handling });
                        }
                        Poll::Ready(Err(response)) => {
                            *this.protocol = Protocol::of(&head.method, head.version, &head.headers);
                            this.state.set(RequestState::Reply { response: Some(response) });
                        }
                    }
                }
                RequestStateProj::Handle { handling } => {
                    let handled = handling.poll(cx);
                    if let Poll::Ready(Ok(response)) = &handled {
                        shared.observe_response(response);
                        watch.answered(response.status());
                    }
                    return match handled {
                        Poll::Ready(Ok(response)) => Poll::Ready(Ok(this.protocol.pass_on(response))),
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Pending => Poll::Pending,
                    };
                }
                RequestStateProj::Reply { response } => {
                    let Some(response) = response.take() else { polled_again() };
                    watch.answered(response.status());
                    return Poll::Ready(Ok(this.protocol.translate(response).map(ResponseBody::fixed)));
                }
            }
        }
    }
}

/// The limit of axum's extractors by default. Smaller bodies pass them anyway, and lifting it costs
/// an allocation.
#[cfg(feature = "axum")]
const AXUM_BODY_LIMIT: usize = 2 * 1024 * 1024;

impl<S, P, B> fmt::Debug for ResponseFuture<S, P, B>
where
    S: Service<Request<Full<Bytes>>>,
    P: Provider,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
