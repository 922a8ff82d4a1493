//! tower-webhook beside comparable crates: each takes the same request with the same handler behind it, in turns, in one
//! process. `scripts/bench peers` runs it.

#[path = "../../speed/paired.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod paired;

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRef;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tower::{Layer as _, Service};
use tower_webhook::scheme::header;
use tower_webhook::{Connect, Scheme, Secret, Webhook, WebhookLayer, connect, testing};

use paired::{Side, side};

const SECRET: &str = "the secret of the benchmark";
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("64 KiB", 1 << 16), ("1 MiB", 1 << 20)];

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let budget = Duration::from_millis(if quick { 250 } else { 4000 });
    println!("| ours / theirs | size | goal | result | quartiles | times |\n|---|---|---|---|---|---|");
    for (size, len) in SIZES {
        compare("webhook-verify 0.1, a layer around the router", size, budget, outside(len), webhook_verify(len));
        compare("tower-github-webhook 0.2, a layer around the router", size, budget, outside(len), tower_github(len));
        compare("axum-github-webhook-extract 0.3, on a route, JSON", size, budget, json_on_route(len), axum_github(len));
        let (ours, theirs) = standard_webhooks(len);
        compare("axum-standardwebhooks 1, on a route", size, budget, ours, theirs);
    }
    let (ours, theirs) = token();
    compare("axum-jwt-auth 0.7, a token on a route, no body", "-", budget, ours, theirs);
}

fn compare(name: &str, size: &str, budget: Duration, mut ours: impl Side, mut theirs: impl Side) {
    let ratio = paired::compare(&mut ours, &mut theirs, budget);
    let missed = if ratio.median < 1.0 { "" } else { " (missed)" };
    let ((low, high), (a, b)) = (ratio.quartiles, ratio.times);
    println!(
        "| {name} | {size} | < 1 | {:.3}{missed} | {low:.3} to {high:.3} | {a:.2?} / {b:.2?} |",
        ratio.median
    );
}

async fn raw(body: Bytes) -> &'static str {
    black_box(&body);
    "ok"
}

fn bare() -> Router {
    Router::new().route("/webhooks", post(raw)).with_state(())
}

/// The way that GitHub signs.
fn github() -> Scheme {
    let signature = header("x-hub-signature-256").prefix("sha256=").hex();
    Scheme::hmac_sha256().signature(signature).secret(SECRET).build("github").unwrap()
}

/// A JSON object of this length.
fn body(len: usize) -> Bytes {
    let frame = r#"{"action":"opened","text":""}"#;
    frame.replace("\"\"", &format!("\"{}\"", "x".repeat(len - frame.len()))).into()
}

fn request(len: usize) -> Request<Bytes> {
    Request::post("/webhooks")
        .header("host", "shop.example.test")
        .header("user-agent", "Sender/1.0")
        .header("accept", "*/*")
        .header("content-type", "application/json")
        .header("content-length", len)
        .body(body(len))
        .unwrap()
}

/// Copies of a request, and a service that takes them to the end.
fn calls<S, R>(request: Request<Full<Bytes>>, mut service: S) -> impl Side
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: std::fmt::Debug,
{
    let (head, body) = request.into_parts();
    side(
        move || Request::from_parts(head.clone(), body.clone()),
        move |request| {
            let response = to_the_end(service.call(request)).unwrap();
            assert_eq!(response.status(), 200);
            response
        },
    )
}

/// Polls until it is ready: one of the peers gives its turn back after each step.
fn to_the_end<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn signed(len: usize) -> Request<Full<Bytes>> {
    testing::sign(&github(), request(len)).unwrap()
}

fn outside(len: usize) -> impl Side {
    calls(signed(len), WebhookLayer::new(github()).layer(bare()))
}

fn webhook_verify(len: usize) -> impl Side {
    let secret = webhook_verify::Secret::new(SECRET);
    let layer = webhook_verify::tower::VerifyLayer::<Body>::new(webhook_verify::Provider::GitHub, secret);
    calls(signed(len), layer.layer(bare()))
}

fn tower_github(len: usize) -> impl Side {
    calls(signed(len), tower_github_webhook::ValidateGitHubWebhookLayer::new(SECRET).layer(bare()))
}

#[derive(Debug, Deserialize)]
struct Event {
    action: String,
}

fn json_on_route(len: usize) -> impl Side {
    async fn handler(Webhook(axum::Json(event)): Webhook<axum::Json<Event>>) -> &'static str {
        black_box(&event.action);
        "ok"
    }
    let route = post(handler).layer(WebhookLayer::new(github()));
    calls(signed(len), Router::<()>::new().route("/webhooks", route).with_state(()))
}

fn axum_github(len: usize) -> impl Side {
    use axum_github_webhook_extract::{GithubEvent, GithubToken};

    async fn handler(GithubEvent(event): GithubEvent<Event>) -> &'static str {
        black_box(&event.action);
        "ok"
    }
    let app: Router = Router::new().route("/webhooks", post(handler)).with_state(GithubToken(Arc::new(SECRET.to_owned())));
    calls(signed(len), app)
}

fn standard_webhooks(len: usize) -> (impl Side, impl Side) {
    use axum_standardwebhooks::{SharedWebhook, StandardWebhook};

    #[derive(Clone)]
    struct State(SharedWebhook);
    impl FromRef<State> for SharedWebhook {
        fn from_ref(state: &State) -> Self {
            state.0.clone()
        }
    }
    async fn theirs(StandardWebhook(body): StandardWebhook<Bytes>) -> &'static str {
        black_box(&body);
        "ok"
    }
    let scheme = Scheme::hmac_sha256()
        .signature(header("webhook-signature").prefix("v1,").base64())
        .id(header("webhook-id"))
        .timestamp(header("webhook-timestamp").unix_seconds())
        .signed("{id}.{timestamp}.{body}")
        .with_key_format(tower_webhook::KeyFormat::StandardWebhooks)
        .secret(Secret::new(STANDARD_SECRET))
        .build("standard")
        .unwrap();
    let mut request = request(len);
    request.headers_mut().insert("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".parse().unwrap());
    let request = testing::sign(&scheme, request).unwrap();
    let verifier = axum_standardwebhooks::Webhook::new(STANDARD_SECRET).unwrap();
    let state = State(SharedWebhook::new(verifier));
    let app: Router = Router::new().route("/webhooks", post(theirs)).with_state(state);
    let ours = Router::<()>::new().route("/webhooks", post(raw).layer(WebhookLayer::new(scheme))).with_state(());
    (calls(request.clone(), ours), calls(request, app))
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Trigger {
    webhook_id: String,
    object_class: String,
    aud: String,
    text: String,
}

fn token() -> (impl Side, impl Side) {
    use axum_jwt_auth::{Claims, Decoder, LocalDecoder};
    use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

    #[derive(Clone)]
    struct State(Decoder<Trigger>);
    impl FromRef<State> for Decoder<Trigger> {
        fn from_ref(state: &State) -> Self {
            state.0.clone()
        }
    }
    async fn theirs(trigger: Claims<Trigger>) -> &'static str {
        black_box(&trigger.claims);
        "ok"
    }
    async fn ours(Webhook(trigger): Webhook<connect::Trigger<Trigger>>) -> &'static str {
        black_box(&trigger);
        "ok"
    }
    let members = Trigger {
        webhook_id: "WH-123-456-789".to_owned(),
        object_class: "fulfillment_request".to_owned(),
        aud: "us".to_owned(),
        text: "x".repeat(900),
    };
    let mut claims = serde_json::to_value(&members).unwrap();
    claims["exp"] = 4_000_000_000_u64.into();
    claims["data"] = serde_json::to_value(&members).unwrap();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&["us"]);
    let decoder = LocalDecoder::new(vec![DecodingKey::from_secret(SECRET.as_bytes())], rules).unwrap();
    let app: Router = Router::new().route("/connect", get(theirs)).with_state(State(Arc::new(decoder)));
    let layer = WebhookLayer::new(Connect::new(SECRET).unwrap());
    let route = Router::<()>::new().route("/connect", get(ours).layer(layer)).with_state(());
    let request = Request::get("/connect").header("authorization", format!("Bearer {token}"));
    let request = request.body(Full::default()).unwrap();
    (calls::<_, Body>(request.clone(), route), calls::<_, Body>(request, app))
}
