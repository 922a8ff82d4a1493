//! Receive webhooks in axum, tonic, hyper or any other tower service.
//!
//! Choose your sender from [`senders`], put a [`WebhookLayer`] around your handler, and take the
//! verified payload as an argument:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::post};
//! use tower_webhook::{Json, Webhook, WebhookLayer, senders};
//!
//! # fn app() -> Result<(), tower_webhook::ConfigError> {
//! let stripe = WebhookLayer::new(senders::stripe("whsec_the_secret_of_your_endpoint")?);
//! let app: Router = Router::new().route("/webhooks/stripe", post(on_event).layer(stripe));
//!
//! async fn on_event(Webhook(Json(event)): Webhook<Json<serde_json::Value>>) {
//!     println!("{}", event["type"]);
//! }
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! The layer reads the body within bounds and verifies the signature by that sender's own rules. It
//! answers whatever isn't genuine, and the handler gets the bytes that were signed.
//!
//! # What to look at next
//!
//! | to | see |
//! |---|---|
//! | find your sender | [`senders`], or [`CdrManager`], [`Connect`], [`Sns`], [`telna`], [`pce`] |
//! | describe one that isn't built in | [`Scheme`], or [`SenderConfig`](senders::SenderConfig) as data; [`Verify`] if it needs code |
//! | follow a guide, from the dashboard to a passing request | [`guide`](guide/index.html) (with all features, as on docs.rs) |
//! | have a handler for each event | [`Events`] |
//! | lose no event during a deploy or an outage | [`inbox`] |
//! | handle a repeated delivery once | [`DedupLayer`] |
//! | add an endpoint to a tonic or hyper server | [`EndpointLayer`] |
//! | accept several senders on one route | [`AnyOf`] |
//! | rotate secrets, or have one for each tenant | [`Secrets`] |
//! | know what was proven | [`Delivery`] |
//! | know why a request was refused | [`Rejection`], [`Reason`] |
//! | bound the memory of all bodies | [`MemoryBudget`] |
//! | allow-list addresses | [`IpAllowList`](ip_allow::IpAllowList) |
//! | test your handlers | [`testing`] |
//!
//! # Without axum
//!
//! The delivery is in the request's extensions:
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
//! - `inspect`: what would have verified a request that was refused, and with `axum` a page in the
//!   browser. `cli` is the command `tower-webhook`, for `cargo install`.
//! - For tests: `testing`, which needs no C compiler; `testing-certificates`; `testing-sns`, an SNS
//!   in the process.
//!
//! # Stability
//!
//! Types of these crates are part of the public API: `http` 1, `http-body` 1, `http-body-util` 0.1,
//! `bytes` 1, `tower-layer` 0.3 and `tower-service` 0.3; with their features `axum` 0.8, `tonic`
//! 0.14 and `redis` 1. A new incompatible version of one of them is a new incompatible version of
//! this crate.
// What a feature adds is linked to its page on docs.rs while the feature is off.
#![cfg_attr(
    not(feature = "dedup"),
    doc = "\n\n[`DedupLayer`]: https://docs.rs/tower-webhook/latest/tower_webhook/struct.DedupLayer.html"
)]
#![cfg_attr(not(feature = "inbox"), doc = "\n\n[`inbox`]: https://docs.rs/tower-webhook/latest/tower_webhook/inbox/")]
#![cfg_attr(
    not(feature = "jwt"),
    doc = "\n\n[`Connect`]: https://docs.rs/tower-webhook/latest/tower_webhook/struct.Connect.html"
)]
#![cfg_attr(
    not(feature = "sns"),
    doc = "\n\n[`Sns`]: https://docs.rs/tower-webhook/latest/tower_webhook/struct.Sns.html"
)]
#![cfg_attr(not(feature = "sns"), doc = "\n\n[`telna`]: https://docs.rs/tower-webhook/latest/tower_webhook/telna/")]
#![cfg_attr(not(feature = "sns"), doc = "\n\n[`pce`]: https://docs.rs/tower-webhook/latest/tower_webhook/pce/")]
#![cfg_attr(
    not(feature = "testing"),
    doc = "\n\n[`testing`]: https://docs.rs/tower-webhook/latest/tower_webhook/testing/"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(unreachable_pub, clippy::unwrap_used, clippy::expect_used))]

mod accessors;
mod algorithm;
mod answer;
mod any_provider;
mod behavior;
mod body;
mod body_fields;
mod certificate;
#[cfg(feature = "inspect")]
mod clues;
mod config;
#[cfg(feature = "dedup")]
pub mod dedup;
mod delivery;
mod encoding;
pub mod endpoint;
mod events;
#[cfg(feature = "axum")]
mod extract;
mod facts;
#[cfg(feature = "fetch")]
#[cfg_attr(not(feature = "sns"), allow(dead_code, unused_imports, reason = "each provider uses a part of it"))]
mod fetch;
mod grpc;
// No badge of ten features on each guide: on docs.rs all are on.
#[cfg_attr(docsrs, doc(auto_cfg = false))]
#[cfg(all(
    feature = "axum",
    feature = "jwt",
    feature = "redis",
    feature = "client",
    feature = "inspect",
    feature = "memory-store",
    feature = "paypal",
    feature = "postgres",
    feature = "sqlite",
    feature = "testing-sns",
    feature = "tonic"
))]
pub mod guide;
mod handshake;
mod headers;
#[cfg(feature = "inbox")]
pub mod inbox;
#[cfg(feature = "inspect")]
pub mod inspect;
#[cfg(all(feature = "axum", feature = "inbox", not(feature = "inspect")))]
mod inspect;
pub mod ip_allow;
mod json;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(all(feature = "asymmetric", feature = "fetch"))]
mod key_lookup;
pub mod layer;
mod mac;
mod maybe_ready;
#[cfg(feature = "asymmetric")]
mod message_signatures;
mod multipart;
mod observe;
mod parse;
mod payload;
mod place;
mod pointer;
pub mod provider;
#[cfg(feature = "asymmetric")]
mod public_key;
mod public_url;
#[cfg(any(feature = "inbox", feature = "inspect"))]
mod redact;
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
#[cfg_attr(not(all(feature = "inbox", feature = "tracing")), allow(dead_code))]
mod trace_context;
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
pub use parse::{ParseLayer, ParseService};
#[cfg(feature = "axum")]
pub use payload::Form;
pub use payload::{FormJson, FromDelivery, Json, Parsed, Webhook};
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
#[cfg(all(doctest, feature = "axum", feature = "sqlite", feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
