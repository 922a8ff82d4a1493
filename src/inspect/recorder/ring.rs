//! The last requests that arrived, in memory.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio::sync::watch;

use crate::time::{Clock, SystemClock};

use super::exchange::Exchange;

/// How many exchanges a [`Recorder`] keeps by default.
pub const DEFAULT_EXCHANGES: usize = 10_000;
/// How many bytes a [`Recorder`] keeps by default: 64 MiB.
pub const DEFAULT_RECORDED_BYTES: usize = 64 * 1024 * 1024;
/// How much of a body is kept at most: 4 MiB, so that one request doesn't push out all others. The
/// handler gets the whole body.
pub const MAX_RECORDED_BODY: usize = 4 * 1024 * 1024;

/// The last requests that arrived, and what became of each. The oldest are forgotten once there are
/// too many, or they are too large together.
///
/// [`around`](Self::around) puts it around a webhook layer, and
/// an `Inspector` (feature `axum`) shows it in the browser. Clones share their exchanges.
///
/// Credentials are replaced before an exchange is kept: headers such as `authorization` and
/// `cookie`, and query parameters whose names hold words such as `token` or `sig`. Bodies are kept
/// as they arrived.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_webhook::inspect::Recorder;
/// use tower_webhook::{WebhookLayer, senders};
///
/// # fn app() -> Result<(), tower_webhook::ConfigError> {
/// let recorder = Recorder::new();
/// let github = WebhookLayer::new(senders::github("the secret of the webhook")?);
/// let app: Router = Router::new().route("/hook", post(async || "handled").layer(recorder.around(github)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Recorder {
    ring: Arc<Ring>,
    pub(super) clock: Arc<dyn Clock>,
    replay: Option<Arc<Replay>>,
}

type Replay = dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = Result<StatusCode, String>> + Send>> + Send + Sync;

struct Ring {
    exchanges: Mutex<Exchanges>,
    /// The number of changes so far.
    changes: watch::Sender<u64>,
    most: usize,
    most_bytes: usize,
}

#[derive(Default)]
struct Exchanges {
    /// Their numbers follow each other.
    kept: VecDeque<Arc<Exchange>>,
    bytes: usize,
    next: u64,
}

impl Exchanges {
    /// Forgets the oldest ones, until the others have room.
    fn forget(&mut self, ring: &Ring) {
        while self.kept.len() > ring.most || self.bytes > ring.most_bytes {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.weight();
        }
    }
}

impl Recorder {
    /// Creates a recorder of [`DEFAULT_EXCHANGES`] exchanges and [`DEFAULT_RECORDED_BYTES`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(DEFAULT_EXCHANGES, DEFAULT_RECORDED_BYTES)
    }

    /// Creates a recorder of at most so many exchanges, which have at most so many bytes together.
    #[must_use]
    pub fn bounded(exchanges: usize, bytes: usize) -> Self {
        let ring = Ring {
            exchanges: Mutex::default(),
            changes: watch::Sender::new(0),
            most: exchanges.max(1),
            most_bytes: bytes,
        };
        Self { ring: Arc::new(ring), clock: Arc::new(SystemClock), replay: None }
    }

    /// Sets the clock. The default is [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets what has an exchange handled again, such as sending its request to where it was
    /// forwarded. It returns the status of the answer, or why there was none. It only gets what was
    /// verified, and without it nothing can be replayed.
    #[must_use]
    pub fn with_replay<F, Fut>(mut self, replay: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<StatusCode, String>> + Send + 'static,
    {
        self.replay = Some(Arc::new(move |exchange| Box::pin(replay(exchange))));
        self
    }

    /// Returns an exchange, unless it was forgotten.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Exchange> {
        self.find(id).map(|exchange| Exchange::clone(&exchange))
    }

    /// Returns the exchanges, the newest first.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.before(u64::MAX).iter().map(|exchange| Exchange::clone(exchange)).collect()
    }

    /// Forgets all exchanges.
    pub fn clear(&self) {
        let mut exchanges = self.lock();
        exchanges.kept.clear();
        exchanges.bytes = 0;
        drop(exchanges);
        self.changed();
    }

    pub(in crate::inspect) fn find(&self, id: u64) -> Option<Arc<Exchange>> {
        let exchanges = self.lock();
        let first = exchanges.kept.front()?.id;
        exchanges.kept.get(usize::try_from(id.checked_sub(first)?).ok()?).cloned()
    }

    /// Returns the exchanges with a lower number, the newest first.
    pub(in crate::inspect) fn before(&self, id: u64) -> Vec<Arc<Exchange>> {
        self.lock().kept.iter().rev().filter(|exchange| exchange.id < id).cloned().collect()
    }

    /// Returns what waits for changes.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    pub(in crate::inspect) fn changes(&self) -> watch::Receiver<u64> {
        self.ring.changes.subscribe()
    }

    /// Returns whether an exchange can be handled again: only what was verified, and kept whole.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    pub(in crate::inspect) fn can_replay(&self, exchange: &Exchange) -> bool {
        self.replay.is_some() && exchange.signed.is_some() && exchange.body_bytes == exchange.body.len() as u64
    }

    /// Has an exchange handled again. `None` if that can't be.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    pub(in crate::inspect) async fn replay(&self, id: u64) -> Option<Result<StatusCode, String>> {
        let (replay, exchange) = (self.replay.as_ref()?, self.find(id)?);
        if !self.can_replay(&exchange) {
            return None;
        }
        let result = replay(Exchange::clone(&exchange)).await;
        self.change(id, |exchange| exchange.note_replay(&result));
        Some(result)
    }

    pub(super) fn change(&self, id: u64, change: impl FnOnce(&mut Exchange)) {
        let mut exchanges = self.lock();
        let first = exchanges.kept.front().map_or(u64::MAX, |first| first.id);
        let index = id.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(exchange) = index.and_then(|index| exchanges.kept.get_mut(index)) {
            let before = exchange.weight();
            change(Arc::make_mut(exchange));
            let after = exchange.weight();
            exchanges.bytes = exchanges.bytes - before + after;
        }
        exchanges.forget(&self.ring);
        drop(exchanges);
        self.changed();
    }

    /// Keeps an exchange under the next number, which it returns.
    pub(super) fn keep(&self, mut exchange: Exchange) -> u64 {
        let mut exchanges = self.lock();
        let id = exchanges.next;
        exchange.id = id;
        exchanges.next += 1;
        exchanges.bytes += exchange.weight();
        exchanges.kept.push_back(Arc::new(exchange));
        exchanges.forget(&self.ring);
        drop(exchanges);
        self.changed();
        id
    }

    fn changed(&self) {
        self.ring.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Exchanges> {
        self.ring.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("exchanges", &self.lock().kept.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn exchange(body: usize) -> Exchange {
        let (head, ()) = http::Request::post("/hook").body(()).unwrap().into_parts();
        Exchange::new(&head, std::time::UNIX_EPOCH).with_body(Bytes::from(vec![b'x'; body]))
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let overhead = exchange(0).weight();
        let recorder = Recorder::bounded(3, 3 * overhead + 1000);
        let kept = |recorder: &Recorder| recorder.exchanges().iter().map(|exchange| exchange.id).collect::<Vec<_>>();
        for _ in 0..5 {
            recorder.keep(exchange(10));
        }
        assert_eq!(kept(&recorder), [4, 3, 2]);
        recorder.keep(exchange(990));
        assert_eq!(kept(&recorder), [5, 4], "by their bytes");
        recorder.keep(exchange(100_000));
        assert_eq!(kept(&recorder), [] as [u64; 0], "one that has no room at all");
        assert_eq!(recorder.lock().bytes, 0);
        recorder.keep(exchange(1));
        assert_eq!((kept(&recorder), recorder.get(7).is_some(), recorder.get(6).is_some()), (vec![7], true, false));
    }
}
