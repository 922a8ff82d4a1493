//! Lazily started time-outs. This is the only file that knows whose timer it is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "tokio")]
use pin_project_lite::pin_project;

/// A bound on waiting. The timer is created on the first wait, so that what is ready at once costs
/// none.
pub(crate) enum Deadline {
    Never,
    /// The first wait may last this long.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "there is no timer without a runtime"))]
    Limit(Duration),
    #[cfg(feature = "tokio")]
    Runs(Pin<Box<tokio::time::Sleep>>),
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

#[cfg(feature = "tokio")]
pin_project! {
    /// As a [`Deadline`], in its place: for what is in a box anyway, and knows the limit.
    #[derive(Default)]
    pub(crate) struct Timer {
        #[pin]
        sleep: Option<tokio::time::Sleep>,
    }
}

#[cfg(feature = "tokio")]
impl Timer {
    /// Becomes ready when this limit is over, which begins with the first call.
    pub(crate) fn poll(self: Pin<&mut Self>, limit: Option<Duration>, cx: &mut Context<'_>) -> Poll<()> {
        use std::future::Future as _;

        let Some(limit) = limit else { return Poll::Pending };
        let mut sleep = self.project().sleep;
        if sleep.is_none() {
            sleep.set(Some(tokio::time::sleep(limit)));
        }
        sleep.as_pin_mut().map_or(Poll::Pending, |sleep| sleep.poll(cx))
    }
}

#[cfg(not(feature = "tokio"))]
#[derive(Default)]
pub(crate) struct Timer(());

#[cfg(not(feature = "tokio"))]
impl Timer {
    pub(crate) fn poll(self: Pin<&mut Self>, _: Option<Duration>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
