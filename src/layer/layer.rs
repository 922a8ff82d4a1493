//! The layer: a provider, and the bounds on its requests.

use std::fmt;
#[cfg(feature = "axum")]
use std::future::poll_fn;
#[cfg(feature = "axum")]
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "axum")]
use std::task::{Poll, ready};
use std::time::Duration;

#[cfg(feature = "axum")]
use bytes::Bytes;
#[cfg(feature = "axum")]
use http::{Request, Response};
#[cfg(feature = "axum")]
use http_body::Body;
use tower_layer::Layer;

#[cfg(feature = "inspect")]
use super::diagnose::Diagnose;
#[cfg(feature = "axum")]
use super::future::{Driver, Stage};
use super::service::WebhookService;
use super::shared::{self, WebhookSettings};
use crate::body::MemoryBudget;
use crate::delivery::{Delivery, Sender};
#[cfg(feature = "axum")]
use crate::grpc::Protocol;
#[cfg(feature = "axum")]
use crate::observe::Watch;
#[cfg(feature = "axum")]
use crate::payload::{FromDelivery, Webhook};
use crate::provider::Provider;
use crate::rejection::Rejection;
#[cfg(feature = "axum")]
use crate::rejection::{BoxError, Reason};
use crate::time::{Clock, SystemClock};

/// The default time for a whole body to arrive. Senders write theirs at once and give up after 3 to
/// 30 seconds themselves, so a body that takes longer isn't going to finish.
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The default time for secrets to be looked up. A database that needs longer is down, and the
/// sender should get the 503 while it still listens.
pub const DEFAULT_LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A [tower layer](tower_layer::Layer) that lets only verified webhook requests through.
///
/// It reads the request's body within bounds, has the provider verify it, and passes the same bytes
/// on with a [`Delivery`](crate::Delivery) in the extensions. It answers everything else itself.
///
/// # Examples
///
/// ```
/// use tower_webhook::{WebhookLayer, senders};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = WebhookLayer::new(senders::github("the secret of the webhook")?).with_body_limit(64 * 1024);
/// # Ok(())
/// # }
/// ```
///
/// # gRPC
///
/// A gRPC request gets a gRPC answer: a rejection is a status such as `UNAUTHENTICATED` without a
/// body. The signature is checked over the raw body, which is received whole before the handler is
/// called, so the layer suits unary calls. To have streaming services beside a webhook, use an
/// [`EndpointLayer`](crate::EndpointLayer).
pub struct WebhookLayer<P> {
    shared: Arc<WebhookSettings<P>>,
}

impl<P: Provider> WebhookLayer<P> {
    /// Creates a layer for this sender, with the sender's own body limit, [`DEFAULT_BODY_TIMEOUT`]
    /// and the system's clock.
    #[must_use]
    pub fn new(provider: P) -> Self {
        let body_limit = provider.body_limit();
        Self {
            shared: Arc::new(WebhookSettings {
                sender: Sender::of(provider.name(), provider.behavior()),
                provider: Arc::new(provider),
                body_limit,
                body_timeout: Some(DEFAULT_BODY_TIMEOUT),
                lookup_timeout: DEFAULT_LOOKUP_TIMEOUT,
                budget: None,
                clock: Arc::new(SystemClock),
                on_reject: None,
                observe_only: false,
                keep_headers: None,
                room: shared::room(),
                #[cfg(feature = "inspect")]
                diagnosis: None,
            }),
        }
    }
}

impl<P> WebhookLayer<P> {
    /// Sets the largest body that is accepted, in bytes. A larger one is refused with 413. The
    /// default is the sender's.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.with(|shared| shared.body_limit = bytes)
    }

    /// Sets the time for the whole body to arrive, from when the layer first has to wait for it. A
    /// request that takes longer is refused with 503, or with 408 if the sender repeats after
    /// any failure or never. The default is [`DEFAULT_BODY_TIMEOUT`]. It needs the feature `tokio`
    /// (on by default) and a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_body_timeout(self, timeout: Duration) -> Self {
        self.with(|shared| shared.body_timeout = Some(timeout))
    }

    /// Removes the time-out of the body, if the server has one of its own.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn without_body_timeout(self) -> Self {
        self.with(|shared| shared.body_timeout = None)
    }

    /// Sets the time for [`Secrets::lookup`](crate::Secrets::lookup) to answer. A request that
    /// takes longer is refused with 503. The default is [`DEFAULT_LOOKUP_TIMEOUT`]. It needs
    /// the feature `tokio` (on by default) and a tokio runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn with_lookup_timeout(self, timeout: Duration) -> Self {
        self.with(|shared| shared.lookup_timeout = timeout)
    }

    /// Sets the budget that the memory for bodies is taken from. Any number of layers may share it.
    /// By default there is none.
    #[must_use]
    pub fn with_memory_budget(self, budget: &MemoryBudget) -> Self {
        self.with(|shared| shared.budget = Some(budget.ledger()))
    }

    /// Sets the clock. The default is the system's.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.with(|shared| shared.clock = Arc::new(clock))
    }

    /// Sets a hook that is called with each rejection, by this layer or by an extractor behind it.
    /// It must not block.
    #[must_use]
    pub fn on_reject(self, hook: impl Fn(&Rejection) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.on_reject = Some(Arc::new(hook)))
    }

    /// Keeps a copy of the request's headers for [`Delivery::headers`](crate::Delivery::headers).
    /// By default there is none, as a handler can read them from the request. A payload is made of
    /// the delivery alone.
    #[must_use]
    pub fn keep_headers(self) -> Self {
        self.with(|shared| shared.keep_headers = Some(Delivery::keep_headers))
    }

    /// Turns observe mode on: nothing is refused. The handler gets every request, with a
    /// [`Verdict`](crate::Verdict) in its extensions, and a [`Delivery`](crate::Delivery) only
    /// if the verification succeeded. Use it to try a configuration on an endpoint that
    /// verifies by other means. The handler **must not** act on an unverified request.
    ///
    /// A body that breaks the bounds can't be passed on and is refused anyway.
    #[must_use]
    pub fn observe_only(self) -> Self {
        self.with(|shared| shared.observe_only = true)
    }

    /// Has rejections explained to the operator: what would have verified, and how to fix it. The
    /// sender gets the same answer, and requests that verify are not affected. By default nothing
    /// is explained.
    #[cfg(feature = "inspect")]
    #[must_use]
    pub fn with_diagnosis(self, diagnosis: impl Diagnose) -> Self {
        self.with(|shared| shared.diagnosis = Some(Arc::new(diagnosis)))
    }

    /// Verifies a request and turns its delivery into a payload, or returns the answer to it.
    //
    // A future written by hand: those of async functions hold what they were called with besides what
    // became of it, and the one of a handler that is too long costs the allocator a lot.
    #[cfg(feature = "axum")]
    pub(crate) fn extract<T, B>(&self, request: Request<B>) -> impl Future<Output = Result<T, Response<Bytes>>>
    where
        T: FromDelivery,
        P: Provider,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let shared = &*self.shared;
        let watch = Watch::start(request.method(), request.headers());
        let ((mut head, mut body), mut stage) = (request.into_parts(), Stage::Begin);
        poll_fn(move |cx| {
            let _entered = watch.enter();
            let mut delivery = None;
            let mut driver = Driver::into_slot(shared, &watch, &mut head, &mut delivery);
            let verdict = ready!(driver.poll(&mut stage, Pin::new(&mut body), cx));
            // What was received is held until there is a payload.
            let _received = driver.into_received();
            let answered = |response: Response<Bytes>| {
                watch.answered(response.status());
                Protocol::of(&head.method, head.version, &head.headers).translate(response)
            };
            verdict.map_err(answered)?;
            let delivery = delivery.as_ref().ok_or_else(|| Rejection::new(Reason::NoDelivery));
            Poll::Ready(delivery.and_then(Webhook::from_delivery).map(|Webhook(payload)| payload).map_err(
                |rejection| {
                    shared.observe_behind(&rejection);
                    answered(rejection.into_http_response())
                },
            ))
        })
    }

    fn with(mut self, set: impl FnOnce(&mut WebhookSettings<P>)) -> Self {
        set(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S, P> Layer<S> for WebhookLayer<P> {
    type Service = WebhookService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        WebhookService::with_shared(inner, self.shared.clone())
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
