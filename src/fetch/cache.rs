//! A bounded cache of fetched values by URL, with one fetch at a time per URL.
//!
//! moka's `try_get_with` has the bound, the expiry and the single flight, but not the rest:
//! failures that stand for a while, a clock that is passed in, a rate limit for URLs that never
//! worked, and eviction that gives up good values last. It would also bring some fifteen crates to
//! every sender that fetches a key.

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

use super::admission::Admission;

/// The bounds of a [`Cache`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheLimits {
    /// The most URLs remembered, working and failed ones together. Working ones are evicted last.
    pub(crate) entries: usize,
    /// How long a failure stands for a URL, counted from the request that started the fetch. It
    /// must be less than the shortest retry interval of a sender (SNS: 20 seconds), or one
    /// failed fetch would cost several attempts.
    pub(crate) failure: Duration,
    /// How many fetches of URLs that have never succeeded may start at once; as many again of those
    /// that are asked for repeatedly.
    pub(crate) burst: u32,
    /// The time after which one more of them may start.
    pub(crate) interval: Duration,
    /// The shortest time between two forced fetches of one URL that came to their end.
    pub(crate) refetch: Duration,
}

impl CacheLimits {
    /// An attacker can choose the URLs, within a fixed form and host. So both the fetches they can
    /// cause and the good entries they can evict are bounded: 64 fetches at once cover every
    /// region after a cold start, and four a second go unnoticed by any key host.
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
/// Clones share everything. On a tokio runtime, a task drives each fetch to its end. Elsewhere the
/// requests that wait for it do: if some of them go away the others carry on; if all do, the fetch
/// is dropped and the next request starts another.
pub(crate) struct Cache<T>(Arc<CacheShared<T>>);

struct CacheShared<T> {
    limits: CacheLimits,
    /// URLs that the operator vouches for: they bypass the rate limit.
    pinned: Vec<String>,
    table: Mutex<Table<T>>,
}

struct Table<T> {
    entries: HashMap<Box<str>, Entry<T>>,
    /// For URLs that have never succeeded.
    admission: Admission,
    /// Counts lookups, to find the least recently used entry.
    uses: u64,
}

struct Entry<T> {
    cached: Option<Cached<T>>,
    failure: Option<Failure>,
    flight: Option<WeakShared<Flight<T>>>,
    /// When the last forced fetch started that came to its end.
    forced_at: Option<SystemTime>,
    last_use: u64,
}

struct Cached<T> {
    value: Arc<T>,
    refresh: SystemTime,
    until: SystemTime,
}

struct Failure {
    at: SystemTime,
    rejection: Rejection,
}

/// A value that was fetched.
pub(crate) struct Fresh<T> {
    pub(crate) value: T,
    /// The time from which the value is fetched again. It serves meanwhile, and if that fails.
    pub(crate) refresh: SystemTime,
    /// The time until which the value may be used.
    pub(crate) until: SystemTime,
}

type Flight<T> = Pin<Box<dyn Future<Output = Result<Arc<T>, Rejection>> + Send>>;

impl<T: Send + Sync + 'static> Cache<T> {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self::with_pinned(limits, Vec::new())
    }

    /// Creates a cache whose rate limit these URLs bypass.
    pub(crate) fn with_pinned(limits: CacheLimits, pinned: Vec<String>) -> Self {
        let admission = Admission::new(limits.burst, limits.interval);
        let table = Table { entries: HashMap::new(), admission, uses: 0 };
        Self(Arc::new(CacheShared { limits, pinned, table: Mutex::new(table) }))
    }

    /// Returns the value for a URL: the one at hand, or the one that `load` fetches. The loader is
    /// called only if nobody else is fetching that URL. Its error must be transient.
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
        let Table { entries, admission, uses } = &mut *table;
        *uses += 1;
        if let Some(entry) = entries.get_mut(url) {
            entry.last_use = *uses;
            if let Some(cached) = entry.cached.as_ref().filter(|cached| now < cached.until) {
                let held = cached.value.clone();
                let waits = entry.flight().is_some() || entry.failure(now, limits.failure).is_some();
                if now < cached.refresh || waits {
                    return Ok(held.into());
                }
                let (flight, is_driven) = self.launch(url, now, false, load());
                entry.flight = flight.downgrade();
                if is_driven {
                    return Ok(held.into());
                }
                return Ok(MaybeReady::pending(flight.map(|renewed| Ok(renewed.unwrap_or(held)))));
            }
            if let Some(flight) = entry.flight() {
                return Ok(MaybeReady::pending(flight));
            }
            if let Some(rejection) = entry.failure(now, limits.failure) {
                return Err(rejection);
            }
        }
        // URLs that have succeeded before, or that the operator vouches for, bypass the rate limit.
        let is_known = entries.get(url).is_some_and(|entry| entry.cached.is_some())
            || self.0.pinned.iter().any(|pinned| pinned == url);
        if !is_known && !admission.admit(url, now) {
            return Err(unavailable("too many unknown URLs are being fetched"));
        }
        let last_use = *uses;
        if !entries.contains_key(url) && !table.make_room(limits.entries, now) {
            return Err(unavailable("too many URLs are being fetched"));
        }
        let (flight, _) = self.launch(url, now, false, load());
        let entry = table.entries.entry(url.into()).or_insert_with(Entry::new);
        entry.last_use = last_use;
        entry.flight = flight.downgrade();
        Ok(MaybeReady::pending(flight))
    }

    /// Fetches again although there is a value, because it doesn't fit: another key signed, or the
    /// key id is unknown. Returns `None` if that happened a moment ago. The old value stays if
    /// the fetch fails.
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
        let (flight, _) = self.launch(url, now, true, load());
        entry.flight = flight.downgrade();
        Ok(Some(MaybeReady::pending(flight)))
    }

    /// Starts a fetch that leaves its outcome in the cache before any of its waiters goes on, and
    /// returns it together with whether a task drives it. A loader that panics counts as a
    /// failure, so that the panic doesn't spread to requests that only wait.
    ///
    /// A forced fetch is counted when it ends: a client that makes one start and goes away has
    /// spent nothing.
    fn launch<F>(&self, url: &str, now: SystemTime, is_forced: bool, load: F) -> (Shared<Flight<T>>, bool)
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
            if is_forced {
                entry.forced_at = Some(now);
            }
            match loaded {
                Ok(Fresh { value, refresh, until }) => {
                    let value = Arc::new(value);
                    entry.cached = Some(Cached { value: value.clone(), refresh, until });
                    entry.failure = None;
                    Ok(value)
                }
                Err(rejection) => {
                    entry.failure = Some(Failure { at: now, rejection: rejection.clone() });
                    Err(rejection)
                }
            }
        });
        let flight = flight.shared();
        let is_driven = drive(flight.clone());
        (flight, is_driven)
    }
}

/// Has a task drive a fetch, so that it ends although every request that waits for it may go away.
/// Returns false if there is no runtime.
#[cfg(feature = "tokio")]
fn drive<T: Send + Sync + 'static>(flight: Shared<Flight<T>>) -> bool {
    let runtime = tokio::runtime::Handle::try_current();
    runtime.map(|runtime| runtime.spawn(flight)).is_ok()
}

#[cfg(not(feature = "tokio"))]
fn drive<T>(_: Shared<Flight<T>>) -> bool {
    false
}

impl<T> CacheShared<T> {
    /// No code that may panic runs under the lock, so a poisoned one guards a consistent table.
    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Table<T> {
    /// Evicts one entry if the cache is full: a failed one before an expired one before the least
    /// recently used. Entries being fetched stay. Returns false if all of them are.
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

    fn failure(&self, now: SystemTime, stands: Duration) -> Option<Rejection> {
        let failure = self.failure.as_ref().filter(|failure| is_within(failure.at, now, stands));
        failure.map(|failure| failure.rejection.clone())
    }

    /// Returns the fetch that somebody still waits for.
    fn flight(&self) -> Option<Shared<Flight<T>>> {
        self.flight.as_ref()?.upgrade()
    }
}

/// Returns whether `now` is less than `span` after `start`. A clock that was set back ends the
/// span.
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
        Ok(Fresh { value, refresh: at(1000), until: at(1000) })
    }

    async fn lasting(value: u32, until: u64) -> Result<Fresh<u32>, Rejection> {
        Ok(Fresh { value, refresh: at(until), until: at(until) })
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

    /// Polls a future that is ready, without a runtime.
    fn block_on<F: Future>(future: F) -> F::Output {
        future.now_or_never().expect("nothing here waits")
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

    #[test]
    fn without_a_runtime_a_fetch_that_nobody_waits_for_any_more_does_not_block_the_next() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        drop(cache.find("a", at(1), pending::<Result<_, _>>));
        assert_eq!(block_on(done(cache.find("a", at(1), || fresh(8)))), Ok(8));
        drop(cache.refetch("a", at(1), pending::<Result<_, _>>));
        assert_eq!(
            block_on(done_again(cache.refetch("a", at(2), || fresh(9)))),
            Ok(9),
            "an aborted one counts for none"
        );
        assert!(cache.refetch("a", at(3), unused).unwrap().is_none());
    }

    // Without the feature there is no task that goes on.
    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn a_fetch_that_nobody_waits_for_any_more_comes_to_its_end() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        drop(cache.find("a", at(1), || fresh(8)));
        tokio::task::yield_now().await;
        assert_eq!(done(cache.find("a", at(1), unused)).await, Ok(8));
        let (go, start) = oneshot::channel::<()>();
        drop(cache.refetch("a", at(1), || async {
            start.await.unwrap();
            fresh(9).await
        }));
        go.send(()).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(
            done(cache.find("a", at(1), unused)).await,
            Ok(9),
            "a client that goes away loses nobody the new value"
        );
    }

    /// From 100 on the value is fetched again, and it serves until 1000.
    async fn renewable(value: u32) -> Result<Fresh<u32>, Rejection> {
        Ok(Fresh { value, refresh: at(100), until: at(1000) })
    }

    // Without the feature there is no task that goes on.
    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn a_value_is_renewed_ahead_and_serves_to_its_end_while_its_host_is_down() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        assert_eq!(done(cache.find("a", at(1), || renewable(1))).await, Ok(1));
        assert_eq!(done(cache.find("a", at(99), unused)).await, Ok(1));
        let fetches = Arc::new(AtomicU32::new(0));
        for time in 100..1000 {
            let count = fetches.clone();
            let load = || {
                count.fetch_add(1, Relaxed);
                down()
            };
            let found = cache.find("a", at(time), load);
            assert!(!is_pending(&found), "nobody waits for a renewal");
            assert_eq!(done(found).await, Ok(1), "{time}");
            tokio::task::yield_now().await;
        }
        assert_eq!(fetches.load(Relaxed), 90, "one attempt in ten seconds");
        assert!(done(cache.find("a", at(1000), down)).await.is_err());

        assert_eq!(done(cache.find("b", at(1), || renewable(1))).await, Ok(1));
        assert_eq!(done(cache.find("b", at(100), || fresh(2))).await, Ok(1));
        tokio::task::yield_now().await;
        assert_eq!(done(cache.find("b", at(100), unused)).await, Ok(2));
    }

    #[test]
    fn without_a_runtime_the_request_that_finds_a_value_due_renews_it() {
        let cache = Cache::new(CacheLimits::DEFAULT);
        assert_eq!(block_on(done(cache.find("a", at(1), || renewable(1)))), Ok(1));
        let first = cache.find("a", at(100), down);
        assert_eq!(block_on(done(cache.find("a", at(100), unused))), Ok(1));
        assert_eq!(block_on(done(first)), Ok(1), "the value at hand serves");
        assert_eq!(block_on(done(cache.find("a", at(110), || fresh(2)))), Ok(2));
    }

    #[tokio::test]
    async fn a_pinned_url_is_fetched_whatever_else_is() {
        let limits = CacheLimits { burst: 2, ..CacheLimits::DEFAULT };
        let cache = Cache::with_pinned(limits, vec!["ours".to_owned()]);
        for junk in 0..100 {
            let _ = done(cache.find(&format!("junk{junk}"), at(1), down)).await;
        }
        assert!(done(cache.find("other", at(1), || fresh(1))).await.is_err());
        assert_eq!(done(cache.find("ours", at(1), || fresh(1))).await, Ok(1));
    }

    /// 500 inventions a second from a cold start, each with a URL of its own, for as long as the
    /// retries of the last genuine delivery last. SNS repeats after 20 seconds, three times by
    /// default. Each genuine delivery here has a URL of its own, which is the worst case: those
    /// of one topic share theirs.
    #[tokio::test]
    async fn under_500_inventions_a_second_a_genuine_url_is_fetched_within_four_tries() {
        for retry in [20, 35, 60, 110] {
            let cache = Cache::new(CacheLimits::DEFAULT);
            let (mut tries, mut fetches) = ([0; 5], 0);
            for second in 0..3 * retry + 50 {
                for junk in 0..500 {
                    let load = || {
                        fetches += 1;
                        down()
                    };
                    assert!(done(cache.find(&format!("junk {second} {junk}"), at(second), load)).await.is_err());
                    // A new delivery in the middle of each of the first 50 seconds, and the retries of earlier ones.
                    for attempt in (0..4).filter(|_| junk == 250) {
                        let Some(started) = second.checked_sub(attempt * retry).filter(|started| *started < 50) else {
                            continue;
                        };
                        let url = format!("genuine {started}");
                        let is_done = cache.0.lock().entries.get(&*url).is_some_and(|entry| entry.cached.is_some());
                        if !is_done && done(cache.find(&url, at(second), || fresh(1))).await.is_ok() {
                            tries[usize::try_from(attempt).unwrap() + 1] += 1;
                        }
                    }
                }
            }
            let verified: u32 = tries[1..].iter().sum();
            assert!(verified >= 45, "{retry}: {tries:?} of 50 at try 1 to 4; {fetches} inventions were fetched");
        }
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
        assert_eq!(done(cache.find("a", at(1010), || lasting(2, 2000))).await, Ok(2));
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
        let renewed = || lasting(2, 5000);
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
