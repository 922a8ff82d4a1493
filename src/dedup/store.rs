//! The trait of stores, where claims are kept.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};

/// The place where a [`DedupLayer`](crate::DedupLayer) keeps which deliveries are being handled and
/// which are done.
///
/// Under each key there is nothing, a claim with its owner's token, or a done delivery with its
/// answer. Claims and done deliveries expire. Each operation is atomic across all processes that
/// share the store: two at the same time end as if one had come first. No operation overwrites what
/// belongs to another token.
///
/// Use `testing::store_suite` (feature `testing`) to test an implementation.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
///
/// use tower_webhook::dedup::{Claim, ClaimToken, DoneAnswer, Key, Store, StoreError};
///
/// /// Only an example: nothing ever expires.
/// #[derive(Default)]
/// struct Eternal(Mutex<HashMap<Key, Result<DoneAnswer, ClaimToken>>>);
///
/// impl Store for Eternal {
///     async fn claim(&self, key: Key, token: ClaimToken, _lease: Duration) -> Result<Claim, StoreError> {
///         Ok(match self.0.lock().unwrap().entry(key).or_insert(Err(token)) {
///             Ok(answer) => Claim::Done(answer.clone()),
///             Err(owner) if *owner == token => Claim::Won,
///             Err(_) => Claim::InFlight,
///         })
///     }
///
///     async fn commit(
///         &self,
///         key: Key,
///         token: ClaimToken,
///         answer: DoneAnswer,
///         _retention: Duration,
///     ) -> Result<bool, StoreError> {
///         let mut entries = self.0.lock().unwrap();
///         let free = entries.get(&key).is_none_or(|held| *held == Err(token));
///         if free {
///             entries.insert(key, Ok(answer));
///         }
///         Ok(free)
///     }
///
///     async fn release(&self, key: Key, token: ClaimToken) -> Result<(), StoreError> {
///         let mut entries = self.0.lock().unwrap();
///         if entries.get(&key) == Some(&Err(token)) {
///             entries.remove(&key);
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Store: Send + Sync + 'static {
    /// Claims a free key for the time of the lease. The owner's own claim is extended to a whole
    /// lease from now.
    ///
    /// # Errors
    ///
    /// Returns an error if the store can't be reached or doesn't understand. It may have granted
    /// the claim anyway; the layer then releases it.
    fn claim(
        &self,
        key: Key,
        token: ClaimToken,
        lease: Duration,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Turns the owner's claim, or a key that is free because the lease ended, into a done delivery
    /// for the time of the retention, with what was answered. Returns false, and changes
    /// nothing, if the key belongs to another token or is done already.
    ///
    /// # Errors
    ///
    /// Returns an error if the store can't be reached or doesn't understand.
    fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Frees the key if this is the owner's token. Otherwise nothing happens.
    ///
    /// # Errors
    ///
    /// Returns an error if the store can't be reached or doesn't understand.
    fn release(&self, key: Key, token: ClaimToken) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// As [`release`](Self::release), but without waiting. Returns false if the store can't do
    /// that, which is the default.
    ///
    /// It is called when a handler panicked or was dropped, and must not panic itself. If it
    /// returns false, the layer spawns a task for `release` if it runs on tokio, and otherwise
    /// leaves the claim to its lease.
    fn release_now(&self, key: Key, token: ClaimToken) -> bool {
        let _ = (key, token);
        false
    }

    /// Returns whether the futures of the other methods never wait, as those of a store in memory.
    /// The layer then polls them where they are made, without a box and a time-out. The default
    /// is false.
    fn is_ready_at_once(&self) -> bool {
        false
    }
}

impl<S: Store> Store for Arc<S> {
    fn claim(
        &self,
        key: Key,
        token: ClaimToken,
        lease: Duration,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send {
        S::claim(self, key, token, lease)
    }

    fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        S::commit(self, key, token, answer, retention)
    }

    fn release(&self, key: Key, token: ClaimToken) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::release(self, key, token)
    }

    fn release_now(&self, key: Key, token: ClaimToken) -> bool {
        S::release_now(self, key, token)
    }

    fn is_ready_at_once(&self) -> bool {
        S::is_ready_at_once(self)
    }
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key belongs to the token now.
    Won,
    /// The key belongs to another token.
    InFlight,
    /// The delivery was handled before, and this was answered.
    Done(DoneAnswer),
}

/// What a store in memory knows of a claim that it has granted, so that a commit right after it
/// needs neither to search for it nor to look at the clock again.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "memory-store"), allow(dead_code, reason = "no other store has anything to tell"))]
pub(super) struct Granted {
    /// Where the claim is.
    pub(super) place: u32,
    /// When it was granted, in nanoseconds since 1970.
    pub(super) at: u64,
}

/// An error of a store that can't be reached, doesn't answer in time, or gives an answer that makes
/// no sense.
///
/// Its source is for the operator and must hold no password.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Creates an error with a fixed text.
    #[must_use]
    pub const fn new(message: &'static str) -> Self {
        Self { message, source: None }
    }

    /// Sets the error that caused this one. It must hold no password.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }
}
