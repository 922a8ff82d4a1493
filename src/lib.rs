//! Tower middleware for receiving webhooks.
//!
//! A layer reads the body of a request within bounds, verifies the sender's signature by that
//! sender's own rules, and hands the handler a typed value.
//!
//! # Examples
//!
//! In axum:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::post};
//! use tower_webhook::{Json, Webhook, WebhookLayer, senders};
//!
//! async fn on_event(Webhook(Json(event)): Webhook<Json<serde_json::Value>>) {
//!     println!("{}", event["type"]);
//! }
//!
//! # fn app() -> Result<(), tower_webhook::ConfigError> {
//! let stripe = WebhookLayer::new(senders::stripe("whsec_the_secret_of_your_endpoint")?);
//! let app: Router = Router::new().route("/webhooks/stripe", post(on_event).layer(stripe));
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! In any other tower service:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower_layer::Layer;
//! use tower_webhook::{Json, Webhook, WebhookLayer, senders};
//!
//! async fn on_event(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(match Webhook::<Json<serde_json::Value>>::from_extensions(request.extensions()) {
//!         Ok(Webhook(Json(event))) => Response::new(event["type"].to_string().into()),
//!         Err(rejection) => rejection.into_http_response().map(Full::new),
//!     })
//! }
//!
//! # fn service() -> Result<(), tower_webhook::ConfigError> {
//! let stripe = WebhookLayer::new(senders::stripe("whsec_the_secret_of_your_endpoint")?);
//! let service = stripe.layer(tower::service_fn(on_event));
//! # Ok(())
//! # }
//! ```
//!
//! # Overview
//!
//! - [`WebhookLayer`] lets only verified requests through. [`EndpointLayer`] puts it beside any
//!   other service, [`IpAllowList`](ip_allow::IpAllowList) goes in front of it, and
//!   [`MemoryBudget`] bounds the bodies of all requests.
//! - [`senders`] has the rules of more than 130 senders by name. [`Scheme`] describes any other one
//!   in a few lines, [`Verify`] is for rules that need code, and [`AnyOf`] accepts several senders
//!   on one route. The portals [`CdrManager`], `Connect` (feature `jwt`), `Sns`, `telna` and `pce`
//!   (feature `sns`) have types of their own.
//! - [`Secrets`] rotate, and can be looked up for each request.
//! - A [`Delivery`] proves that a request was verified; [`Webhook<T>`](Webhook) is its payload as a
//!   type of yours, and [`Events`] has a handler for each event.
//! - A [`Rejection`] says, by its [`Reason`], what was refused and why.
//! - `DedupLayer` (feature `dedup`) lets each delivery through to the handler once, with
//!   `MemoryStore` (feature `memory-store`) or across replicas with `RedisStore` (feature `redis`).
//! - The module `inbox` (features `sqlite`, `postgres`) stores each delivery before its sender gets
//!   the 2xx, and hands it to the handler until that succeeds.
//!
//! The module `guide` has step-by-step guides, from a first endpoint to many replicas behind a
//! proxy.
//!
//! # Features
//!
//! Features add, never change what others do, and cost only what they name.
//!
//! - On by default: `axum` (extractors) and `tokio` (timers, for the time-outs).
//! - Senders: `asymmetric` (public keys), `jwt` (tokens), `sns`, `paypal`; and `client`, the
//!   default HTTPS client for certificates and keys. `fetch` and `certificates` are enabled by
//!   those that need them.
//! - Deduplication: `dedup` (the layer), `memory-store`, `redis`.
//! - A durable inbox: `inbox`, and its stores `sqlite` and `postgres`.
//! - Integrations: `tonic`, `tracing`, `metrics`.
//! - For tests: `testing`, which needs no C compiler; `testing-certificates`; `testing-sns`, an SNS
//!   in the process.
//!
//! # Stability
//!
//! Types of these crates are part of the public API: `http` 1, `http-body` 1, `http-body-util` 0.1,
//! `bytes` 1, `tower-layer` 0.3 and `tower-service` 0.3; with their features `axum` 0.8, `tonic`
//! 0.14 and `redis` 1. A new incompatible version of one of them is a new incompatible version of
//! this crate.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(unreachable_pub, clippy::unwrap_used, clippy::expect_used))]

mod accessors;
mod answer;
mod any_provider;
mod behavior;
mod body;
mod body_fields;
mod certificate;
mod config;
#[cfg(feature = "dedup")]
pub mod dedup;
mod delivery;
mod encoding;
pub mod endpoint;
mod events;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "fetch")]
#[cfg_attr(not(feature = "sns"), allow(dead_code, unused_imports, reason = "each provider uses a part of it"))]
mod fetch;
mod grpc;
#[cfg(all(
    feature = "axum",
    feature = "jwt",
    feature = "redis",
    feature = "client",
    feature = "memory-store",
    feature = "sqlite",
    feature = "testing-sns",
    feature = "tonic"
))]
pub mod guide;
mod headers;
#[cfg(feature = "inbox")]
pub mod inbox;
pub mod ip_allow;
mod json;
#[cfg(feature = "jwt")]
mod jwt;
pub mod layer;
mod mac;
mod maybe_ready;
mod multipart;
mod observe;
mod payload;
mod pointer;
pub mod provider;
#[cfg(feature = "asymmetric")]
mod public_key;
mod public_url;
mod rejection;
mod rfc3339;
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
mod urlencoded;
mod verdict;
mod verifier;

pub use answer::Answer;
pub use any_provider::AnyProvider;
pub use body::MemoryBudget;
pub use body_fields::BodyFields;
pub use config::{ConfigError, ConfigErrorKind};
#[cfg(feature = "dedup")]
pub use dedup::layer::DedupLayer;
#[cfg(feature = "memory-store")]
pub use dedup::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use dedup::redis::RedisStore;
pub use delivery::{Delivery, Identity, Signed, Verified};
pub use encoding::Encoding;
pub use endpoint::layer::EndpointLayer;
pub use events::{Events, EventsFuture};
#[cfg(feature = "axum")]
pub use extract::{Authentic, WebhookState};
#[cfg(feature = "fetch")]
pub use fetch::{FETCH_TIMEOUT, Fetch, FetchFuture, MAX_FETCHED};
#[cfg(feature = "client")]
pub use fetch::{HttpsClient, HttpsClientBuilder};
pub use layer::layer::WebhookLayer;
#[cfg(feature = "axum")]
pub use payload::Form;
pub use payload::{FormJson, FromDelivery, Json, Webhook};
pub use rejection::{Reason, Rejection};
pub use scheme::scheme::Scheme;
pub use secrets::{CachePolicy, Head, KeyFormat, MAX_SECRETS, Secret, Secrets};
#[cfg(feature = "jwt")]
pub use senders::Connect;
#[cfg(feature = "sns")]
pub use senders::Sns;
#[doc(inline)]
pub use senders::cdr_manager::{self};
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
