//! The worker: takes what is due, hands it to the service, and looks after what runs.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tower_service::Service;

use crate::observe;
use crate::rejection::BoxError;

use super::attempt::{Stop, run_attempt};
use super::pace::{Ended, Pace};
use super::record::RECORD_VERSION;
use super::settings::{InboxSettings, OrderOnDead};
use super::store::{CrashPolicy, InboxError, Lease, State, Take, Taken, Token};

/// After a failure of the store, the worker asks it again after this time.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The time that cancelled attempts have to give their deliveries back at shutdown.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the numbers are reported and old deliveries removed.
const UPKEEP: Duration = Duration::from_secs(10);
/// How many deliveries are removed at once.
const PRUNED_AT_ONCE: u32 = 1000;

/// Hands stored deliveries to the service, again and again until it succeeds. Made by
/// [`InboxBuilder::wrap`](super::InboxBuilder::wrap).
///
/// Any number of workers, in any number of processes, may [run](Self::run) on one store.
#[derive(Clone)]
#[must_use = "nothing is handled until it runs"]
pub struct InboxWorker<S> {
    service: S,
    settings: Arc<InboxSettings>,
}

impl<S> InboxWorker<S> {
    pub(super) fn new(service: S, settings: Arc<InboxSettings>) -> Self {
        Self { service, settings }
    }

    /// Works until `shutdown` is ready. It then takes nothing more, and returns when the handlers
    /// have finished, or after the shutdown's time-out. Handlers that still work then are
    /// cancelled, and their deliveries given back without an attempt counted.
    ///
    /// If its future is dropped instead, the deliveries in work are tried again when their leases
    /// end.
    pub async fn run<R>(self, shutdown: impl Future<Output = ()>)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        R: Send + 'static,
    {
        let Self { service, settings } = self;
        let running = Running::default();
        let work = async {
            let mut attempts = JoinSet::new();
            let mut pace = Pace::new(settings.concurrency);
            let mut shutdown = pin!(shutdown);
            loop {
                while let Some(ended) = attempts.try_join_next() {
                    pace.note(ended.unwrap_or(Ended::Stopped));
                }
                let taken = take(&settings, pace.places().saturating_sub(attempts.len()), pace.retries_first()).await;
                for attempt in taken.iter().flat_map(|taken| &taken.attempts) {
                    let stopped = running.add(attempt.token, settings.lease);
                    attempts.spawn(run_attempt(service.clone(), settings.clone(), attempt.clone(), stopped));
                }
                tokio::select! {
                    () = &mut shutdown => break,
                    // There is room again, and the next one of a line may be due.
                    Some(ended) = attempts.join_next() => pace.note(ended.unwrap_or(Ended::Stopped)),
                    () = due(&settings, taken.as_ref()), if attempts.len() < pace.places() => {}
                }
            }
            finish(&settings, &running, attempts).await;
        };
        tokio::select! {
            () = work => {}
            () = upkeep(&settings, &running) => {}
        }
    }
}

/// Takes what is due, if there is room. `None` if the store fails.
async fn take(settings: &InboxSettings, room: usize, retries_first: bool) -> Option<Taken> {
    if room == 0 {
        return Some(Taken::default());
    }
    let take = Take {
        scope: settings.scope.clone(),
        format: RECORD_VERSION,
        max: room.try_into().unwrap_or(u32::MAX),
        lease: settings.lease,
        now: settings.clock.now(),
        longest_delay: settings.retry.longest(),
        retries_first,
    };
    told("take", settings.store.take(take).await)
}

/// Waits until something may be due.
async fn due(settings: &InboxSettings, taken: Option<&Taken>) {
    let Some(taken) = taken else { return sleep(STORE_PAUSE).await };
    let next = async {
        match taken.next_due {
            Some(due) => sleep(due.duration_since(settings.clock.now()).unwrap_or_default()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = next => {}
        () = settings.store.woken(taken.generation) => {}
    }
}

/// Lets the handlers finish, for a while.
async fn finish(settings: &InboxSettings, running: &Running, mut attempts: JoinSet<Ended>) {
    let mut all = pin!(async { while attempts.join_next().await.is_some() {} });
    if timeout(settings.shutdown_timeout, &mut all).await.is_err() {
        running.stop(|_| Some(Stop::Shutdown));
        // What isn't given back by then is tried again when its lease ends.
        let _ = timeout(GIVE_BACK_TIMEOUT, all).await;
    }
}

/// Extends the leases of what runs, ends those of the dead, removes what is old and tells the
/// numbers.
async fn upkeep(settings: &InboxSettings, running: &Running) {
    let mut ticks = interval(settings.lease / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_upkeep = Instant::now();
    loop {
        ticks.tick().await;
        extend(settings, running).await;
        let crash = CrashPolicy {
            crashes: settings.crashes,
            attempts: settings.retry.most_attempts(),
            block: settings.order_on_dead == OrderOnDead::Block,
            now: settings.clock.now(),
        };
        if let Some(reaped) = told("reap", settings.store.reap(crash).await) {
            observe::inbox_reaped(reaped.retried, reaped.dead);
        }
        if next_upkeep <= Instant::now() {
            next_upkeep = Instant::now() + UPKEEP;
            told("prune", settings.store.prune(settings.retention, PRUNED_AT_ONCE, settings.clock.now()).await);
            if let Some(mut stats) = told("stats", settings.store.stats(settings.scope.clone()).await) {
                let states = State::ALL.map(|state| (state.as_str(), *stats.of(state)));
                let oldest = stats.oldest_due.and_then(|due| settings.clock.now().duration_since(due).ok());
                observe::inbox_stats(&settings.scope, &states, oldest.unwrap_or_default());
            }
        }
    }
}

/// Extends the leases of what runs, and stops what has lost its own.
async fn extend(settings: &InboxSettings, running: &Running) {
    let tokens = running.tokens();
    if tokens.is_empty() {
        return;
    }
    let asked = Instant::now();
    match told("extend", settings.store.extend(tokens.clone(), settings.lease).await) {
        Some(leases) => {
            let leases: HashMap<_, _> = tokens.into_iter().zip(leases).collect();
            running.extend(&leases, asked + settings.lease);
            running.stop(|(token, _)| match leases.get(token)? {
                Lease::Held => None,
                Lease::Cancelled => Some(Stop::Cancelled),
                Lease::Lost => Some(Stop::Lost),
            });
        }
        // Another worker may have what wasn't extended for a whole lease.
        None => running.stop(|(_, ends)| (*ends <= Instant::now()).then_some(Stop::Lost)),
    }
}

/// Reports a call of the store that failed.
fn told<T>(call: &'static str, result: Result<T, InboxError>) -> Option<T> {
    result.inspect_err(|error| observe::inbox_store_failure(call, error)).ok()
}

/// The attempts that run in this process, each with the end of its lease.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<HashMap<Token, (oneshot::Sender<Stop>, Instant)>>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<Token, (oneshot::Sender<Stop>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, token: Token, lease: Duration) -> oneshot::Receiver<Stop> {
        let (stop, stopped) = oneshot::channel();
        self.lock().insert(token, (stop, Instant::now() + lease));
        stopped
    }

    /// Returns the attempts that aren't over or told to stop; the others are forgotten.
    fn tokens(&self) -> Vec<Token> {
        let mut running = self.lock();
        running.retain(|_, (stop, _)| !stop.is_closed());
        running.keys().copied().collect()
    }

    fn extend(&self, leases: &HashMap<Token, Lease>, ends: Instant) {
        for (token, (_, end)) in self.lock().iter_mut() {
            if leases.get(token) == Some(&Lease::Held) {
                *end = ends;
            }
        }
    }

    /// Stops the attempts for which there is a reason.
    fn stop(&self, why: impl Fn((&Token, &Instant)) -> Option<Stop>) {
        for (token, (stop, ends)) in &mut *self.lock() {
            if let Some(why) = why((token, ends)) {
                // Sending uses the sender up, and a closed one is forgotten the next time.
                let (closed, _) = oneshot::channel();
                let _ = std::mem::replace(stop, closed).send(why);
            }
        }
    }
}

impl<S> fmt::Debug for InboxWorker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(&mut f.debug_struct("InboxWorker"))
    }
}
