//! The time by which something has to be done; the only file that knows whose timer it is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

pin_project! {
    /// A bound on waiting. The timer is only set once there is something to wait for, so what is ready at once costs none.
    pub(crate) struct Deadline {
        limit: Option<Duration>,
        #[pin]
        timer: Timer,
    }
}

#[cfg(feature = "tokio")]
pin_project! {
    struct Timer {
        #[pin]
        sleep: Option<tokio::time::Sleep>,
    }
}

#[cfg(not(feature = "tokio"))]
struct Timer;

impl Deadline {
    #[cfg(feature = "tokio")]
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: Timer { sleep: None } }
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: Timer }
    }

    /// Called whenever there is nothing to do but wait: ready once the time is over. The first call starts the clock.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        use std::future::Future as _;

        let this = self.project();
        let Some(limit) = *this.limit else { return Poll::Pending };
        let mut sleep = this.timer.project().sleep;
        if sleep.is_none() {
            sleep.set(Some(tokio::time::sleep(limit)));
        }
        sleep.as_pin_mut().map_or(Poll::Pending, |sleep| sleep.poll(cx))
    }

    /// Without a runtime there is no timer: the server's own time-outs have to end the wait.
    #[cfg(not(feature = "tokio"))]
    pub(crate) fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let _ = self.limit;
        Poll::Pending
    }
}
