//! A connection that is made again when it no longer leads to a server that takes our commands.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt as _, Shared};
use redis::{RedisError, Value};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::config::ConfigErrorKind;

use super::fault::{Doubt, Fault};
use super::script::Call;
use super::target::Target;
use super::wire::{BoxFuture, Wire};

/// The wait after the first failed attempt to connect, doubled after each further one. It also
/// spaces successful attempts, so that a server that takes connections and refuses commands isn't
/// sent one connection for each delivery.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between attempts, and so the longest time that a recovered server goes
/// unnoticed.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// The time for an attempt: asking a few Sentinels or nodes that may be gone, connecting, probing.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a call that was given up must have waited for the connection to be doubted: a hundred
/// times what Redis needs.
const SILENCE: Duration = Duration::from_millis(150);
/// The time for a silent connection to show that it still works, once another one has been made.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// What a call was answered.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Whether the call may have been carried out once before, its answer lost.
    pub(super) is_repeated: bool,
}

/// Carries calls over one connection at a time. Clones share it.
///
/// An error of the connection or of the server's state makes one attempt to connect anew, whoever
/// else finds an error meanwhile; the calls that wait for it are repeated once. The new connection
/// replaces the old one only after a probe has shown that its server takes writes. Attempts are
/// made on demand and apart by a growing, jittered wait, during which calls fail at once.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    /// `None` for a connection that somebody else made.
    target: Option<Target>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wire: Option<Arc<dyn Wire>>,
    /// How many connections there were.
    generation: u64,
    attempt: Option<Attempt>,
    failures: u32,
    /// When the next attempt may begin, and why the last one failed.
    wait: Option<(Instant, Option<Fault>)>,
}

/// An attempt to connect that any number of calls wait for.
type Attempt = Shared<BoxFuture<Result<Arc<dyn Wire>, Fault>>>;

impl Link {
    /// Connects with the first call.
    pub(super) fn to(target: Target) -> Self {
        Self(Arc::new(Inner { target: Some(target), state: Mutex::default() }))
    }

    /// A link over a connection that is never made again.
    pub(super) fn over(wire: impl Wire + 'static) -> Self {
        let state = State { wire: Some(Arc::new(wire)), ..State::default() };
        Self(Arc::new(Inner { target: None, state: Mutex::new(state) }))
    }

    /// Connects now.
    pub(super) async fn connect(&self, prefix: &Arc<str>) -> Result<Arc<dyn Wire>, Fault> {
        self.renew(prefix, 0, Doubt::Refused)?.await
    }

    pub(super) async fn call(&self, prefix: &Arc<str>, call: &Call) -> Result<Answer, Fault> {
        let (wire, generation) = self.current();
        let attempt = match wire {
            Some(wire) => match self.ask(prefix, generation, &*wire, call).await {
                Ok(value) => return Ok(Answer { value, is_repeated: false }),
                Err((error, Some(Doubt::Refused))) => {
                    self.renew(prefix, generation, Doubt::Refused).map_err(|_| Fault::from(error))?
                }
                Err((error, _)) => return Err(error.into()),
            },
            None => self.renew(prefix, generation, Doubt::Refused)?,
        };
        attempt.await?;
        let (wire, generation) = self.current();
        let Some(wire) = wire else { return Err(UNREACHABLE) };
        match self.ask(prefix, generation, &*wire, call).await {
            Ok(value) => Ok(Answer { value, is_repeated: true }),
            Err((error, _)) => Err(error.into()),
        }
    }

    /// Makes the call, and sees to a new connection where it went unanswered: even where the caller
    /// gives up first, as the layer does after its time-out.
    async fn ask(
        &self,
        prefix: &Arc<str>,
        generation: u64,
        wire: &dyn Wire,
        call: &Call,
    ) -> Result<Value, (RedisError, Option<Doubt>)> {
        let mut unanswered = Unanswered { link: self, prefix, generation, since: Some(Instant::now()) };
        let result = call.run(wire).await;
        let error = match result {
            Ok(value) => {
                unanswered.since = None;
                return Ok(value);
            }
            Err(error) => error,
        };
        let doubt = Doubt::of(&error);
        if doubt != Some(Doubt::Silent) {
            unanswered.since = None;
        }
        Err((error, doubt))
    }

    /// Begins an attempt to replace the connection of this generation, or joins the one under way.
    /// Fails, with the reason of the last failure, while it is too early for the next attempt.
    fn renew(&self, prefix: &Arc<str>, generation: u64, doubt: Doubt) -> Result<Attempt, Fault> {
        if self.0.target.is_none() {
            return Err(UNREACHABLE);
        }
        let mut state = self.0.state();
        if state.generation != generation
            && let Some(wire) = state.wire.clone()
        {
            return Ok(std::future::ready(Ok(wire)).boxed().shared());
        }
        if let Some(attempt) = &state.attempt {
            return Ok(attempt.clone());
        }
        if let Some((until, fault)) = &state.wait
            && Instant::now() < *until
        {
            return Err(fault.clone().unwrap_or(UNREACHABLE));
        }
        let Ok(runtime) = Handle::try_current() else { return Err(UNREACHABLE) };
        let attempt = Inner::attempt(self.0.clone(), prefix.clone(), doubt).boxed().shared();
        // It goes on when everybody who waits for it has left.
        runtime.spawn(attempt.clone());
        state.attempt = Some(attempt.clone());
        Ok(attempt)
    }

    fn current(&self) -> (Option<Arc<dyn Wire>>, u64) {
        let state = self.0.state();
        (state.wire.clone(), state.generation)
    }
}

const UNREACHABLE: Fault = Fault::new(ConfigErrorKind::Unavailable, "Redis could not be reached");

impl Inner {
    async fn attempt(self: Arc<Self>, prefix: Arc<str>, doubt: Doubt) -> Result<Arc<dyn Wire>, Fault> {
        let opened = self.open(&prefix, doubt).await;
        let mut state = self.state();
        state.attempt = None;
        match &opened {
            Ok(wire) => {
                state.failures = 0;
                state.wait = Some((Instant::now() + jittered(MIN_WAIT), None));
                if !state.wire.as_ref().is_some_and(|old| Arc::ptr_eq(old, wire)) {
                    state.wire = Some(wire.clone());
                    state.generation += 1;
                }
            }
            Err(fault) => {
                let wait = MIN_WAIT.saturating_mul(1 << state.failures.min(16)).min(MAX_WAIT);
                state.failures = state.failures.saturating_add(1);
                state.wait = Some((Instant::now() + jittered(wait), Some(fault.clone())));
            }
        }
        opened
    }

    async fn open(&self, prefix: &str, doubt: Doubt) -> Result<Arc<dyn Wire>, Fault> {
        let Some(target) = &self.target else { return Err(UNREACHABLE) };
        let opening = timeout(ATTEMPT_TIMEOUT, target.open(prefix)).await;
        let new = opening.map_err(|_| Fault::new(ConfigErrorKind::Unavailable, "Redis did not answer in time"))??;
        // A server that hung answers all connections again. What it was sent before must not be overtaken
        // on another connection: a claim that arrives after its own release would hold until its
        // lease ends.
        let silent = if doubt == Doubt::Silent { self.state().wire.clone() } else { None };
        if let Some(old) = silent
            && let Ok(Ok(_)) = timeout(LAST_CHANCE, old.query(redis::cmd("PING"))).await
        {
            return Ok(old);
        }
        Ok(new)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call without an answer. Dropped after a while, it casts doubt on its connection.
struct Unanswered<'a> {
    link: &'a Link,
    prefix: &'a Arc<str>,
    generation: u64,
    since: Option<Instant>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= SILENCE) {
            // Where it is too early for another attempt, the next unanswered call makes it.
            let _ = self.link.renew(self.prefix, self.generation, Doubt::Silent);
        }
    }
}

/// Between half of the time and all of it, so that replicas of a service don't come back all at
/// once.
fn jittered(time: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or_default() % 1000;
    time / 2 + time / 2 * random / 1000
}
