//! A value that is known now, or once something has been looked up or fetched.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::rejection::Rejection;

/// A future behind [`MaybeReady::Pending`].
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A value that is known now, or once something has been looked up or fetched.
///
/// Nearly every request needs only what is at hand, so a ready value costs no allocation and no
/// poll.
///
/// # Examples
///
/// ```
/// use tower_webhook::provider::MaybeReady;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::Rejection> {
/// let now = MaybeReady::Ready(2);
/// let later = MaybeReady::pending(async { Ok(3) });
/// assert_eq!(now.wait().await? + later.wait().await?, 5);
/// # Ok(())
/// # }
/// ```
pub enum MaybeReady<T> {
    /// The value itself.
    Ready(T),
    /// A future of the value.
    Pending(BoxFuture<Result<T, Rejection>>),
}

impl<T> MaybeReady<T> {
    /// Boxes a future of the value.
    pub fn pending(future: impl Future<Output = Result<T, Rejection>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }

    /// Waits for the value.
    ///
    /// # Errors
    ///
    /// Returns the rejection of the pending future.
    pub async fn wait(self) -> Result<T, Rejection> {
        match self {
            Self::Ready(value) => Ok(value),
            Self::Pending(future) => future.await,
        }
    }
}

impl<T: Send + 'static> MaybeReady<T> {
    /// Turns the value into another one, now or once it is known.
    ///
    /// # Errors
    ///
    /// Returns the rejection of `turn` if the value is ready. A pending value carries the rejection
    /// in its future.
    pub fn and_then<U>(
        self,
        turn: impl FnOnce(T) -> Result<U, Rejection> + Send + 'static,
    ) -> Result<MaybeReady<U>, Rejection> {
        match self {
            Self::Ready(value) => turn(value).map(MaybeReady::Ready),
            Self::Pending(future) => Ok(MaybeReady::pending(async move { turn(future.await?) })),
        }
    }
}

impl<T> From<T> for MaybeReady<T> {
    #[inline]
    fn from(value: T) -> Self {
        Self::Ready(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for MaybeReady<T> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}
