//! A body that follows a script.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// One step of a [`ScriptedBody`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// A frame of data.
    Data(Bytes),
    /// Pending once. The task is woken at once.
    Pause,
    /// Pending for good. The task is never woken.
    Stall,
    /// A frame of trailers.
    Trailers(HeaderMap),
    /// The connection breaks.
    Break,
}

/// A request body for tests: frames, pauses and failures in the given order.
///
/// # Examples
///
/// ```
/// use tower_webhook::testing::{Step, ScriptedBody};
///
/// let steps = [Step::Data("half ".into()), Step::Pause, Step::Data("a body".into()), Step::Break];
/// let body = ScriptedBody::new(steps);
/// ```
#[derive(Debug)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    size_hint: SizeHint,
}

impl ScriptedBody {
    /// Creates a body that takes these steps and then ends.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), size_hint: SizeHint::default() }
    }

    /// Splits a body into frames of `size` bytes, with a pause after each.
    ///
    /// # Panics
    ///
    /// Panics if `size` is 0.
    #[must_use]
    pub fn in_frames(body: &Bytes, size: usize) -> Self {
        assert!(size > 0, "a frame of no bytes never ends");
        let frames = (0..body.len()).step_by(size).map(|at| body.slice(at..body.len().min(at + size)));
        Self::new(frames.flat_map(|frame| [Step::Data(frame), Step::Pause]))
    }

    /// Sets the size hint, whether or not it is true.
    #[must_use]
    pub fn with_size_hint(mut self, size_hint: SizeHint) -> Self {
        self.size_hint = size_hint;
        self
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Break) => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::clone(&self.size_hint)
    }
}
