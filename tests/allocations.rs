//! How many allocations a request costs, counted exactly: a change that adds one fails here.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_webhook::testing::{self, ScriptedBody, Step};
use tower_webhook::{CdrManager, EndpointLayer, WebhookLayer};

fn provider() -> CdrManager {
    CdrManager::new("Jefe").unwrap()
}

async fn bare(body: Bytes) -> &'static str {
    assert_eq!(body.len(), 1024);
    "ok"
}

/// A signed request whose body is shared memory, as the bodies that hyper reads are.
fn signed(len: usize) -> Request<Full<Bytes>> {
    let body = BytesMut::from(&*vec![b'x'; len + 1]).split_to(len).freeze();
    testing::sign(&provider(), Request::post("/").body(body).unwrap()).unwrap()
}

/// The allocations of one call, once everything that is made on first use has been made.
fn allocations<S, B, R>(service: S, mut request: impl FnMut() -> Request<B>) -> u64
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
    counts[3]
}

/// With its state set, as a server sets it once: otherwise axum makes its routes anew for each request.
fn bare_router() -> Router {
    Router::new().route("/", post(bare)).with_state(())
}

#[test]
fn a_verified_delivery_costs_two_allocations_outside_the_router_and_six_on_a_route() {
    let bare = allocations(bare_router(), || signed(1024));
    let outside = allocations(WebhookLayer::new(provider()).layer(bare_router()), || signed(1024));
    let route = Router::new().route("/", post(self::bare).layer(WebhookLayer::new(provider()))).with_state(());
    let on_route = allocations(route, || signed(1024));
    println!("bare {bare}, outside {outside}, on route {on_route}");
    // The labels of a counter and of a histogram, where they are compiled in.
    let metrics = if cfg!(feature = "metrics") { 4 } else { 0 };
    // The delivery in the extensions, and the table of the extensions, which grows for the fourth entry.
    assert_eq!(outside, bare + 2 + metrics);
    // Besides: the cloned route, its boxed future, the two boxed bodies.
    assert_eq!(on_route, bare + 6 + metrics);
}

/// The layer around a service that allocates nothing of its own.
fn around_nothing(
    layer: WebhookLayer<CdrManager>,
) -> impl Service<Request<ScriptedBody>, Response = Response<impl Sized>, Error = Infallible> + Clone {
    layer.layer(tower::service_fn(async |_: Request<Full<Bytes>>| Ok(Response::new(Body::empty()))))
}

#[test]
fn one_frame_costs_no_allocation_to_collect_and_many_cost_one_buffer() {
    let whole = Bytes::from(vec![b'x'; 1 << 20]);
    let frames = |size: usize| {
        move || {
            let (head, _) = signed(1 << 20).into_parts();
            let steps = (0..1 << 20).step_by(size).map(|at| Step::Data(whole.slice(at..at + size)));
            let hint = http_body::SizeHint::with_exact(1 << 20);
            Request::from_parts(head, ScriptedBody::new(steps.collect::<Vec<_>>()).announcing(hint))
        }
    };
    let one = allocations(around_nothing(WebhookLayer::new(provider())), frames.clone()(1 << 20));
    let many = allocations(around_nothing(WebhookLayer::new(provider())), frames(1 << 14));
    println!("one frame {one}, 64 frames {many}");
    // The buffer, and its reference count, once the delivery and the request share it.
    assert_eq!(many, one + 2);
}

#[test]
fn what_passes_an_endpoint_costs_nothing() {
    let inner = || tower::service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let webhook = WebhookLayer::new(provider());
    let one = EndpointLayer::new("/hook", webhook.clone(), post(bare));
    let two = EndpointLayer::matching(|head| head.uri.path().starts_with("/hooks/"), webhook, bare_router());
    let passed = allocations(one.layer(two.layer(inner())), || signed(1024));
    assert_eq!(passed, allocations(inner(), || signed(1024)));
}
