//! Claims in this process's memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::time::{Clock, SystemClock};

use super::key::{Key, Token};
use super::store::{Claim, Store, StoreError};

/// How many handled deliveries are remembered unless it is set: one a second for a day, in some 30 MB at most.
pub const DEFAULT_CAPACITY: u64 = 100_000;

/// A [`Store`] in memory: for one process, and for tests. Clones share everything.
///
/// It remembers a bounded number of handled deliveries, the latest ones. Only verified deliveries that a handler accepted are
/// remembered, so a stranger cannot crowd them out. Claims are apart from them and never crowded out; there is one for
/// each handler at work, so whatever bounds the requests in flight bounds them.
///
/// ```
/// use tower_webhook::{DedupLayer, MemoryStore};
///
/// let layer = DedupLayer::new(MemoryStore::new(10_000));
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    /// The lock is held over whatever is done to `done` too: that makes the operations atomic.
    claims: Mutex<HashMap<Key, Claimed>>,
    done: Cache<Key, Done>,
    clock: Arc<dyn Clock>,
}

struct Claimed {
    token: Token,
    until: SystemTime,
}

#[derive(Clone, Copy)]
struct Done {
    status: StatusCode,
    until: SystemTime,
    retention: Duration,
}

impl MemoryStore {
    /// A store that remembers this many handled deliveries, at least one.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self::with_clock(capacity, SystemClock)
    }

    /// A store with another clock than the system's.
    #[must_use]
    pub fn with_clock(capacity: u64, clock: impl Clock) -> Self {
        let done = Cache::builder()
            .max_capacity(capacity.max(1))
            // The default would rather refuse a new entry than give up an old one that was asked for more often.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Retention)
            .build();
        Self(Arc::new(Inner { claims: Mutex::default(), done, clock: Arc::new(clock) }))
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<Key, Claimed>> {
        self.0.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present time, and the end of what lasts this long from now.
    fn span(&self, length: Duration) -> (SystemTime, SystemTime) {
        let now = self.0.clock.now();
        (now, now.checked_add(length).unwrap_or(now))
    }
}

impl Store for MemoryStore {
    async fn claim(&self, key: Key, token: Token, lease: Duration) -> Result<Claim, StoreError> {
        let mut claims = self.claims();
        let (now, until) = self.span(lease);
        match claims.entry(key) {
            Entry::Occupied(held) if held.get().token != token && held.get().until > now => Ok(Claim::InFlight),
            entry => match self.0.done.get(&key).filter(|done| done.until > now) {
                Some(done) => Ok(Claim::Done(done.status)),
                None => {
                    entry.insert_entry(Claimed { token, until });
                    Ok(Claim::Won)
                }
            },
        }
    }

    async fn commit(
        &self,
        key: Key,
        token: Token,
        status: StatusCode,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let mut claims = self.claims();
        let (now, until) = self.span(retention);
        let taken = match claims.get(&key) {
            Some(held) => held.token != token && held.until > now,
            None => self.0.done.get(&key).is_some_and(|done| done.until > now),
        };
        if !taken {
            claims.remove(&key);
            self.0.done.insert(key, Done { status, until, retention });
        }
        Ok(!taken)
    }

    async fn release(&self, key: Key, token: Token) -> Result<(), StoreError> {
        self.release_now(key, token);
        Ok(())
    }

    fn release_now(&self, key: Key, token: Token) -> bool {
        let mut claims = self.claims();
        if claims.get(&key).is_some_and(|held| held.token == token) {
            claims.remove(&key);
        }
        true
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity", &self.0.done.policy().max_capacity()).finish_non_exhaustive()
    }
}

/// Frees the memory of what is over. Whether it is over is judged by the clock that the store was given.
struct Retention;

impl Expiry<Key, Done> for Retention {
    fn expire_after_create(&self, _: &Key, done: &Done, _: Instant) -> Option<Duration> {
        Some(done.retention)
    }

    fn expire_after_update(&self, _: &Key, done: &Done, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(done.retention)
    }
}
