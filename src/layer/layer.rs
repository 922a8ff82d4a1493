//! The layer: a provider and the bounds within which its requests are taken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::service::WebhookService;
use super::shared::{self, Shared};
use crate::body::MemoryBudget;
use crate::provider::Provider;
use crate::rejection::Rejection;
use crate::time::{Clock, SystemClock};

/// The time for a whole body to arrive unless it is set: senders write theirs at once and give up after 3 to 30
/// seconds themselves, so whoever takes longer than this is not going to finish.
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for secrets to be looked up unless it is set: a database that needs longer is down, and the sender is better
/// told so (503) while it still listens.
pub const DEFAULT_LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A [tower layer](tower_layer::Layer) that lets only verified webhook requests through.
///
/// It reads the request's body within bounds, has the provider verify it, and hands the same bytes on with a
/// [`Delivery`](crate::Delivery) in the extensions. Everything else is answered by the layer itself.
///
/// ```
/// use tower_webhook::{CdrManager, WebhookLayer};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = WebhookLayer::new(CdrManager::new("the key from the portal")?).with_body_limit(64 * 1024);
/// # Ok(())
/// # }
/// ```
///
/// A gRPC request is answered in gRPC's terms: a refusal is a status such as `UNAUTHENTICATED` without a body. What is
/// verified is the request's body as it is on the wire, received whole before the handler is called, so the layer
/// suits unary calls; to have streaming services beside a webhook, use an [`EndpointLayer`](crate::EndpointLayer).
pub struct WebhookLayer<P> {
    shared: Arc<Shared<P>>,
}

impl<P: Provider> WebhookLayer<P> {
    /// A layer for this sender, with the sender's own body limit, [`DEFAULT_BODY_TIMEOUT`] and the system's clock.
    #[must_use]
    pub fn new(provider: P) -> Self {
        let body_limit = provider.body_limit();
        Self {
            shared: Arc::new(Shared {
                provider: Arc::new(provider),
                body_limit,
                body_timeout: Some(DEFAULT_BODY_TIMEOUT),
                lookup_timeout: DEFAULT_LOOKUP_TIMEOUT,
                budget: None,
                clock: Arc::new(SystemClock),
                on_reject: None,
                observe_only: false,
                room: shared::room(),
            }),
        }
    }
}

impl<P> WebhookLayer<P> {
    /// The largest body taken, in bytes; a larger one is refused with 413.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.with(|shared| shared.body_limit = bytes)
    }

    /// Sets the time for the whole body to arrive, from when the layer first has to wait for it. After it, the request is
    /// refused with 408. Feature `tokio` (on by default), and it needs a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_body_timeout(self, timeout: Duration) -> Self {
        self.with(|shared| shared.body_timeout = Some(timeout))
    }

    /// Leaves the time for the body to the server. Feature `tokio`; without it, there is no time-out.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn without_body_timeout(self) -> Self {
        self.with(|shared| shared.body_timeout = None)
    }

    /// Sets the time for [`Secrets::lookup`](crate::Secrets::lookup). After it, the request is answered with 503. Feature
    /// `tokio` (on by default), and it needs a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_lookup_timeout(self, timeout: Duration) -> Self {
        self.with(|shared| shared.lookup_timeout = timeout)
    }

    /// Takes the memory for bodies from this budget, which any number of layers may share.
    #[must_use]
    pub fn with_memory_budget(self, budget: &MemoryBudget) -> Self {
        self.with(|shared| shared.budget = Some(budget.clone()))
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.with(|shared| shared.clock = Arc::new(clock))
    }

    /// Calls this with each rejection, be it by this layer or by an extractor behind it. It must not block.
    #[must_use]
    pub fn on_reject(self, hook: impl Fn(&Rejection) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.on_reject = Some(Arc::new(hook)))
    }

    /// Refuses nothing: the handler gets every request, with a [`Verdict`](crate::Verdict) in its extensions, and a
    /// [`Delivery`](crate::Delivery) only where the verification succeeded. This is for trying a configuration on an
    /// endpoint that verifies by other means; the handler **must not** act on an unverified request.
    ///
    /// A body that breaks the bounds cannot be handed on and is refused all the same.
    #[must_use]
    pub fn observe_only(self) -> Self {
        self.with(|shared| shared.observe_only = true)
    }

    fn with(mut self, set: impl FnOnce(&mut Shared<P>)) -> Self {
        set(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S, P> Layer<S> for WebhookLayer<P> {
    type Service = WebhookService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        WebhookService::new(inner, self.shared.clone())
    }
}

impl<P> Clone for WebhookLayer<P> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<P: Provider> fmt::Debug for WebhookLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.shared;
        f.debug_struct("WebhookLayer")
            .field("provider", shared.provider.name())
            .field("body_limit", &shared.body_limit)
            .field("body_timeout", &shared.body_timeout)
            .field("observe_only", &shared.observe_only)
            .finish_non_exhaustive()
    }
}
