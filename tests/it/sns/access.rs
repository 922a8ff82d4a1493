//! Basic credentials and raw delivery.

use std::fmt::Write as _;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower_webhook::sns::{RawProof, SnsBuilder};
use tower_webhook::testing::FakeMessage;
use tower_webhook::{Reason, Sns, Webhook, WebhookLayer};

use super::{Counting, Endpoint, fake, now};
use crate::support::serve;

/// `user:password`.
const CREDENTIALS: &str = "Basic dXNlcjpwYXNzd29yZA==";

fn notification() -> FakeMessage {
    fake().notification("hello").at(now())
}

fn authorized(mut request: Request<Full<Bytes>>, credentials: &'static str) -> Request<Full<Bytes>> {
    request.headers_mut().insert("authorization", HeaderValue::from_static(credentials));
    request
}

fn with_basic(builder: SnsBuilder) -> SnsBuilder {
    builder.basic_auth("user", "password").realm("PCE events")
}

#[tokio::test]
async fn without_credentials_comes_the_challenge_and_with_them_the_message() {
    let endpoint = Endpoint::new(with_basic).await;
    let reply = endpoint.server.send(notification().post("/sns")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (401, ""));
    assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"PCE events\"");
    assert_eq!(endpoint.reason(), None, "a challenge is no rejection");
    assert_eq!(endpoint.fetches.count(), 0);
    let reply = endpoint.server.send(authorized(notification().post("/sns"), CREDENTIALS)).await;
    assert_eq!(reply.text(), "Notification");
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_right_ones_prove_nothing_about_the_message() {
    let endpoint = Endpoint::new(with_basic).await;
    let reply = endpoint.server.send(authorized(notification().post("/sns"), "Basic dXNlcjpwYXNzd29yZB==")).await;
    endpoint.refused(&reply, Reason::MalformedSignature);
    let reply = endpoint.server.send(authorized(notification().post("/sns"), "Basic dXNlcjpwYXNzd29yZDI=")).await;
    endpoint.refused(&reply, Reason::SignatureMismatch);
    assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"PCE events\"");
    assert_eq!(endpoint.fetches.count(), 0);
    let forged = Request::post("/sns").body(notification().json().replace("hello", "hullo").into()).unwrap();
    endpoint.refused(&endpoint.server.send(authorized(forged, CREDENTIALS)).await, Reason::SignatureMismatch);
}

#[tokio::test]
async fn the_challenge_leaves_the_connection_to_the_second_attempt() {
    let endpoint = Endpoint::new(with_basic).await;
    let json = fake().notification("x".repeat(200_000)).at(now()).json();
    let mut text = String::new();
    for credentials in ["", "authorization: Basic dXNlcjpwYXNzd29yZA==\r\nconnection: close\r\n"] {
        let len = json.len();
        write!(text, "POST /sns HTTP/1.1\r\nhost: x\r\n{credentials}content-length: {len}\r\n\r\n{json}").unwrap();
    }
    let mut stream = TcpStream::connect(endpoint.server.address).await.unwrap();
    let mut answers = String::new();
    let (mut read, mut write) = stream.split();
    let (sent, received) = tokio::join!(write.write_all(text.as_bytes()), read.read_to_string(&mut answers));
    sent.unwrap();
    received.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 401").count(), 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
}

#[tokio::test]
async fn a_body_without_credentials_is_bounded_too() {
    let endpoint = Endpoint::new(with_basic).await;
    let request = Request::post("/sns").body(Full::from(vec![b' '; 2 * 1024 * 1024 + 1])).unwrap();
    endpoint.refused(&endpoint.server.send(request).await, Reason::BodyTooLarge);
}

#[tokio::test]
async fn a_raw_delivery_needs_its_switch_and_its_other_proof() {
    let raw = |path: &str| {
        Request::post(path)
            .header("x-amz-sns-message-type", "Notification")
            .header("x-amz-sns-message-id", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324")
            .header("x-amz-sns-topic-arn", fake().topic_arn())
            .header("x-amz-sns-rawdelivery", "true")
            .body(Full::from("{}"))
            .unwrap()
    };
    let endpoint = Endpoint::new(|it| it).await;
    endpoint.refused(&endpoint.server.send(raw("/sns")).await, Reason::MissingSignature);

    let endpoint = Endpoint::new(|it| with_basic(it).raw_delivery(RawProof::BasicAuth)).await;
    assert_eq!(endpoint.server.send(raw("/sns")).await.status, 401);
    assert_eq!(endpoint.server.send(authorized(raw("/sns"), CREDENTIALS)).await.text(), "Notification");
    let mut foreign = raw("/sns");
    let theirs = HeaderValue::from_static("arn:aws:sns:us-west-2:210987654321:Theirs");
    foreign.headers_mut().insert("x-amz-sns-topic-arn", theirs);
    endpoint.refused(&endpoint.server.send(authorized(foreign, CREDENTIALS)).await, Reason::NotForUs);
    let mut nameless = raw("/sns");
    nameless.headers_mut().remove("x-amz-sns-topic-arn");
    endpoint.refused(&endpoint.server.send(authorized(nameless, CREDENTIALS)).await, Reason::MissingHeader);

    let secret = "ZGVhZGJlZWYtZGVhZGJlZWY";
    let endpoint = Endpoint::new(|it| it.raw_delivery(RawProof::SecretPath(secret.into()))).await;
    assert_eq!(endpoint.server.send(raw(&format!("/sns/{secret}"))).await.status, 200);
    for wrong in ["/sns", "/sns/x", &format!("/sns/{secret}x"), &format!("/sns/{secret}/x"), &format!("/sns/{secret}/")]
    {
        endpoint.refused(&endpoint.server.send(raw(wrong)).await, Reason::SignatureMismatch);
    }
    assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200, "signed ones need no secret path");

    let endpoint = Endpoint::new(|it| it.raw_delivery(RawProof::InsecureTrusted)).await;
    assert_eq!(endpoint.server.send(raw("/sns")).await.status, 200);
    assert_eq!(endpoint.fetches.count(), 0);
}

/// A nested router takes its prefix off the request's own URI, and the secret may be in it.
#[tokio::test]
async fn a_secret_path_is_found_behind_a_nested_router() {
    let secret = "ZGVhZGJlZWYtZGVhZGJlZWY";
    let sns = Sns::builder()
        .topic(fake().topic_arn())
        .raw_delivery(RawProof::SecretPath(secret.into()))
        .fetch(Counting::new())
        .build()
        .unwrap();
    let inner = Router::new().route("/", post(async || {})).layer(WebhookLayer::new(sns));
    let server = serve(Router::new().nest("/{secret}", inner)).await;
    let raw = |path: &str| {
        Request::post(path)
            .header("x-amz-sns-rawdelivery", "true")
            .header("x-amz-sns-topic-arn", fake().topic_arn())
            .body(Full::from("hello"))
            .unwrap()
    };
    assert_eq!(server.send(raw(&format!("/{secret}"))).await.status, 200);
    assert_eq!(server.send(raw("/ZGVhZGJlZWYtZGVhZGJlZWX")).await.status, 401);
}

/// SNS says `text/plain` of every message. axum's own extractor looks at that, the payload of the
/// layer doesn't.
#[tokio::test]
async fn a_raw_event_is_read_as_json_although_sns_calls_it_text() {
    let sns = Sns::builder()
        .topic(fake().topic_arn())
        .raw_delivery(RawProof::InsecureTrusted)
        .fetch(Counting::new())
        .build()
        .unwrap();
    let routes = Router::new()
        .route("/webhook", post(async |Webhook(axum::Json(event)): Webhook<axum::Json<Value>>| event["a"].to_string()))
        .route("/json", post(async |axum::Json(event): axum::Json<Value>| event["a"].to_string()));
    let server = serve(routes.layer(WebhookLayer::new(sns))).await;
    for (path, status) in [("/webhook", 200), ("/json", 415)] {
        let request = Request::post(path)
            .header("content-type", "text/plain; charset=UTF-8")
            .header("x-amz-sns-rawdelivery", "true")
            .header("x-amz-sns-topic-arn", fake().topic_arn())
            .body(Full::from(r#"{"a":1}"#))
            .unwrap();
        assert_eq!(server.send(request).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_confirmation_is_never_raw() {
    let endpoint = Endpoint::new(|it| it.raw_delivery(RawProof::InsecureTrusted)).await;
    let mut request = fake().subscription_confirmation().at(now()).post("/sns");
    request.headers_mut().insert("x-amz-sns-rawdelivery", HeaderValue::from_static("true"));
    assert_eq!(endpoint.server.send(request).await.text(), "");
    assert_eq!(endpoint.fetches.count(), 2);
}

#[test]
fn raw_delivery_without_a_proof_is_refused_at_build() {
    let builder = || Sns::builder().topic(fake().topic_arn()).fetch(Counting::new());
    for proof in [RawProof::BasicAuth, RawProof::SecretPath("short".into()), RawProof::SecretPath("x/".repeat(20))] {
        assert!(builder().raw_delivery(proof).build().is_err());
    }
    let debug =
        format!("{:?}", builder().raw_delivery(RawProof::SecretPath("hunter2".into())).basic_auth("u", "hunter2"));
    assert!(!debug.contains("hunter2"), "{debug}");
}
