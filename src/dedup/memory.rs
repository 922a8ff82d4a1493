//! A store in this process's memory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::time::{Clock, SystemClock};

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};
use super::store::{Claim, Store, StoreError};

/// The default number of handled deliveries to remember: one a second for a day, in some 20 MB.
pub const DEFAULT_CAPACITY: u64 = 100_000;

/// The length of an answer's body that makes a delivery count once more, so that answers cannot
/// take much more memory than the capacity says.
const ANSWER_UNIT: usize = 512;

/// The most shards. Two deliveries wait for each other only if they are in one, and hold it for the
/// time of a look into a map.
const MAX_SHARDS: u64 = 16;
/// A shard remembers at least this many deliveries: more than the longest answer counts for.
const MIN_SHARD: u64 = 512;

/// A [`Store`] in memory, for one process and for tests. Clones share what is remembered. Feature
/// `memory-store`.
///
/// It remembers a bounded number of handled deliveries, the latest ones. Only verified deliveries
/// that a handler accepted are remembered, so an attacker cannot evict them. One whose answer is
/// long counts once more for every 512 bytes. Claims are never evicted. There is one for each
/// handler at work, so whatever bounds the requests in flight bounds them.
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
    clock: Arc<dyn Clock>,
}

/// The deliveries whose keys fall into one part. Apart from the next one's, so that two processors
/// don't take one cache line from each other.
#[repr(align(128))]
struct Shard {
    capacity: u64,
    /// What the done deliveries among the entries count for.
    weight: u64,
    entries: HashMap<Key, Held, BuildHasherDefault<KeyHasher>>,
    /// The done deliveries, the oldest first, each with the number of its commit. What has another
    /// number by now is out of date.
    queue: VecDeque<(Key, u64)>,
    commits: u64,
}

/// What is under a key.
enum Held {
    Claim {
        token: ClaimToken,
        until: SystemTime,
    },
    /// The answer is boxed unless it is a mere status, as it is with nearly every handler.
    Done {
        status: StatusCode,
        answer: Option<Box<DoneAnswer>>,
        until: SystemTime,
        commit: u64,
    },
}

impl Held {
    fn weight(&self) -> u64 {
        match self {
            Self::Claim { .. } => 0,
            Self::Done { answer: None, .. } => 1,
            Self::Done { answer: Some(answer), .. } => 1 + (answer.body().len() / ANSWER_UNIT) as u64,
        }
    }
}

impl MemoryStore {
    /// Creates a store that remembers this many handled deliveries, at least one.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let capacity = capacity.max(1);
        let shards = (capacity / MIN_SHARD).clamp(1, MAX_SHARDS);
        let shards = (0..shards).map(|shard| Shard {
            capacity: capacity / shards + u64::from(shard < capacity % shards),
            weight: 0,
            entries: HashMap::default(),
            queue: VecDeque::new(),
            commits: 0,
        });
        Self { shards: shards.map(Mutex::new).collect(), clock: Arc::new(SystemClock) }
    }

    /// Sets the clock. The default is the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let mut hasher = KeyHasher::default();
        hasher.write(&key.0);
        // The map goes by the lowest and the highest bits.
        let shard = (hasher.finish() >> 48) % self.shards.len() as u64;
        #[allow(clippy::cast_possible_truncation, reason = "it is one of 16")]
        lock(&self.shards[shard as usize])
    }

    /// Returns the present time, and the end of a span of this length from now.
    fn span(&self, length: Duration) -> (SystemTime, SystemTime) {
        let now = self.clock.now();
        (now, now.checked_add(length).unwrap_or(now))
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn claim(&mut self, key: Key, token: ClaimToken, now: SystemTime, until: SystemTime) -> Claim {
        match self.entries.entry(key) {
            Entry::Occupied(mut entry) => {
                match entry.get() {
                    Held::Claim { token: owner, until } if *owner != token && *until > now => return Claim::InFlight,
                    Held::Done { status, answer, until, .. } if *until > now => {
                        return Claim::Done(
                            answer.as_ref().map_or_else(|| DoneAnswer::new(*status), |it| (**it).clone()),
                        );
                    }
                    expired => self.weight -= expired.weight(),
                }
                entry.insert(Held::Claim { token, until });
            }
            Entry::Vacant(entry) => {
                entry.insert(Held::Claim { token, until });
            }
        }
        Claim::Won
    }

    fn commit(&mut self, key: Key, token: ClaimToken, answer: DoneAnswer, now: SystemTime, until: SystemTime) -> bool {
        let is_taken = match self.entries.get(&key) {
            Some(Held::Claim { token: owner, until }) => *owner != token && *until > now,
            Some(Held::Done { until, .. }) => *until > now,
            None => false,
        };
        if is_taken {
            return false;
        }
        self.commits += 1;
        let status = answer.status();
        let answer = (answer != DoneAnswer::new(status)).then(|| Box::new(answer));
        let done = Held::Done { status, answer, until, commit: self.commits };
        self.weight += done.weight();
        if let Some(before) = self.entries.insert(key, done) {
            self.weight -= before.weight();
        }
        self.queue.push_back((key, self.commits));
        self.evict(now);
        true
    }

    /// Forgets what is over the capacity, the oldest first, and what has expired at the front of
    /// the queue. What was committed last stays.
    fn evict(&mut self, now: SystemTime) {
        while let Some((key, commit)) = self.queue.front().filter(|_| self.queue.len() > 1) {
            match self.entries.get(key) {
                Some(done @ Held::Done { until, commit: last, .. }) if last == commit => {
                    if self.weight <= self.capacity && *until > now {
                        break;
                    }
                    self.weight -= done.weight();
                    self.entries.remove(key);
                }
                _ => {}
            }
            self.queue.pop_front();
        }
        // Each commit of a key that had expired leaves an entry that is out of date behind one that isn't.
        if self.queue.len() > 2 * self.entries.len() + 16 {
            let Self { entries, queue, .. } = self;
            queue.retain(
                |(key, commit)| matches!(entries.get(key), Some(Held::Done { commit: last, .. }) if last == commit),
            );
        }
    }

    fn release(&mut self, key: Key, token: ClaimToken) {
        if matches!(self.entries.get(&key), Some(Held::Claim { token: owner, .. }) if *owner == token) {
            self.entries.remove(&key);
        }
    }
}

impl Store for MemoryStore {
    async fn claim(&self, key: Key, token: ClaimToken, lease: Duration) -> Result<Claim, StoreError> {
        let (now, until) = self.span(lease);
        Ok(self.shard(&key).claim(key, token, now, until))
    }

    async fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let (now, until) = self.span(retention);
        Ok(self.shard(&key).commit(key, token, answer, now, until))
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
        let capacity: u64 = self.shards.iter().map(|shard| lock(shard).capacity).sum();
        f.debug_struct("MemoryStore").field("capacity", &capacity).finish_non_exhaustive()
    }
}

/// A key is a digest already, so a part of it is as good a hash as any.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(start) = bytes.first_chunk() {
            let product = u64::from_le_bytes(*start).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 = product ^ (product >> 32);
        }
    }

    // The length of the array.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
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

    fn remembered(store: &MemoryStore) -> usize {
        let is_done = |held: &&Held| matches!(held, Held::Done { .. });
        store.shards.iter().map(|shard| lock(shard).entries.values().filter(is_done).count()).sum()
    }

    fn claims(store: &MemoryStore) -> usize {
        store.shards.iter().map(|shard| lock(shard).entries.len()).sum::<usize>() - remembered(store)
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
        assert_eq!(store.shards.len() as u64, MAX_SHARDS);
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
        assert_eq!((shard.entries.len(), shard.weight), (2, 2));
        assert!(shard.queue.len() <= 2 * 2 + 16 + 1, "{}", shard.queue.len());
    }
}
