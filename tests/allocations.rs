//! How many allocations a request costs, counted exactly: a change that adds one fails here.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::Full;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_webhook::provider::Provider;
use tower_webhook::testing::{self, ScriptedBody, Step};
use tower_webhook::{CdrManager, EndpointLayer, Webhook, WebhookLayer};

fn provider() -> tower_webhook::Scheme {
    CdrManager::new("Jefe").unwrap()
}

async fn bare(body: Bytes) -> &'static str {
    assert_eq!(body.len(), 1024);
    "ok"
}

/// One that signs by HMAC-SHA256, as most do.
fn usual_provider() -> tower_webhook::Scheme {
    tower_webhook::senders::github("Jefe").unwrap()
}

/// A signed request whose body is shared memory, as the bodies that hyper reads are.
fn signed(len: usize) -> Request<Full<Bytes>> {
    signed_by(&provider(), len)
}

fn signed_by(provider: &tower_webhook::Scheme, len: usize) -> Request<Full<Bytes>> {
    let body = BytesMut::from(&*vec![b'x'; len + 1]).split_to(len).freeze();
    testing::sign(provider, Request::post("/").body(body).unwrap()).unwrap()
}

/// The allocations of one call, once everything that is made on first use has been made.
fn allocations<S, B, R>(service: S, mut request: impl FnMut() -> Request<B>) -> i64
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: std::fmt::Debug,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut counts = Vec::new();
    for _ in 0..4 {
        let service = service.clone();
        let request = request();
        let mut status = None;
        let info = allocation_counter::measure(|| {
            let response = runtime.block_on(service.oneshot(request)).unwrap();
            status = Some(response.status());
        });
        assert_eq!(status.unwrap(), 200);
        counts.push(info.count_total);
    }
    counts[3].try_into().unwrap()
}

/// With its state set, as a server sets it once: otherwise axum makes its routes anew for each
/// request.
fn bare_router() -> Router {
    Router::new().route("/", post(bare)).with_state(())
}

async fn verified(Webhook(body): Webhook<Bytes>) -> &'static str {
    assert_eq!(body.len(), 1024);
    "ok"
}

/// The labels of a counter and of a histogram, where they are compiled in.
const METRICS: i64 = if cfg!(feature = "metrics") { 4 } else { 0 };

/// A row of the table that `scripts/bench` prints.
fn row(what: &str, goal: &str, count: i64) {
    println!("\n| {what} | {goal} | {count} |");
}

#[test]
fn a_verified_delivery_costs_nothing_more_outside_the_router_and_four_allocations_on_a_route() {
    let layer = || WebhookLayer::new(provider());
    let bare = allocations(bare_router(), || signed(1024));
    let beyond = |count: i64| count - bare - METRICS;

    // The delivery in the extensions, whose table is made once with room for what axum adds to it. What
    // axum needs to collect a body, a box for its limit and a list of frames, is saved where the
    // handler takes the body that was collected.
    let typed = Router::new().route("/", post(verified)).with_state(());
    let outside = beyond(allocations(layer().layer(typed), || signed(1024)));
    row("outside the router, `Webhook<Bytes>`", "<= 0", outside);
    assert_eq!(outside, -1);
    let outside = beyond(allocations(layer().layer(bare_router()), || signed(1024)));
    row("outside the router, `Bytes`", "-", outside);
    assert_eq!(outside, 1);

    // Besides, the table of the extensions is axum's, and grows. All else is axum's as well: the cloned
    // route, its boxed future, the boxed bodies of request and response.
    let typed = Router::new().route("/", post(verified).layer(layer())).with_state(());
    let on_route = beyond(allocations(typed, || signed(1024)));
    row("on a route, `Webhook<Bytes>`", "<= 4", on_route);
    assert_eq!(on_route, 4);
    let route = Router::new().route("/", post(self::bare).layer(layer())).with_state(());
    let on_route = beyond(allocations(route, || signed(1024)));
    row("on a route, `Bytes`", "-", on_route);
    assert_eq!(on_route, 6);
}

/// The layer around a service that allocates nothing of its own.
fn around_nothing<P: Provider, B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>>(
    layer: WebhookLayer<P>,
) -> impl Service<Request<B>, Response = Response<impl Sized>, Error = Infallible> + Clone {
    layer.layer(tower::service_fn(async |_: Request<Full<Bytes>>| Ok(Response::new(Body::empty()))))
}

#[test]
fn one_frame_costs_no_allocation_to_collect_and_many_cost_one_buffer() {
    let whole = Bytes::from(vec![b'x'; 1 << 20]);
    // The buffer, its reference count, once the delivery and the request share it, and a box for a
    // running MAC, if its hash isn't SHA-256.
    for (name, provider, beyond) in [("SHA-256", usual_provider(), 2), ("SHA-512", provider(), 3)] {
        let frames = |size: usize| {
            let (whole, provider) = (whole.clone(), &provider);
            move || {
                let (head, _) = signed_by(provider, 1 << 20).into_parts();
                let steps = (0..1 << 20).step_by(size).map(|at| Step::Data(whole.slice(at..at + size)));
                let hint = http_body::SizeHint::with_exact(1 << 20);
                Request::from_parts(head, ScriptedBody::new(steps.collect::<Vec<_>>()).with_size_hint(hint))
            }
        };
        let one = allocations(around_nothing(WebhookLayer::new(provider.clone())), frames(1 << 20));
        let many = allocations(around_nothing(WebhookLayer::new(provider.clone())), frames(1 << 14));
        row(
            &format!("one frame, {name}, around nothing: the delivery, the table of the extensions"),
            "-",
            one - METRICS,
        );
        assert_eq!(one, 3 + METRICS);
        row(&format!("64 frames, {name}, beyond one frame"), "1", many - one);
        assert_eq!(many, one + beyond);
    }
}

/// A body of which nothing has arrived, or one frame whose memory is not the request's, and the
/// rest is late.
struct Late(Option<Bytes>);

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(Frame::data(frame)))))
    }
}

#[test]
fn a_request_that_waits_for_its_body_holds_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let typed = Router::new().route("/", post(verified)).with_state(());
    let first = Bytes::from(BytesMut::from(&[b'x'; 1000][..]).split_to(999));
    // A running MAC by another hash than SHA-256 is in a box.
    for (name, provider, goal, running) in
        [("SHA-256", usual_provider(), "<= 768", 0), ("SHA-512", provider(), "-", 320)]
    {
        let mut service = WebhookLayer::new(provider.clone()).layer(typed.clone());
        for (since, first, goal, boxed) in
            [("its head", None, "<= 768", 0), ("its first frame", Some(&first), goal, running)]
        {
            let mut waiting = Vec::with_capacity(4);
            let mut held = 0;
            // What is made on first use is made by the first.
            for _ in 0..4 {
                let request = signed_by(&provider, 1024).map(|_| Late(first.cloned()));
                let info = allocation_counter::measure(|| {
                    let mut future = Box::pin(service.call(request));
                    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                    waiting.push(future);
                });
                held = info.bytes_current;
            }
            row(&format!("bytes held by a request that waits since {since}, {name}, outside the router"), goal, held);
            // Its future, what was computed so far in a box, the receiver with the timer in another; and its
            // span.
            let span = if cfg!(feature = "tracing") { 56 } else { 0 };
            assert!(held <= 744 + boxed + span, "{held}");
        }
    }
}

#[test]
fn what_passes_an_endpoint_costs_nothing() {
    let inner = || tower::service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let webhook = WebhookLayer::new(provider());
    let one = EndpointLayer::new("/hook", webhook.clone(), post(bare)).unwrap();
    let two = EndpointLayer::matching(|head| head.uri.path().starts_with("/hooks/"), webhook, bare_router());
    let passed = allocations(one.layer(two.layer(inner())), || signed(1024));
    let alone = allocations(inner(), || signed(1024));
    row("past two endpoint layers", "0", passed - alone);
    assert_eq!(passed, alone);
}

/// A sender's request that is signed now.
fn delivered<P: Provider + Clone + testing::Sign>(provider: &P, request: Request<Bytes>) -> i64 {
    let signed = testing::sign(provider, request).unwrap();
    let (head, body) = signed.into_parts();
    allocations(around_nothing(WebhookLayer::new(provider.clone())), || Request::from_parts(head.clone(), body.clone()))
}

#[test]
fn one_form_of_a_declared_sender_costs_no_allocation_of_its_own() {
    use tower_webhook::scheme::header;

    let body = Bytes::from(BytesMut::from("what do ya want for nothing?"));
    let plain = delivered(&provider(), Request::post("/").body(body.clone()).unwrap());
    let timed = tower_webhook::Scheme::hmac_sha256()
        .signature(header("x-signature").prefix("v1=").hex())
        .timestamp(header("x-timestamp").unix_seconds())
        .signed("{timestamp}.{body}")
        .id(header("x-id"))
        .event(header("x-event"))
        .secret("Jefe")
        .build("timed")
        .unwrap();
    let request = Request::post("/").header("x-id", "17").header("x-event", "push").body(body).unwrap();
    let timed = delivered(&timed, request);
    row("a signed time, an id and an event, beyond a plain signature", "0", timed - plain);
    assert_eq!(timed, plain);
}

#[cfg(feature = "jwt")]
#[test]
fn connect_costs_what_its_claims_cost() {
    let provider = tower_webhook::Connect::new("Jefe").unwrap();
    let claims =
        r#"{"webhook_id":"WH-1","triggered_at":"2026-03-01T12:00:00+00:00","object_class":"asset","data":{"id":1}}"#;
    let count = |method: &str| {
        let request = Request::builder().method(method).uri("/").body(Bytes::from(claims)).unwrap();
        delivered(&provider, request)
    };
    let (get, post) = (count("GET") - METRICS, count("POST") - METRICS);
    row("Connect, a token of four claims", "-", get);
    row("Connect, the same with a body", "-", post);
    // Header, claims, their names and lists; for a body its own names and list, and what is compared.
    assert_eq!((get, post), (9, 16));
}

#[cfg(feature = "testing-sns")]
#[test]
fn sns_costs_what_its_envelope_costs() {
    let fake = testing::FakeSns::new();
    let certificates = tower_webhook::senders::CertificateConfig::default().with_roots(fake.root_pem());
    let builder = tower_webhook::Sns::builder().topic(fake.topic_arn()).certificates(certificates).fetch(fake.clone());
    let layer = WebhookLayer::new(builder.build().unwrap());
    let (head, body) = fake.notification("x".repeat(1200)).post("/").into_parts();
    let count = allocations(around_nothing(layer), || Request::from_parts(head.clone(), body.clone())) - METRICS;
    row("SNS, certificate cached", "-", count);
    assert_eq!(count, 11);
}
