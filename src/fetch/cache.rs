//! A bounded cache of fetched values by URL, with one fetch at a time per URL.
//!
//! moka's `try_get_with` has the bound, the expiry and the single flight, but not the rest: failures that stand for a while,
//! a clock that is passed in, a rate limit for URLs that never worked, and eviction that gives up good values last. It would
//! also bring some fifteen crates to every sender that fetches a key.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

use crate::maybe_ready::MaybeReady;
use crate::rejection::{Reason, Rejection};

use super::rate_limit::RateLimiter;

/// The bounds of a [`Cache`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheLimits {
    /// The most URLs remembered, working and failed ones together. Working ones are evicted last.
    pub(crate) entries: usize,
    /// How long a failure stands for a URL, counted from the request that started the fetch. It must be less than the
    /// shortest retry interval of a sender (SNS: 20 seconds), or one failed fetch would cost several attempts.
    pub(crate) failure: Duration,
    /// How many fetches of URLs that have never succeeded may start at once.
    pub(crate) burst: u32,
    /// The time after which one more of them may start.
    pub(crate) interval: Duration,
    /// The shortest time between two forced fetches of one URL.
    pub(crate) refetch: Duration,
}

impl CacheLimits {
    /// An attacker can choose the URLs, within a fixed form and host. So both the fetches they can cause and the good
    /// entries they can evict are bounded: 64 fetches at once cover every region after a cold start, and four a second go
    /// unnoticed by any key host.
    pub(crate) const DEFAULT: Self = Self {
        entries: 256,
        failure: Duration::from_secs(10),
        burst: 64,
        interval: Duration::from_millis(250),
        refetch: Duration::from_secs(30),
    };
}

/// A bounded cache of fetched values by URL.
///
/// Clones share everything. The cache has no task and no timer: a fetch is driven by the requests that wait for it. If some
/// of them go away the others carry on; if all do, the fetch is dropped and the next request starts another.
pub(crate) struct Cache<T>(Arc<CacheShared<T>>);

struct CacheShared<T> {
    limits: CacheLimits,
    table: Mutex<Table<T>>,
}

struct Table<T> {
    entries: HashMap<Box<str>, Entry<T>>,
    /// For URLs that have never succeeded.
    limiter: RateLimiter,
    /// Counts lookups, to find the least recently used entry.
    uses: u64,
}

struct Entry<T> {
    cached: Option<Cached<T>>,
    failure: Option<Failure>,
    flight: Option<WeakShared<Flight<T>>>,
    /// When the last forced fetch started.
    forced_at: Option<SystemTime>,
    last_use: u64,
}

struct Cached<T> {
    value: Arc<T>,
    until: SystemTime,
}

struct Failure {
    at: SystemTime,
    rejection: Rejection,
}

/// A value that was fetched.
pub(crate) struct Fresh<T> {
    pub(crate) value: T,
    /// The time until which the value may be used.
    pub(crate) until: SystemTime,
}

type Flight<T> = Pin<Box<dyn Future<Output = Result<Arc<T>, Rejection>> + Send>>;

impl<T: Send + Sync + 'static> Cache<T> {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        let limiter = RateLimiter::new(limits.burst, limits.interval);
        let table = Table { entries: HashMap::new(), limiter, uses: 0 };
        Self(Arc::new(CacheShared { limits, table: Mutex::new(table) }))
    }

    /// Returns the value for a URL: the one at hand, or the one that `load` fetches. The loader is called only if nobody
    /// else is fetching that URL. Its error must be transient.
    pub(crate) fn find<F>(
        &self,
        url: &str,
        now: SystemTime,
        load: impl FnOnce() -> F,
    ) -> Result<MaybeReady<Arc<T>>, Rejection>
    where
        F: Future<Output = Result<Fresh<T>, Rejection>> + Send + 'static,
    {
        let limits = &self.0.limits;
        let mut table = self.0.lock();
        let Table { entries, limiter, uses } = &mut *table;
        *uses += 1;
        if let Some(entry) = entries.get_mut(url) {
            entry.last_use = *uses;
            if let Some(value) = entry.value(now) {
                return Ok(value.into());
            }
            if let Some(flight) = entry.flight() {
                return Ok(MaybeReady::pending(flight));
            }
            if let Some(rejection) = entry.failure(now, limits.failure) {
                return Err(rejection);
            }
        }
        // URLs that have succeeded before bypass the rate limit.
        let worked = entries.get(url).is_some_and(|entry| entry.cached.is_some());
        if !worked && !limiter.try_acquire(now) {
            return Err(unavailable("too many unknown URLs are being fetched"));
        }
        let last_use = *uses;
        if !entries.contains_key(url) && !table.make_room(limits.entries, now) {
            return Err(unavailable("too many URLs are being fetched"));
        }
        let flight = self.launch(url, now, load());
        let entry = table.entries.entry(url.into()).or_insert_with(Entry::new);
        entry.last_use = last_use;
        entry.flight = flight.downgrade();
        Ok(MaybeReady::pending(flight))
    }

    /// Fetches again although there is a value, because it doesn't fit: another key signed, or the key id is unknown. Returns
    /// `None` if that happened a moment ago. The old value stays if the fetch fails.
    pub(crate) fn refetch<F>(
        &self,
        url: &str,
        now: SystemTime,
        load: impl FnOnce() -> F,
    ) -> Result<Option<MaybeReady<Arc<T>>>, Rejection>
    where
        F: Future<Output = Result<Fresh<T>, Rejection>> + Send + 'static,
    {
        let limits = &self.0.limits;
        let mut table = self.0.lock();
        let Some(entry) = table.entries.get_mut(url) else {
            drop(table);
            return self.find(url, now, load).map(Some);
        };
        if let Some(flight) = entry.flight() {
            return Ok(Some(MaybeReady::pending(flight)));
        }
        if let Some(rejection) = entry.failure(now, limits.failure) {
            return Err(rejection);
        }
        if entry.forced_at.is_some_and(|forced_at| is_within(forced_at, now, limits.refetch)) {
            return Ok(None);
        }
        let flight = self.launch(url, now, load());
        entry.forced_at = Some(now);
        entry.flight = flight.downgrade();
        Ok(Some(MaybeReady::pending(flight)))
    }

    /// Starts a fetch that leaves its outcome in the cache before any of its waiters goes on. A loader that panics counts as
    /// a failure, so that the panic doesn't spread to requests that only wait.
    fn launch<F>(&self, url: &str, now: SystemTime, load: F) -> Shared<Flight<T>>
    where
        F: Future<Output = Result<Fresh<T>, Rejection>> + Send + 'static,
    {
        let (shared, url) = (self.0.clone(), Box::<str>::from(url));
        let flight: Flight<T> = Box::pin(async move {
            let loaded = AssertUnwindSafe(load).catch_unwind().await;
            let loaded = loaded.unwrap_or_else(|_| Err(unavailable("the fetcher panicked")));
            let mut table = shared.lock();
            let entry = table.entries.entry(url).or_insert_with(Entry::new);
            entry.flight = None;
            match loaded {
                Ok(Fresh { value, until }) => {
                    let value = Arc::new(value);
                    entry.cached = Some(Cached { value: value.clone(), until });
                    entry.failure = None;
                    Ok(value)
                }
                Err(rejection) => {
                    entry.failure = Some(Failure { at: now, rejection: rejection.clone() });
                    Err(rejection)
                }
            }
        });
        flight.shared()
    }
}

impl<T> CacheShared<T> {
    /// No code that may panic runs under the lock, so a poisoned one guards a consistent table.
    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Table<T> {
    /// Evicts one entry if the cache is full: a failed one before an expired one before the least recently used. Entries
    /// being fetched stay. Returns false if all of them are.
    fn make_room(&mut self, limit: usize, now: SystemTime) -> bool {
        if self.entries.len() < limit {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| entry.flight().is_none());
        let rank = |entry: &Entry<T>| match &entry.cached {
            None => 0,
            Some(cached) if cached.until <= now => 1,
            Some(_) => 2,
        };
        let victim = idle.min_by_key(|(_, entry)| (rank(entry), entry.last_use)).map(|(url, _)| url.clone());
        victim.is_some_and(|url| self.entries.remove(&url).is_some())
    }
}

impl<T> Entry<T> {
    fn new() -> Self {
        Self { cached: None, failure: None, flight: None, forced_at: None, last_use: 0 }
    }

    fn value(&self, now: SystemTime) -> Option<Arc<T>> {
        self.cached.as_ref().filter(|cached| now < cached.until).map(|cached| cached.value.clone())
    }

    fn failure(&self, now: SystemTime, stands: Duration) -> Option<Rejection> {
        let failure = self.failure.as_ref().filter(|failure| is_within(failure.at, now, stands));
        failure.map(|failure| failure.rejection.clone())
    }

    /// Returns the fetch that somebody still waits for.
    fn flight(&self) -> Option<Shared<Flight<T>>> {
        self.flight.as_ref()?.upgrade()
    }
}

/// Returns whether `now` is less than `span` after `start`. A clock that was set back ends the span.
fn is_within(start: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(start).is_ok_and(|elapsed| elapsed < span)
}

fn unavailable(detail: &'static str) -> Rejection {
    Rejection::new(Reason::KeyUnavailable).with_detail(detail)
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries", &self.0.lock().entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::UNIX_EPOCH;

    use futures_util::future::{join_all, pending};
    use tokio::sync::oneshot;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    async fn fresh(value: u32) -> Result<Fresh<u32>, Rejection> {
        Ok(Fresh { value, until: at(1000) })
    }

    async fn down() -> Result<Fresh<u32>, Rejection> {
        Err(unavailable("down"))
    }

    type Found = Result<MaybeReady<Arc<u32>>, Rejection>;

    async fn done(found: Found) -> Result<u32, String> {
        let value = match found {
            Ok(found) => found.wait().await,
            Err(rejection) => Err(rejection),
        };
        value.map(|value| *value).map_err(|rejection| rejection.to_string())
    }

    async fn done_again(found: Result<Option<MaybeReady<Arc<u32>>>, Rejection>) -> Result<u32, String> {
        done(found.map(|found| found.expect("a second fetch"))).await
    }

    fn is_pending(found: &Found) -> bool {
        matches!(found, Ok(MaybeReady::Pending(_)))
    }

    fn unused() -> std::future::Pending<Result<Fresh<u32>, Rejection>> {
        panic!("nothing was to be fetched")
    }

    #[tokio::test]
    async fn a_thousand_requests_at_once_cause_one_fetch() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        let fetches = Arc::new(AtomicU32::new(0));
        let (go, start) = oneshot::channel::<()>();
        let mut start = Some(start);
        let found: Vec<_> = (0..1000)
            .map(|_| {
                cache.find("a", at(1), || {
                    fetches.fetch_add(1, Relaxed);
                    let start = start.take().unwrap();
                    async move {
                        start.await.unwrap();
                        fresh(7).await
                    }
                })
            })
            .collect();
        go.send(()).unwrap();
        assert!(join_all(found.into_iter().map(done)).await.iter().all(|got| got == &Ok(7)));
        assert_eq!(fetches.load(Relaxed), 1);
        assert_eq!(done(cache.find("a", at(2), unused)).await, Ok(7));
    }

    #[tokio::test]
    async fn the_first_to_ask_may_go_away_and_the_others_still_get_it() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        let (go, start) = oneshot::channel::<()>();
        let load = async move {
            start.await.unwrap();
            fresh(7).await
        };
        let first = tokio::spawn(done(cache.find("a", at(1), || load)));
        tokio::task::yield_now().await;
        let second = tokio::spawn(done(cache.find("a", at(1), unused)));
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        assert_eq!(second.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn a_fetch_that_nobody_waits_for_any_more_does_not_block_the_next() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        drop(cache.find("a", at(1), pending::<Result<_, _>>));
        assert_eq!(done(cache.find("a", at(1), || fresh(8))).await, Ok(8));
    }

    #[tokio::test]
    async fn a_loader_that_panics_is_a_failure_for_all_and_not_indefinitely() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        let both = [cache.find("a", at(1), || async { panic!("on purpose") }), cache.find("a", at(1), unused)];
        for got in join_all(both.map(done)).await {
            assert!(got.unwrap_err().ends_with("panicked"));
        }
        assert_eq!(done(cache.find("a", at(100), || fresh(1))).await, Ok(1));
    }

    #[tokio::test]
    async fn a_value_ends_when_it_says_and_a_failure_soon() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        assert!(done(cache.find("a", at(1), down)).await.is_err());
        assert!(done(cache.find("a", at(10), unused)).await.is_err());
        assert_eq!(done(cache.find("a", at(11), || fresh(1))).await, Ok(1));
        assert_eq!(done(cache.find("a", at(999), unused)).await, Ok(1));
        assert_eq!(done(cache.find("a", at(0), unused)).await, Ok(1), "a clock that was set back");
        assert!(done(cache.find("a", at(1000), down)).await.is_err(), "no value outlives its time");
        assert_eq!(done(cache.find("a", at(1010), || async { Ok(Fresh { value: 2, until: at(2000) }) })).await, Ok(2));
    }

    #[tokio::test]
    async fn junk_is_rate_limited_and_neither_starves_nor_pushes_out_the_good() {
        let cache = Cache::new(CacheLimits { entries: 8, burst: 20, ..CacheLimits::DEFAULT });
        for good in ["g1", "g2", "g3"] {
            assert_eq!(done(cache.find(good, at(1), || fresh(1))).await, Ok(1));
        }
        let mut fetches = 0;
        for junk in 0..1000 {
            let load = || {
                fetches += 1;
                down()
            };
            assert!(done(cache.find(&format!("junk{junk}"), at(1), load)).await.is_err());
        }
        assert_eq!(fetches, 17);
        assert_eq!(cache.0.lock().entries.len(), 8);
        for good in ["g1", "g2", "g3"] {
            assert_eq!(done(cache.find(good, at(2), unused)).await, Ok(1), "{good} is still there");
        }
        let renewed = || async { Ok(Fresh { value: 2, until: at(5000) }) };
        for junk in 0..1000 {
            let _ = done(cache.find(&format!("more{junk}"), at(1000), down)).await;
        }
        assert_eq!(done(cache.find("g1", at(1000), renewed)).await, Ok(2), "a URL that worked once bypasses the limit");
    }

    #[test]
    fn a_cache_full_of_fetches_takes_no_more() {
        let cache = Cache::new(CacheLimits { entries: 2, ..CacheLimits::DEFAULT });
        let held = ["a", "b"].map(|key| cache.find(key, at(1), pending::<Result<Fresh<u32>, _>>));
        assert!(held.iter().all(is_pending));
        assert!(!is_pending(&cache.find("c", at(1), pending)));
        drop(held);
        assert!(is_pending(&cache.find("c", at(1), pending)));
    }

    #[tokio::test]
    async fn a_forced_fetch_replaces_the_value_once_an_interval() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        assert_eq!(done(cache.find("a", at(1), || fresh(1))).await, Ok(1));
        assert_eq!(done_again(cache.refetch("a", at(1), || fresh(2))).await, Ok(2));
        assert_eq!(done(cache.find("a", at(2), unused)).await, Ok(2));
        assert!(cache.refetch("a", at(30), unused).unwrap().is_none());
        assert!(done_again(cache.refetch("a", at(31), down)).await.is_err());
        assert!(done_again(cache.refetch("a", at(32), unused)).await.is_err(), "the failure is told, not a mismatch");
        assert_eq!(done(cache.find("a", at(32), unused)).await, Ok(2), "the old value stays");
        assert!(cache.refetch("a", at(50), unused).unwrap().is_none());
        assert_eq!(done_again(cache.refetch("b", at(50), || fresh(3))).await, Ok(3));
    }

    #[tokio::test]
    async fn one_forced_fetch_serves_all_who_force_it() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        assert_eq!(done(cache.find("a", at(1), || fresh(1))).await, Ok(1));
        let first = cache.refetch("a", at(1), || fresh(2));
        let second = cache.refetch("a", at(1), unused);
        assert_eq!(done(cache.find("a", at(1), unused)).await, Ok(1), "the value at hand serves meanwhile");
        assert_eq!(join_all([first, second].map(done_again)).await, [Ok(2), Ok(2)]);
    }
}
