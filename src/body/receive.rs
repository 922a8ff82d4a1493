//! Reading a body to its end.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::LengthLimitError;

use crate::rejection::{BoxError, Reason, Rejection};

use super::budget::Lease;
use super::collect::Collector;

/// After this many frames without a pause the task yields, so that a client that sends tiny frames
/// can't hold a thread.
const MAX_FRAMES_PER_POLL: usize = 256;

/// A body being received.
#[derive(Default)]
pub(crate) struct Receiver {
    collector: Collector,
}

/// A whole body.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) body: Bytes,
    pub(crate) lease: Lease,
}

/// What has arrived of a body.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a>(&'a Collector);

impl Arrived<'_> {
    /// Returns how much it is.
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// Hands on what is behind the first `from` bytes.
    pub(crate) fn each_since(self, from: usize, take: &mut dyn FnMut(&[u8])) {
        self.0.each_since(from, take);
    }
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
    pub(crate) fn new(lease: Lease) -> Self {
        Self { collector: Collector::new(lease) }
    }

    /// Polls the body to its end, up to this limit. Trailers are ignored.
    ///
    /// What has arrived is shown to `feed` once there is a second frame, or nothing to do but wait
    /// for one: a body that is there at once can be verified in one go.
    pub(crate) fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
        limit: usize,
        feed: &mut dyn FnMut(Arrived<'_>),
    ) -> Poll<Result<(), Rejection>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let mut is_new = false;
        for _ in 0..MAX_FRAMES_PER_POLL {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let is_first = self.collector.len() == 0;
                    is_new |= !data.is_empty();
                    self.collector.push(data, limit, || body.size_hint().exact())?;
                    if is_new && !is_first {
                        feed(Arrived(&self.collector));
                        is_new = false;
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error.into()))),
                Poll::Ready(None) => return Poll::Ready(self.collector.complete().map_err(Into::into)),
                Poll::Pending => {
                    if is_new {
                        feed(Arrived(&self.collector));
                    }
                    self.collector.wait(cx.waker())?;
                    return Poll::Pending;
                }
            }
        }
        if is_new {
            feed(Arrived(&self.collector));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts what arrived where it stays.
    #[inline]
    pub(crate) fn finish(&mut self, received: &mut Received) {
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
