//! A body that does what a script says.

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
    /// Nothing yet; the task is woken at once.
    Pause,
    /// Nothing, and nobody is ever woken.
    Stall,
    /// A frame of trailers.
    Trailers(HeaderMap),
    /// The connection breaks.
    Break,
}

/// A request body for tests: frames, pauses and failures in the order that they are given in.
///
/// ```
/// use tower_webhook::testing::{ScriptedBody, Step};
///
/// let body = ScriptedBody::new([Step::Data("half ".into()), Step::Pause, Step::Data("a body".into()), Step::Break]);
/// ```
#[derive(Debug)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    size_hint: SizeHint,
}

impl ScriptedBody {
    /// A body that takes these steps and ends.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), size_hint: SizeHint::default() }
    }

    /// The body split into frames of `size` bytes, with a pause after each.
    ///
    /// # Panics
    ///
    /// Where `size` is 0.
    #[must_use]
    pub fn in_frames(body: &Bytes, size: usize) -> Self {
        assert!(size > 0, "a frame of no bytes never ends");
        let frames = (0..body.len()).step_by(size).map(|at| body.slice(at..body.len().min(at + size)));
        Self::new(frames.flat_map(|frame| [Step::Data(frame), Step::Pause]))
    }

    /// What the body says of its size, true or not.
    #[must_use]
    pub fn announcing(mut self, size_hint: SizeHint) -> Self {
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
        self.size_hint
    }
}
