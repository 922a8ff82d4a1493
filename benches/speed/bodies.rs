//! Bodies that are not there at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer as _, Service};
use tower_webhook::WebhookLayer;

use crate::apps::{self, signed};
use crate::by_hand;
use crate::cases::Sides;
use crate::paired::{Side, side};

/// Frames, the first of which may be pending once, as it is with hyper where the head came alone.
struct Frames {
    frames: VecDeque<Bytes>,
    is_pending: bool,
    /// What is left of the announced length.
    left: Option<u64>,
}

impl Frames {
    fn new(body: &Bytes, size: usize) -> Self {
        let frames = (0..body.len()).step_by(size).map(|at| body.slice(at..body.len().min(at + size))).collect();
        Self { frames, is_pending: false, left: Some(body.len() as u64) }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::take(&mut self.is_pending) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = self.frames.pop_front();
        if let (Some(frame), Some(left)) = (&frame, &mut self.left) {
            *left -= frame.len() as u64;
        }
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// As the layer does, and as the one that was written by hand does, with a timer each.
pub fn pending_once() -> Sides {
    let request = || {
        let (body, head) = (apps::body(1 << 10), signed(apps::body(1 << 10)));
        move || head().map(|_| Frames { is_pending: true, ..Frames::new(&body, 1 << 10) })
    };
    (
        polled_twice(request(), apps::layer().layer(apps::behind())),
        polled_twice(request(), by_hand::service(by_hand::behind())),
    )
}

fn polled_twice<S, R>(request: impl FnMut() -> Request<Frames> + 'static, mut service: S) -> Box<dyn Side>
where
    S: Service<Request<Frames>, Response = Response<R>, Error = Infallible> + 'static,
    R: 'static,
{
    Box::new(side(request, move |request| {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut response = pin!(service.call(request));
        assert!(response.as_mut().poll(cx).is_pending());
        let Poll::Ready(Ok(response)) = response.poll(cx) else { panic!("it was pending once") };
        assert_eq!(response.status(), 200);
        response
    }))
}

const LONG: usize = 25 << 20;

/// The same frames with and without a length that is known before.
pub fn unknown_length() -> Sides {
    let layer = || WebhookLayer::new(apps::sender().with_body_limit(32 << 20));
    let body = apps::body(LONG);
    let signed = signed(body.clone());
    let side = |is_known: bool| -> Box<dyn Side> {
        let (body, signed) = (body.clone(), signed.clone());
        let request = move || {
            let mut request = signed().map(|_| Frames::new(&body, 16 << 10));
            if !is_known {
                request.headers_mut().remove("content-length");
                request.body_mut().left = None;
            }
            request
        };
        let mut service = layer().layer(apps::behind());
        Box::new(side(request, move |request: Request<Frames>| {
            let cx = &mut Context::from_waker(Waker::noop());
            let mut response = pin!(service.call(request));
            // The layer yields now and then.
            let response: Response<_> = loop {
                if let Poll::Ready(Ok(response)) = response.as_mut().poll(cx) {
                    break response;
                }
            };
            assert_eq!(response.status(), 200);
            response
        }))
    };
    (side(false), side(true))
}
