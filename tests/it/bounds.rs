//! What a stranger can make the layer do: size, time, broken connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::SizeHint;
use http_body_util::Full;
use tower::{Service, ServiceExt};
use tower_webhook::scheme::header;
use tower_webhook::testing::{self, ScriptedBody, Step};
use tower_webhook::{CdrManager, MemoryBudget, Reason, Rejection, Scheme, Secrets, WebhookLayer};

use crate::support::{serve, service};

fn provider() -> Scheme {
    CdrManager::new("Jefe").unwrap()
}

fn signed(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    testing::sign(&provider(), Request::post("/").body(body.into()).unwrap()).unwrap()
}

async fn refused<B>(layer: WebhookLayer<Scheme>, request: Request<B>) -> (StatusCode, Option<Reason>)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let response = service(layer, async |_| "handled".into()).oneshot(request).await.unwrap();
    (response.status(), response.extensions().get::<Rejection>().map(Rejection::reason))
}

fn layer() -> WebhookLayer<Scheme> {
    WebhookLayer::new(provider())
}

/// The head of a signed request with another body.
fn with_body<B>(body: &'static str, other: B) -> Request<B> {
    signed(body).map(|_| other)
}

#[tokio::test]
async fn a_body_at_the_limit_passes_and_one_byte_more_is_413() {
    for limit in [0, 1, 1000] {
        let layer = layer().with_body_limit(limit);
        assert_eq!(refused(layer.clone(), signed(vec![b'x'; limit])).await, (StatusCode::OK, None));
        let too_large = (StatusCode::PAYLOAD_TOO_LARGE, Some(Reason::BodyTooLarge));
        assert_eq!(refused(layer.clone(), signed(vec![b'x'; limit + 1])).await, too_large, "announced");
        let body = ScriptedBody::in_frames(&vec![b'x'; limit + 1].into(), 1);
        assert_eq!(refused(layer, with_body("", body)).await, too_large, "not announced");
    }
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_refused_before_a_byte_is_read() {
    let stalled = || ScriptedBody::new([Step::Stall]);
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, Some(Reason::BodyTooLarge));
    let mut by_header = with_body("", stalled());
    by_header.headers_mut().insert("content-length", "100000000000".parse().unwrap());
    assert_eq!(refused(layer(), by_header).await, too_large);
    let by_hint = with_body("", stalled().with_size_hint(SizeHint::with_exact(u64::MAX)));
    assert_eq!(refused(layer(), by_hint).await, too_large);
}

#[tokio::test]
async fn a_spent_memory_budget_is_503_and_what_was_taken_is_given_back() {
    let budget = MemoryBudget::new(1000);
    let layer = layer().with_memory_budget(&budget);
    assert_eq!(refused(layer.clone(), signed(vec![b'x'; 1000])).await, (StatusCode::OK, None));
    let overloaded = (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::Overloaded));
    assert_eq!(refused(layer, signed(vec![b'x'; 1001])).await, overloaded);
    assert_eq!(budget.used(), 0);
}

/// 58 senders that stalled one after another left 64 KiB of 64 MiB to an honest one.
#[tokio::test]
async fn senders_that_stall_one_after_another_leave_a_fair_share_to_the_next() {
    let budget = MemoryBudget::new(64 << 20);
    let layer = layer().with_memory_budget(&budget).with_body_limit(64 << 20);
    let mut stalled = Vec::new();
    for _ in 0..58 {
        let frame = Bytes::from(vec![b'x'; 256 << 10]);
        let steps = (0..32).map(|_| Step::Data(frame.clone())).chain([Step::Stall]);
        let body = ScriptedBody::new(steps);
        let mut request = Box::pin(refused(layer.clone(), with_body("", body)));
        assert!(futures_util::poll!(&mut request).is_pending() || budget.used() > 0);
        stalled.push(request);
    }
    assert!(budget.used() > 56 << 20, "{} used", budget.used());
    assert_eq!(refused(layer, signed(vec![b'x'; (64 << 20) / 59])).await, (StatusCode::OK, None));
    drop(stalled);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_limit_around_the_layer_is_413_too() {
    let limited = http_body_util::Limited::new(ScriptedBody::in_frames(&"0123456789".into(), 4), 5);
    let refusal = refused(layer(), with_body("0123456789", limited)).await;
    assert_eq!(refusal, (StatusCode::PAYLOAD_TOO_LARGE, Some(Reason::BodyTooLarge)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_503_after_the_timeout_and_not_before() {
    let started = tokio::time::Instant::now();
    let body = ScriptedBody::new([Step::Data("half".into()), Step::Stall]);
    let refusal = refused(layer().with_body_timeout(Duration::from_secs(7)), with_body("half", body)).await;
    assert_eq!(refusal, (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::BodyTimeout)));
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn a_body_that_never_pauses_still_ends_by_its_timeout() {
    /// Empty frames for ever, always ready.
    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::new()))))
        }
    }
    let refusal = refused(layer().with_body_timeout(Duration::from_millis(20)), with_body("", Endless)).await;
    assert_eq!(refusal, (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::BodyTimeout)));
}

/// To some senders a 4xx is final, and what the network did to a body is no reason to lose an
/// event.
#[tokio::test]
async fn a_body_that_the_network_lost_is_refused_as_its_sender_understands() {
    use tower_webhook::provider::{Behavior, Repeats};
    let known = |repeats| provider().with_behavior(Behavior::UNKNOWN.with_repeats(repeats));
    let xero = tower_webhook::senders::xero("s").unwrap();
    for (scheme, header, timeout, broken) in [
        (provider(), None, 503, 503),
        (known(Repeats::OnServerError), None, 503, 503),
        (known(Repeats::OnAnyFailure), None, 408, 400),
        (known(Repeats::Never), None, 408, 400),
        (xero, Some("x-xero-signature"), 401, 401),
    ] {
        for (step, status) in [(Step::Stall, timeout), (Step::Break, broken)] {
            let mut request = with_body("half", ScriptedBody::new([Step::Data("half".into()), step]));
            if let Some(header) = header {
                let signature = format!("{}=", "A".repeat(43));
                request.headers_mut().insert(header, signature.parse().unwrap());
            }
            let layer = WebhookLayer::new(scheme.clone()).with_body_timeout(Duration::from_millis(20));
            assert_eq!(refused(layer, request).await.0, status, "{:?}", scheme);
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_503() {
    let body = ScriptedBody::new([Step::Data("half".into()), Step::Break]);
    assert_eq!(
        refused(layer(), with_body("half", body)).await,
        (StatusCode::SERVICE_UNAVAILABLE, Some(Reason::BodyBroken))
    );
}

#[tokio::test]
async fn how_the_body_is_split_has_no_meaning() {
    let body = Bytes::from_static(b"0123456789abcdef");
    for size in 1..=body.len() {
        let request = with_body("0123456789abcdef", ScriptedBody::in_frames(&body, size));
        assert_eq!(refused(layer(), request).await.0, 200, "frames of {size}");
    }
    let odd =
        [Step::Pause, Step::Data(Bytes::new()), Step::Data(body), Step::Trailers(http::HeaderMap::new()), Step::Pause];
    assert_eq!(refused(layer(), with_body("0123456789abcdef", ScriptedBody::new(odd))).await.0, 200);
}

/// What waits for its body is taken up again in the middle of the text, of a block, and of what is
/// signed before the body.
#[tokio::test]
async fn how_a_signed_text_is_split_has_no_meaning() {
    let body: Bytes = (0..=255).cycle().take(1000).collect();
    let forged: Bytes = body.iter().map(|byte| byte ^ 1).collect();
    for kind in
        [Scheme::hmac_sha1_for_legacy_senders_only, Scheme::hmac_sha256, Scheme::hmac_sha384, Scheme::hmac_sha512]
    {
        for text in ["{body}", "{timestamp}.{body}", "{header:x-60}.{body}", "{header:x-60}....{body}.{timestamp}"] {
            let by = |secrets: &[&'static str]| {
                let text = if text.contains("{timestamp}") { text.to_owned() } else { format!("{text}{{timestamp}}") };
                let scheme = kind().signature(header("x-signature").hex()).signed(text);
                let scheme = scheme.timestamp(header("x-timestamp").unix_seconds());
                scheme.secret(Secrets::new(secrets.iter().copied())).build("split").unwrap()
            };
            let (sender, scheme) = (by(&["secret"]), by(&["another", "secret"]));
            let request = Request::post("/").header("x-60", "x".repeat(60)).body(body.clone()).unwrap();
            let (head, _) = testing::sign(&sender, request).unwrap().into_parts();
            for size in [1, 4, 59, 60, 63, 64, 65, 127, 128, 129, 999, 1000] {
                for (body, status) in [(&body, 200), (&forged, 401)] {
                    let request = Request::from_parts(head.clone(), ScriptedBody::in_frames(body, size));
                    let answer = refused(WebhookLayer::new(scheme.clone()), request).await.0;
                    assert_eq!(answer, status, "`{text}` in frames of {size}");
                }
            }
        }
    }
}

#[tokio::test]
async fn dropping_the_future_in_the_middle_of_a_body_leaves_nothing_behind() {
    let alive = Arc::new(());
    let held = alive.clone();
    let mut service = service(layer(), move |_| {
        let _held = &held;
        async { Bytes::new() }
    });
    let held_by_service = Arc::strong_count(&alive);
    for steps in [vec![Step::Stall], vec![Step::Data("half".into()), Step::Stall]] {
        let ready = ServiceExt::<Request<ScriptedBody>>::ready(&mut service).await.unwrap();
        let future = ready.call(with_body("half", ScriptedBody::new(steps)));
        let mut future = Box::pin(future);
        assert!(futures_util::poll!(&mut future).is_pending());
        drop(future);
        assert_eq!(Arc::strong_count(&alive), held_by_service);
    }
}

#[tokio::test]
async fn raw_connections_get_a_clear_answer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let handler = async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        "handled"
    };
    let layer = layer().with_body_limit(100).with_body_timeout(Duration::from_millis(100));
    let server = serve(Router::new().route("/", post(handler).layer(layer))).await;
    let signature = signed("hello").headers()["x-cdr-signature"].to_str().unwrap().to_owned();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-cdr-signature: {signature}\r\n");
    for (what, rest, status) in [
        ("whole", "content-length: 5\r\n\r\nhello", "200"),
        ("chunked", "transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "200"),
        ("chunked with a trailer", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-late: 1\r\n\r\n", "200"),
        ("a huge length", "content-length: 100000000000\r\n\r\nhello", "413"),
        (
            "chunks over the limit",
            &format!("transfer-encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n", "x".repeat(101)),
            "413",
        ),
        ("stalling", "content-length: 5\r\n\r\nhell", "503"),
        ("a broken chunk", "transfer-encoding: chunked\r\n\r\nzz\r\nhello", "503"),
        ("a non-ascii header", "x-odd: \u{fc}\r\ncontent-length: 5\r\n\r\nhello", "200"),
        ("other bytes", "content-length: 5\r\n\r\nhellO", "401"),
    ] {
        let reply = server.raw(format!("{head}{rest}").as_bytes()).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {reply}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_body_never_reaches_the_handler() {
    let (sender, mut rejections) = tokio::sync::mpsc::unbounded_channel();
    let layer = layer().on_reject(move |rejection| sender.send(rejection.reason()).unwrap());
    let server = serve(Router::new().route("/", post(async || -> () { panic!("handled") }).layer(layer))).await;
    let signature = signed("hello").headers()["x-cdr-signature"].to_str().unwrap().to_owned();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx-cdr-signature: {signature}\r\ncontent-length: 5\r\n\r\nhel");
    server.cut(head.as_bytes()).await;
    let reason = tokio::time::timeout(Duration::from_secs(10), rejections.recv()).await.unwrap();
    assert_eq!(reason, Some(Reason::BodyBroken));
}

/// The status is the same, but a sender that frames its body wrongly does so each time, and a lost
/// connection is nobody's fault.
#[tokio::test]
async fn the_detail_tells_a_body_that_is_framed_wrongly_from_a_connection_that_was_lost() {
    let (sender, mut rejections) = tokio::sync::mpsc::unbounded_channel();
    let layer = layer().on_reject(move |rejection| sender.send(rejection.to_string()).unwrap());
    let server = serve(Router::new().route("/", post(async || -> () { panic!("handled") }).layer(layer))).await;
    let signature = signed("hello").headers()["x-cdr-signature"].to_str().unwrap().to_owned();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx-cdr-signature: {signature}\r\n");
    for (rest, detail) in [
        ("content-length: 5\r\n\r\nhel", "the connection was lost"),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhel", "the connection was lost"),
        ("transfer-encoding: chunked\r\n\r\nzz\r\nhello", "it is not framed as HTTP demands"),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", "it is not framed as HTTP demands"),
        ("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello", "it is not framed as HTTP demands"),
    ] {
        server.cut(format!("{head}{rest}").as_bytes()).await;
        let rejection = tokio::time::timeout(Duration::from_secs(10), rejections.recv()).await.unwrap().unwrap();
        assert_eq!(rejection, format!("the body could not be read to its end: {detail}"), "{rest:?}");
    }
}
