//! Tower layers that receive webhooks: a request's body is read within bounds, the sender's signature is verified by that
//! sender's own rules, and the handler gets a typed value.
//!
//! # In axum
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::post};
//! use tower_webhook::{CdrManager, Webhook, WebhookLayer, cdr_manager::Report};
//!
//! async fn on_report(Webhook(report): Webhook<Report>) {
//!     println!("{:?} has {:?} lines", report.file_name, report.number_of_lines);
//! }
//!
//! # fn app() -> Result<(), tower_webhook::ConfigError> {
//! let cdr = WebhookLayer::new(CdrManager::new("the key from the portal")?);
//! let app: Router = Router::new().route("/webhooks/cdr", post(on_report).layer(cdr));
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # In any other tower service
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower_layer::Layer;
//! use tower_webhook::{CdrManager, Webhook, WebhookLayer, cdr_manager::Report};
//!
//! async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(match Webhook::<Report>::from_extensions(request.extensions()) {
//!         Ok(Webhook(report)) => Response::new(format!("{:?}", report.task_id).into()),
//!         Err(rejection) => rejection.into_http_response().map(Full::new),
//!     })
//! }
//!
//! # fn service() -> Result<(), tower_webhook::ConfigError> {
//! let service = WebhookLayer::new(CdrManager::new("the key from the portal")?).layer(tower::service_fn(on_report));
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! - [`WebhookLayer`] lets only verified requests through; [`IpAllowList`] may stand in front of it, [`EndpointLayer`] puts it beside
//!   any other service, and [`MemoryBudget`] bounds what bodies of all requests may take.
//! - A [`Provider`] is a sender's rules: [`CdrManager`]; `Connect` (feature `jwt`); `Sns` with the portals `telna` and `pce` (feature
//!   `sns`); one of the many [`senders`]; any sender that a [`Scheme`] describes; or [`AnyOf`] several.
//! - [`Secrets`] rotate, and may be looked up for each request.
//! - A [`Delivery`] is the proof that a request was verified; [`Webhook<T>`](Webhook) is its payload as a type of yours.
//! - A [`Rejection`] says, by its [`Reason`], what was refused and why.
//! - `DedupLayer` (feature `dedup`) lets each delivery through to the handler once, over replicas with `RedisStore` (feature
//!   `redis`).
//!
//! The module `guide` tells how to do what: from a first endpoint to many replicas behind a proxy.
//!
//! # Features
//!
//! Features add and never change what others do. On by default: `axum` (extractors) and `tokio` (the timers of the time-outs).
//! Senders: `jwt`, `sns`, `asymmetric` (public keys), `fetch` and `client` (certificates and keys from the network).
//! Around them: `dedup`, `redis`, `tonic`, `tracing`, `metrics`. For your tests: `testing`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(unreachable_pub, clippy::unwrap_used, clippy::expect_used))]

mod answer;
mod any_provider;
mod behavior;
mod body;
mod body_fields;
mod config;
#[cfg(feature = "dedup")]
pub mod dedup;
mod delivery;
mod encoding;
pub mod endpoint;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "fetch")]
#[cfg_attr(
    not(feature = "sns"),
    allow(dead_code, unused_imports, reason = "the cache is for the providers that fetch")
)]
mod fetch;
mod grpc;
#[cfg(all(
    feature = "axum",
    feature = "jwt",
    feature = "redis",
    feature = "sns",
    feature = "client",
    feature = "testing",
    feature = "tonic"
))]
pub mod guide;
#[cfg(feature = "inbox")]
pub mod inbox;
pub mod ip_allow;
#[cfg(feature = "jwt")]
mod json;
pub mod layer;
mod maybe_ready;
mod observe;
mod payload;
pub mod provider;
mod rejection;
pub mod scheme;
mod secrets;
pub mod senders;
#[cfg(feature = "testing")]
mod sign;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod time;
mod uri;
mod verdict;
mod verifier;

pub use answer::Answer;
pub use any_provider::AnyProvider;
pub use body::MemoryBudget;
pub use body_fields::BodyFields;
pub use config::{ConfigError, ConfigErrorKind};
#[cfg(feature = "redis")]
pub use dedup::RedisStore;
#[cfg(feature = "dedup")]
pub use dedup::{DedupLayer, MemoryStore};
pub use delivery::{Delivery, Identity, Signed, Verified};
pub use encoding::Encoding;
pub use endpoint::EndpointLayer;
#[cfg(feature = "client")]
pub use fetch::HttpsClient;
#[cfg(feature = "fetch")]
pub use fetch::{FETCH_TIMEOUT, Fetch, FetchFuture, MAX_FETCHED};
pub use ip_allow::IpAllowList;
pub use layer::WebhookLayer;
pub use payload::{FromDelivery, Json, Webhook};
pub use provider::Provider;
pub use rejection::{Reason, Rejection};
pub use scheme::Scheme;
pub use secrets::{Head, KeyFormat, MAX_SECRETS, Secret, Secrets};
#[cfg(feature = "jwt")]
pub use senders::Connect;
#[cfg(feature = "sns")]
pub use senders::Sns;
#[doc(inline)]
pub use senders::cdr_manager;
#[cfg(feature = "jwt")]
#[doc(inline)]
pub use senders::connect;
pub use senders::{AnyOf, CdrManager};
#[cfg(feature = "sns")]
#[doc(inline)]
pub use senders::{pce, sns, telna};
pub use text::Text;
pub use time::{Clock, SystemClock, TimeFormat, Tolerance};
pub use verdict::Verdict;
pub use verifier::{Verifier, Verify};

/// The programs of the README are run with the other examples.
#[cfg(all(doctest, feature = "axum", feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
