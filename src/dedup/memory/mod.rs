//! A store in this process's memory.

mod answers;
mod index;
mod shard;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use crate::time::{Clock, SystemClock};

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};
use super::store::{Claim, Granted, Store, StoreError};
use shard::{KeyHasher, Moment, Shard};

/// The default number of handled deliveries to remember: one a second for a day, in some 10 MB
/// if handlers answer each as the one before.
pub const DEFAULT_CAPACITY: u64 = 100_000;

/// As many shards are enough for deliveries not to wait for each other: two do only if they are in
/// one, and hold it for the time of a look into its index.
const ENOUGH_SHARDS: u64 = 16;
/// A shard remembers at least this many deliveries: more than the longest answer counts for.
const MIN_SHARD: u64 = 512;
/// More than that are divided among more shards, as the index of a shard is made for so many.
const MAX_SHARD: u64 = 32_768;
/// With so many shards, deliveries are more than memory has room for.
const MAX_SHARDS: u64 = 4096;

/// A [`Store`] in memory, for one process and for tests. Clones share what is remembered. Feature
/// `memory-store`.
///
/// It remembers a bounded number of handled deliveries, the latest ones. Only verified deliveries
/// that a handler accepted are remembered, so an attacker cannot evict them. One whose answer is
/// long counts once more for every 512 bytes. The retention counts from the commit, or from the
/// claim if the handler answered without being waited for. Claims are never evicted. There is one
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
    shards: Arc<[Mutex<Shard>]>,
    hasher: KeyHasher,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// Creates a store that remembers this many handled deliveries, at least one.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let capacity = capacity.max(1);
        let enough = (capacity / MIN_SHARD).clamp(1, ENOUGH_SHARDS);
        let shards = capacity.div_ceil(MAX_SHARD).clamp(enough, MAX_SHARDS);
        let hasher = KeyHasher::new();
        let share = |shard| capacity / shards + u64::from(shard < capacity % shards);
        let shards = (0..shards).map(|shard| Mutex::new(Shard::new(share(shard), hasher))).collect();
        Self { shards, hasher, clock: Arc::new(SystemClock) }
    }

    /// Sets the clock. The default is the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// As [`claim`](Store::claim), and tells of a claim that is granted what makes its commit
    /// faster.
    pub(super) fn claim_now(
        &self,
        key: Key,
        token: ClaimToken,
        lease: Duration,
        granted: &mut Option<Granted>,
    ) -> Claim {
        let now = self.now();
        match self.shard(&key).claim(key, token, now, end_of(lease, now)) {
            Ok(place) => {
                *granted = Some(Granted { place, at: now });
                Claim::Won
            }
            Err(taken) => taken,
        }
    }

    /// As [`commit`](Store::commit), but copies nothing of an answer that is as the one before. A
    /// claim that was granted just now counts from then.
    pub(super) fn commit_now(
        &self,
        key: Key,
        token: ClaimToken,
        answer: &DoneAnswer,
        retention: Duration,
        granted: Option<Granted>,
    ) -> bool {
        if let Some(Granted { place, at }) = granted
            && self.shard(&key).commit_at(place, &key, token, answer, at, end_of(retention, at))
        {
            return true;
        }
        let now = self.now();
        self.shard(&key).commit(key, token, answer, now, end_of(retention, now))
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // A shard's index goes by the upper half of the hash.
        let shard = ((self.hasher.hash(key) & 0xffff_ffff) * self.shards.len() as u64) >> 32;
        #[allow(clippy::cast_possible_truncation, reason = "it is one of 4096")]
        lock(&self.shards[shard as usize])
    }

    fn now(&self) -> Moment {
        moment(self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

fn moment(since_epoch: Duration) -> Moment {
    since_epoch.as_secs().saturating_mul(1_000_000_000).saturating_add(since_epoch.subsec_nanos().into())
}

fn end_of(length: Duration, start: Moment) -> Moment {
    start.saturating_add(moment(length))
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    async fn claim(&self, key: Key, token: ClaimToken, lease: Duration) -> Result<Claim, StoreError> {
        Ok(self.claim_now(key, token, lease, &mut None))
    }

    async fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        Ok(self.commit_now(key, token, &answer, retention, None))
    }

    async fn release(&self, key: Key, token: ClaimToken) -> Result<(), StoreError> {
        self.release_now(key, token);
        Ok(())
    }

    fn release_now(&self, key: Key, token: ClaimToken) -> bool {
        self.shard(&key).release(key, token);
        true
    }

    fn is_ready_at_once(&self) -> bool {
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
        let capacity: u64 = self.shards.iter().map(|shard| lock(shard).capacity()).sum();
        f.debug_struct("MemoryStore").field("capacity", &capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

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

    fn remembered(store: &MemoryStore) -> usize {
        store.shards.iter().map(|shard| lock(shard).count().0).sum()
    }

    fn claims(store: &MemoryStore) -> usize {
        store.shards.iter().map(|shard| lock(shard).count().1).sum()
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
                most = most.max(remembered(&store));
            }
        }
        assert!(most <= 1000, "{most} entries at a time");
        assert_eq!(remembered(&store) as u64, CAPACITY);
        assert_eq!(claims(&store), 1);
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
        assert_eq!(remembered(&store), 11);
    }

    #[test]
    fn what_was_released_leaves_nothing_behind() {
        let store = MemoryStore::new(0);
        let (key, token) = (Key::new("test", "1"), ClaimToken::new());
        now(store.claim(key, token, Duration::from_secs(60)));
        assert!(store.release_now(key, token));
        assert_eq!((claims(&store), remembered(&store)), (0, 0));
    }

    #[test]
    fn a_large_store_remembers_all_of_its_capacity_over_its_shards() {
        let store = MemoryStore::new(20_001).with_clock(|| SystemTime::UNIX_EPOCH);
        assert_eq!(store.shards.len() as u64, ENOUGH_SHARDS);
        for id in 0..100_000 {
            assert_eq!(handle(&store, id), Claim::Won);
        }
        assert_eq!(remembered(&store), 20_001);
        assert_eq!(handle(&store, 99_999), Claim::Done(DoneAnswer::new(StatusCode::OK)));
    }

    #[test]
    fn an_answer_of_more_than_the_capacity_is_remembered_until_the_next_one() {
        let store = MemoryStore::new(1);
        for id in 0..3 {
            let (key, token) = (Key::new("test", id.to_string()), ClaimToken::new());
            let answer = DoneAnswer::new(StatusCode::OK).with_body(vec![b'x'; 4096]);
            assert!(now(store.commit(key, token, answer.clone(), Duration::from_secs(60))));
            assert_eq!(now(store.claim(key, ClaimToken::new(), Duration::from_secs(60))), Claim::Done(answer));
            assert_eq!(remembered(&store), 1);
        }
    }

    #[test]
    fn a_key_that_expires_and_comes_again_takes_the_memory_of_one() {
        let time = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let seconds = time.clone();
        let clock =
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.load(std::sync::atomic::Ordering::Relaxed));
        let store = MemoryStore::new(100).with_clock(clock);
        let commit = |id: &str, retention: u64| {
            let (key, token) = (Key::new("test", id), ClaimToken::new());
            assert_eq!(now(store.claim(key, token, Duration::from_secs(1))), Claim::Won);
            let answer = DoneAnswer::new(StatusCode::OK);
            assert!(now(store.commit(key, token, answer, Duration::from_secs(retention))));
        };
        commit("stays", 1_000_000);
        for _ in 0..1000 {
            commit("comes again", 1);
            time.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
        }
        let shard = lock(&store.shards[0]);
        assert_eq!((shard.count(), shard.weight(), shard.entries()), ((2, 0), 2, 2));
    }

    #[test]
    fn a_commit_at_once_counts_from_its_claim_and_any_other_from_when_it_comes() {
        let time = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let at = |second| time.store(second, std::sync::atomic::Ordering::Relaxed);
        let seconds = time.clone();
        let store = MemoryStore::new(100).with_clock(move || {
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.load(std::sync::atomic::Ordering::Relaxed))
        });
        let minute = Duration::from_secs(60);
        let ok = DoneAnswer::new(StatusCode::OK);
        for (id, is_at_once, after) in
            [("at once", true, Claim::Won), ("later", false, Claim::Done(DoneAnswer::new(StatusCode::OK)))]
        {
            at(0);
            let (key, token, mut granted) = (Key::new("test", id), ClaimToken::new(), None);
            assert_eq!(store.claim_now(key, token, minute, &mut granted), Claim::Won);
            at(10);
            assert!(store.commit_now(key, token, &ok, minute, granted.filter(|_| is_at_once)));
            at(65);
            assert_eq!(now(store.claim(key, ClaimToken::new(), minute)), after);
        }
    }

    #[test]
    fn a_claim_that_was_lost_is_not_committed_by_where_it_was() {
        let store = MemoryStore::new(100).with_clock(|| SystemTime::UNIX_EPOCH);
        let (key, token, mut granted) = (Key::new("test", "1"), ClaimToken::new(), None);
        assert_eq!(store.claim_now(key, token, Duration::from_secs(60), &mut granted), Claim::Won);
        assert!(store.release_now(key, token));
        assert_eq!(now(store.claim(key, ClaimToken::new(), Duration::from_secs(60))), Claim::Won);
        assert!(!store.commit_now(key, token, &DoneAnswer::new(StatusCode::OK), Duration::from_secs(60), granted));
    }
}
