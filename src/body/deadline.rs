//! A lazily started time-out. This is the only file that knows whose timer it is.

use std::task::{Context, Poll};
use std::time::Duration;

/// A bound on waiting. The timer is created on the first wait, so that what is ready at once costs
/// none.
pub(crate) struct Deadline {
    limit: Option<Duration>,
    #[cfg(feature = "tokio")]
    timer: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
}

impl Deadline {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            #[cfg(feature = "tokio")]
            timer: None,
        }
    }

    /// Becomes ready when the time is over. Call it whenever there is nothing to do but wait; the
    /// first call starts the timer.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        use std::future::Future as _;

        let Some(limit) = self.limit else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }

    /// Never becomes ready, since there is no timer without a runtime. The server's own time-outs
    /// must end the wait, and the layers have no setters for one.
    #[cfg(not(feature = "tokio"))]
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let _ = self.limit;
        Poll::Pending
    }
}
