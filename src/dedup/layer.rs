//! The layer: a store, and how long things count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use tower_layer::Layer;

use crate::delivery::Delivery;

use super::key::Key;
use super::service::DedupService;
use super::shared::{DedupSettings, StoreFailure};
use super::store::Store;

/// The default lease: the time after which the claim of a process that died is free again. It is short enough for the sender's
/// next tries (SNS makes its last one a minute after the first), and long enough to be renewed twice over a slow store.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// The default retention: the time for which a handled delivery is remembered. It is longer than senders repeat a delivery
/// within a schedule (SNS an hour at most), and than any signed timestamp stays fresh.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest lease and retention; a longer one is cut to it. No sender repeats a delivery after a year, and stores need times
/// of bounded length.
pub const MAX_RETENTION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The shortest lease and retention: the unit in which stores count.
const MIN_RETENTION: Duration = Duration::from_millis(1);

/// The default time for the store to answer: a hundred times what it needs, and little compared with the 3 to 30 seconds
/// that senders wait.
pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// A [tower layer](tower_layer::Layer) that lets each delivery through to the handler once.
///
/// Put it behind a [`WebhookLayer`](crate::WebhookLayer). A request that no webhook layer verified is refused with
/// [`Reason::NoDelivery`](crate::Reason::NoDelivery). A request that a layer in
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
                store: Arc::new(store),
                lease: DEFAULT_LEASE,
                retention: DEFAULT_RETENTION,
                store_timeout: DEFAULT_STORE_TIMEOUT,
                store_failure: StoreFailure::default(),
                in_flight_status: None,
                key: Arc::new(|delivery, _| Key::of(delivery)),
            }),
        }
    }

    /// Sets how long a delivery counts as handled. The default is [`DEFAULT_RETENTION`]. It should be longer than the sender's
    /// last retry and than the tolerance for its timestamps.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        self.with(|settings| settings.retention = retention.clamp(MIN_RETENTION, MAX_RETENTION))
    }

    /// Sets how long a claim lasts without being renewed: the time after which a delivery is handled again if its process
    /// died. The default is [`DEFAULT_LEASE`].
    ///
    /// On tokio (feature `tokio`) it is renewed every third of it while the handler works, so a handler may take longer. It
    /// isn't renewed while the handler blocks its thread, nor without tokio: there the lease must be longer than any handler
    /// takes.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        self.with(|settings| settings.lease = lease.clamp(MIN_RETENTION, MAX_RETENTION))
    }

    /// Sets how long each call of the store may take. The default is [`DEFAULT_STORE_TIMEOUT`]. It needs the feature `tokio`
    /// (on by default) and a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_store_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.store_timeout = timeout)
    }

    /// Sets what happens if the store neither grants nor denies a claim. The default is [`StoreFailure::Refuse`].
    #[must_use]
    pub fn with_store_failure(self, failure: StoreFailure) -> Self {
        self.with(|settings| settings.store_failure = failure)
    }

    /// Sets the status that answers a delivery while the same one is being handled. The default is 503.
    ///
    /// A 409 is for senders that try again after a 4xx. SNS and others take it as final, and a delivery whose first try fails
    /// is then lost. A status that [`Rejection::with_status`](crate::Rejection::with_status) doesn't accept for
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

    /// Sets how the [`Key`] is chosen. The default is [`Key::of`]. A delivery for which it returns `None` is passed on without
    /// being deduplicated, for handlers whose answer has a body that the sender needs every time.
    ///
    /// The key may depend on the request's head, which isn't signed: enough to separate tenants whose secrets were looked up by
    /// it, but never to tell one delivery from another.
    #[must_use]
    pub fn with_key(self, choose: impl Fn(&Delivery, &Parts) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.key = Arc::new(choose))
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
