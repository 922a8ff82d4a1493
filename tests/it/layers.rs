//! Wherever the layer is put, and whatever is put around it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_http::trace::TraceLayer;
use tower_webhook::testing;
use tower_webhook::{CdrManager, Delivery, WebhookLayer};

use crate::support::{serve, service};

fn provider() -> tower_webhook::Scheme {
    CdrManager::new("Jefe").unwrap()
}

fn layer() -> WebhookLayer<tower_webhook::Scheme> {
    WebhookLayer::new(provider())
}

fn signed(path: &str) -> Request<Full<Bytes>> {
    testing::sign(&provider(), Request::post(path).body("hello").unwrap()).unwrap()
}

async fn handler(delivery: Delivery, body: Bytes) -> String {
    format!("{} {}", delivery.provider(), body.len())
}

#[tokio::test]
async fn the_layer_works_in_every_place_of_an_axum_app() {
    let open = || Router::new().route("/open", get(async || "open"));
    let outside_routers_layer = ServiceBuilder::new()
        .layer(from_fn(async |request, next: axum::middleware::Next| next.run(request).await))
        .layer(layer());
    let guarded = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |error: tower::BoxError| {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }))
        .load_shed()
        .concurrency_limit(2)
        .timeout(Duration::from_secs(5))
        .layer(layer());
    for (place, app) in [
        ("Router::layer", Router::new().route("/", post(handler)).layer(layer()).merge(open())),
        ("Router::route_layer", Router::new().route("/", post(handler)).route_layer(layer()).merge(open())),
        ("MethodRouter::layer", open().route("/", post(handler).layer(layer()))),
        ("MethodRouter::route_layer", open().route("/", post(handler).route_layer(layer()))),
        ("ServiceBuilder", open().route("/", post(handler).layer(outside_routers_layer))),
        ("limits around it", open().route("/", post(handler).layer(guarded))),
        ("TraceLayer around it", open().route("/", post(handler).layer(layer())).layer(TraceLayer::new_for_http())),
        ("TraceLayer inside", open().route("/", post(handler).layer((layer(), TraceLayer::new_for_http())))),
    ] {
        let server = serve(app).await;
        let reply = server.send(signed("/")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "cdr_manager 5"), "{place}");
        let unsigned = Request::post("/").body("hello".into()).unwrap();
        assert_eq!(server.send(unsigned).await.status, 401, "{place}");
        let other = Request::get("/open").body(Full::default()).unwrap();
        assert_eq!(server.send(other).await.status, 200, "{place}");
    }
}

#[tokio::test]
async fn a_handler_without_the_layer_is_refused_and_not_open() {
    let server = serve(Router::new().route("/", post(handler))).await;
    assert_eq!(server.send(signed("/")).await.status, 503);
}

/// Panics where it is called without having been polled ready, as tower's own limits do.
#[derive(Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<Full<Bytes>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being polled ready");
        Box::pin(async { Ok(Response::default()) })
    }
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let mut service = layer().layer(Strict::default());
    for _ in 0..3 {
        let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
        let response = ready.call(signed("/")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn the_inner_services_error_is_passed_on_as_it_is() {
    #[derive(Debug, PartialEq)]
    struct Own;
    let inner = tower::service_fn(async |_: Request<Full<Bytes>>| Err::<Response<Full<Bytes>>, _>(Own));
    assert_eq!(layer().layer(inner).oneshot(signed("/")).await.err(), Some(Own));
}

#[test]
fn the_future_is_send_and_the_service_needs_no_clone_of_the_provider() {
    fn send<T: Send + 'static>(_: T) {}
    fn clone<T: Clone>(value: &T) -> T {
        value.clone()
    }
    use tower_webhook::provider::{Begin, MaybeReady};

    struct NotClone(tower_webhook::Scheme);
    impl tower_webhook::provider::Provider for NotClone {
        type Verification = <tower_webhook::Scheme as tower_webhook::provider::Provider>::Verification;
        fn name(&self) -> &tower_webhook::Text {
            self.0.name()
        }
        fn recognizes(&self, head: &http::request::Parts) -> tower_webhook::provider::Recognition {
            self.0.recognizes(head)
        }
        fn begin(
            &self,
            head: &http::request::Parts,
            clock: &dyn tower_webhook::Clock,
        ) -> Result<MaybeReady<Begin<Self::Verification>>, tower_webhook::Rejection> {
            self.0.begin(head, clock)
        }

        fn receive(&self, verification: &mut Self::Verification, head: &http::request::Parts, chunk: &[u8]) {
            self.0.receive(verification, head, chunk);
        }

        fn finish(
            &self,
            verification: &mut Self::Verification,
            head: &http::request::Parts,
            body: &Bytes,
            rest: &[u8],
        ) -> Result<MaybeReady<tower_webhook::provider::Outcome>, tower_webhook::Rejection> {
            self.0.finish(verification, head, body, rest)
        }
    }
    let layer = clone(&WebhookLayer::new(NotClone(provider())));
    let mut service = clone(&service(layer, async |_| Bytes::new()));
    send(service.call(signed("/")));
}

/// Nobody asks for the time in vain, and whatever the layers around put into the extensions is
/// still there.
#[tokio::test]
async fn a_sender_without_timestamps_needs_no_clock_and_extensions_survive() {
    #[derive(Clone, Debug, PartialEq)]
    struct Around(&'static str);

    let clock = || -> std::time::SystemTime { panic!("CDR Manager signs no time") };
    let handler = async |request: Request<Full<Bytes>>| {
        let (delivery, around) = (request.extensions().get::<Delivery>(), request.extensions().get::<Around>());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{} {around:?}", delivery.is_some()))))
    };
    for (around, expected) in [(None, "true None"), (Some(Around("kept")), r#"true Some(Around("kept"))"#)] {
        let mut request = signed("/");
        if let Some(around) = around {
            request.extensions_mut().insert(around);
        }
        let reply = layer().with_clock(clock).layer(tower::service_fn(handler)).oneshot(request).await.unwrap();
        let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}
