//! Reading a body to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::LengthLimitError;

use crate::rejection::{BoxError, Reason, Rejection};

use super::budget::Lease;
use super::collect::Collector;
use super::deadline::Deadline;

/// After this many frames without a pause the task lets others run, so that a sender of tiny frames cannot hold
/// a thread; rarely enough to cost nothing.
const FRAMES_A_TURN: usize = 256;

/// A body on its way: what has arrived of it, and the bounds for the rest.
pub(crate) struct Receiver {
    collector: Collector,
    /// How much of it was fed to whoever verifies it.
    fed: usize,
    deadline: Deadline,
}

/// A whole body.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) body: Bytes,
    /// How much of it, from its start, was fed to whoever verifies it.
    pub(crate) fed: usize,
    pub(crate) lease: Lease,
}

/// Refuses a body that announces itself as too long, before any of it is read.
pub(crate) fn check_announced(headers: &HeaderMap, body: &impl Body, limit: usize) -> Result<(), Rejection> {
    let hint = body.size_hint();
    // A body that knows its length has it from the header, or knows better.
    let announced = hint.exact().or_else(|| headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok());
    let announced = announced.unwrap_or(0).max(hint.lower());
    match announced > limit as u64 {
        true => Err(Rejection::new(Reason::BodyTooLarge).with_detail("by the length that it announces")),
        false => Ok(()),
    }
}

impl Receiver {
    pub(crate) fn new(limit: usize, timeout: Option<Duration>, lease: Lease) -> Self {
        Self { collector: Collector::new(limit, lease), fed: 0, deadline: Deadline::new(timeout) }
    }

    /// Ready once the whole body is there. Trailers are ignored.
    ///
    /// What has arrived goes to `feed` as soon as there is a second frame, or nothing to do but to wait for it: a body that
    /// is there at once can be verified in one go.
    pub(crate) fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
        mut feed: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Rejection>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        for _ in 0..FRAMES_A_TURN {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let is_first = self.collector.bytes().is_empty();
                    self.collector.make_room(data.len(), || body.size_hint().exact())?;
                    self.collector.push(data);
                    if !is_first {
                        self.feed(&mut feed);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error.into()))),
                Poll::Ready(None) => return Poll::Ready(self.collector.complete().map_err(Into::into)),
                Poll::Pending => {
                    self.feed(&mut feed);
                    self.collector.wait(cx.waker())?;
                    ready!(self.deadline.poll(cx));
                    return Poll::Ready(Err(Reason::BodyTimeout.into()));
                }
            }
        }
        if self.deadline.poll(cx).is_ready() {
            return Poll::Ready(Err(Reason::BodyTimeout.into()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn feed(&mut self, feed: &mut impl FnMut(&[u8])) {
        let arrived = self.collector.bytes();
        if self.fed < arrived.len() {
            feed(&arrived[self.fed..]);
            self.fed = arrived.len();
        }
    }

    /// What arrived. Called once.
    pub(crate) fn finish(&mut self) -> Received {
        let (body, lease) = self.collector.finish();
        Received { body, fed: self.fed, lease }
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
