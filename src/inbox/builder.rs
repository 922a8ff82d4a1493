//! The builder of an inbox.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};

use crate::delivery::Delivery;
use crate::text::Text;
use crate::time::{Clock, SystemClock};

use super::backoff::Backoff;
use super::record::Seal;
use super::service::Inbox;
use super::settings::{InboxSettings, OrderOnDead};
use super::store::{InboxStore, Retention};
use super::worker::InboxWorker;

/// The default scope.
pub const DEFAULT_SCOPE: &str = "webhooks";
/// The number of handlers that work at once by default.
pub const DEFAULT_CONCURRENCY: usize = 32;
/// The time after which the deliveries of a process that died are tried again, by default. It is
/// extended while a handler works.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);
/// The time that a handler may take by default.
pub const DEFAULT_HANDLER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The time that handlers have to finish at shutdown by default. Container platforms kill after 10
/// seconds and more.
pub const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);
/// After so many crashes of its process in a row, a delivery is dead by default.
pub const DEFAULT_CRASHES: u32 = 5;
/// How long things are kept by default: done deliveries for three days, dead ones until an operator
/// decides, and unique keys for a week after their delivery. Stripe repeats for three days.
pub const DEFAULT_RETENTION: Retention =
    Retention { done: Duration::from_secs(3 * DAY), dead: None, keys: Duration::from_secs(7 * DAY) };

const DAY: u64 = 24 * 60 * 60;
/// Shorter leases could end before they are extended.
const MIN_LEASE: Duration = Duration::from_millis(100);

/// The settings of an [`Inbox`], made by [`Inbox::new`].
#[derive(Clone)]
#[must_use = "an inbox is made by `wrap`"]
pub struct InboxBuilder {
    settings: InboxSettings,
}

impl Inbox<()> {
    /// Starts an inbox that keeps its deliveries in this store.
    #[allow(clippy::new_ret_no_self, reason = "an inbox needs a service, which `wrap` takes last")]
    pub fn new(store: impl InboxStore) -> InboxBuilder {
        InboxBuilder {
            settings: InboxSettings {
                store: Arc::new(store),
                scope: Text::from_static(DEFAULT_SCOPE),
                seal: Seal::checksum(),
                clock: Arc::new(SystemClock),
                headers: vec![header::CONTENT_TYPE, header::CONTENT_ENCODING, header::USER_AGENT],
                order: None,
                tenants: None,
                bypass: Arc::new(|delivery| delivery.traits().is_interactive),
                retry: Backoff::default(),
                order_on_dead: OrderOnDead::default(),
                crashes: DEFAULT_CRASHES,
                concurrency: DEFAULT_CONCURRENCY,
                lease: DEFAULT_LEASE,
                handler_timeout: DEFAULT_HANDLER_TIMEOUT,
                shutdown_timeout: DEFAULT_SHUTDOWN_TIMEOUT,
                retention: DEFAULT_RETENTION,
            },
        }
    }
}

impl InboxBuilder {
    /// Sets how often and how far apart a delivery is tried. The default is [`Backoff::default`].
    pub fn with_retry(mut self, retry: Backoff) -> Self {
        self.settings.retry = retry;
        self
    }

    /// Sets an order key. Deliveries with the same one are handled one after the other, in the
    /// order in which they were stored; those for which it returns `None` are handled in any
    /// order, as all are by default.
    pub fn with_order(mut self, key: impl Fn(&Delivery) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.settings.order = Some(Arc::new(key));
        self
    }

    /// Sets how many deliveries of one tenant are tried for the first time at once, at least 1, and
    /// whose a delivery is. The tenants take turns, so that none waits for another one's
    /// backlog. Those for which it returns `None` belong to one tenant.
    ///
    /// The limit holds over all replicas. Retries are apart from it: they have half of the places,
    /// and their back-off. With an [order key](Self::with_order) a delivery stands in that line
    /// instead.
    pub fn with_tenants(
        mut self,
        limit: u32,
        tenant: impl Fn(&Delivery) -> Option<Text> + Send + Sync + 'static,
    ) -> Self {
        self.settings.tenants = Some((limit.max(1), Arc::new(tenant)));
        self
    }

    /// Sets what a dead delivery does to those behind it with the same order key. The default is
    /// [`OrderOnDead::Skip`].
    pub fn with_order_on_dead(mut self, order_on_dead: OrderOnDead) -> Self {
        self.settings.order_on_dead = order_on_dead;
        self
    }

    /// Hands a delivery straight to the service, without storing it, when `bypass` returns true:
    /// for senders that act on the answer, such as Slack with its commands. The default is
    /// whether the sender's
    /// [`Behavior::is_interactive`](crate::provider::Behavior::is_interactive).
    pub fn when(mut self, bypass: impl Fn(&Delivery) -> bool + Send + Sync + 'static) -> Self {
        self.settings.bypass = Arc::new(bypass);
        self
    }

    /// Sets the name of the inbox in its store. Two inboxes with the same one share their
    /// deliveries, as replicas do. The default is [`DEFAULT_SCOPE`].
    pub fn with_scope(mut self, scope: impl Into<Text>) -> Self {
        self.settings.scope = scope.into();
        self
    }

    /// Keeps further headers for the handler. By default it gets the content's type and encoding,
    /// the user agent, the trace context, and those headers whose value is the delivery's id or
    /// event. Authorization and cookies are never kept.
    pub fn with_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings.headers.extend(names);
        self
    }

    /// Sets how many handlers work at once, at least 1. The default is [`DEFAULT_CONCURRENCY`].
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.settings.concurrency = concurrency.max(1);
        self
    }

    /// Sets the time after which the deliveries of a process that died are tried again. The default
    /// is [`DEFAULT_LEASE`].
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.max(MIN_LEASE);
        self
    }

    /// Sets the time that a handler may take. The default is [`DEFAULT_HANDLER_TIMEOUT`].
    pub fn with_handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handler_timeout = timeout;
        self
    }

    /// Sets the time that handlers have to finish at shutdown. The default is
    /// [`DEFAULT_SHUTDOWN_TIMEOUT`].
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }

    /// Sets after how many crashes of its process in a row a delivery is dead, at least 1. The
    /// default is [`DEFAULT_CRASHES`].
    pub fn with_crashes(mut self, crashes: u32) -> Self {
        self.settings.crashes = crashes.max(1);
        self
    }

    /// Sets how long things are kept after they ended. The default is [`DEFAULT_RETENTION`].
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.settings.retention = retention;
        self
    }

    /// Sets what protects the stored records. The default is [`Seal::checksum`].
    pub fn with_seal(mut self, seal: Seal) -> Self {
        self.settings.seal = seal;
        self
    }

    /// Sets the clock. The default is [`SystemClock`].
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Returns the inbox, which goes behind a [`WebhookLayer`](crate::WebhookLayer), and the
    /// worker, which hands what is stored to the service. Both may be cloned.
    pub fn wrap<S: Clone>(self, service: S) -> (Inbox<S>, InboxWorker<S>) {
        let settings = Arc::new(self.settings);
        (Inbox::with_settings(service.clone(), settings.clone()), InboxWorker::new(service, settings))
    }
}

impl fmt::Debug for InboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(&mut f.debug_struct("InboxBuilder"))
    }
}
