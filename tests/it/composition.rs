//! The layer among others: tower's, tower-http's, axum's own, and a second of its kind.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Form, Path, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::routing::{any, post};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::sync::Notify;
use tower::retry::Policy;
use tower::{BoxError, Service as _, ServiceBuilder, ServiceExt as _};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_webhook::provider::Provider as _;
use tower_webhook::scheme::header;
use tower_webhook::{
    AnyOf, AnyProvider, Authentic, CdrManager, Delivery, Json, Rejection, Scheme, Secret, Secrets, Webhook,
    WebhookLayer, senders, testing,
};

use crate::senders::sample_config;
use crate::support::{Reply, serve};

fn cdr() -> Scheme {
    CdrManager::new("Jefe").unwrap()
}

fn layer() -> WebhookLayer<Scheme> {
    WebhookLayer::new(cdr())
}

fn signed(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    testing::sign(&cdr(), Request::post(path).body(body).unwrap()).unwrap()
}

fn outcome(reply: &Reply) -> (u16, &str) {
    (reply.status.as_u16(), reply.text())
}

#[tokio::test]
async fn an_extractor_that_verifies_by_itself_refuses_and_reports_as_the_layer_does() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = told.clone();
    let hook = move |rejection: &Rejection| seen.lock().unwrap().push(rejection.reason());
    let state = layer().with_body_limit(1000).on_reject(hook);
    let handler = async |Authentic(Json(number)): Authentic<Json<u32>>| number.to_string();
    let server = serve(Router::new().route("/", post(handler)).with_state(state)).await;

    assert_eq!(outcome(&server.send(signed("/", "17")).await), (200, "17"));
    let unsigned = server.send(Request::post("/").body(Full::from("17")).unwrap()).await;
    let behind = serve(Router::new().route("/", post(async |_: Delivery| ()).layer(layer()))).await;
    let refused = behind.send(Request::post("/").body(Full::from("17")).unwrap()).await;
    assert_eq!(outcome(&unsigned), outcome(&refused));
    let mut forged = signed("/", "17");
    *forged.body_mut() = Full::from("18");
    assert_eq!(server.send(forged).await.status, 401);
    assert_eq!(server.send(signed("/", "seventeen")).await.status, 422);
    assert_eq!(server.send(signed("/", "1".repeat(1001))).await.status, 413);
    let reasons = ["missing_signature", "signature_mismatch", "malformed_payload", "body_too_large"];
    assert!(told.lock().unwrap().iter().map(|reason| reason.as_str()).eq(reasons), "{:?}", told.lock().unwrap());
}

#[tokio::test]
async fn existing_handlers_keep_working_behind_the_layer() {
    #[derive(Deserialize)]
    struct Order {
        number: u32,
    }

    let app = Router::new()
        .route("/json", post(async |axum::Json(order): axum::Json<Order>| order.number.to_string()))
        .route("/form", post(async |Form(order): Form<Order>| order.number.to_string()))
        .route("/string", post(async |text: String| text))
        .route("/bytes", post(async |bytes: Bytes| bytes))
        .route("/request", post(async |request: Request<Body>| request.into_body()))
        .route("/path/{tenant}", post(async |Path(tenant): Path<String>, _: Bytes| tenant))
        .route("/state", post(async |State(state): State<&'static str>, body: Bytes| format!("{state} {}", body.len())))
        .route(
            "/both",
            post(async |delivery: Delivery, Webhook(Json(order)): Webhook<Json<Order>>, body: Bytes| {
                assert_eq!(delivery.body(), &body);
                order.number.to_string()
            }),
        )
        .layer(layer())
        .with_state("the state");
    let server = serve(app).await;
    let json = r#"{ "number" : 7 , "other": null }"#;
    for (path, content_type, body, expected) in [
        ("/json", "application/json", json.as_bytes(), "7".as_bytes()),
        ("/form", "application/x-www-form-urlencoded", b"number=7&x=%20", b"7"),
        ("/string", "text/plain", "gr\u{fc}n\r\n".as_bytes(), "gr\u{fc}n\r\n".as_bytes()),
        ("/bytes", "application/octet-stream", b"\xff\x00", b"\xff\x00"),
        ("/bytes", "application/json", b"not json", b"not json"),
        ("/request", "text/plain", b" as it came ", b" as it came "),
        ("/path/acme", "text/plain", b"", b"acme"),
        ("/state", "text/plain", b"1234", b"the state 4"),
        ("/both", "application/json", json.as_bytes(), b"7"),
    ] {
        let request = Request::post(path).header(CONTENT_TYPE, content_type).body(Bytes::from_static(body)).unwrap();
        let reply = server.send(testing::sign(&cdr(), request.clone()).unwrap()).await;
        assert_eq!((reply.status, reply.body.as_ref()), (StatusCode::OK, expected), "{path}");
        assert_eq!(server.send(request.map(Full::new)).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn it_can_be_added_wherever_axum_takes_a_layer() {
    let handler = async |delivery: Delivery| delivery.provider().to_owned();
    let outside = from_fn(async |request: axum::extract::Request, next: Next| {
        assert!(request.extensions().get::<Delivery>().is_none(), "nothing is verified yet");
        next.run(request).await
    });
    let app = Router::new()
        .route("/method_router", post(handler).layer(layer()))
        .route("/method_route", post(handler).route_layer(layer()))
        .route("/handler", post(handler.layer(layer())))
        .route("/builder", post(handler).layer(ServiceBuilder::new().layer(outside.clone()).layer(layer())))
        .merge(Router::new().route("/router", post(handler)).layer(layer()))
        .merge(Router::new().route("/route_layer", post(handler)).route_layer(layer()))
        .merge(Router::new().route("/any", any(handler)).layer(ServiceBuilder::new().layer(outside).layer(layer())))
        .route_service("/service", ServiceBuilder::new().layer(layer()).service(post(handler)));
    let server = serve(app).await;
    for path in
        ["/method_router", "/method_route", "/handler", "/builder", "/router", "/route_layer", "/any", "/service"]
    {
        assert_eq!(outcome(&server.send(signed(path, "x")).await), (200, "cdr_manager"), "{path}");
        assert_eq!(server.send(Request::post(path).body(Full::from("x")).unwrap()).await.status, 401, "{path}");
    }
}

/// A handler that answers a text worth compressing, panics or never ends, as the body asks it
/// to.
async fn obey(body: String) -> String {
    match body.as_str() {
        "panic" => panic!("as it was asked to"),
        "sleep" => std::future::pending().await,
        _ => body.repeat(100),
    }
}

#[tokio::test]
async fn tower_https_layers_work_around_and_inside() {
    let stack = || {
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(TraceLayer::new_for_http())
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(CatchPanicLayer::new())
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(100)))
            .layer(CompressionLayer::new())
            .layer(RequestBodyLimitLayer::new(1000))
    };
    let outside = stack().layer(layer());
    let inside = ServiceBuilder::new().layer(layer()).layer(stack());
    let server =
        serve(Router::new().route("/outside", post(obey).layer(outside)).route("/inside", post(obey).layer(inside)))
            .await;
    for path in ["/outside", "/inside"] {
        let mut compressed = signed(path, "text");
        compressed.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        let reply = server.send(compressed).await;
        assert_eq!((reply.status, &reply.headers["content-encoding"]), (StatusCode::OK, &"gzip".parse().unwrap()));
        assert!(reply.headers.contains_key("x-request-id"));
        assert_eq!(outcome(&server.send(signed(path, "text")).await), (200, "text".repeat(100).as_str()));
        assert_eq!(server.send(signed(path, "panic")).await.status, 500);
        assert_eq!(server.send(signed(path, "sleep")).await.status, 504);
        assert_eq!(server.send(signed(path, vec![b' '; 1001])).await.status, 413);
        assert_eq!(server.send(Request::post(path).body(Full::from("text")).unwrap()).await.status, 401);
    }
    assert!(
        server.send(Request::post("/outside").body(Full::from("")).unwrap()).await.headers.contains_key("x-request-id")
    );
}

#[tokio::test]
async fn a_limit_around_the_layer_that_a_body_runs_into_is_413() {
    let outside = ServiceBuilder::new().layer(RequestBodyLimitLayer::new(1000)).layer(layer());
    let server = serve(Router::new().route("/", post(obey).layer(outside))).await;
    let (head, _) = signed("/", vec![b' '; 2000]).into_parts();
    let frames =
        stream::iter(vec![Bytes::from(vec![b' '; 500]); 4]).map(|frame| Ok::<_, Infallible>(Frame::data(frame)));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let reply = server.send_by(client, Request::from_parts(head, StreamBody::new(frames))).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn towers_layers_work_around_and_inside() {
    let entered = Arc::new(Notify::new());
    let leave = Arc::new(Notify::new());
    let handler = {
        let (entered, leave) = (entered.clone(), leave.clone());
        move |body: String| async move {
            if body == "wait" {
                entered.notify_one();
                leave.notified().await;
            }
            body
        }
    };
    let stack = || {
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_: BoxError| (StatusCode::TOO_MANY_REQUESTS, "try later")))
            .load_shed()
            .timeout(Duration::from_secs(10))
            .concurrency_limit(1)
    };
    // A buffer is of one type of request, so it cannot be shared.
    let outside = stack().buffer(8).layer(layer());
    let inside = ServiceBuilder::new().layer(layer()).layer(stack()).buffer(8);
    let app = Router::new()
        .route("/outside", post(handler.clone()).layer(outside))
        .route("/inside", post(handler).layer(inside));
    // axum applies layers when it is given the state, otherwise once for each connection: each would
    // have its own limit.
    let server = Arc::new(serve(app.with_state(())).await);
    for path in ["/outside", "/inside"] {
        let waiting = tokio::spawn({
            let server = server.clone();
            async move { server.send(signed(path, "wait")).await.status }
        });
        entered.notified().await;
        assert_eq!(outcome(&server.send(signed(path, "second")).await), (429, "try later"), "{path}");
        leave.notify_one();
        assert_eq!(waiting.await.unwrap(), 200);
        assert_eq!(outcome(&server.send(signed(path, "third")).await), (200, "third"), "{path}");
        assert_eq!(server.send(Request::post(path).body(Full::from("forged")).unwrap()).await.status, 401);
    }
}

/// Tries a request again as long as the answer says that it is worth it.
#[derive(Clone)]
struct WhilePassing;

impl<R> Policy<Request<Full<Bytes>>, Response<R>, Infallible> for WhilePassing {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<R>, Infallible>,
    ) -> Option<Self::Future> {
        result.as_ref().is_ok_and(|response| response.status() == 503).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn a_retry_around_the_layer_verifies_each_attempt() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let handler = move |request: Request<Full<Bytes>>| {
        let attempt = counted.fetch_add(1, Ordering::SeqCst);
        let verified = Delivery::from_extensions(request.extensions()).is_ok();
        async move {
            let mut response = Response::new(Full::<Bytes>::default());
            if attempt < 2 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            assert!(verified);
            Ok::<_, Infallible>(response)
        }
    };
    let mut service = ServiceBuilder::new().retry(WhilePassing).layer(layer()).service_fn(handler);
    assert_eq!(service.ready().await.unwrap().call(signed("/", "x")).await.unwrap().status(), 200);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    let forged = Request::post("/").body(Full::from("x")).unwrap();
    assert_eq!(service.ready().await.unwrap().call(forged).await.unwrap().status(), 401);
    assert_eq!(attempts.load(Ordering::SeqCst), 3, "what is final is not tried again");
}

#[tokio::test]
async fn two_layers_on_one_route_both_have_to_be_satisfied() {
    let inner = Scheme::hmac_sha256().signature(header("x-inner").hex()).secret("inner").build("inner").unwrap();
    let handler = async |delivery: Delivery| delivery.provider().to_owned();
    let both = ServiceBuilder::new().layer(layer()).layer(WebhookLayer::new(inner.clone()));
    let server = serve(Router::new().route("/", post(handler).layer(both))).await;
    let one = testing::sign(&cdr(), Request::post("/").body("x").unwrap()).unwrap();
    assert_eq!(server.send(one.clone()).await.status, 401);
    let other = testing::sign(&inner, Request::post("/").body("x").unwrap()).unwrap();
    assert_eq!(server.send(other.clone()).await.status, 401);
    let mut both = one;
    both.headers_mut().extend(other.headers().clone());
    assert_eq!(
        outcome(&server.send(both).await),
        (200, "inner"),
        "the delivery is that of the layer next to the handler"
    );
}

#[tokio::test]
async fn a_nested_router_does_not_change_the_path_that_was_signed() {
    let acme = Scheme::hmac_sha256()
        .signature(header("x-acme").hex())
        .signed("{method}{path}?{query}{body}")
        .secret("key")
        .build("acme")
        .unwrap();
    let handler = async |request: Request<Body>| {
        let delivery = Delivery::from_extensions(request.extensions()).unwrap();
        format!("{} {}", request.uri(), delivery.signed().url)
    };
    let layer = WebhookLayer::new(acme.clone());
    let leaf = || Router::new().route("/hook", post(handler).layer(layer.clone()));
    let app = leaf()
        .nest("/one", leaf())
        .nest("/two", Router::new().nest("/deep", leaf()))
        .nest("/layered", Router::new().route("/hook", post(handler)).layer(layer.clone()))
        .nest_service("/service", leaf());
    let server = serve(app).await;
    for path in
        ["/hook?a=%20b", "/one/hook?a=%20b", "/two/deep/hook?a=%20b", "/layered/hook?a=%20b", "/service/hook?a=%20b"]
    {
        let signed = testing::sign(&acme, Request::post(path).body("x").unwrap()).unwrap();
        assert_eq!(outcome(&server.send(signed).await), (200, "/hook?a=%20b true"), "{path}");
        let mut moved = testing::sign(&acme, Request::post("/hook?a=%20c").body("x").unwrap()).unwrap();
        *moved.uri_mut() = path.parse().unwrap();
        assert_eq!(server.send(moved).await.status, 401, "{path}");
    }
}

/// A scheme with one header and one secret.
fn acme(name: &'static str, header_name: &'static str, secret: impl Into<Secrets>) -> Scheme {
    Scheme::hmac_sha256().signature(header(header_name).hex()).secret(secret).build(name).unwrap()
}

#[tokio::test]
async fn any_of_several_senders_is_verified_by_its_own_rules_and_named() {
    let (new, old) = (acme("new", "x-new", "the new secret"), acme("old", "x-old", "the old secret"));
    let tenants =
        acme("tenants", "x-tenant", Secrets::lookup(async |_| Ok::<_, Infallible>(Some(Secret::new("looked up")))));
    let layer = WebhookLayer::new(AnyOf::new([new.clone(), old.clone(), tenants, cdr()]).unwrap());
    let handler = async |delivery: Delivery| delivery.provider().to_owned();
    let server = serve(Router::new().route("/", post(handler).layer(layer))).await;
    let sign = |scheme: &Scheme| testing::sign(scheme, Request::post("/").body("x").unwrap()).unwrap();

    assert_eq!(outcome(&server.send(sign(&new)).await), (200, "new"));
    assert_eq!(outcome(&server.send(sign(&old)).await), (200, "old"));
    assert_eq!(outcome(&server.send(sign(&acme("t", "x-tenant", "looked up"))).await), (200, "tenants"));
    assert_eq!(outcome(&server.send(signed("/", "x")).await), (200, "cdr_manager"));
    assert_eq!(server.send(sign(&acme("t", "x-tenant", "guessed"))).await.status, 401);
    assert_eq!(server.send(sign(&acme("other", "x-other", "the new secret"))).await.status, 401);
    assert_eq!(server.send(sign(&acme("swapped", "x-new", "the old secret"))).await.status, 401);
}

#[tokio::test]
async fn a_request_with_the_marks_of_two_senders_never_falls_back_to_the_weaker() {
    let (new, old) = (acme("new", "x-new", "the new secret"), acme("old", "x-old", "the old secret"));
    let names = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hook = names.clone();
    let layer = WebhookLayer::new(AnyOf::new([new.clone(), old.clone()]).unwrap())
        .on_reject(move |rejection: &Rejection| hook.lock().unwrap().push(rejection.provider().map(str::to_owned)));
    let handler = async |delivery: Delivery| delivery.provider().to_owned();
    let server = serve(Router::new().route("/", post(handler).layer(layer))).await;
    let sign = |scheme: &Scheme| testing::sign(scheme, Request::post("/").body("x").unwrap()).unwrap();

    let mut both = sign(&new);
    both.headers_mut().extend(sign(&old).headers().clone());
    assert_eq!(outcome(&server.send(both.clone()).await), (200, "new"), "the first in the list decides");
    let forged = sign(&acme("forged", "x-new", "guessed")).headers()["x-new"].clone();
    both.headers_mut().insert("x-new", forged);
    assert_eq!(server.send(both).await.status, 401, "although the old signature is genuine");
    assert_eq!(server.send(Request::post("/").body(Full::from("x")).unwrap()).await.status, 401);
    assert_eq!(*names.lock().unwrap(), [Some("new".to_owned()), Some("any_of".to_owned())]);
}

/// Axum's extractors refuse more than 2 MiB by default: a genuine delivery of 3 MiB was verified,
/// and then 413.
#[tokio::test]
async fn what_the_layer_verified_is_not_too_large_for_axum() {
    let provider = senders::github("secret").unwrap();
    let layer = WebhookLayer::new(provider.clone()).with_body_limit(25 << 20);
    let app = Router::new()
        .route("/bytes", post(async |body: Bytes| body.len().to_string()))
        .route("/text", post(async |body: String| body.len().to_string()))
        .route("/json", post(async |axum::Json(body): axum::Json<String>| (body.len() + 2).to_string()))
        .layer(layer);
    let server = serve(app).await;
    for path in ["/bytes", "/text", "/json"] {
        for length in [100, 2 << 20, (2 << 20) + 1, 3 << 20] {
            let body = format!("\"{}\"", "x".repeat(length - 2));
            let request = Request::post(path).header("content-type", "application/json").body(body).unwrap();
            let reply = server.send(testing::sign(&provider, request).unwrap()).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, length.to_string().as_str()), "{path}");
        }
    }
}

#[test]
fn facts_are_the_same_however_a_provider_is_held() {
    for sender in senders::all() {
        let scheme = sender.build(sample_config(sender.name)).unwrap();
        let facts = scheme.facts();
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].sender().unwrap().document, sender.document);
        assert_eq!((facts[0].name.as_str(), facts[0].behavior), (sender.name, *scheme.behavior()));
        assert_eq!(facts[0].body_limit, scheme.body_limit());
        assert!(facts[0].identity.is_some());
        assert_eq!(Arc::new(scheme.clone()).facts(), facts);
        assert_eq!(AnyProvider::new(scheme.clone()).facts(), facts);
        assert_eq!(AnyProvider::new(scheme).with_body_limit(7).facts()[0].body_limit, 7);
    }
    let probes = |name| senders::by_name(name, sample_config(name)).unwrap().facts().remove(0).probes;
    assert_eq!(probes("trello"), ["HEAD"]);
    assert_eq!(probes("dropbox"), ["GET with query `challenge`"]);
    assert!(probes("github").is_empty());
    let both = AnyOf::new([senders::github("s").unwrap(), senders::slack("s").unwrap()]).unwrap();
    let names: Vec<_> = both.facts().into_iter().map(|facts| facts.name).collect();
    assert_eq!(names, ["github", "slack"]);
    assert!(acme("acme", "x-s", "s").facts()[0].sender().is_none());
}
