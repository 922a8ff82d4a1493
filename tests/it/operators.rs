//! What operators see, and what neither they nor senders ever see.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::ServiceExt as _;
use tower_webhook::cdr_manager::Report;
use tower_webhook::testing::{self, ScriptedBody, Step};
use tower_webhook::{CdrManager, Delivery, Reason, Rejection, Verdict, Webhook, WebhookLayer};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{serve, service};

const SECRET: &str = "hunter2-the-secret";

fn provider() -> tower_webhook::Scheme {
    CdrManager::new(SECRET).unwrap()
}

fn signed(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    testing::sign(&provider(), Request::post("/").body(body.into()).unwrap()).unwrap()
}

/// Collects what is logged.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn requests() -> Vec<(Request<ScriptedBody>, Option<Reason>)> {
    let whole = |body: &'static str| ScriptedBody::new([Step::Data(body.into())]);
    let with = |signed_body: &'static str, body: ScriptedBody| signed(signed_body).map(|_| body);
    let mut wrong_method = with("secret-payload", whole("secret-payload"));
    *wrong_method.method_mut() = http::Method::PUT;
    let mut twice = with("secret-payload", whole("secret-payload"));
    twice.headers_mut().append("x-cdr-signature", "AAAA".parse().unwrap());
    let mut hex = with("secret-payload", whole("secret-payload"));
    hex.headers_mut().insert("x-cdr-signature", "ab".repeat(64).parse().unwrap());
    let mut long = with("secret-payload", whole("secret-payload"));
    long.headers_mut().insert("x-cdr-signature", "A".repeat(5000).parse().unwrap());
    vec![
        (with("{}", whole("{}")), None),
        (wrong_method, Some(Reason::MethodNotAllowed)),
        (Request::post("/").body(whole("secret-payload")).unwrap(), Some(Reason::MissingSignature)),
        (twice, Some(Reason::DuplicateHeader)),
        (hex, Some(Reason::MalformedSignature)),
        (long, Some(Reason::MalformedHeader)),
        (with("secret-payload", whole("secret-payloaD")), Some(Reason::SignatureMismatch)),
        (with("", ScriptedBody::in_frames(&vec![b'x'; 2000].into(), 100)), Some(Reason::BodyTooLarge)),
        (with("secret-payload", ScriptedBody::new([Step::Break])), Some(Reason::BodyBroken)),
        (with("secret-payload", whole("secret-payload")), Some(Reason::MalformedPayload)),
    ]
}

#[tokio::test]
async fn every_refusal_is_in_the_extensions_the_hook_the_log_and_the_metrics_without_secrets_or_payloads() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // Where there is one subscriber alone, tracing asks whichever thread comes to an event first
    // whether anyone listens, and the threads of other tests have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let hooked = Arc::new(Mutex::new(Vec::new()));
    let seen = hooked.clone();
    let layer = WebhookLayer::new(provider()).with_body_limit(1000).on_reject(move |rejection| {
        seen.lock().unwrap().push((rejection.reason(), rejection.provider().unwrap().to_owned()))
    });
    let app = Router::new().fallback(async |_: Webhook<Report>| "handled").layer(layer);

    let _logging = tracing::subscriber::set_default(subscriber);
    let _counting = metrics::set_default_local_recorder(&recorder);
    let mut replies = String::new();
    let mut expected = Vec::new();
    for (request, reason) in requests() {
        let signature = request.headers().get("x-cdr-signature").cloned();
        let response = app.clone().oneshot(request).await.unwrap();
        let rejection = response.extensions().get::<Rejection>().cloned();
        assert_eq!(rejection.as_ref().map(Rejection::reason), reason);
        let status = match reason {
            None => StatusCode::OK,
            // When this sender repeats is unknown, so that it gets no status that could be final to it.
            Some(Reason::BodyBroken) => StatusCode::SERVICE_UNAVAILABLE,
            Some(reason) => reason.status(),
        };
        assert_eq!(response.status(), status);
        replies += &format!(
            "{:?} {rejection:?} {}\n",
            response.headers(),
            rejection.as_ref().map_or(String::new(), ToString::to_string)
        );
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        replies += std::str::from_utf8(&body).unwrap();
        if let Some(signature) = signature.filter(|signature| signature.len() > 10) {
            let signature = signature.to_str().unwrap().get(..40).unwrap().to_owned();
            assert!(!replies.contains(&signature), "a signature was echoed: {replies}");
        }
        expected.extend(reason.map(|reason| (reason, "cdr_manager".to_owned())));
    }
    assert_eq!(*hooked.lock().unwrap(), expected);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let metrics = snapshotter.snapshot().into_vec();
    let labels: BTreeSet<String> = metrics
        .iter()
        .filter(|(key, ..)| key.key().name() == "webhook_requests_total")
        .inspect(|(.., value)| assert!(matches!(value, DebugValue::Counter(1..))))
        .flat_map(|(key, ..)| {
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect::<Vec<_>>()
        })
        .collect();
    for (reason, _) in &expected {
        assert!(log.contains(reason.as_str()), "{reason:?} is not in the log: {log}");
        assert!(labels.contains(&format!("reason={}", reason.as_str())), "{reason:?} was not counted: {labels:?}");
    }
    let timed = metrics.iter().any(|(key, .., value)| {
        key.key().name() == "webhook_verification_seconds"
            && matches!(value, DebugValue::Histogram(times) if !times.is_empty())
    });
    assert!(timed, "no verification time was recorded");
    for text in [&log, &replies, &format!("{metrics:?}")] {
        for forbidden in [SECRET, "secret-payload", "hunter2"] {
            assert!(!text.contains(forbidden), "{forbidden} is in: {text}");
        }
    }
}

#[tokio::test]
async fn the_sender_gets_a_fixed_problem_text_that_does_not_depend_on_the_reason() {
    let server = serve(Router::new().route("/", post(async || "handled").layer(WebhookLayer::new(provider())))).await;
    let mut bodies = BTreeSet::new();
    for value in ["", "AAAA", &"ab".repeat(64), signed("other").headers()["x-cdr-signature"].to_str().unwrap()] {
        let request = Request::post("/").header("x-cdr-signature", value).body("hello".into()).unwrap();
        let reply = server.send(request).await;
        assert_eq!(
            (reply.status.as_u16(), reply.headers["content-type"].to_str().unwrap()),
            (401, "application/problem+json")
        );
        bodies.insert(reply.body);
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let problem: serde_json::Value = serde_json::from_slice(bodies.first().unwrap()).unwrap();
    assert_eq!((&problem["status"], &problem["title"]), (&401.into(), &"Unauthorized".into()));
}

#[tokio::test]
async fn in_observe_mode_nothing_is_refused_and_only_the_verified_have_a_delivery() {
    let handler = async |verdict: Verdict, delivery: Option<Delivery>, request: AxumRequest| {
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let verdict = match verdict {
            Verdict::Verified => "verified".to_owned(),
            Verdict::Rejected(rejection) => rejection.reason().as_str().to_owned(),
            other => format!("{other:?}"),
        };
        format!("{verdict} {} {}", delivery.is_some(), body.len())
    };
    let app = Router::new().fallback(handler).layer(WebhookLayer::new(provider()).with_body_limit(1000).observe_only());
    for (request, reason) in requests() {
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        match reason {
            None | Some(Reason::MalformedPayload) => assert!(text.starts_with("verified true "), "{reason:?}: {text}"),
            Some(Reason::BodyTooLarge) => assert_eq!(Some(status), reason.map(Reason::status)),
            Some(Reason::BodyBroken) => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            Some(reason) => assert_eq!(text, format!("{} false 14", reason.as_str())),
        }
    }
}

#[tokio::test]
async fn a_service_without_axum_takes_the_delivery_from_the_extensions() {
    let service = service(WebhookLayer::new(provider()), async |request: Request<Full<Bytes>>| {
        let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions()).unwrap();
        let delivery = Delivery::from_extensions(request.extensions()).unwrap();
        format!("{} {:?} {:?}", delivery.provider(), report.task_id, delivery.id()).into()
    });
    let response = service.oneshot(signed(r#"{"taskId":5}"#)).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "cdr_manager Some(5) None");
    let missing = Webhook::<Report>::from_extensions(&http::Extensions::new()).unwrap_err();
    assert_eq!((missing.reason(), missing.status().as_u16()), (Reason::NoDelivery, 503));
}
