//! CDR Manager end to end: what is accepted, byte for byte, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower_webhook::cdr_manager::Report;
use tower_webhook::testing::{self, ScriptedBody};
use tower_webhook::{CdrManager, Delivery, Webhook, WebhookLayer};

use crate::support::{Server, serve};

const HEADER: &str = "x-cdr-signature";
const MIB: usize = 1024 * 1024;

fn provider() -> tower_webhook::Scheme {
    CdrManager::new("Jefe").unwrap()
}

/// Echoes the bytes that the handler got, and counts how often it was called.
async fn echo_server() -> (Server, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let handler = async move |delivery: Delivery, body: Bytes| {
        counter.fetch_add(1, Ordering::SeqCst);
        assert_eq!(delivery.body(), &body);
        body
    };
    (serve(Router::new().route("/", post(handler).layer(WebhookLayer::new(provider())))).await, calls)
}

fn signed(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    testing::sign(&provider(), Request::post("/").body(body.into()).unwrap()).unwrap()
}

fn bodies() -> Vec<Bytes> {
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    vec![
        Bytes::from_static(br#"{"fileName":"tx1.zip"}"#),
        Bytes::new(),
        Bytes::from_static(b"\xff\xfe\x00not utf-8\r\n"),
        every_byte.into(),
        vec![b'a'; MIB].into(),
    ]
}

#[tokio::test]
async fn every_kind_of_body_arrives_as_it_was_signed_over_both_http_versions() {
    let (server, calls) = echo_server().await;
    for body in bodies() {
        for reply in [server.send(signed(body.clone())).await, server.send_http2(signed(body.clone())).await] {
            assert_eq!(reply.status, 200, "{} bytes", body.len());
            assert!(reply.body == body, "{} bytes", body.len());
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2 * bodies().len());
}

#[tokio::test]
async fn chunked_bodies_arrive_whole_however_they_are_split() {
    let (server, _) = echo_server().await;
    for (body, size) in bodies().into_iter().take(3).map(|body| (body, 1)).chain([(bodies().remove(4), 16_384)]) {
        let (head, _) = signed(body.clone()).into_parts();
        for http2 in [false, true] {
            let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
            let request = Request::from_parts(head.clone(), ScriptedBody::in_frames(&body, size));
            let reply = server.send_by(client, request).await;
            assert_eq!((reply.status, reply.body == body), (StatusCode::OK, true), "{} by {size}", body.len());
        }
    }
}

#[tokio::test]
async fn trailers_are_ignored() {
    let (server, _) = echo_server().await;
    let (head, body) = signed("with trailers").into_parts();
    let frames = [
        Ok::<_, std::io::Error>(http_body::Frame::data(body.collect().await.unwrap().to_bytes())),
        Ok(http_body::Frame::trailers(
            [("x-late".parse().unwrap(), HeaderValue::from_static("1"))].into_iter().collect(),
        )),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let reply = server.send_by(client, Request::from_parts(head, body)).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "with trailers"));
}

/// `base64_encode(hash_hmac('sha512', $body, $key, true))`, computed with PHP 8.2 and again with
/// OpenSSL 3.
#[tokio::test]
async fn what_php_signs_is_accepted_and_typed() {
    let body = r#"{"contentType":"application\/zip","httpMethod":"GET","callbackURL":"https:\/\/cdr.example.test\/report\/5f2c?token=t","validUntil":"2023-01-10T10:02:27Z","fileName":"t\u00e4x00001.zip","fileSizeInBytes":1048576,"numberOfLines":4711,"taskId":12,"taskName":"hourly","error":""}"#;
    let signature = "+cwQ6qdE22aXm45Z/5TgZRa97MC3Nwvq2SXeRcdJ28zvJ3MxICzzmHMP7mf0bwmcb0CPlrmDcqojUaAOZhb6bg==";
    let provider = CdrManager::new("a key with spaces & signs: ü").unwrap();
    let handler = async |Webhook(report): Webhook<Report>| {
        let report = report.outcome().unwrap();
        format!(
            "{} {} {}",
            report.file_name.as_deref().unwrap(),
            report.number_of_lines.unwrap(),
            report.task_id.unwrap()
        )
    };
    let server = serve(Router::new().route("/", post(handler).layer(WebhookLayer::new(provider)))).await;
    let request = Request::post("/").header(HEADER, signature).body(body.into()).unwrap();
    let reply = server.send(request).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "täx00001.zip 4711 12"));
}

#[tokio::test]
async fn a_signature_in_any_other_form_is_refused() {
    let (server, calls) = echo_server().await;
    let body = r#"{"fileName":"tx1.zip"}"#;
    let good = signed(body).headers()[HEADER].to_str().unwrap().to_owned();
    // 64 bytes have no + or / in every signature; this one is made to have both spellings differ.
    let digest: Vec<u8> = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(&good).unwrap()
    };
    let other_key = testing::sign(&CdrManager::new("jefe").unwrap(), Request::post("/").body(body).unwrap()).unwrap();
    let mut flipped = good.clone().into_bytes();
    flipped[0] = if flipped[0] == b'A' { b'B' } else { b'A' };
    for (what, value, status) in [
        ("good", good.as_bytes(), 200),
        ("hex", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().as_bytes(), 401),
        ("base64url", good.replace('+', "-").replace('/', "_").as_bytes(), 401),
        ("unpadded", good.trim_end_matches('=').as_bytes(), 401),
        ("one pad", &good.as_bytes()[..87], 401),
        ("trailing data", format!("{good}AAAA").as_bytes(), 401),
        ("trailing space inside", format!("{good} =").as_bytes(), 401),
        ("unused bits", good.replace("==", "=").replacen('=', "1=", 1).as_bytes(), 401),
        ("prefix", format!("sha512={good}").as_bytes(), 401),
        ("other key", other_key.headers()[HEADER].as_bytes(), 401),
        ("one flipped bit", &flipped, 401),
        ("empty", b"", 401),
        ("not ascii", b"\xc3\xbc", 401),
        ("long", "A".repeat(4097).as_bytes(), 400),
    ] {
        let mut request = Request::post("/").body(Full::from(body)).unwrap();
        request.headers_mut().insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        assert_eq!(server.send(request).await.status, status, "{what}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_missing_or_duplicated_signature_header_and_another_method_are_refused() {
    let (server, calls) = echo_server().await;
    assert_eq!(server.send(Request::post("/").body("x".into()).unwrap()).await.status, 401);
    let mut twice = signed("x");
    let value = twice.headers()[HEADER].clone();
    twice.headers_mut().append(HEADER, value);
    assert_eq!(server.send(twice).await.status, 400, "even where both are equal and right");
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    let app = Router::new().fallback(async || "handled").layer(WebhookLayer::new(provider()));
    let server = serve(app).await;
    let mut put = signed("x");
    *put.method_mut() = http::Method::PUT;
    let reply = server.send(put).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["allow"]), (405, &HeaderValue::from_static("POST")));
}

#[tokio::test]
async fn any_flipped_bit_of_the_body_is_refused() {
    let (server, calls) = echo_server().await;
    let body = r#"{"a":1}"#;
    let (head, _) = signed(body).into_parts();
    for bit in 0..body.len() * 8 {
        let mut forged = body.as_bytes().to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        let reply = server.send(Request::from_parts(head.clone(), Full::from(forged))).await;
        assert_eq!(reply.status, 401, "bit {bit}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_422_and_its_raw_body_stays_reachable() {
    let app = Router::new()
        .route("/typed", post(async |_: Webhook<Report>| "typed"))
        .route(
            "/both",
            post(async |report: Result<Webhook<Report>, tower_webhook::Rejection>, delivery: Delivery| {
                (StatusCode::ACCEPTED, format!("{} {}", report.is_err(), delivery.body().len()))
            }),
        )
        .layer(WebhookLayer::new(provider()));
    let server = serve(app).await;
    for (body, status) in [
        (r#"{"taskId":1,"unknown":{"deep":[1]},"error":null}"#, 200),
        (r#"{"taskId":"not a number"}"#, 422),
        ("not json", 422),
        ("", 422),
    ] {
        let mut request = signed(body);
        *request.uri_mut() = "/typed".parse().unwrap();
        let reply = server.send(request).await;
        assert_eq!(reply.status, status, "{body}");
        assert!(!reply.text().contains("number"), "nothing is echoed: {}", reply.text());
    }
    let mut request = signed("not json");
    *request.uri_mut() = "/both".parse().unwrap();
    assert_eq!(server.send(request).await.text(), "true 8");
}

#[tokio::test]
async fn existing_body_extractors_see_identical_bytes() {
    let app = Router::new()
        .route("/bytes", post(async |body: Bytes| body))
        .route("/string", post(async |body: String| body))
        .route("/request", post(async |request: Request<Body>| request.into_body()))
        .route("/json", post(async |axum::Json(body): axum::Json<serde_json::Value>| body["fileName"].to_string()))
        .layer(WebhookLayer::new(provider()));
    let server = serve(app).await;
    let body = r#"{ "fileName" : "tx1.zip" }"#;
    for (path, expected) in [("/bytes", body), ("/string", body), ("/request", body), ("/json", "\"tx1.zip\"")] {
        let mut request = signed(body);
        *request.uri_mut() = path.parse().unwrap();
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        assert_eq!(server.send(request).await.text(), expected, "{path}");
    }
}
