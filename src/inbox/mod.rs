//! A durable inbox: a delivery is stored before its sender gets the 2xx, and handled until that
//! succeeds.
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "sqlite"))] {
//! use std::time::Duration;
//!
//! use axum::{Router, routing::post};
//! use tower_layer::Layer;
//! use tower_webhook::inbox::{Backoff, Inbox, sqlite::SqliteStore};
//! use tower_webhook::{Json, Webhook, WebhookLayer, senders};
//!
//! async fn on_event(Webhook(Json(event)): Webhook<Json<serde_json::Value>>) {
//!     println!("{}", event["type"]);
//! }
//!
//! # async fn run(shutdown: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let (inbox, worker) = Inbox::new(SqliteStore::open("webhooks.db")?)
//!     .with_retry(Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(6 * 3600)).attempts(20))
//!     .with_order(|delivery| delivery.json("/data/object/id"))
//!     .wrap(post(on_event).with_state(()));
//! let stripe = WebhookLayer::new(senders::stripe("whsec_the_secret_of_your_endpoint")?);
//! let app: Router = Router::new()
//!     .route_service("/webhooks/stripe", stripe.layer(inbox.clone()))
//!     .nest("/admin/webhooks", inbox.router()); // behind your authentication
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! tokio::select! {
//!     served = axum::serve(listener, app) => served?,
//!     () = worker.run(shutdown) => {}
//! }
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # What happens to a delivery
//!
//! The [`Inbox`] goes where the handler would be, behind a [`WebhookLayer`](crate::WebhookLayer).
//! It stores what was verified and answers, once that is durable, what the sender takes for
//! "delivered". If the store fails or is full, the sender gets a 503, after which most send the
//! delivery again; with one that never repeats, such as GitHub, it is lost. A repetition is
//! recognised by the same rule as the [deduplication](crate::dedup)'s, so there is no
//! need for both.
//!
//! The [`InboxWorker`] hands each stored delivery to the service as the webhook layer would have:
//! the same request, with a [`Delivery`](crate::Delivery) and an [`InboxAttempt`] in its
//! extensions.
//!
//! | the service | the delivery |
//! |---|---|
//! | answers 2xx | is done |
//! | answers 408, 425, 429, 3xx or 5xx, fails, panics, or takes too long | is tried again after a [`Backoff`], or later if the answer has `Retry-After`; after the last attempt it is dead |
//! | answers any other 4xx | is dead: the same request would be refused again |
//! | dies with its process | is tried again when its lease has ended; after several such crashes it is dead |
//!
//! A dead delivery stays until you [replay](Inbox::replay) or [erase](Inbox::erase) it, or the
//! sender repeats it. Handlers see a delivery at least once: a process can die between the
//! handler's end and the note of it.
//!
//! While most attempts fail, fewer run at once, down to an eighth of the
//! [concurrency](InboxBuilder::with_concurrency); as they succeed again, their number doubles with
//! each round. Deliveries that were never tried and retries have half of the places each.
//!
//! The parts of an axum route aren't stored: wrap a `Router` if the handler extracts a `Path`.

mod attempt;
mod backoff;
mod builder;
mod erased;
mod operate;
mod pace;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod past;
#[cfg(feature = "postgres")]
pub mod postgres;
pub(crate) mod record;
mod service;
mod settings;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;
mod stored;
mod worker;

pub use backoff::{Backoff, DEFAULT_ATTEMPTS, DEFAULT_FIRST_DELAY, DEFAULT_LONGEST_DELAY};
pub use builder::{
    DEFAULT_CONCURRENCY, DEFAULT_CRASHES, DEFAULT_HANDLER_TIMEOUT, DEFAULT_LEASE, DEFAULT_RETENTION, DEFAULT_SCOPE,
    DEFAULT_SHUTDOWN_TIMEOUT, InboxBuilder,
};
pub use operate::StoredDelivery;
pub use record::{Entry, MAX_ORDER_KEY, RECORD_VERSION, Seal, UniqueKey};
pub use service::{Inbox, InboxFuture};
pub use settings::OrderOnDead;
pub use store::{
    Attempt, CrashPolicy, DeliveryId, Detail, Erased, Failure, FailureKind, Filter, InboxError, InboxErrorKind,
    InboxStore, Lease, Listing, MOST_PAST_ATTEMPTS, Outcome, Page, PastAttempt, Pruned, Put, Reaped, Replay, Retention,
    State, Stats, Summary, Take, Taken, Token,
};
pub use stored::InboxAttempt;
pub use worker::InboxWorker;
