//! The endpoint layer around axum, bare hyper and anything else.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tower::buffer::Buffer;
use tower::{Layer as _, Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_webhook::cdr_manager::Report;
use tower_webhook::endpoint::EndpointService;
use tower_webhook::testing::{self, ScriptedBody, Step};
use tower_webhook::{CdrManager, Delivery, EndpointLayer, Reason, Rejection, Webhook, WebhookLayer};

use crate::support::{serve, serve_service};

const REPORT: &str = r#"{"fileName":"tx1.zip"}"#;

fn cdr() -> tower_webhook::Scheme {
    CdrManager::new("Jefe").unwrap()
}

fn signed(path: &str) -> Request<Full<Bytes>> {
    testing::sign(&cdr(), Request::post(path).body(REPORT).unwrap()).unwrap()
}

fn unsigned(path: &str) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::from(REPORT)).unwrap()
}

/// A handler without a framework.
async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
    let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions())?;
    Ok(Response::new(Full::from(report.file_name.unwrap_or_default())))
}

/// A service that answers what it got.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let verified = request.extensions().get::<Delivery>().is_some();
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let text = format!("{path} {} {verified}", String::from_utf8_lossy(&body));
    Ok(Response::new(Full::from(text)))
}

#[tokio::test]
async fn a_bare_hyper_service_gains_an_endpoint_over_both_versions_of_http() {
    let endpoint = EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr()), service_fn(on_report)).unwrap();
    let server = serve_service(ServiceBuilder::new().layer(endpoint).service_fn(echo)).await;
    for http2 in [false, true] {
        let send = async |request| if http2 { server.send_http2(request).await } else { server.send(request).await };
        assert_eq!(send(signed("/webhooks/cdr")).await.text(), "tx1.zip");
        assert_eq!(send(signed("/webhooks/cdr?tenant=7")).await.text(), "tx1.zip");
        let refused = send(unsigned("/webhooks/cdr")).await;
        assert_eq!(
            (refused.status, &refused.headers["content-type"]),
            (StatusCode::UNAUTHORIZED, &"application/problem+json".parse().unwrap())
        );
        let other = send(unsigned("/else")).await;
        assert_eq!(other.text(), format!("/else {REPORT} false"));
    }
}

#[tokio::test]
async fn only_exactly_the_path_is_the_endpoints() {
    let endpoint = EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr()), service_fn(on_report)).unwrap();
    let server = serve_service(ServiceBuilder::new().layer(endpoint).service_fn(echo)).await;
    for path in
        ["/webhooks/cdr/", "/webhooks/c%64r", "/Webhooks/cdr", "//webhooks/cdr", "/webhooks/cdr/1", "/webhooks", "/"]
    {
        assert_eq!(server.send(signed(path)).await.text(), format!("{path} {REPORT} false"));
    }
}

#[tokio::test]
async fn a_closure_may_choose_the_requests() {
    let accepts = |head: &http::request::Parts| {
        head.uri.path().starts_with("/cdr/") && head.headers.contains_key("x-cdr-signature")
    };
    let endpoint = EndpointLayer::matching(accepts, WebhookLayer::new(cdr()), service_fn(on_report));
    let server = serve_service(ServiceBuilder::new().layer(endpoint).service_fn(echo)).await;
    assert_eq!(server.send(signed("/cdr/7")).await.text(), "tx1.zip");
    assert_eq!(server.send(unsigned("/cdr/7")).await.text(), format!("/cdr/7 {REPORT} false"));
}

#[tokio::test]
async fn an_axum_app_gains_endpoints_inside_and_around_its_router() {
    let method_router = post(async |Webhook(report): Webhook<Report>| report.file_name.unwrap());
    let whole_router =
        Router::new().route("/webhooks/two", post(async |delivery: Delivery| delivery.provider().to_owned()));
    let app = || {
        Router::new()
            .route("/hello", get(async || "hello"))
            .fallback(async || (StatusCode::NOT_FOUND, "nobody is here"))
    };
    let one = EndpointLayer::new("/webhooks/one", WebhookLayer::new(cdr()), method_router).unwrap();
    let two = EndpointLayer::new("/webhooks/two", WebhookLayer::new(cdr()), whole_router).unwrap();
    let inside = serve(app().layer(one.clone()).layer(two.clone())).await;
    let around = serve_service(ServiceBuilder::new().layer(one).layer(two).service(app())).await;
    for server in [inside, around] {
        assert_eq!(server.send(signed("/webhooks/one")).await.text(), "tx1.zip");
        assert_eq!(server.send(signed("/webhooks/two")).await.text(), "cdr_manager");
        assert_eq!(server.send(unsigned("/webhooks/two")).await.status, 401);
        let hello = server.send(Request::get("/hello").body(Full::default()).unwrap()).await;
        assert_eq!(hello.text(), "hello");
        assert_eq!(server.send(signed("/webhooks/three")).await.text(), "nobody is here");
        // The webhook layer says which methods there are, and says it for every method.
        let got = server.send(Request::get("/webhooks/one").body(Full::default()).unwrap()).await;
        assert_eq!((got.status.as_u16(), &got.headers["allow"]), (405, &"POST".parse().unwrap()));
    }
}

#[tokio::test]
async fn what_is_passed_on_is_not_read() {
    // A body that never ends: whoever waited for it would never answer.
    let endless = ScriptedBody::new([Step::Data("first".into()), Step::Stall]);
    let inner = service_fn(async |request: Request<ScriptedBody>| {
        let frame = request.into_body().frame().await.unwrap().unwrap();
        Ok::<_, Infallible>(Response::new(Full::new(frame.into_data().unwrap())))
    });
    let endpoint = EndpointLayer::new("/hook", WebhookLayer::new(cdr()), service_fn(on_report)).unwrap();
    let response = endpoint.layer(inner).oneshot(Request::post("/else").body(endless).unwrap()).now_or_never();
    let body = response.expect("the answer is there at once").unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "first");
}

#[tokio::test]
async fn a_handlers_error_is_passing_and_the_inner_services_error_is_its_own() {
    #[derive(Debug, PartialEq)]
    struct Own;

    let inner = service_fn(async |_: Request<Full<Bytes>>| Err::<Response<Full<Bytes>>, _>(Own));
    let broken =
        service_fn(async |_: Request<Full<Bytes>>| Err::<Response<Full<Bytes>>, _>("the database password is hunter2"));
    let service = ServiceBuilder::new()
        .layer(EndpointLayer::new("/broken", WebhookLayer::new(cdr()), broken).unwrap())
        .layer(
            EndpointLayer::new("/refuses", WebhookLayer::new(CdrManager::new("Jefe").unwrap()), service_fn(on_report))
                .unwrap(),
        )
        .service(inner);

    assert_eq!(service.clone().oneshot(unsigned("/else")).await.unwrap_err(), Own);

    let response = service.clone().oneshot(signed("/broken")).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    let rejection = response.extensions().get::<Rejection>().unwrap().clone();
    assert_eq!(rejection.reason(), Reason::HandlerFailed);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("hunter2"));

    let no_report = testing::sign(&cdr(), Request::post("/refuses").body("\"text\"").unwrap()).unwrap();
    let response = service.oneshot(no_report).await.unwrap();
    assert_eq!(response.status(), 422, "a rejection is answered as what it is");
    assert_eq!(response.extensions().get::<Rejection>().unwrap().provider(), Some("cdr_manager"));
}

#[tokio::test]
async fn the_inner_service_polled_ready_is_the_one_called_and_an_unused_reservation_goes_back() {
    // A concurrency limit panics where it is called without having been ready, and a reservation kept
    // is felt at once.
    let inner = ServiceBuilder::new()
        .concurrency_limit(1)
        .service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::from("inner"))));
    let endpoint = EndpointLayer::new("/hook", WebhookLayer::new(cdr()), service_fn(on_report)).unwrap();
    let mut service = endpoint.layer(inner);
    let mut other = service.clone();
    let hook = service.ready().await.unwrap().call(signed("/hook"));
    assert!(other.ready().now_or_never().is_some(), "the endpoint holds nothing of the inner service");
    assert_eq!(hook.await.unwrap().status(), 200);
    let passed = other.call(unsigned("/else")).await.unwrap();
    assert_eq!(passed.into_body().collect().await.unwrap().to_bytes(), "inner");
    let busy = other.ready().await.unwrap().call(unsigned("/else"));
    assert!(service.ready().now_or_never().is_none(), "the inner limit is felt outside");
    drop(busy);
    assert!(service.ready().now_or_never().is_some());
}

#[tokio::test]
async fn a_busy_handler_holds_up_nobody_else() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let handler = ServiceBuilder::new().concurrency_limit(1).service_fn(move |_: Request<Full<Bytes>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let inner =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner"))));
    let mut service = EndpointLayer::new("/hook", WebhookLayer::new(cdr()), handler).unwrap().layer(inner);
    let mut first = Box::pin(service.ready().await.unwrap().call(signed("/hook")));
    let mut second = Box::pin(service.ready().await.unwrap().call(signed("/hook")));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the handler's own limit holds");
    let passed = service.ready().now_or_never().expect("a waiting webhook is felt by nobody").unwrap();
    assert_eq!(passed.call(unsigned("/else")).await.unwrap().status(), 200);
    drop(first);
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(calls.load(Ordering::SeqCst), 2, "what is dropped leaves no permit behind");
}

#[tokio::test]
async fn a_handler_that_cannot_become_ready_is_a_passing_failure() {
    // A buffer whose worker is gone is never ready again.
    let (handler, worker) = Buffer::<Request<Full<Bytes>>, _>::pair(service_fn(on_report), 1);
    drop(worker);
    let inner =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let service = EndpointLayer::new("/hook", WebhookLayer::new(cdr()), handler).unwrap().layer(inner);
    assert_eq!(service.oneshot(signed("/hook")).await.unwrap().status(), 503);
}

#[cfg(feature = "memory-store")]
#[tokio::test]
async fn more_layers_may_stand_between_path_and_handler() {
    use tower_webhook::{DedupLayer, MemoryStore};

    let layers = ServiceBuilder::new()
        .layer(WebhookLayer::new(cdr()))
        .layer(DedupLayer::new(MemoryStore::new(100)).with_replay_protection());
    let handler = post(async |Webhook(report): Webhook<Report>| report.file_name.unwrap());
    let endpoint = EndpointLayer::new("/webhooks/cdr", layers, handler).unwrap();
    let server = serve(Router::new().route("/hello", get(async || "hello")).layer(endpoint)).await;
    assert_eq!(server.send(signed("/webhooks/cdr")).await.text(), "tx1.zip");
    let again = server.send(signed("/webhooks/cdr")).await;
    assert_eq!((again.status, again.text()), (StatusCode::OK, "tx1.zip"), "answered as the first one was");
    assert!(again.headers.contains_key("webhook-duplicate"));
    assert_eq!(server.send(unsigned("/webhooks/cdr")).await.status, 401);
}

#[test]
fn a_path_that_could_never_match_is_found_at_once() {
    for path in ["", "webhooks/cdr", "/cdr?tenant=7", "/cdr#1"] {
        let layer = EndpointLayer::new(path, WebhookLayer::new(cdr()), service_fn(on_report));
        assert_eq!(layer.unwrap_err().to_string(), "an endpoint's path starts with / and has no query", "{path:?}");
        assert!(EndpointService::new((), path, ()).is_err(), "{path:?}");
    }
}

#[test]
fn debug_names_the_path_and_nothing_of_the_provider() {
    let endpoint = EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr()), service_fn(on_report)).unwrap();
    assert_eq!(format!("{endpoint:?}"), r#"EndpointLayer { endpoint: Endpoint("/webhooks/cdr") }"#);
}
