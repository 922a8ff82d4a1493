//! Reading a body to its end.

use std::error::Error;
use std::io;
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

/// After this many frames without a pause the task yields, so that a client that sends tiny frames
/// can't hold a thread.
const MAX_FRAMES_PER_POLL: usize = 256;

/// A body being received: what has arrived, and the bounds on the rest.
pub(crate) struct Receiver {
    collector: Collector,
    /// How much of it was fed to the verification.
    fed: usize,
    deadline: Deadline,
}

/// A whole body.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) body: Bytes,
    /// How much of it, from its start, was fed to the verification.
    pub(crate) fed: usize,
    pub(crate) lease: Lease,
}

/// Refuses a body by the length that it announces, before any of it is read.
#[inline]
pub(crate) fn check_announced(headers: &HeaderMap, body: &impl Body, limit: usize) -> Result<(), Rejection> {
    let hint = body.size_hint();
    // A body that knows its length has it from the header, or from a better source.
    let announced = hint.exact().or_else(|| headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok());
    let announced = announced.unwrap_or(0).max(hint.lower());
    if announced > limit as u64 {
        return Err(Rejection::new(Reason::BodyTooLarge).with_detail("by the length that it announces"));
    }
    Ok(())
}

impl Receiver {
    #[inline]
    pub(crate) fn new(limit: usize, timeout: Option<Duration>, lease: Lease) -> Self {
        Self { collector: Collector::new(limit, lease), fed: 0, deadline: Deadline::new(timeout) }
    }

    /// Polls the body to its end. Trailers are ignored.
    ///
    /// What has arrived goes to `feed` once there is a second frame, or nothing to do but wait for
    /// one: a body that is there at once can be verified in one go.
    pub(crate) fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
        feed: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<(), Rejection>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        for _ in 0..MAX_FRAMES_PER_POLL {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let is_first = self.collector.len() == 0;
                    self.collector.push(data, || body.size_hint().exact())?;
                    if !is_first {
                        self.feed(feed);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error.into()))),
                Poll::Ready(None) => return Poll::Ready(self.collector.complete().map_err(Into::into)),
                Poll::Pending => {
                    self.feed(feed);
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

    fn feed(&mut self, feed: &mut dyn FnMut(&[u8])) {
        if self.fed < self.collector.len() {
            self.collector.each_since(self.fed, feed);
            self.fed = self.collector.len();
        }
    }

    /// Puts what arrived where it stays.
    #[inline]
    pub(crate) fn finish(&mut self, received: &mut Received) {
        received.fed = self.fed;
        received.lease = self.collector.finish(&mut received.body);
    }
}

/// Returns the rejection for a body that failed: too large if a limit around this layer was
/// reached, else broken. The detail says how, where the server tells: as hyper does for HTTP/1.
fn broken(error: BoxError) -> Rejection {
    let mut detail = None;
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(inner) = cause {
        if inner.is::<LengthLimitError>() {
            return Reason::BodyTooLarge.into();
        }
        detail = detail.or_else(|| inner.downcast_ref().and_then(how));
        cause = inner.source();
    }
    let rejection = Rejection::new(Reason::BodyBroken);
    let rejection = detail.into_iter().fold(rejection, Rejection::with_detail);
    rejection.with_source(error)
}

/// Tells a sender that frames its body wrongly, which it does each time, from a connection that was
/// lost.
fn how(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as Kind;

    match error.kind() {
        Kind::InvalidData | Kind::InvalidInput => Some("it is not framed as HTTP demands"),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::TimedOut => {
            Some("the connection was lost")
        }
        _ => None,
    }
}
