//! Records what arrives at a layer, and what becomes of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::inner_service_accessors;
use crate::delivery::Delivery;
use crate::grpc;
use crate::rejection::Rejection;
use crate::verdict::Verdict;

use super::exchange::{Exchange, ExchangeState};
use super::ring::{MAX_RECORDED_BODY, Recorder};

/// A layer that is recorded. Made by [`Recorder::around`].
#[derive(Clone, Debug)]
pub struct RecordLayer<L> {
    recorder: Recorder,
    layer: L,
}

impl Recorder {
    /// Returns a layer that records what arrives at this layer, usually a
    /// [`WebhookLayer`](crate::WebhookLayer), and what becomes of it.
    pub fn around<L>(&self, layer: L) -> RecordLayer<L> {
        RecordLayer { recorder: self.clone(), layer }
    }
}

impl<S, L: Layer<Witness<S>>> Layer<S> for RecordLayer<L> {
    type Service = RecordService<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        RecordService { inner: self.layer.layer(Witness { inner }), recorder: self.recorder.clone() }
    }
}

/// The service of a [`RecordLayer`].
#[derive(Clone, Debug)]
pub struct RecordService<S> {
    inner: S,
    recorder: Recorder,
}

impl<S> RecordService<S> {
    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for RecordService<S>
where
    S: Service<Request<RecordedBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RecordFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::new(&head, self.recorder.clock.now());
        let seen = Seen { recorder: self.recorder.clone(), state: Arc::default() };
        let copy = Arc::new(Mutex::new(Copy::default()));
        head.extensions.insert(seen.clone());
        let request = Request::from_parts(head, RecordedBody { inner: body, copy: copy.clone(), is_over: false });
        let pending = Pending { exchange: Some(exchange), seen, copy };
        RecordFuture { inner: self.inner.call(request), pending }
    }
}

/// What is found out about a request on its way and after its answer. It is in the request's
/// extensions.
#[derive(Clone)]
pub(in crate::inspect) struct Seen {
    recorder: Recorder,
    state: Arc<Mutex<SeenState>>,
}

#[derive(Default)]
struct SeenState {
    delivery: Option<Delivery>,
    rejection: Option<Rejection>,
    explained: Option<(Vec<String>, Option<Bytes>)>,
    /// The number of the exchange, once it is kept.
    kept: Option<u64>,
}

impl Seen {
    /// Notes what would have been accepted, and the body if the layer refused the request without
    /// reading it.
    pub(in crate::inspect) fn explain(&self, explanation: Vec<String>, body: Option<Bytes>) {
        let mut state = self.lock();
        state.explained = Some((explanation, body));
        let kept = state.kept;
        drop(state);
        if let Some(id) = kept {
            self.recorder.change(id, |exchange| self.note_explanation(exchange));
        }
    }

    fn note_explanation(&self, exchange: &mut Exchange) {
        let Some((explanation, body)) = self.lock().explained.take() else { return };
        exchange.explanation = explanation;
        if let Some(body) = body.filter(|_| exchange.body_bytes == 0) {
            exchange.body_bytes = body.len() as u64;
            exchange.body = Bytes::copy_from_slice(&body[..body.len().min(MAX_RECORDED_BODY)]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, SeenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service behind a layer that is recorded: it sees what the layer has verified.
#[derive(Clone, Debug)]
pub struct Witness<S> {
    inner: S,
}

impl<S> Witness<S> {
    inner_service_accessors!();
}

impl<S, B> Service<Request<B>> for Witness<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let extensions = request.extensions();
        if let Some(seen) = extensions.get::<Seen>() {
            let mut state = seen.lock();
            state.delivery = extensions.get().cloned();
            if let Some(Verdict::Rejected(rejection)) = extensions.get() {
                state.rejection = Some(rejection.clone());
            }
        }
        self.inner.call(request)
    }
}

/// A copy of what has arrived of a body.
#[derive(Default)]
struct Copy {
    start: BytesMut,
    bytes: u64,
}

/// An exchange that has no end yet. Dropping it records that the client went away.
struct Pending {
    exchange: Option<Exchange>,
    seen: Seen,
    copy: Arc<Mutex<Copy>>,
}

impl Pending {
    fn end(&mut self, end: impl FnOnce(&mut Exchange, bool)) {
        let Some(mut exchange) = self.exchange.take() else { return };
        exchange.took = self.seen.recorder.clock.now().duration_since(exchange.received_at).unwrap_or_default();
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.body_bytes = copy.bytes;
        // Without the room that it had left to grow.
        exchange.body = Bytes::copy_from_slice(&std::mem::take(&mut copy.start));
        drop(copy);
        let (delivery, rejection) = {
            let mut state = self.seen.lock();
            (state.delivery.take(), state.rejection.take())
        };
        if let Some(delivery) = &delivery {
            exchange.note_delivery(delivery);
        }
        if let Some(rejection) = &rejection {
            exchange.note_rejection(rejection);
        }
        end(&mut exchange, delivery.is_some());
        let id = self.seen.recorder.keep(exchange);
        self.seen.lock().kept = Some(id);
        // It may have come before there was a number, or between.
        if self.seen.lock().explained.is_some() {
            self.seen.recorder.change(id, |exchange| self.seen.note_explanation(exchange));
        }
    }

    fn answered<R>(&mut self, response: &Response<R>) {
        self.end(|exchange, is_genuine| {
            exchange.status = Some(response.status());
            if let Some(rejection) = Rejection::of_response(response.extensions()) {
                exchange.note_rejection(rejection);
            }
            exchange.state = match (is_genuine, exchange.reason) {
                (true, _) if grpc::succeeded(response) => ExchangeState::Handled,
                (true, _) => ExchangeState::Failed,
                (false, Some(_)) => ExchangeState::Refused,
                (false, None) => ExchangeState::Answered,
            };
        });
    }

    fn failed(&mut self) {
        self.end(|exchange, _| {
            exchange.state = ExchangeState::Failed;
            exchange.detail = Some("the service failed without an answer".to_owned());
        });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.end(|_, _| {});
    }
}

pin_project! {
    /// The future of a [`RecordService`].
    pub struct RecordFuture<F> {
        #[pin]
        inner: F,
        pending: Pending,
    }
}

impl<F, R, E> Future for RecordFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        match &result {
            Ok(response) => this.pending.answered(response),
            Err(_) => this.pending.failed(),
        }
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for RecordFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// A body of which a copy is kept while it passes. If it is dropped before its end, as that of a
    /// request that is refused by its head, what is there at once is kept too.
    pub struct RecordedBody<B>
    where
        B: Body<Data = Bytes>,
    {
        #[pin]
        inner: B,
        copy: Arc<Mutex<Copy>>,
        is_over: bool,
    }

    impl<B> PinnedDrop for RecordedBody<B>
    where
        B: Body<Data = Bytes>,
    {
        fn drop(this: Pin<&mut Self>) {
            this.take_the_rest();
        }
    }
}

impl<B: Body<Data = Bytes>> RecordedBody<B> {
    fn take_the_rest(mut self: Pin<&mut Self>) {
        let mut cx = Context::from_waker(Waker::noop());
        while self.is_wanted() && self.as_mut().poll_copied(&mut cx).is_ready() {}
    }

    fn is_wanted(&self) -> bool {
        // Nobody wants more of a body that has no end.
        !self.is_over && self.copy.lock().is_ok_and(|copy| copy.bytes < MAX_RECORDED_BODY as u64)
    }

    fn poll_copied(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                let mut copy = this.copy.lock().unwrap_or_else(PoisonError::into_inner);
                copy.bytes += data.len() as u64;
                let room = MAX_RECORDED_BODY.saturating_sub(copy.start.len());
                copy.start.extend_from_slice(&data[..data.len().min(room)]);
            }
            Some(Err(_)) | None => *this.is_over = true,
        }
        Poll::Ready(frame)
    }
}

impl<B: Body<Data = Bytes>> Body for RecordedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.poll_copied(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body<Data = Bytes>> fmt::Debug for RecordedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedBody").finish_non_exhaustive()
    }
}
