//! A lazily started time-out. This is the only file that knows whose timer it is.

use std::task::{Context, Poll};
use std::time::Duration;

/// A bound on waiting. The timer is created on the first wait, so that what is ready at once costs
/// none.
pub(crate) enum Deadline {
    Never,
    /// The first wait may last this long.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "there is no timer without a runtime"))]
    Limit(Duration),
    #[cfg(feature = "tokio")]
    Runs(std::pin::Pin<Box<tokio::time::Sleep>>),
}

impl Deadline {
    #[inline]
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        limit.map_or(Self::Never, Self::Limit)
    }

    /// Becomes ready when the time is over. Call it whenever there is nothing to do but wait; the
    /// first call starts the timer.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        use std::future::Future as _;

        if let Self::Limit(limit) = *self {
            *self = Self::Runs(Box::pin(tokio::time::sleep(limit)));
        }
        match self {
            Self::Runs(timer) => timer.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Never becomes ready, since there is no timer without a runtime. The server's own time-outs
    /// must end the wait, and the layers have no setters for one.
    #[cfg(not(feature = "tokio"))]
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
