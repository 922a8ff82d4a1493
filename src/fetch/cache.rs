//! What was fetched, by address: fetched once for many requests, kept while it is good, rationed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

use crate::rejection::{Reason, Rejection};

use super::ration::Ration;

/// The bounds of a [`Cache`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The most addresses remembered, good and failed ones together. Good ones are forgotten last.
    pub(crate) entries: usize,
    /// How long a failure stands for an address, counted from the request that caused the fetch. Less than the shortest
    /// retry interval of a sender (SNS: 20 seconds), else one failed fetch would cost several attempts.
    pub(crate) failure: Duration,
    /// How many fetches of addresses that never gave anything good may be started at once.
    pub(crate) burst: u32,
    /// The time after which one more of them may be.
    pub(crate) interval: Duration,
    /// The least time between two fetches of one address that are forced because what is there does not fit.
    pub(crate) refetch: Duration,
}

impl Rules {
    /// Strangers choose the addresses, within a fixed form and host, so the junk that they can have us fetch, and the good
    /// that they can push out with it, are bounded: 64 fetches at once cover every region there is after a cold start,
    /// four a second go unnoticed by any key host.
    pub(crate) const DEFAULT: Self = Self {
        entries: 256,
        failure: Duration::from_secs(10),
        burst: 64,
        interval: Duration::from_millis(250),
        refetch: Duration::from_secs(30),
    };
}

/// A bounded cache of fetched values by address.
///
/// A clone shares everything. There is no task and no timer of its own: a fetch is driven by the requests that wait for it.
/// Whichever of them goes away, the others carry on; once all have gone the fetch is dropped, and the next request
/// starts another.
pub(crate) struct Cache<T>(Arc<Inner<T>>);

struct Inner<T> {
    rules: Rules,
    state: Mutex<State<T>>,
}

struct State<T> {
    entries: HashMap<Box<str>, Entry<T>>,
    strangers: Ration,
    /// Counts the uses, to tell the least recently used entry.
    uses: u64,
}

struct Entry<T> {
    held: Option<Held<T>>,
    failure: Option<Failure>,
    flight: Option<WeakShared<Flight<T>>>,
    /// When the last forced fetch began.
    forced: Option<SystemTime>,
    used: u64,
}

struct Held<T> {
    value: Arc<T>,
    until: SystemTime,
}

struct Failure {
    at: SystemTime,
    rejection: Rejection,
}

/// What a loader brings.
pub(crate) struct Fresh<T> {
    pub(crate) value: T,
    /// Until when the value may be used.
    pub(crate) until: SystemTime,
}

type Flight<T> = Pin<Box<dyn Future<Output = Result<Arc<T>, Rejection>> + Send>>;

/// What the cache has to say.
pub(crate) enum Found<T> {
    /// The value, or a failure of a moment ago.
    Now(Result<Arc<T>, Rejection>),
    /// It is being fetched.
    Later(Shared<Flight<T>>),
}

impl<T: Send + Sync + 'static> Cache<T> {
    pub(crate) fn new(rules: Rules) -> Self {
        let strangers = Ration::new(rules.burst, rules.interval);
        Self(Arc::new(Inner { rules, state: Mutex::new(State { entries: HashMap::new(), strangers, uses: 0 }) }))
    }

    /// The value for an address: the one at hand, or the one that `load` brings. The loader is only called where nobody
    /// else fetches that address already; its error must be a passing one.
    pub(crate) fn find<F>(&self, key: &str, now: SystemTime, load: impl FnOnce() -> F) -> Found<T>
    where
        F: Future<Output = Result<Fresh<T>, Rejection>> + Send + 'static,
    {
        let rules = &self.0.rules;
        let mut state = self.0.lock();
        let State { entries, strangers, uses } = &mut *state;
        *uses += 1;
        if let Some(entry) = entries.get_mut(key) {
            entry.used = *uses;
            if let Some(value) = entry.good(now) {
                return Found::Now(Ok(value));
            }
            if let Some(flight) = entry.flight() {
                return Found::Later(flight);
            }
            if let Some(rejection) = entry.failed(now, rules.failure) {
                return Found::Now(Err(rejection));
            }
        }
        // An address that gave something good before is no stranger's invention, and is never rationed.
        let known = entries.get(key).is_some_and(|entry| entry.held.is_some());
        if !known && !strangers.take(now) {
            return Found::Now(Err(busy("too many unknown addresses are asked for")));
        }
        let used = *uses;
        if !entries.contains_key(key) && !state.make_room(rules.entries, now) {
            return Found::Now(Err(busy("too many addresses are being fetched")));
        }
        let flight = self.launch(key, now, load());
        let entry = state.entries.entry(key.into()).or_insert_with(Entry::new);
        entry.used = used;
        entry.flight = flight.downgrade();
        Found::Later(flight)
    }

    /// Fetches again although there is a value, because it does not fit: another key signed, or its id is unknown. `None`
    /// where that was done a moment ago, so the value at hand is all there is. The old value stays where the fetch fails.
    pub(crate) fn refetch<F>(&self, key: &str, now: SystemTime, load: impl FnOnce() -> F) -> Option<Found<T>>
    where
        F: Future<Output = Result<Fresh<T>, Rejection>> + Send + 'static,
    {
        let rules = &self.0.rules;
        let mut state = self.0.lock();
        let Some(entry) = state.entries.get_mut(key) else {
            drop(state);
            return Some(self.find(key, now, load));
        };
        if let Some(flight) = entry.flight() {
            return Some(Found::Later(flight));
        }
        if let Some(rejection) = entry.failed(now, rules.failure) {
            return Some(Found::Now(Err(rejection)));
        }
        if entry.forced.is_some_and(|forced| is_within(forced, now, rules.refetch)) {
            return None;
        }
        let flight = self.launch(key, now, load());
        entry.forced = Some(now);
        entry.flight = flight.downgrade();
        Some(Found::Later(flight))
    }

    /// A fetch that leaves its outcome in the cache before anybody who waits for it goes on. A loader that panics is a
    /// failure like any other; it must not take those with it who only wait.
    fn launch<F>(&self, key: &str, now: SystemTime, load: F) -> Shared<Flight<T>>
    where
        F: Future<Output = Result<Fresh<T>, Rejection>> + Send + 'static,
    {
        let (inner, key) = (self.0.clone(), Box::<str>::from(key));
        let flight: Flight<T> = Box::pin(async move {
            let loaded = AssertUnwindSafe(load).catch_unwind().await;
            let loaded = loaded.unwrap_or_else(|_| Err(busy("the fetcher panicked")));
            let mut state = inner.lock();
            let entry = state.entries.entry(key).or_insert_with(Entry::new);
            entry.flight = None;
            match loaded {
                Ok(Fresh { value, until }) => {
                    let value = Arc::new(value);
                    entry.held = Some(Held { value: value.clone(), until });
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

impl<T> Inner<T> {
    /// No code that may panic runs under the lock, so a poisoned one holds nothing half done.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Forgets one entry where the cache is full: a failed one before an outdated one before the least recently used. What
    /// is being fetched stays. False where everything is.
    fn make_room(&mut self, limit: usize, now: SystemTime) -> bool {
        if self.entries.len() < limit {
            return true;
        }
        let idle =
            self.entries.iter().filter(|(_, entry)| entry.flight.as_ref().is_none_or(|it| it.upgrade().is_none()));
        let rank = |entry: &Entry<T>| match &entry.held {
            None => 0,
            Some(held) if held.until <= now => 1,
            Some(_) => 2,
        };
        let least = idle.min_by_key(|(_, entry)| (rank(entry), entry.used)).map(|(key, _)| key.clone());
        least.is_some_and(|key| self.entries.remove(&key).is_some())
    }
}

impl<T> Entry<T> {
    fn new() -> Self {
        Self { held: None, failure: None, flight: None, forced: None, used: 0 }
    }

    fn good(&self, now: SystemTime) -> Option<Arc<T>> {
        self.held.as_ref().filter(|held| now < held.until).map(|held| held.value.clone())
    }

    fn failed(&self, now: SystemTime, stands: Duration) -> Option<Rejection> {
        self.failure
            .as_ref()
            .filter(|failure| is_within(failure.at, now, stands))
            .map(|failure| failure.rejection.clone())
    }
}

impl<T> Entry<T> {
    /// The fetch that somebody still waits for.
    fn flight(&self) -> Option<Shared<Flight<T>>> {
        self.flight.as_ref()?.upgrade()
    }
}

/// Whether `now` lies less than `span` after `start`. A clock that was set back ends the span.
fn is_within(start: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(start).is_ok_and(|passed| passed < span)
}

fn busy(detail: &'static str) -> Rejection {
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
        Err(busy("down"))
    }

    async fn done(found: Found<u32>) -> Result<u32, String> {
        let value = match found {
            Found::Now(value) => value,
            Found::Later(flight) => flight.await,
        };
        value.map(|value| *value).map_err(|rejection| rejection.to_string())
    }

    fn is_later(found: &Found<u32>) -> bool {
        matches!(found, Found::Later(_))
    }

    fn unused() -> std::future::Pending<Result<Fresh<u32>, Rejection>> {
        panic!("nothing was to be fetched")
    }

    #[tokio::test]
    async fn a_thousand_requests_at_once_cause_one_fetch() {
        let cache = Cache::new(Rules::DEFAULT);
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
        let cache = Cache::new(Rules::DEFAULT);
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
        let cache = Cache::new(Rules::DEFAULT);
        drop(cache.find("a", at(1), pending::<Result<_, _>>));
        assert_eq!(done(cache.find("a", at(1), || fresh(8))).await, Ok(8));
    }

    #[tokio::test]
    async fn a_loader_that_panics_is_a_failure_for_all_and_not_for_ever() {
        let cache = Cache::new(Rules::DEFAULT);
        let both = [cache.find("a", at(1), || async { panic!("on purpose") }), cache.find("a", at(1), unused)];
        for got in join_all(both.map(done)).await {
            assert!(got.unwrap_err().ends_with("panicked"));
        }
        assert_eq!(done(cache.find("a", at(100), || fresh(1))).await, Ok(1));
    }

    #[tokio::test]
    async fn a_value_ends_when_it_says_and_a_failure_soon() {
        let cache = Cache::new(Rules::DEFAULT);
        assert!(done(cache.find("a", at(1), down)).await.is_err());
        assert!(done(cache.find("a", at(10), unused)).await.is_err());
        assert_eq!(done(cache.find("a", at(11), || fresh(1))).await, Ok(1));
        assert_eq!(done(cache.find("a", at(999), unused)).await, Ok(1));
        assert_eq!(done(cache.find("a", at(0), unused)).await, Ok(1), "a clock that was set back");
        assert!(done(cache.find("a", at(1000), down)).await.is_err(), "no value outlives its time");
        assert_eq!(done(cache.find("a", at(1010), || async { Ok(Fresh { value: 2, until: at(2000) }) })).await, Ok(2));
    }

    #[tokio::test]
    async fn junk_is_rationed_and_neither_starves_nor_pushes_out_the_good() {
        let cache = Cache::new(Rules { entries: 8, burst: 20, ..Rules::DEFAULT });
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
        assert_eq!(done(cache.find("g1", at(1000), renewed)).await, Ok(2), "what was good once is not rationed");
    }

    #[test]
    fn a_cache_full_of_fetches_takes_no_more() {
        let cache = Cache::new(Rules { entries: 2, ..Rules::DEFAULT });
        let held = ["a", "b"].map(|key| cache.find(key, at(1), pending::<Result<Fresh<u32>, _>>));
        assert!(held.iter().all(is_later));
        assert!(!is_later(&cache.find("c", at(1), pending)));
        drop(held);
        assert!(is_later(&cache.find("c", at(1), pending)));
    }

    #[tokio::test]
    async fn a_forced_fetch_replaces_the_value_once_an_interval() {
        let cache = Cache::new(Rules::DEFAULT);
        assert_eq!(done(cache.find("a", at(1), || fresh(1))).await, Ok(1));
        assert_eq!(done(cache.refetch("a", at(1), || fresh(2)).unwrap()).await, Ok(2));
        assert_eq!(done(cache.find("a", at(2), unused)).await, Ok(2));
        assert!(cache.refetch("a", at(30), unused).is_none());
        assert!(done(cache.refetch("a", at(31), down).unwrap()).await.is_err());
        assert!(
            done(cache.refetch("a", at(32), unused).unwrap()).await.is_err(),
            "the failure is told, not a mismatch"
        );
        assert_eq!(done(cache.find("a", at(32), unused)).await, Ok(2), "the old value stays");
        assert!(cache.refetch("a", at(50), unused).is_none());
        assert_eq!(done(cache.refetch("b", at(50), || fresh(3)).unwrap()).await, Ok(3));
    }

    #[tokio::test]
    async fn one_forced_fetch_serves_all_who_force_it() {
        let cache = Cache::new(Rules::DEFAULT);
        assert_eq!(done(cache.find("a", at(1), || fresh(1))).await, Ok(1));
        let first = cache.refetch("a", at(1), || fresh(2)).unwrap();
        let second = cache.refetch("a", at(1), unused).unwrap();
        assert_eq!(done(cache.find("a", at(1), unused)).await, Ok(1), "the value at hand serves meanwhile");
        assert_eq!(join_all([first, second].map(done)).await, [Ok(2), Ok(2)]);
    }
}
