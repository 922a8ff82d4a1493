//! The body of a response: the handler's, or a fixed one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response through a layer of this crate: the handler's own, untouched, or the fixed one of a rejection or
    /// an answer.
    #[derive(Debug)]
    pub struct ResponseBody<R> {
        #[pin]
        kind: InnerOrFixed<R>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = InnerOrFixedProj]
    enum InnerOrFixed<R> {
        Inner { #[pin] body: R },
        // Boxed, because it is rare, and every response is moved with room for it. So one is no larger than the handler's.
        Fixed { fixed: Box<Fixed> },
    }
}

#[derive(Debug)]
struct Fixed {
    body: Full<Bytes>,
    trailers: Option<HeaderMap>,
}

/// What a state of a response future holds is there until the state is left, so this is reached in
/// one way only.
#[cold]
pub(crate) fn polled_again() -> ! {
    panic!("a response future was polled after it was ready");
}

impl<R> ResponseBody<R> {
    pub(crate) fn inner(body: R) -> Self {
        Self { kind: InnerOrFixed::Inner { body } }
    }

    pub(crate) fn fixed(body: Bytes) -> Self {
        Self::collected(body, None)
    }

    /// What a body had before it was collected.
    pub(crate) fn collected(body: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { kind: InnerOrFixed::Fixed { fixed: Box::new(Fixed { body: Full::new(body), trailers }) } }
    }
}

impl<R: Default> Default for ResponseBody<R> {
    fn default() -> Self {
        Self::inner(R::default())
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().kind.project() {
            InnerOrFixedProj::Inner { body } => body.poll_frame(cx),
            InnerOrFixedProj::Fixed { fixed } => match ready!(Pin::new(&mut fixed.body).poll_frame(cx)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Err(never)) => match never {},
                None => Poll::Ready(fixed.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            InnerOrFixed::Inner { body } => body.is_end_stream(),
            InnerOrFixed::Fixed { fixed } => fixed.body.is_end_stream() && fixed.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            InnerOrFixed::Inner { body } => body.size_hint(),
            InnerOrFixed::Fixed { fixed } => fixed.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_moved_with_no_more_than_the_handlers_body() {
        type Inner = Pin<Box<dyn Body<Data = Bytes, Error = std::io::Error>>>;
        assert_eq!(size_of::<ResponseBody<Inner>>(), size_of::<Inner>());
    }
}
