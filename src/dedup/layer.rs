//! The layer: a store, and how long things count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use tower_layer::Layer;
#[cfg(feature = "tokio")]
use tower_layer::Stack;

use crate::delivery::Delivery;
use crate::text::Text;

use super::key::Key;
#[cfg(feature = "tokio")]
use super::run_to_end::RunToEndLayer;
use super::service::DedupService;
use super::shared::{DedupSettings, StoreFailure};
use super::store::Store;

pub use super::shared::{MAX_ANSWER_LIMIT, MAX_RETENTION};

/// The default lease: the time after which the claim of a process that died is free again. It is
/// short enough for the sender's next tries (SNS makes its last one a minute after the first), and
/// long enough to be renewed twice over a slow store.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// The default retention: the time for which a handled delivery is remembered. It is longer than
/// many senders repeat a delivery (SNS an hour at most); others do so for days, as their rows tell.
/// A delivery that stays fresh for longer is remembered for longer.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The default limit of an answer's body that is kept for repetitions: 4 KiB. What senders act on,
/// such as Adyen's `[accepted]`, is far shorter.
pub const DEFAULT_ANSWER_LIMIT: usize = 4 * 1024;

/// The shortest lease and retention: the unit in which stores count.
const MIN_RETENTION: Duration = Duration::from_millis(1);

/// The default time for the store to answer: a hundred times what it needs, and little compared
/// with the 3 to 30 seconds that most senders wait.
pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// A [tower layer](tower_layer::Layer) that lets each delivery through to the handler once.
///
/// Put it behind a [`WebhookLayer`](crate::WebhookLayer). A request that no webhook layer verified
/// is refused with [`Reason::NoDelivery`](crate::Reason::NoDelivery). A request that a layer in
/// [observe mode](crate::WebhookLayer::observe_only) let through is passed on as it is.
///
/// The rules are described in [the module](crate::dedup).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory-store")] {
/// use std::time::Duration;
/// use tower_webhook::{DedupLayer, MemoryStore};
///
/// let layer = DedupLayer::new(MemoryStore::new(10_000)).with_retention(Duration::from_secs(3600));
/// # }
/// ```
#[derive(Clone)]
pub struct DedupLayer {
    settings: Arc<DedupSettings>,
}

impl DedupLayer {
    /// Creates a layer with this store and the default times.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self {
            settings: Arc::new(DedupSettings {
                name: Text::default(),
                store: Arc::new(store),
                lease: DEFAULT_LEASE,
                retention: DEFAULT_RETENTION,
                store_timeout: DEFAULT_STORE_TIMEOUT,
                store_failure: None,
                in_flight_status: None,
                answer_limit: DEFAULT_ANSWER_LIMIT,
                replay_protection: false,
                key: None,
                #[cfg(feature = "tokio")]
                commits_in_background: false,
                warned: Arc::default(),
                #[cfg(feature = "tokio")]
                unsettled: Arc::default(),
            }),
        }
    }

    /// Sets a name that keeps this layer's deliveries apart from those of other layers with the
    /// same store. The default is no name.
    ///
    /// Deliveries are apart anyway if their senders have different names or sign with different
    /// secrets. Two routes that the same sender calls with the same secret, each to do
    /// something of its own, need names.
    #[must_use]
    pub fn with_name(self, name: impl Into<Text>) -> Self {
        self.with(|settings| settings.name = name.into())
    }

    /// Takes equal content for a repetition for every sender: by the id that the sender signs, or
    /// else by all that it signs, and by nothing that anyone could have changed.
    ///
    /// Without it, a copy of a captured request is handled again if its sender signs no id and its
    /// unsigned id, if there is one, was changed. The price is that **genuine events may be
    /// lost**: many senders send the same bytes for two events (Dropbox's "something has
    /// changed", a scheduler's empty message), and the second one is answered without being
    /// handled. Choose it where handling a forged copy is worse than that.
    #[must_use]
    pub fn with_replay_protection(self) -> Self {
        self.with(|settings| settings.replay_protection = true)
    }

    /// Sets the longest body of an answer that is kept and given again to repetitions, in bytes.
    /// The default is [`DEFAULT_ANSWER_LIMIT`], the largest [`MAX_ANSWER_LIMIT`]. With 0,
    /// repetitions are answered by the status alone.
    ///
    /// The body is kept where the response says how long it is, which is not so for streams, and is
    /// neither compressed nor gRPC. It is collected before the response is passed on. With it
    /// goes the `Content-Type`, and no other header.
    #[must_use]
    pub fn with_answer_limit(self, bytes: usize) -> Self {
        self.with(|settings| settings.answer_limit = bytes.min(MAX_ANSWER_LIMIT))
    }

    /// Lets handlers run to their end although the sender has hung up, so that its next try finds a
    /// delivery that is done.
    ///
    /// Servers drop the handler when the connection is gone. A sender that waits for less time than
    /// the handler needs then starts it again and again, and it never ends. With this layer it
    /// runs in a task of its own. Nothing stops it, so bound its time yourself. Call this last.
    /// On anything but tokio it changes nothing.
    ///
    /// An inbox that stores first and handles later is the better cure.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "memory-store")] {
    /// use tower_webhook::{DedupLayer, MemoryStore};
    ///
    /// let layer = DedupLayer::new(MemoryStore::default()).run_to_end();
    /// # }
    /// ```
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn run_to_end(self) -> Stack<Self, RunToEndLayer> {
        Stack::new(self, RunToEndLayer::new())
    }

    /// Sets how long a delivery counts as handled. The default is [`DEFAULT_RETENTION`]. It should
    /// be longer than the sender goes on repeating. While a copy of a delivery [stays
    /// fresh](Delivery::fresh_for), it counts in any case.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        self.with(|settings| settings.retention = retention.clamp(MIN_RETENTION, MAX_RETENTION))
    }

    /// Sets how long a claim lasts without being renewed: the time after which a delivery is
    /// handled again if its process died. The default is [`DEFAULT_LEASE`].
    ///
    /// On tokio (feature `tokio`) it is renewed every third of it while the handler works, so a
    /// handler may take longer. It isn't renewed while the handler blocks its thread, nor
    /// without tokio: there the lease must be longer than any handler takes.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        self.with(|settings| settings.lease = lease.clamp(MIN_RETENTION, MAX_RETENTION))
    }

    /// Sets how long each call of the store may take. The default is [`DEFAULT_STORE_TIMEOUT`]. It
    /// needs the feature `tokio` (on by default) and a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_store_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.store_timeout = timeout)
    }

    /// Sets what happens if the store neither grants nor denies a claim. The default is
    /// [`StoreFailure::Admit`] for senders that never repeat a delivery, as far as their row says,
    /// and otherwise [`StoreFailure::Refuse`].
    #[must_use]
    pub fn with_store_failure(self, failure: StoreFailure) -> Self {
        self.with(|settings| settings.store_failure = Some(failure))
    }

    /// Sets the status that answers a delivery while the same one is being handled. The default is
    /// 503.
    ///
    /// A 409 is for senders that repeat after a 4xx. SNS and others take it as final, and a
    /// delivery whose first try fails is then lost. A status that
    /// [`Rejection::with_status`](crate::Rejection::with_status) doesn't accept for
    /// [`Reason::InFlight`](crate::Reason::InFlight) is ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "memory-store")] {
    /// use http::StatusCode;
    /// use tower_webhook::{DedupLayer, MemoryStore};
    ///
    /// let layer = DedupLayer::new(MemoryStore::default()).with_in_flight_status(StatusCode::CONFLICT);
    /// # }
    /// ```
    #[must_use]
    pub fn with_in_flight_status(self, status: StatusCode) -> Self {
        self.with(|settings| settings.in_flight_status = Some(status))
    }

    /// Answers a sender before the store knows that its delivery was handled, which takes one of
    /// the two round trips off the answer.
    ///
    /// If the process dies in between, a repetition is handled again once the lease has ended: as
    /// seldom as a sender repeats what it was told is done. A commit that fails is tried again as
    /// any other. Without a runtime, and with a store in memory, nothing changes.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_commit_in_background(self) -> Self {
        self.with(|settings| settings.commits_in_background = true)
    }

    /// Sets how the [`Key`] is chosen. The default is [`Key::of`], and `None` for senders that
    /// [act on the answer](crate::provider::Behavior::is_interactive). A delivery for which it
    /// returns `None` is passed on without being deduplicated.
    ///
    /// The key may depend on the request's head, which isn't signed: enough to separate tenants
    /// whose secrets were looked up by it, but never to tell one delivery from another.
    #[must_use]
    pub fn with_key(self, choose: impl Fn(&Delivery, &Parts) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.key = Some(Arc::new(choose)))
    }

    fn with(mut self, set: impl FnOnce(&mut DedupSettings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for DedupLayer {
    type Service = DedupService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DedupService::with_settings(inner, self.settings.clone())
    }
}

impl fmt::Debug for DedupLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(&mut f.debug_struct("DedupLayer"))
    }
}
