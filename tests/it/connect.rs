//! CloudBlue Connect end to end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post as post_route};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::connect::{ObjectClass, TokenHeader, Trigger};
use tower_webhook::provider::Provider as _;
use tower_webhook::testing::{ManualClock, ScriptedBody, Step};
use tower_webhook::{
    Connect, Delivery, Head, Identity, Reason, Rejection, Secret, Secrets, Webhook, WebhookLayer, testing,
};

use crate::support::{Reply, Server, serve};

/// The key of the tests of Connect's own MuleSoft connector.
const SECRET: &str = "Test-token-key-for-webhook-based-authentication";
/// A token from those tests: `webhook_id` and `exp`, which is in the year 2119.
const CONNECTOR: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ3ZWJob29rX2lkIjoiV0gtNjMyLTcyNS0xNjkiLCJleHAiOjQ3MjMwNTc0NzF9.4agSUe4nQtU957sK_YDoBn8HRVUlboFlOV4zcNmKWGg";
/// `BODY` and `"exp": 4723057471`, encoded with `SECRET` by PyJWT 2.15.1: `jwt.encode(claims,
/// SECRET, algorithm="HS256")`.
const PYJWT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ3ZWJob29rX2lkIjoiV0gtMTIzLTQ1Ni03ODkiLCJ3ZWJob29rX25hbWUiOiJSZXF1ZXN0cyIsIm9iamVjdF9jbGFzcyI6ImZ1bGZpbGxtZW50X3JlcXVlc3RzIiwiYWNjb3VudF9pZCI6IlZBLTEyMy00NTYiLCJwcm9kdWN0X2lkIjoiUFJELTEyMy00NTYtNzg5IiwiYXBpX3VybCI6Imh0dHBzOi8vYXBpLmNvbm5lY3QuY2xvdWRibHVlLmNvbS9wdWJsaWMvdjEvIiwidHJpZ2dlcmVkX2F0IjoiMjAyMS0wNS0yN1QwOTo1NDowMyswMDowMCIsImxhc3Rfc3VjY2Vzc19hdCI6IjIwMjEtMDUtMjdUMDk6NDQ6MDMrMDA6MDAiLCJsYXN0X2ZhaWx1cmVfYXQiOm51bGwsInByb2Nlc3NpbmdfdGltZW91dCI6NjAwLCJkYXRhIjp7InJlZ2lvbiI6ImV1IiwibGltaXRzIjpbMSwyLjUseyJkZWVwIjp0cnVlfV0sIm5hbWUiOiJab1x1MDBlYiJ9LCJleHAiOjQ3MjMwNTc0NzF9._HCTkZE21I_hZ9i0rlZz1hz5rqSdpRXAEfuno5U9pS0";
/// The same by jsonwebtoken 9.0.3 of npm: `jwt.sign(claims, SECRET, { algorithm: "HS256",
/// noTimestamp: true })`.
const NPM: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ3ZWJob29rX2lkIjoiV0gtMTIzLTQ1Ni03ODkiLCJ3ZWJob29rX25hbWUiOiJSZXF1ZXN0cyIsIm9iamVjdF9jbGFzcyI6ImZ1bGZpbGxtZW50X3JlcXVlc3RzIiwiYWNjb3VudF9pZCI6IlZBLTEyMy00NTYiLCJwcm9kdWN0X2lkIjoiUFJELTEyMy00NTYtNzg5IiwiYXBpX3VybCI6Imh0dHBzOi8vYXBpLmNvbm5lY3QuY2xvdWRibHVlLmNvbS9wdWJsaWMvdjEvIiwidHJpZ2dlcmVkX2F0IjoiMjAyMS0wNS0yN1QwOTo1NDowMyswMDowMCIsImxhc3Rfc3VjY2Vzc19hdCI6IjIwMjEtMDUtMjdUMDk6NDQ6MDMrMDA6MDAiLCJsYXN0X2ZhaWx1cmVfYXQiOm51bGwsInByb2Nlc3NpbmdfdGltZW91dCI6NjAwLCJkYXRhIjp7InJlZ2lvbiI6ImV1IiwibGltaXRzIjpbMSwyLjUseyJkZWVwIjp0cnVlfV0sIm5hbWUiOiJab8OrIn0sImV4cCI6NDcyMzA1NzQ3MX0.HX9qCZlw028bq4wbzcgmfepWRjRvGB5R7BwQM1FfEoU";
/// The members of the document's sample request. Order, white space and the spelling of text and
/// numbers differ from the tokens on purpose.
const BODY: &str = r#"{
    "data": {"limits": [1.0, 25e-1, {"deep": true}], "name": "Zoë", "region": "eu"},
    "webhook_id": "WH-123-456-789", "webhook_name": "Requests", "object_class": "fulfillment_requests",
    "account_id": "VA-123-456", "product_id": "PRD-123-456-789",
    "api_url": "https:\/\/api.connect.cloudblue.com\/public\/v1\/",
    "triggered_at": "2021-05-27T09:54:03+00:00", "last_success_at": "2021-05-27T09:44:03+00:00",
    "last_failure_at": null, "processing_timeout": 600
}"#;
/// The time at which the sample was triggered.
const TRIGGERED: u64 = 1_622_109_243;
/// The time at which the requests of these tests arrive.
const NOW: u64 = 1_800_000_000;

#[derive(Debug, PartialEq, Deserialize)]
struct MyData {
    region: String,
}

/// An app whose handler says what it got, and the reasons for which its layer refused.
struct App {
    server: Server,
    clock: ManualClock,
    reasons: Arc<Mutex<Vec<Reason>>>,
}

impl App {
    async fn new(connect: Connect) -> Self {
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let hook = reasons.clone();
        let layer = WebhookLayer::new(connect)
            .with_clock(clock.clone())
            .on_reject(move |rejection: &Rejection| hook.lock().unwrap().push(rejection.reason()));
        let handler = async |delivery: Delivery, Webhook(trigger): Webhook<Trigger<Option<Value>>>| {
            Json(json!({
                "webhook": trigger.webhook_id, "product": trigger.product_id, "api": trigger.api_url,
                "signed": trigger.is_signed("product_id"), "event": delivery.event(), "key": delivery.key_index(),
            }))
        };
        let app = Router::new().route("/connect", get(handler).post(handler).layer(layer));
        Self { server: serve(app).await, clock, reasons }
    }

    async fn ok(&self, request: Request<Full<Bytes>>) -> Value {
        let reply = self.server.send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// Sends a request that is refused: by status, fixed text and nothing that tells why.
    async fn refused(&self, request: Request<Full<Bytes>>) -> (u16, Reason) {
        let reply = self.server.send(request).await;
        let reason = self.reasons.lock().unwrap().pop().expect("it was not refused");
        assert_refusal(&reply);
        (reply.status.as_u16(), reason)
    }
}

/// What the layer answers to a request whose body is scripted, without a server.
async fn answer_alone(request: Request<ScriptedBody>) -> StatusCode {
    let inner = service_fn(async |_| Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default())));
    WebhookLayer::new(connect()).without_body_timeout().layer(inner).oneshot(request).await.unwrap().status()
}

fn assert_refusal(reply: &Reply) {
    let challenge = reply.headers.get("www-authenticate").map(|value| value.to_str().unwrap());
    assert_eq!(challenge, (reply.status == 401).then_some("Bearer"), "{reply:?}");
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["status"], reply.status.as_u16());
    assert!(!reply.text().contains("WH-") && !reply.text().contains("token"));
}

fn connect() -> Connect {
    Connect::new(SECRET).unwrap()
}

fn post(token: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    with(Request::post("/connect"), token, body)
}

fn get_request(token: &str) -> Request<Full<Bytes>> {
    with(Request::get("/connect"), token, "")
}

fn with(request: http::request::Builder, token: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    request.header("authorization", format!("Bearer {token}")).body(Full::new(body.into())).unwrap()
}

/// A token with any header and claims, signed by another implementation than ours.
fn token_by(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn token(header: &str, claims: &str) -> String {
    token_by(header, claims, &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)
}

fn claims(claims: &str) -> String {
    token(r#"{"typ":"JWT","alg":"HS256"}"#, claims)
}

/// Claims that hold for ten minutes, and more.
fn fresh(more: &str) -> String {
    claims(&format!(r#"{{"exp":{},"webhook_id":"WH-1"{more}}}"#, NOW + 600))
}

#[tokio::test]
async fn the_documents_sample_is_a_typed_value() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let handler = async move |delivery: Delivery, Webhook(trigger): Webhook<Trigger<MyData>>, body: Bytes| {
        sender.send((delivery, trigger, body)).unwrap();
    };
    let app = Router::new().route("/connect", get(handler.clone()).post(handler).layer(WebhookLayer::new(connect())));
    let server = serve(app).await;
    let mut identities = std::collections::BTreeSet::new();
    for token in [PYJWT, NPM] {
        for request in [post(token, BODY), get_request(token)] {
            let is_post = request.method() == http::Method::POST;
            assert_eq!(server.send(request).await.status, 200);
            let (delivery, trigger, body) = receiver.recv().await.unwrap();
            assert_eq!(trigger.webhook_id.as_deref(), Some("WH-123-456-789"));
            assert_eq!(trigger.webhook_name.as_deref(), Some("Requests"));
            assert_eq!(trigger.object_class, Some(ObjectClass::FulfillmentRequest));
            assert_eq!(trigger.account_id.as_deref(), Some("VA-123-456"));
            assert_eq!(trigger.product_id.as_deref(), Some("PRD-123-456-789"));
            assert_eq!(trigger.api_url.as_deref(), Some("https://api.connect.cloudblue.com/public/v1/"));
            let triggered = trigger.triggered_at.as_ref().unwrap();
            assert_eq!(triggered.as_str(), "2021-05-27T09:54:03+00:00");
            assert_eq!(triggered.time(), Some(UNIX_EPOCH + Duration::from_secs(TRIGGERED)));
            assert_eq!(trigger.last_success_at.as_ref().unwrap().as_str(), "2021-05-27T09:44:03+00:00");
            assert_eq!(trigger.last_failure_at, None);
            assert_eq!(trigger.processing_timeout, Some(Duration::from_secs(600)));
            assert_eq!(trigger.data, MyData { region: "eu".into() });
            assert!(trigger.is_signed("data") && !trigger.is_signed("other"));
            assert_eq!(
                trigger.pending_requests_url().unwrap(),
                "https://api.connect.cloudblue.com/public/v1/requests?status=pending&product_id=PRD-123-456-789"
            );
            assert_eq!(delivery.provider(), "cloudblue_connect");
            assert_eq!(delivery.event(), Some("fulfillment_requests"));
            assert!(delivery.signed().event && !delivery.signed().body);
            let Identity::Id(identity) = delivery.identity() else { panic!("no identity") };
            assert_eq!(identity.len(), 64);
            identities.insert(identity.to_string());
            assert_eq!(body, if is_post { BODY } else { "" });
            assert!(!format!("{delivery:?}").contains("PRD-"));
        }
    }
    assert_eq!(identities.len(), 2, "one for each token, whose claims its body only repeats");
    server.send(post(PYJWT, BODY)).await;
    let Identity::Id(again) = receiver.recv().await.unwrap().0.identity() else { panic!("no identity") };
    assert!(identities.contains(&*again), "a repetition is the same");
}

/// Webhook and time are to the second, so they name no event.
#[tokio::test]
async fn two_triggers_of_one_second_are_two_events() {
    let app = Router::new().route(
        "/connect",
        post_route(async |delivery: Delivery| match delivery.identity() {
            Identity::Id(identity) => identity.to_string(),
            _ => String::new(),
        })
        .layer(WebhookLayer::new(connect())),
    );
    let server = serve(app).await;
    let token = |more: &str| claims(&format!(r#"{{"exp":4723057471,"webhook_id":"WH-1","triggered_at":"T"{more}}}"#));
    let mut seen = std::collections::BTreeSet::new();
    for request in [
        post(&token(""), r#"{"a":1}"#),
        post(&token(""), r#"{"a":2}"#),
        post(&token(r#","b":1"#), r#"{"a":1}"#),
        post(&token(r#","b":2"#), r#"{"a":1}"#),
    ] {
        let reply = server.send(request).await;
        assert!(!reply.text().is_empty() && seen.insert(reply.text().to_owned()));
    }
}

#[tokio::test]
async fn the_connectors_token_of_two_claims_leaves_the_rest_to_the_body_and_unsigned() {
    let app = App::new(connect()).await;
    let body = r#"{"webhook_id":"WH-632-725-169","product_id":"PRD-1","api_url":"https://elsewhere.example.test/"}"#;
    let got = app.ok(post(CONNECTOR, body)).await;
    assert_eq!(got["webhook"], "WH-632-725-169");
    assert_eq!((&got["product"], &got["signed"]), (&json!("PRD-1"), &json!(false)));
    assert_eq!(got["api"], Value::Null, "an address that nobody signed is not handed on");
    let got = app.ok(get_request(CONNECTOR)).await;
    assert_eq!((&got["webhook"], &got["product"]), (&json!("WH-632-725-169"), &Value::Null));
}

#[tokio::test]
async fn a_token_of_another_algorithm_or_with_a_key_of_its_own_is_refused_whatever_it_says() {
    let app = App::new(connect()).await;
    let hs256 = |header: &str| token(header, &format!(r#"{{"exp":{}}}"#, NOW + 600));
    let mut tokens: Vec<String> = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","jku":"https://keys.example.test/jwks.json"}"#,
        r#"{"alg":"HS256","x5u":"https://keys.example.test/chain.pem"}"#,
        r#"{"alg":"HS256","x5c":["MIIB"]}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"a2V5"}}"#,
    ]
    .map(hs256)
    .into();
    // Really signed so, with the same secret.
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for (header, algorithm) in [(r#"{"alg":"HS384"}"#, Algorithm::HS384), (r#"{"alg":"HS512"}"#, Algorithm::HS512)] {
        tokens.push(token_by(header, &format!(r#"{{"exp":{}}}"#, NOW + 600), &key, algorithm));
    }
    let unsigned = hs256(r#"{"alg":"none"}"#);
    tokens.push(format!("{}.", unsigned.rsplit_once('.').unwrap().0));
    for token in tokens {
        for request in [get_request(&token), post(&token, "{}")] {
            assert_eq!(app.refused(request).await, (401, Reason::UnacceptableAlgorithm), "{token}");
        }
    }
    assert_eq!(
        app.refused(get_request(&hs256(r#"{"alg":"HS256","alg":"HS256"}"#))).await.1,
        Reason::MalformedSignature
    );
    app.ok(get_request(&hs256(r#"{"alg":"HS256","kid":"unknown"}"#))).await;
}

#[tokio::test]
async fn a_token_that_is_forged_cut_or_lengthened_is_refused() {
    let app = App::new(connect()).await;
    let good = fresh("");
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let other = token_by(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"exp":{}}}"#, NOW + 600),
        &EncodingKey::from_secret(b"another secret"),
        Algorithm::HS256,
    );
    let changed = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{},"webhook_id":"WH-2"}}"#, NOW + 600));
    for (token, reason) in [
        (other, Reason::SignatureMismatch),
        (format!("{header}.{changed}.{signature}"), Reason::SignatureMismatch),
        (message.to_owned(), Reason::MalformedSignature),
        (format!("{message}."), Reason::MalformedSignature),
        (format!("{good}."), Reason::MalformedSignature),
        (format!("{good}.{signature}"), Reason::MalformedSignature),
        (format!("{good}="), Reason::MalformedSignature),
        (format!("{good}A"), Reason::MalformedSignature),
        (format!("{good}, Bearer {good}"), Reason::MalformedSignature),
        (format!("{header}=.{payload}.{signature}"), Reason::MalformedSignature),
        (String::new(), Reason::MalformedSignature),
        ("x".into(), Reason::MalformedSignature),
        ("\u{e9}".into(), Reason::MalformedSignature),
    ] {
        for request in [get_request(&token), post(&token, "{}")] {
            assert_eq!(app.refused(request).await, (401, reason), "{token}");
        }
    }
    app.ok(get_request(&good)).await;
}

#[tokio::test]
async fn a_token_holds_from_its_start_to_its_end_and_a_little_leeway() {
    let app = App::new(connect()).await;
    for (token, reason) in [
        (r#"{"webhook_id":"WH-1"}"#.to_owned(), Reason::MalformedSignature),
        (r#"{"exp":null}"#.into(), Reason::MalformedSignature),
        (format!(r#"{{"exp":"{}"}}"#, NOW + 600), Reason::MalformedSignature),
        (format!(r#"{{"exp":{}.5}}"#, NOW + 600), Reason::MalformedSignature),
        (r#"{"exp":-1}"#.into(), Reason::MalformedSignature),
        (r#"{"exp":-9223372036854775808}"#.into(), Reason::MalformedSignature),
        (r#"{"exp":18446744073709551615}"#.into(), Reason::MalformedSignature),
        (format!(r#"{{"exp":{}}}"#, NOW - 30), Reason::Stale),
        (format!(r#"{{"exp":{},"nbf":{}}}"#, NOW + 600, NOW + 31), Reason::Premature),
        (format!(r#"{{"exp":{},"iat":{}}}"#, NOW + 600, NOW + 31), Reason::Premature),
        (format!(r#"{{"exp":{},"exp":{}}}"#, NOW - 900, NOW + 600), Reason::MalformedSignature),
    ] {
        assert_eq!(app.refused(get_request(&claims(&token))).await, (401, reason), "{token}");
        assert_eq!(app.refused(post(&claims(&token), "{}")).await, (401, reason), "{token}");
    }
    app.ok(get_request(&claims(&format!(r#"{{"exp":{},"nbf":{}}}"#, NOW - 29, NOW + 30)))).await;
    let good = fresh("");
    app.ok(get_request(&good)).await;
    app.clock.advance(Duration::from_secs(629));
    app.ok(get_request(&good)).await;
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.refused(get_request(&good)).await, (401, Reason::Stale));
    let exact = App::new(connect().with_leeway(Duration::ZERO)).await;
    assert_eq!(exact.refused(get_request(&claims(&format!(r#"{{"exp":{NOW}}}"#)))).await.1, Reason::Stale);
    exact.ok(get_request(&claims(&format!(r#"{{"exp":{}}}"#, NOW + 1)))).await;
}

#[tokio::test]
async fn a_token_of_16_kib_is_read_and_one_byte_more_is_not() {
    let app = App::new(connect()).await;
    // Four characters of the token for three of the claims: the filling is chosen so that it comes out
    // even.
    let filled = |len: usize| fresh(&format!(r#","f":"{}""#, "x".repeat(len)));
    let filling = (12_000..12_500).find(|len| filled(*len).len() == 16_384).unwrap();
    app.ok(get_request(&filled(filling))).await;
    app.ok(post(&filled(filling), "{}")).await;
    let longer = filled(filling) + "A";
    assert_eq!(longer.len(), 16_385);
    assert_eq!(app.refused(get_request(&longer)).await, (400, Reason::MalformedHeader));
    assert_eq!(app.refused(post(&"x".repeat(100_000), "{}")).await, (400, Reason::MalformedHeader));
}

#[tokio::test]
async fn the_token_is_in_either_header_but_never_in_both() {
    let good = fresh("");
    let request = |headers: &[(&'static str, &str)]| {
        let mut request = Request::get("/connect");
        for (name, value) in headers {
            request = request.header(*name, value.replace('T', &good));
        }
        request.body(Full::default()).unwrap()
    };
    let app = App::new(connect()).await;
    app.ok(request(&[("authorization", "bearer T")])).await;
    app.ok(request(&[("authorization", "BEARER T")])).await;
    app.ok(request(&[("authentication", "Bearer T")])).await;
    for (headers, verdict) in [
        (&[][..], (401, Reason::MissingSignature)),
        (&[("authentication", "T")], (401, Reason::MalformedSignature)),
        (&[("authentication", "Bearer T"), ("authentication", "Bearer T")], (400, Reason::DuplicateHeader)),
        (&[("authorization", "Basic x"), ("authentication", "Bearer T")], (400, Reason::DuplicateHeader)),
        (&[("x-authorization", "Bearer T")], (401, Reason::MissingSignature)),
        (&[("authorization", "T")], (401, Reason::MalformedSignature)),
        (&[("authorization", "Basic T")], (401, Reason::MalformedSignature)),
        (&[("authorization", "JWT T")], (401, Reason::MalformedSignature)),
        (&[("authorization", "Bearer T"), ("authorization", "Bearer T")], (400, Reason::DuplicateHeader)),
        (&[("authorization", "Bearer T"), ("authentication", "Bearer T")], (400, Reason::DuplicateHeader)),
    ] {
        assert_eq!(app.refused(request(headers)).await, verdict, "{headers:?}");
    }
    let app = App::new(connect().with_header(TokenHeader::Authorization)).await;
    let verdict = app.refused(request(&[("authentication", "Bearer T")])).await;
    assert_eq!(verdict, (401, Reason::MissingSignature));
    let app = App::new(connect().with_header(TokenHeader::Authentication)).await;
    app.ok(request(&[("authentication", "Bearer T")])).await;
    for (headers, verdict) in [
        (&[("authorization", "Bearer T")][..], (401, Reason::MissingSignature)),
        (&[("authentication", "Bearer T"), ("authorization", "Basic x")], (400, Reason::DuplicateHeader)),
        (&[("authentication", "Bearer T"), ("authentication", "Bearer T")], (400, Reason::DuplicateHeader)),
    ] {
        assert_eq!(app.refused(request(headers)).await, verdict, "{headers:?}");
    }
}

#[tokio::test]
async fn a_body_that_contradicts_a_claim_is_refused() {
    let app = App::new(connect()).await;
    app.ok(post(PYJWT, BODY)).await;
    for (said, instead) in [
        (r#""deep": true"#, r#""deep": false"#),
        (r#""deep": true"#, r#""deep": true, "deeper": 1"#),
        ("25e-1", "2.5000000000000000000001"),
        ("25e-1", r#""2.5""#),
        ("[1.0, 25e-1,", "[25e-1, 1.0,"),
        ("Zoë", "Zoe"),
        ("PRD-123-456-789", "PRD-123-456-780"),
        ("WH-123-456-789", "WH-123-456-780"),
        (r#""last_failure_at": null"#, r#""last_failure_at": false"#),
        ("09:54:03+00:00", "09:54:03Z"),
        ("api.connect", "api.test"),
        ("600", "601"),
    ] {
        assert!(BODY.contains(said), "{said}");
        let verdict = app.refused(post(PYJWT, BODY.replacen(said, instead, 1))).await;
        assert_eq!(verdict, (401, Reason::BodyMismatch), "{instead}");
    }
    // What the token says nothing of, and the names that speak of the token itself, are free.
    app.ok(post(PYJWT, BODY.replacen('{', r#"{"more": [], "exp": 1, "sub": "x","#, 1))).await;
    app.ok(post(PYJWT, "{}")).await;
}

#[tokio::test]
async fn a_member_may_be_exempted_and_the_claim_is_what_counts() {
    let app = App::new(connect().with_exempt_members(["api_url"])).await;
    let body = BODY.replacen("api.connect", "api.test", 1);
    let got = app.ok(post(PYJWT, body.clone())).await;
    assert_eq!(got["api"], "https://api.connect.cloudblue.com/public/v1/");
    let verdict = app.refused(post(PYJWT, body.replacen("VA-", "VB-", 1))).await;
    assert_eq!(verdict, (401, Reason::BodyMismatch));
}

#[tokio::test]
async fn a_body_that_is_no_object_or_says_something_twice_is_refused() {
    let app = App::new(connect()).await;
    let nested = ["[".repeat(200), "]".repeat(200)].concat();
    for body in ["", "[]", "null", "{", "{}{}", r#"{"a":1,"a":1}"#, r#"{"webhook_id":"WH-1","webhook\u005fid":"WH-2"}"#]
    {
        assert_eq!(app.refused(post(&fresh(""), body)).await, (400, Reason::MalformedBody), "{body}");
    }
    assert_eq!(app.refused(post(&fresh(""), &b"{\"a\":\"\xff\"}"[..])).await, (400, Reason::MalformedBody));
    let twice = fresh(r#","data":{"a":1}"#);
    assert_eq!(app.refused(post(&twice, r#"{"data":{"a":2,"a":1}}"#)).await, (401, Reason::BodyMismatch));
    let deep = fresh(&format!(r#","data":{nested}"#));
    assert_eq!(app.refused(post(&deep, format!(r#"{{"data":{nested}}}"#))).await, (401, Reason::BodyMismatch));
}

#[tokio::test]
async fn a_get_with_a_body_and_other_methods_are_refused() {
    let app = App::new(connect()).await;
    let request = with(Request::get("/connect"), &fresh(""), r#"{"webhook_id":"WH-1"}"#);
    assert_eq!(app.refused(request).await, (400, Reason::MalformedBody));
    let unannounced = ScriptedBody::new([Step::Data("{}".into())]);
    let request = get_request(CONNECTOR).map(|_| unannounced);
    assert_eq!(answer_alone(request).await, 400);
    let head = with(Request::head("/connect"), &fresh(""), "");
    let reply = app.server.send(head).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["allow"]), (405, &"GET, POST".parse().unwrap()));
}

#[tokio::test]
async fn what_a_token_leaves_to_the_body_is_refused_where_it_is_required() {
    let app = App::new(
        connect().with_required_claims(["webhook_id"]).with_required_claims(["product_id", "last_failure_at"]),
    )
    .await;
    app.ok(post(PYJWT, BODY)).await;
    let body = r#"{"product_id":"PRD-1","last_failure_at":null}"#;
    assert_eq!(app.refused(post(CONNECTOR, body)).await, (401, Reason::MalformedSignature));
}

#[tokio::test]
async fn a_valid_token_for_another_webhook_product_or_account_is_not_for_us() {
    let looked_up = Secrets::lookup(|_: Head| async { Ok::<_, std::io::Error>([SECRET]) });
    for (connect, name, value) in [
        (Connect::new(looked_up).unwrap().with_webhook_id("WH-1"), "webhook_id", "WH-1"),
        (connect().with_webhook_id("WH-1").with_webhook_id("WH-9"), "webhook_id", "WH-9"),
        (connect().with_product_id("PRD-1"), "product_id", "PRD-1"),
        (connect().with_account_id("VA-1"), "account_id", "VA-1"),
    ] {
        let app = App::new(connect).await;
        let token = |value: &str| claims(&format!(r#"{{"exp":{},"{name}":{value}}}"#, NOW + 600));
        app.ok(get_request(&token(&format!("\"{value}\"")))).await;
        for other in ["\"other\"", "\"\"", "null", "1"] {
            assert_eq!(app.refused(get_request(&token(other))).await, (403, Reason::NotForUs), "{name} {other}");
        }
        let forger = EncodingKey::from_secret(b"guess");
        let forged = format!(r#"{{"exp":{},"{name}":"other"}}"#, NOW + 600);
        let forged = token_by(r#"{"alg":"HS256"}"#, &forged, &forger, Algorithm::HS256);
        let verdict = app.refused(get_request(&forged)).await;
        assert_eq!(verdict, (401, Reason::SignatureMismatch), "a stranger is not told for whom we are");
        let unsaid = claims(&format!(r#"{{"exp":{}}}"#, NOW + 600));
        let body = format!(r#"{{"{name}":"{value}"}}"#);
        assert_eq!(app.refused(post(&unsaid, body)).await, (403, Reason::NotForUs), "{name} in the body alone");
    }
}

#[tokio::test]
async fn secrets_rotate_and_are_looked_up_by_the_unverified_webhook_id() {
    let app = App::new(Connect::new(Secrets::new(["the new one", SECRET])).unwrap()).await;
    assert_eq!(app.ok(get_request(CONNECTOR)).await["key"], 1);

    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let lookup = Secrets::lookup(move |head: Head| {
        log.lock().unwrap().push(head.unverified_hint().map(String::from));
        let found = match head.unverified_hint() {
            Some("WH-632-725-169") => Ok(Some(Secret::new(SECRET))),
            Some("WH-500") => Err(std::io::Error::other("the database is down")),
            _ => Ok(None),
        };
        async move { found }
    });
    let app = App::new(Connect::new(lookup).unwrap()).await;
    app.ok(get_request(CONNECTOR)).await;
    app.ok(post(CONNECTOR, "{}")).await;
    assert_eq!(app.refused(get_request(&fresh(""))).await, (401, Reason::UnknownTenant));
    let down = claims(&format!(r#"{{"exp":{},"webhook_id":"WH-500"}}"#, NOW + 600));
    assert_eq!(app.refused(get_request(&down)).await, (503, Reason::SecretUnavailable));
    let forged = token_by(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"exp":{},"webhook_id":"WH-632-725-169"}}"#, NOW + 600),
        &EncodingKey::from_secret(b"guess"),
        Algorithm::HS256,
    );
    assert_eq!(app.refused(get_request(&forged)).await, (401, Reason::SignatureMismatch));
    let hints: Vec<_> = asked.lock().unwrap().iter().flatten().cloned().collect();
    assert_eq!(hints, ["WH-632-725-169", "WH-632-725-169", "WH-1", "WH-500", "WH-632-725-169"]);
    // Nothing is looked up for a token that is refused anyway.
    assert_eq!(app.refused(get_request(&claims(r#"{"exp":1,"webhook_id":"WH-1"}"#))).await, (401, Reason::Stale));
    assert_eq!(app.refused(get_request("a.b.c")).await, (401, Reason::MalformedSignature));
    assert_eq!(asked.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_forged_token_is_refused_before_the_body_is_read() {
    let forged = PYJWT.replace("_HCT", "_HCU");
    for token in [forged.as_str(), "a.b.c"] {
        let request = Request::post("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(ScriptedBody::new([Step::Stall])).unwrap();
        assert_eq!(answer_alone(request).await, 401);
    }
}

#[test]
fn a_genuine_token_with_any_one_character_changed_is_refused() {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let judge = |token: &[u8]| {
        let (mut head, _) = get_request("").into_parts();
        let value = [b"Bearer ", token].concat();
        head.headers.insert("authorization", http::HeaderValue::from_bytes(&value).unwrap());
        connect().begin(&head, &move || now).map(|_| ())
    };
    assert!(judge(CONNECTOR.as_bytes()).is_ok());
    for at in 0..CONNECTOR.len() {
        for other in (b'!'..=b'~').chain([b' ', b'\t', 0x80, 0xff]) {
            let mut token = CONNECTOR.as_bytes().to_vec();
            if std::mem::replace(&mut token[at], other) != other && !(at == 0 && other == b' ') {
                assert!(judge(&token).is_err(), "{} at {at}", other.escape_ascii());
            }
        }
        let cut = [&CONNECTOR.as_bytes()[..at], &CONNECTOR.as_bytes()[at + 1..]].concat();
        assert!(judge(&cut).is_err(), "without {at}");
    }
}

#[tokio::test]
async fn a_validation_result_arrives_unchanged() {
    /// Answers with the draft itself, and what is wrong with it.
    async fn validate(Webhook(Json(mut draft)): Webhook<Json<Value>>) -> Response {
        draft["params"][0]["value_error"] = json!("This is required.");
        let mut headers = HeaderMap::new();
        headers.insert("x-validated-by", "us".parse().unwrap());
        (StatusCode::OK, headers, Json(draft)).into_response()
    }
    async fn fail(_: Delivery) -> Response {
        (StatusCode::BAD_REQUEST, [("content-type", "text/plain")], "no such parameter").into_response()
    }
    let layer = WebhookLayer::new(connect());
    let app = Router::new()
        .route("/validate", axum::routing::post(validate).layer(layer.clone()))
        .route("/fail", axum::routing::post(fail).layer(layer));
    let server = serve(app).await;
    let send = async |path: &str| {
        let draft = r#"{"id":"PR-1","status":"draft","params":[{"id":"email","value":""}]}"#;
        server.send(with(Request::post(path), CONNECTOR, draft)).await
    };
    let reply = send("/validate").await;
    assert_eq!((reply.status.as_u16(), &reply.headers["x-validated-by"]), (200, &"us".parse().unwrap()));
    assert_eq!(reply.headers["content-type"], "application/json");
    let expected =
        json!({"id":"PR-1","status":"draft","params":[{"id":"email","value":"","value_error":"This is required."}]});
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), expected);
    let reply = send("/fail").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (400, "no such parameter"));
    assert_eq!(reply.headers["content-type"], "text/plain");
    assert!(!reply.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn a_request_signed_for_tests_is_genuine() {
    let connect = connect().with_webhook_id("WH-7").with_leeway(Duration::from_secs(1));
    let app = App::new(connect.clone()).await;
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let sign = |request: Request<&'static str>| testing::sign_at(&connect, request, now).unwrap();
    let body = r#"{"product_id":"PRD-1","exp":1}"#;
    for request in [Request::post("/connect"), Request::get("/connect")] {
        let got = app.ok(sign(request.body(body).unwrap())).await;
        assert_eq!(got["webhook"], "WH-7");
        assert_eq!((&got["product"], &got["signed"]), (&json!("PRD-1"), &json!(true)));
    }
    let request = sign(Request::get("/connect").body("").unwrap());
    app.ok(request.clone()).await;
    app.clock.advance(Duration::from_secs(601));
    assert_eq!(app.refused(request).await, (401, Reason::Stale));
    for body in ["[]", "x"] {
        assert!(testing::sign(&connect, Request::post("/").body(body).unwrap()).is_err());
    }
    let long = format!(r#"{{"f":"{}"}}"#, "x".repeat(16_384));
    assert!(testing::sign(&connect, Request::post("/").body(long).unwrap()).is_err());
}

#[tokio::test]
async fn a_type_that_does_not_fit_is_the_handlers_refusal() {
    let handler = async |_: Webhook<Trigger<MyData>>| ();
    let app = Router::new().route("/connect", get(handler).layer(WebhookLayer::new(connect())));
    let server = serve(app).await;
    let reply = server.send(get_request(CONNECTOR)).await;
    assert_eq!(reply.status, 422, "there is no data for MyData");
    assert_eq!(server.send(get_request(PYJWT)).await.status, 200);
}

#[test]
fn no_secret_and_an_empty_one_build_nothing() {
    assert!(Connect::new("").is_err());
    assert!(Connect::new(Secrets::new([] as [&str; 0])).is_err());
    assert!(Connect::new(Secrets::new(["s"; 9])).is_err());
    assert!(!format!("{:?}", connect()).contains("Test-token"));
}
