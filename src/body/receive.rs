//! Reading a body to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::LengthLimitError;
use pin_project_lite::pin_project;

use crate::reject::{BoxError, Reason, Rejection};

use super::budget::Lease;
use super::collect::{Collector, Received};
use super::deadline::Deadline;

/// After this many frames without a pause the task lets others run, so that a sender of tiny frames cannot hold
/// a thread; rarely enough to cost nothing.
const FRAMES_A_TURN: usize = 256;

pin_project! {
    /// Receives one body.
    pub(crate) struct Receive<B> {
        #[pin]
        body: B,
        collector: Option<Collector>,
        #[pin]
        deadline: Deadline,
    }
}

impl<B: Body> Receive<B> {
    pub(crate) fn new(body: B, limit: usize, timeout: Option<Duration>, lease: Lease) -> Self {
        Self { body, collector: Some(Collector::new(limit, lease)), deadline: Deadline::new(timeout) }
    }
}

/// Refuses a body that announces itself as too long, before any of it is read.
pub(crate) fn check_announced(headers: &HeaderMap, body: &impl Body, limit: usize) -> Result<(), Rejection> {
    let header = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let announced = header.unwrap_or(0_u64).max(body.size_hint().lower());
    match announced > limit as u64 {
        true => Err(Rejection::new(Reason::BodyTooLarge).with_detail("by the length that it announces")),
        false => Ok(()),
    }
}

impl<B> Receive<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Gives each frame to `on_frame` as it arrives, and the whole body at the end. Trailers are ignored.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut on_frame: impl FnMut(&[u8]),
    ) -> Poll<Result<Received, Rejection>> {
        let mut this = self.project();
        for _ in 0..FRAMES_A_TURN {
            match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let (Ok(data), Some(collector)) = (frame.into_data(), this.collector.as_mut()) else { continue };
                    collector.make_room(data.len(), this.body.size_hint().exact())?;
                    on_frame(&data);
                    collector.push(data);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error.into()))),
                Poll::Ready(None) => {
                    return Poll::Ready(Ok(this.collector.take().map(Collector::finish).unwrap_or_default()));
                }
                Poll::Pending => {
                    ready!(this.deadline.poll(cx));
                    return Poll::Ready(Err(Reason::BodyTimeout.into()));
                }
            }
        }
        if this.deadline.poll(cx).is_ready() {
            return Poll::Ready(Err(Reason::BodyTimeout.into()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A body that fails because a limit around this layer was reached is too large; any other failure is the sender's or
/// the network's.
fn broken(error: BoxError) -> Rejection {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(inner) = cause {
        if inner.is::<LengthLimitError>() {
            return Reason::BodyTooLarge.into();
        }
        cause = inner.source();
    }
    Rejection::new(Reason::BodyBroken).with_source(error)
}
