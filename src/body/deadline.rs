//! A lazily started time-out.

use std::task::{Context, Poll};
use std::time::Duration;

/// A bound on waiting. The timer is created once there is something to wait for, so whatever is ready at once costs none.
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

    /// Called whenever there is nothing to do but wait. Ready once the time is over; the first call starts it.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        use std::future::Future as _;

        let Some(limit) = self.limit else { return Poll::Pending };
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }

    /// Without a runtime there is no timer: the server's own time-outs must end the wait.
    #[cfg(not(feature = "tokio"))]
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let _ = self.limit;
        Poll::Pending
    }
}
