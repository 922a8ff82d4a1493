//! A store in this process's memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::time::{Clock, SystemClock};

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};
use super::store::{Claim, Store, StoreError};

/// The default number of handled deliveries to remember: one a second for a day, in some 45 MB.
pub const DEFAULT_CAPACITY: u64 = 100_000;

/// The length of an answer's body that makes a delivery count once more, so that answers cannot
/// take much more memory than the capacity says.
const ANSWER_UNIT: usize = 512;

/// A [`Store`] in memory, for one process and for tests. Clones share what is remembered. Feature
/// `memory-store`.
///
/// It remembers a bounded number of handled deliveries, the latest ones. Only verified deliveries
/// that a handler accepted are remembered, so an attacker cannot evict them. One whose answer is
/// long counts once more for every 512 bytes. Claims are kept apart and never evicted. There is one
/// for each handler at work, so whatever bounds the requests in flight bounds them.
///
/// # Examples
///
/// ```
/// use tower_webhook::{DedupLayer, MemoryStore};
///
/// let layer = DedupLayer::new(MemoryStore::new(10_000));
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    deliveries: Arc<Deliveries>,
    clock: Arc<dyn Clock>,
}

struct Deliveries {
    /// The lock is held over operations on `done` too, which makes them atomic.
    claims: Mutex<HashMap<Key, Claimed>>,
    done: Cache<Key, Done>,
}

struct Claimed {
    token: ClaimToken,
    until: SystemTime,
}

#[derive(Clone)]
struct Done {
    answer: DoneAnswer,
    until: SystemTime,
    retention: Duration,
}

impl MemoryStore {
    /// Creates a store that remembers this many handled deliveries, at least one.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let done = Cache::builder()
            .max_capacity(capacity.max(1))
            .weigher(|_, done: &Done| 1 + u32::try_from(done.answer.body().len() / ANSWER_UNIT).unwrap_or(u32::MAX - 1))
            // The default policy may refuse a new entry in favor of an old one that was looked up more often.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Retention)
            .build();
        Self { deliveries: Arc::new(Deliveries { claims: Mutex::default(), done }), clock: Arc::new(SystemClock) }
    }

    /// Sets the clock. The default is the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<Key, Claimed>> {
        self.deliveries.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the present time, and the end of a span of this length from now.
    fn span(&self, length: Duration) -> (SystemTime, SystemTime) {
        let now = self.clock.now();
        (now, now.checked_add(length).unwrap_or(now))
    }
}

impl Store for MemoryStore {
    async fn claim(&self, key: Key, token: ClaimToken, lease: Duration) -> Result<Claim, StoreError> {
        let mut claims = self.claims();
        let (now, until) = self.span(lease);
        match claims.entry(key) {
            Entry::Occupied(held) if held.get().token != token && held.get().until > now => Ok(Claim::InFlight),
            entry => match self.deliveries.done.get(&key).filter(|done| done.until > now) {
                Some(done) => Ok(Claim::Done(done.answer)),
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
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let mut claims = self.claims();
        let (now, until) = self.span(retention);
        let taken = match claims.get(&key) {
            Some(held) => held.token != token && held.until > now,
            None => self.deliveries.done.get(&key).is_some_and(|done| done.until > now),
        };
        if !taken {
            claims.remove(&key);
            self.deliveries.done.insert(key, Done { answer, until, retention });
        }
        Ok(!taken)
    }

    async fn release(&self, key: Key, token: ClaimToken) -> Result<(), StoreError> {
        self.release_now(key, token);
        Ok(())
    }

    fn release_now(&self, key: Key, token: ClaimToken) -> bool {
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
        f.debug_struct("MemoryStore")
            .field("capacity", &self.deliveries.done.policy().max_capacity())
            .finish_non_exhaustive()
    }
}

/// Frees the memory of what has expired. Whether something has expired is judged by the store's
/// clock.
struct Retention;

impl Expiry<Key, Done> for Retention {
    fn expire_after_create(&self, _: &Key, done: &Done, _: Instant) -> Option<Duration> {
        Some(done.retention)
    }

    fn expire_after_update(&self, _: &Key, done: &Done, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(done.retention)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    /// The stores' futures never wait.
    fn now<T>(future: impl Future<Output = Result<T, StoreError>>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(result) => result.unwrap(),
            std::task::Poll::Pending => panic!("the store waits"),
        }
    }

    fn handle(store: &MemoryStore, id: u64) -> Claim {
        // A digest of each would take most of the time.
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&id.to_be_bytes());
        let (key, token) = (Key(bytes), ClaimToken::new());
        let claim = now(store.claim(key, token, Duration::from_secs(60)));
        if claim == Claim::Won {
            assert!(now(store.commit(key, token, DoneAnswer::new(StatusCode::OK), Duration::from_secs(60))));
        }
        claim
    }

    #[test]
    fn a_million_ids_leave_only_the_latest_behind_and_no_claim_in_flight_is_lost() {
        const CAPACITY: u64 = 1000;
        // A fixed clock: on a loaded machine this takes longer than the claim in flight lasts.
        let store = MemoryStore::new(CAPACITY).with_clock(|| SystemTime::UNIX_EPOCH);
        let (flying, owner, other) = (Key::new("test", "in flight"), ClaimToken::new(), ClaimToken::new());
        now(store.claim(flying, owner, Duration::from_secs(60)));
        let mut most = 0;
        for id in 0..1_000_000 {
            assert_eq!(handle(&store, id), Claim::Won);
            if id % 10_007 == 0 {
                most = most.max(store.deliveries.done.iter().count());
            }
        }
        // What is over the capacity waits for the cache's next round of cleaning.
        assert!(most <= 3 * 1000, "{most} entries at a time");
        store.deliveries.done.run_pending_tasks();
        assert_eq!(store.deliveries.done.entry_count(), CAPACITY);
        assert_eq!(store.claims().len(), 1);
        assert_eq!(now(store.claim(flying, other, Duration::from_secs(60))), Claim::InFlight);
        assert_eq!(handle(&store, 999_999), Claim::Done(DoneAnswer::new(StatusCode::OK)));
        assert_eq!(handle(&store, 0), Claim::Won);
    }

    #[test]
    fn a_hundred_threads_claim_a_key_once() {
        let store = MemoryStore::default();
        for round in 0..20 {
            let barrier = std::sync::Barrier::new(100);
            let won = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..100 {
                    scope.spawn(|| {
                        barrier.wait();
                        if handle(&store, round) == Claim::Won {
                            won.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
        }
    }

    #[test]
    fn long_answers_count_for_more_so_that_memory_stays_bounded() {
        let store = MemoryStore::new(100);
        for id in 0..1000_u64 {
            let (key, token) = (Key::new("test", id.to_string()), ClaimToken::new());
            let answer = DoneAnswer::new(StatusCode::OK).with_body(vec![b'x'; 4096]);
            assert!(now(store.commit(key, token, answer, Duration::from_secs(60))));
        }
        store.deliveries.done.run_pending_tasks();
        assert_eq!(store.deliveries.done.entry_count(), 11);
    }

    #[test]
    fn what_was_released_leaves_nothing_behind() {
        let store = MemoryStore::new(0);
        let (key, token) = (Key::new("test", "1"), ClaimToken::new());
        now(store.claim(key, token, Duration::from_secs(60)));
        assert!(store.release_now(key, token));
        assert_eq!((store.claims().len(), store.deliveries.done.entry_count()), (0, 0));
    }
}
