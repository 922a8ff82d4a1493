//! The layer: a store, and how long things count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

use crate::delivery::Delivery;

use super::erased::ErasedStore;
use super::key::Key;
use super::service::DedupService;
use super::store::Store;

/// The time after which the claim of a process that died is free again, unless it is set. Short enough for the sender's next
/// tries (SNS makes its last one a minute after the first), long enough to be renewed twice over a slow store.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// The time for which a handled delivery is remembered unless it is set. Longer than senders repeat one delivery for
/// within a schedule (SNS an hour at most), and than any signed timestamp stays fresh.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest lease and retention; a longer one is cut to it. Nobody repeats a delivery after a year, and stores reckon
/// with times of bounded length.
pub const LONGEST_RETENTION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The shortest lease and retention: the unit in which stores count.
const SHORTEST: Duration = Duration::from_millis(1);

/// The time in which the store has to answer unless it is set: a hundred times what it needs, and little beside the 3 to 30
/// seconds that senders wait.
pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// What happens to a delivery where the store does not grant or deny a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFailure {
    /// It is refused with 503 ([`Reason::StoreUnavailable`](crate::Reason::StoreUnavailable)), and the sender tries again.
    #[default]
    Refuse,
    /// It is handled, and counted: for handlers that would rather work twice than late.
    Admit,
}

/// A [tower layer](tower_layer::Layer) that lets each delivery through to the handler once.
///
/// It belongs behind a [`WebhookLayer`](crate::WebhookLayer). Where no webhook layer verified the request, it is refused with
/// [`Reason::NoDelivery`](crate::Reason::NoDelivery). A request that a layer in
/// [observe mode](crate::WebhookLayer::observe_only) let through is handed on as it is.
///
/// ```
/// # #[cfg(feature = "memory-store")] {
/// use std::time::Duration;
/// use tower_webhook::{DedupLayer, MemoryStore};
///
/// let layer = DedupLayer::new(MemoryStore::new(10_000)).with_retention(Duration::from_secs(3600));
/// # }
/// ```
///
/// The rules are told in [the module](crate::dedup).
#[derive(Clone)]
pub struct DedupLayer {
    shared: Arc<Shared>,
}

/// What a layer and all its services and futures share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(super) timeout: Duration,
    pub(super) failure: StoreFailure,
    pub(super) conflict: bool,
    pub(super) key: Arc<ChooseKey>,
}

type ChooseKey = dyn Fn(&Delivery, &Parts) -> Option<Key> + Send + Sync;

impl DedupLayer {
    /// A layer with this store and the default times.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: Arc::new(store),
                lease: DEFAULT_LEASE,
                retention: DEFAULT_RETENTION,
                timeout: DEFAULT_STORE_TIMEOUT,
                failure: StoreFailure::default(),
                conflict: false,
                key: Arc::new(|delivery, _| Key::of(delivery)),
            }),
        }
    }

    /// How long a delivery counts as handled. The default is [`DEFAULT_RETENTION`]. It should be longer than the sender's
    /// last retry and than the tolerance for its timestamps.
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        self.with(|shared| shared.retention = retention.clamp(SHORTEST, LONGEST_RETENTION))
    }

    /// How long a claim lasts unless it is renewed: the time after which a delivery is handled again whose process died. The
    /// default is [`DEFAULT_LEASE`].
    ///
    /// On tokio (feature `tokio`) it is renewed every third of it while the handler works, so a handler may take longer. It
    /// is not renewed while the handler blocks its thread, nor without tokio: there the lease has to be longer than any
    /// handler.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        self.with(|shared| shared.lease = lease.clamp(SHORTEST, LONGEST_RETENTION))
    }

    /// How long each call of the store may take. The default is [`DEFAULT_STORE_TIMEOUT`]. It needs the feature `tokio` (on
    /// by default) and a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_store_timeout(self, timeout: Duration) -> Self {
        self.with(|shared| shared.timeout = timeout)
    }

    /// What happens where the store does not grant or deny a claim. The default is [`StoreFailure::Refuse`].
    #[must_use]
    pub fn with_store_failure(self, failure: StoreFailure) -> Self {
        self.with(|shared| shared.failure = failure)
    }

    /// Answers 409 rather than 503 while the same delivery is being handled: for senders that try again after a 4xx. SNS and
    /// others take it as final, and a delivery whose first try fails is then lost.
    #[must_use]
    pub fn conflict_while_in_flight(self) -> Self {
        self.with(|shared| shared.conflict = true)
    }

    /// Another choice of the [`Key`] than [`Key::of`]. `None` hands the delivery on without deduplicating it, for handlers
    /// whose answer has a body that the sender needs every time.
    ///
    /// It may depend on the request's head, which is not signed: enough to separate tenants whose secrets were looked up by
    /// it, and never to tell one delivery from another.
    #[must_use]
    pub fn with_key(self, choose: impl Fn(&Delivery, &Parts) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.key = Arc::new(choose))
    }

    fn with(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        set(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S> Layer<S> for DedupLayer {
    type Service = DedupService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DedupService::new(inner, self.shared.clone())
    }
}

impl fmt::Debug for DedupLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.debug(&mut f.debug_struct("DedupLayer"))
    }
}

impl Shared {
    pub(super) fn debug(&self, f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        f.field("lease", &self.lease)
            .field("retention", &self.retention)
            .field("store_timeout", &self.timeout)
            .field("store_failure", &self.failure)
            .finish_non_exhaustive()
    }
}
