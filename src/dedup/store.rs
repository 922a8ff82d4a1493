//! Where claims are kept.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::key::{Key, Token};

/// Where [`DedupLayer`](super::DedupLayer) keeps which deliveries are being handled and which are done.
///
/// Under each key there is nothing, a claim with its owner's token, or a done delivery with its status; both end by
/// themselves. Each operation is atomic over all processes that share the store: two that happen at the same time end as if one
/// had come first. No operation overwrites what belongs to another token.
///
/// `testing::store_suite` (feature `testing`) shows whether an implementation keeps these rules.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
///
/// use http::StatusCode;
/// use tower_webhook::dedup::{Claim, Key, Store, StoreError, Token};
///
/// /// For showing the trait: it forgets nothing, neither by time nor by number.
/// #[derive(Default)]
/// struct Eternal(Mutex<HashMap<Key, Result<StatusCode, Token>>>);
///
/// impl Store for Eternal {
///     async fn claim(&self, key: Key, token: Token, _lease: Duration) -> Result<Claim, StoreError> {
///         Ok(match *self.0.lock().unwrap().entry(key).or_insert(Err(token)) {
///             Ok(status) => Claim::Done(status),
///             Err(owner) if owner == token => Claim::Won,
///             Err(_) => Claim::InFlight,
///         })
///     }
///
///     async fn commit(&self, key: Key, token: Token, status: StatusCode, _: Duration) -> Result<bool, StoreError> {
///         let mut entries = self.0.lock().unwrap();
///         let free = entries.get(&key).is_none_or(|held| *held == Err(token));
///         if free {
///             entries.insert(key, Ok(status));
///         }
///         Ok(free)
///     }
///
///     async fn release(&self, key: Key, token: Token) -> Result<(), StoreError> {
///         let mut entries = self.0.lock().unwrap();
///         if entries.get(&key) == Some(&Err(token)) {
///             entries.remove(&key);
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Store: Send + Sync + 'static {
    /// Claims a key that is free, for the time of the lease. The owner's own claim is extended to the whole lease from now.
    ///
    /// # Errors
    ///
    /// Where the store could not be reached or did not understand. It may have granted the claim all the same; the layer then
    /// releases it.
    fn claim(&self, key: Key, token: Token, lease: Duration) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Turns the owner's claim into a done delivery, for the time of the retention. A key that is free, because the lease
    /// ended, is done too. False where it belongs to somebody else or is done already: nothing has changed.
    ///
    /// # Errors
    ///
    /// Where the store could not be reached or did not understand.
    fn commit(
        &self,
        key: Key,
        token: Token,
        status: StatusCode,
        retention: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Frees the key, if this is the owner's token; otherwise nothing happens.
    ///
    /// # Errors
    ///
    /// Where the store could not be reached or did not understand.
    fn release(&self, key: Key, token: Token) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// As [`release`](Self::release), but at once and without waiting, where a store can do that; false where it cannot. It is
    /// called where nobody can wait: a handler panicked or was dropped. After false the layer leaves `release` to a task
    /// of its own, if it runs on tokio, and otherwise to the lease. It must not panic.
    fn release_now(&self, key: Key, token: Token) -> bool {
        let _ = (key, token);
        false
    }
}

impl<S: Store> Store for Arc<S> {
    fn claim(&self, key: Key, token: Token, lease: Duration) -> impl Future<Output = Result<Claim, StoreError>> + Send {
        S::claim(self, key, token, lease)
    }

    fn commit(
        &self,
        key: Key,
        token: Token,
        status: StatusCode,
        retention: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        S::commit(self, key, token, status, retention)
    }

    fn release(&self, key: Key, token: Token) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::release(self, key, token)
    }

    fn release_now(&self, key: Key, token: Token) -> bool {
        S::release_now(self, key, token)
    }
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key belongs to the token now.
    Won,
    /// The key belongs to another token.
    InFlight,
    /// The delivery was handled before, and answered with this status.
    Done(StatusCode),
}

/// A store that could not be reached, did not answer in time, or answered what makes no sense.
///
/// Its source is for the operator and must hold no password.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error with a fixed text.
    #[must_use]
    pub const fn new(message: &'static str) -> Self {
        Self { message, source: None }
    }

    /// Adds the error that caused it. It must hold no password.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }
}
