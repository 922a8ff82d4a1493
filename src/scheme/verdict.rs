//! What came of a verification.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::provider::Outcome;
use crate::reject::Rejection;

/// The verdict of a [`Scheme`](super::Scheme): at once, unless a key has to be fetched.
pub struct SchemeVerdict(Step);

enum Step {
    Now(Option<Result<Outcome, Rejection>>),
    Later(Pin<Box<dyn Future<Output = Result<Outcome, Rejection>> + Send>>),
}

impl SchemeVerdict {
    pub(super) fn now(verdict: Result<Outcome, Rejection>) -> Self {
        Self(Step::Now(Some(verdict)))
    }

    pub(super) fn later(verdict: impl Future<Output = Result<Outcome, Rejection>> + Send + 'static) -> Self {
        Self(Step::Later(Box::pin(verdict)))
    }
}

impl Future for SchemeVerdict {
    type Output = Result<Outcome, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Step::Now(verdict) => match verdict.take() {
                Some(verdict) => Poll::Ready(verdict),
                None => panic!("a scheme's verdict was polled after it was ready"),
            },
            Step::Later(verdict) => verdict.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for SchemeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeVerdict").finish_non_exhaustive()
    }
}
