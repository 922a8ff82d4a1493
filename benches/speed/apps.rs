//! The applications that are compared: an axum router with and without the layer.

use std::convert::Infallible;
use std::hint::black_box;

use axum::Router;
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use hmac::digest::KeyInit as _;
use hmac::{Hmac, Mac as _};
use http::{Request, Response};
use http_body_util::Full;
use serde::Deserialize;
use sha2::Sha256;
use tower::Service;
use tower_webhook::scheme::header;
use tower_webhook::{Authentic, Scheme, Secrets, Webhook, WebhookLayer, testing};

pub const SECRET: &str = "the secret of the benchmark";

/// A sender of HMAC-SHA256 in hexadecimal, as most are.
pub fn sender() -> Scheme {
    sender_with([SECRET])
}

pub fn sender_with<const N: usize>(secrets: [&'static str; N]) -> Scheme {
    sender_of(Secrets::new(secrets))
}

pub fn sender_of(secrets: Secrets) -> Scheme {
    Scheme::hmac_sha256()
        .signature(header("x-signature").prefix("sha256=").hex())
        .secret(secrets)
        .build("benchmark")
        .unwrap()
}

pub fn layer() -> WebhookLayer<Scheme> {
    WebhookLayer::new(sender())
}

/// The MAC that is the floor of every verification: keyed beforehand, fed once.
pub fn bare_mac() -> impl Fn(&[u8]) -> bool + Clone {
    let keyed = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    move |body| {
        let mut mac = keyed.clone();
        mac.update(body);
        mac.verify_slice(&black_box([7; 32])).is_ok()
    }
}

async fn raw(body: Bytes) -> &'static str {
    black_box(&body);
    "ok"
}

async fn verified(Webhook(body): Webhook<Bytes>) -> &'static str {
    black_box(&body);
    "ok"
}

/// `handler(Bytes)` and nothing else.
pub fn bare() -> Router {
    Router::new().route("/webhooks/orders", post(raw)).with_state(())
}

/// `handler(Webhook<Bytes>)`, to stand behind a layer.
pub fn behind() -> Router {
    Router::new().route("/webhooks/orders", post(verified)).with_state(())
}

pub fn bare_on_route() -> Router {
    Router::new().route("/webhooks/orders", post(raw).layer(layer())).with_state(())
}

pub fn on_route() -> Router {
    Router::new().route("/webhooks/orders", post(verified).layer(layer())).with_state(())
}

/// A handler whose extractor verifies by itself.
pub fn extracting() -> Router {
    async fn handler(Authentic(body): Authentic<Bytes>) -> &'static str {
        black_box(&body);
        "ok"
    }
    Router::new().route("/webhooks/orders", post(handler)).with_state(layer())
}

/// An order, as a shop would send it.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "what counts is that it is read")]
pub struct Order {
    id: u64,
    number: String,
    placed_at: String,
    customer: Customer,
    currency: String,
    lines: Vec<Line>,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "what counts is that it is read")]
struct Customer {
    id: u64,
    name: String,
    email: String,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "what counts is that it is read")]
struct Line {
    sku: String,
    title: String,
    quantity: u32,
    cents: u64,
}

pub fn json_bare() -> Router {
    async fn handler(axum::Json(order): axum::Json<Order>) -> &'static str {
        black_box(&order);
        "ok"
    }
    Router::new().route("/webhooks/orders", post(handler)).with_state(())
}

pub fn json_behind() -> Router {
    async fn handler(Webhook(axum::Json(order)): Webhook<axum::Json<Order>>) -> &'static str {
        black_box(&order);
        "ok"
    }
    Router::new().route("/webhooks/orders", post(handler)).with_state(())
}

/// An order of exactly 1 KiB.
pub fn order() -> Bytes {
    let lines: Vec<_> = (1..=9)
        .map(|line| serde_json::json!({ "sku": format!("A-10{line}"), "title": "Screws, 4 x 40 mm, 200 pieces", "quantity": line, "cents": 499 * line }))
        .collect();
    let mut order = serde_json::json!({
        "id": 4_711, "number": "2026-004711", "placed_at": "2026-03-01T12:00:00Z", "currency": "EUR", "lines": lines,
        "customer": { "id": 815, "name": "Example Ltd", "email": "orders@example.test" }, "note": "",
    });
    let missing = 1024 - order.to_string().len();
    order["note"] = "x".repeat(missing).into();
    order.to_string().into()
}

/// A body of this length in shared memory, as the bodies that hyper reads are.
pub fn body(len: usize) -> Bytes {
    BytesMut::from(&*vec![b'x'; len + 1]).split_to(len).freeze()
}

/// A request as a sender's server makes it, before it is signed.
pub fn unsigned(body: Bytes) -> Request<Bytes> {
    Request::post("/webhooks/orders")
        .header("host", "shop.example.test")
        .header("user-agent", "Sender/1.0")
        .header("accept", "*/*")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(body)
        .unwrap()
}

/// Copies of one signed request.
pub fn signed(body: Bytes) -> impl Fn() -> Request<Full<Bytes>> + Clone {
    copies(testing::sign(&sender(), unsigned(body)).unwrap())
}

pub fn copies(request: Request<Full<Bytes>>) -> impl Fn() -> Request<Full<Bytes>> + Clone {
    let (head, body) = request.into_parts();
    move || Request::from_parts(head.clone(), body.clone())
}

/// One call of a service that is always ready, to its end.
pub fn call<S, B, R>(service: &mut S, request: Request<B>) -> Response<R>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    let response =
        service.call(request).now_or_never().expect("nothing here waits").unwrap_or_else(|never| match never {});
    assert_eq!(response.status(), 200);
    response
}
