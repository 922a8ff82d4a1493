//! How long a sender waits once it has sent everything.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service as _};

use crate::apps::{self, bare_mac, signed};
use crate::cases::Sides;
use crate::paired::{now, timed};

const LEN: usize = 1 << 20;
const FRAME: usize = 16 << 10;

/// From the last frame's arrival to the response: 1 MiB in frames of 16 KiB. Both sides gather the
/// frames as they arrive.
pub fn last_frame() -> Sides {
    let body = apps::body(LEN);
    let (frames, head) =
        (move || (0..LEN).step_by(FRAME).map(|at| body.slice(at..at + FRAME)).collect(), signed(apps::body(LEN)));
    let request = move || {
        let feed = Feed::new();
        (feed.clone(), head().map(|_| feed))
    };
    let mut ours = apps::layer().without_body_timeout().layer(apps::behind());
    let (mut theirs, mac) = (apps::bare(), bare_mac());
    let (frames_too, request_too) = (frames.clone(), request.clone());
    (
        Box::new(timed(move || {
            let (feed, request) = request();
            let response = pin!(ours.call(request));
            after_last(&feed, frames(), response)
        })),
        Box::new(timed(move || {
            let (feed, request) = request_too();
            let response = pin!(async {
                let (head, mut body) = request.into_parts();
                let mut all = Vec::with_capacity(LEN);
                while let Some(Ok(frame)) = body.frame().await {
                    all.extend_from_slice(frame.data_ref().unwrap());
                }
                assert!(!mac(&all));
                theirs.call(Request::from_parts(head, Full::new(Bytes::from(all)))).await
            });
            after_last(&feed, frames_too(), response)
        })),
    )
}

fn after_last<R>(
    feed: &Feed,
    frames: Vec<Bytes>,
    mut response: Pin<&mut impl Future<Output = Result<Response<R>, Infallible>>>,
) -> Duration {
    let cx = &mut Context::from_waker(Waker::noop());
    let last = frames.len() - 1;
    for (position, frame) in frames.into_iter().enumerate() {
        feed.push(frame);
        let start = now();
        match response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                let taken = start.elapsed();
                assert_eq!((position, response.status().as_u16()), (last, 200));
                return taken;
            }
            Poll::Pending => assert!(position < last),
        }
    }
    unreachable!("the last frame ends the body")
}

/// A body that is filled while it is read.
#[derive(Clone)]
struct Feed(Rc<RefCell<Fed>>);

struct Fed {
    frames: VecDeque<Bytes>,
    /// How much of the announced length is still to be read.
    left: usize,
}

impl Feed {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Fed { frames: VecDeque::new(), left: LEN })))
    }

    fn push(&self, frame: Bytes) {
        self.0.borrow_mut().frames.push_back(frame);
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut fed = self.0.borrow_mut();
        match (fed.frames.pop_front(), fed.left) {
            (Some(frame), _) => {
                fed.left -= frame.len();
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            (None, 0) => Poll::Ready(None),
            (None, _) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.borrow().left as u64)
    }
}
