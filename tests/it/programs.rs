//! The programs that the crate is made for, as its users write them. That they compile is most of
//! the test: a name or a bound that changes is noticed here first.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};
use tower_webhook::endpoint::{EndpointBody, EndpointFuture, EndpointService};
use tower_webhook::layer::{ResponseBody, ResponseFuture, WebhookService};
use tower_webhook::provider::{Begin, MaybeReady, Outcome, Provider, Recognition};
use tower_webhook::scheme::{SchemeBuilder, header};
use tower_webhook::{
    Answer, AnyOf, BodyFields, CdrManager, Clock, ConfigError, Delivery, Encoding, EndpointLayer, FromDelivery, Head,
    Identity, Json, KeyFormat, Reason, Rejection, Scheme, Secret, Secrets, Signed, SystemClock, Text, TimeFormat,
    Tolerance, Verdict, Verified, Webhook, WebhookLayer, cdr_manager, testing,
};

type Outcomes = Result<(), Box<dyn Error>>;

#[derive(Deserialize)]
struct Order {
    number: u32,
}

#[tokio::test]
async fn an_axum_app_gains_a_webhook_endpoint_by_one_layer() -> Outcomes {
    fn app(key: &str) -> Result<Router, ConfigError> {
        Ok(Router::new()
            .route("/webhooks/cdr", post(on_report).layer(WebhookLayer::new(CdrManager::new(key)?)))
            .route("/webhooks/order", post(on_order).layer(WebhookLayer::new(CdrManager::new(key)?)))
            .route("/webhooks/axum", post(on_axum_json).layer(WebhookLayer::new(CdrManager::new(key)?)))
            .route("/webhooks/raw", post(on_raw).layer(WebhookLayer::new(CdrManager::new(key)?))))
    }

    async fn on_report(Webhook(report): Webhook<cdr_manager::Report>) -> StatusCode {
        match report.outcome() {
            Ok(_) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::ACCEPTED,
        }
    }

    async fn on_order(delivery: Delivery, Webhook(Json(order)): Webhook<Json<Order>>) -> StatusCode {
        assert_eq!((delivery.id(), delivery.event()), (None, None));
        StatusCode::from_u16(u16::try_from(order.number).unwrap()).unwrap()
    }

    async fn on_axum_json(Webhook(axum::Json(order)): Webhook<axum::Json<Order>>) -> StatusCode {
        StatusCode::from_u16(u16::try_from(order.number).unwrap()).unwrap()
    }

    async fn on_raw(body: Bytes) -> Bytes {
        body
    }

    let app = app("key")?;
    for (path, body, status) in [
        ("/webhooks/cdr", "{}", 204),
        ("/webhooks/cdr", r#"{"error":"the export failed"}"#, 202),
        ("/webhooks/order", r#"{"number":201}"#, 201),
        ("/webhooks/axum", r#"{"number":201}"#, 201),
        ("/webhooks/axum", "{}", 422),
        ("/webhooks/raw", "", 200),
    ] {
        // Users test their handlers without a sender.
        let request = testing::sign(&CdrManager::new("key")?, Request::post(path).body(body)?)?;
        assert_eq!(app.clone().oneshot(request).await?.status(), status, "{path} {body}");
    }
    Ok(())
}

async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
    let Webhook(report) = Webhook::<cdr_manager::Report>::from_extensions(request.extensions())?;
    Ok(Response::new(Full::from(report.file_name.unwrap_or_default())))
}

#[tokio::test]
async fn any_other_tower_service_takes_the_delivery_from_the_extensions() -> Outcomes {
    let cdr = CdrManager::new("key")?;
    let service = ServiceBuilder::new().layer(WebhookLayer::new(cdr.clone())).service_fn(on_report);
    let request = testing::sign(&cdr, Request::post("/").body("{}")?)?;
    assert_eq!(service.oneshot(request).await?.status(), 200);
    Ok(())
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn a_tonic_server_gains_an_endpoint_by_one_layer() -> Outcomes {
    use tonic::transport::Server;

    let cdr = CdrManager::new("key")?;
    let router = Server::builder()
        .accept_http1(true)
        .layer(EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr), service_fn(on_report))?)
        .add_routes(tonic::service::Routes::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let serving = router
        .serve_with_incoming_shutdown(tonic::transport::server::TcpIncoming::from(listener), std::future::ready(()));
    Ok(serving.await?)
}

#[tokio::test]
async fn a_sender_that_nobody_knows_is_a_few_declarative_lines() -> Outcomes {
    let secret = "whatever Acme's portal shows";
    let acme = Scheme::hmac_sha256()
        .signature(header("x-acme-signature").prefix("v1=").hex())
        .timestamp(header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300)))
        .signed("{timestamp}.{body}")
        .id(header("x-acme-delivery"))
        .event(header("x-acme-event"))
        .secret(secret)
        .build("acme")?;
    let app = Router::new().route(
        "/",
        post(async |delivery: Delivery| format!("{} {:?} {:?}", delivery.provider(), delivery.id(), delivery.event()))
            .layer(WebhookLayer::new(acme.clone())),
    );
    let request = Request::post("/").header("x-acme-delivery", "d1").header("x-acme-event", "paid").body("x")?;
    let response = app.oneshot(testing::sign(&acme, request)?).await?;
    let body = axum::body::to_bytes(response.into_body(), 100).await?;
    assert_eq!(body, r#"acme Some("d1") Some("paid")"#);
    Ok(())
}

#[tokio::test]
async fn secrets_rotate_and_belong_to_tenants() -> Outcomes {
    async fn secrets_of(tenant: Option<String>) -> Result<Vec<Secret>, Infallible> {
        Ok(tenant.into_iter().map(Secret::new).collect())
    }

    fn tenant_in(head: &Head) -> Option<String> {
        head.uri.path().strip_prefix("/tenants/").map(str::to_owned)
    }

    let (current, previous) = (Secret::new("current"), Secret::new("previous"));
    let rotating = CdrManager::new(Secrets::new([current, previous]))?;
    let tenants = CdrManager::new(Secrets::lookup(|head: Head| async move { secrets_of(tenant_in(&head)).await }))?;
    let handler = async |delivery: Delivery| delivery.key_index().to_string();
    let app = Router::new()
        .route("/rotating", post(handler).layer(WebhookLayer::new(rotating)))
        .route("/tenants/{tenant}", post(handler).layer(WebhookLayer::new(tenants)));
    for (path, key, expected) in [
        ("/rotating", "current", Some("0")),
        ("/rotating", "previous", Some("1")),
        ("/rotating", "older", None),
        ("/tenants/acme", "acme", Some("0")),
        ("/tenants/acme", "other", None),
    ] {
        let request = testing::sign(&CdrManager::new(key)?, Request::post(path).body("x")?)?;
        let response = app.clone().oneshot(request).await?;
        assert_eq!(response.status() == 200, expected.is_some(), "{path} {key}");
        let body = axum::body::to_bytes(response.into_body(), 1000).await?;
        assert!(expected.is_none_or(|expected| body == expected), "{path} {key}");
    }
    Ok(())
}

/// A provider of one's own needs nothing that is not public.
#[test]
fn a_provider_can_be_written_outside_the_crate() {
    struct Knock(Text);

    impl Provider for Knock {
        type Verification = ();

        fn name(&self) -> &Text {
            &self.0
        }

        fn recognizes(&self, head: &Parts) -> Recognition {
            head.headers.contains_key("x-knock").into()
        }

        fn begin(&self, head: &Parts, _: &dyn Clock) -> Result<MaybeReady<Begin<()>>, Rejection> {
            if self.recognizes(head) == Recognition::No {
                return Err(Reason::MissingSignature.into());
            }
            Ok(Begin::Verify(()).into())
        }

        fn finish(&self, (): &mut (), _: &Parts, body: &Bytes, _: &[u8]) -> Result<MaybeReady<Outcome>, Rejection> {
            match body.as_ref() {
                b"who is there?" => Ok(Outcome::Answer(Answer::text("me")).into()),
                b"me" => Ok(Outcome::Deliver(Verified::new(Signed::default())).into()),
                _ => Err(Reason::BodyMismatch.into()),
            }
        }
    }

    let handler = service_fn(async |request: Request<Full<Bytes>>| {
        assert_eq!(Delivery::from_extensions(request.extensions()).unwrap().provider(), "knock");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = WebhookLayer::new(Knock("knock".into())).layer(handler);
    for (body, status) in [("who is there?", 200), ("me", 200), ("you", 401)] {
        let request = Request::post("/").header("x-knock", "knock").body(Full::<Bytes>::from(body)).unwrap();
        let response = service.clone().oneshot(request).now_or_never().unwrap().unwrap();
        assert_eq!(response.status(), status, "{body}");
    }
}

/// What layers and their services have to be for axum, tonic and tower to take them.
#[test]
fn everything_is_as_sendable_and_printable_as_stacks_demand() {
    fn is_layer<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    fn is_future<T: Send>() {}
    fn is_shared<T: Send + Sync + 'static + ?Sized>() {}

    type Handler = tower::util::BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;
    type Inner = WebhookService<Handler, Scheme>;

    is_layer::<WebhookLayer<AnyOf>>();
    is_layer::<EndpointLayer<Inner>>();
    is_layer::<Inner>();
    is_layer::<EndpointService<Handler, Inner>>();
    is_layer::<Delivery>();
    is_layer::<Rejection>();
    is_layer::<Verdict>();
    is_future::<ResponseFuture<Handler, Scheme, Full<Bytes>>>();
    is_future::<EndpointFuture<Handler, Inner, Full<Bytes>>>();
    is_shared::<EndpointBody<Full<Bytes>, ResponseBody<Full<Bytes>>>>();
    is_shared::<dyn Clock>();
    is_shared::<BodyFields>();
    is_shared::<(SchemeBuilder, SystemClock, Tolerance, TimeFormat, Encoding, KeyFormat, Identity)>();

    /// `Error = S::Error`, whatever the handler's error is.
    fn keeps_the_error<S, H>(inner: S, handler: H) -> impl Service<Request<Full<Bytes>>, Error = S::Error>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>> + Clone,
        H: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>> + Clone,
        H::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        EndpointLayer::new("/hook", WebhookLayer::new(CdrManager::new("key").unwrap()), handler).unwrap().layer(inner)
    }
    let inner = service_fn(async |_: Request<Full<Bytes>>| Err::<Response<Full<Bytes>>, _>(std::fmt::Error));
    let service = keeps_the_error(inner, service_fn(on_report));
    let _: Result<_, std::fmt::Error> = service.oneshot(Request::default()).now_or_never().unwrap();

    /// A payload type of one's own.
    struct Length;
    impl FromDelivery for Length {
        fn from_delivery(_: &Delivery) -> Result<Self, Rejection> {
            Ok(Self)
        }
    }
    is_shared::<Webhook<Length>>();
}

#[cfg(feature = "jwt")]
#[tokio::test]
async fn connect_is_one_route_for_both_methods_and_a_validation_answers_with_a_body() -> Outcomes {
    use axum::routing::get;
    use tower_webhook::{Connect, connect};

    #[derive(Deserialize)]
    struct MyData {
        plan: String,
    }

    async fn on_trigger(Webhook(trigger): Webhook<connect::Trigger<Option<MyData>>>) -> axum::Json<serde_json::Value> {
        axum::Json(serde_json::json!({ "plan": trigger.data.map(|data| data.plan) }))
    }

    let jwt_secret = "the JWT secret";
    let app = Router::new()
        .route("/connect", get(on_trigger).post(on_trigger).layer(WebhookLayer::new(Connect::new(jwt_secret)?)));
    let body = r#"{"webhook_id":"WH-1","data":{"plan":"basic"}}"#;
    for (request, answer) in [
        (Request::post("/connect").body(body)?, r#"{"plan":"basic"}"#),
        (Request::get("/connect").body("")?, r#"{"plan":null}"#),
    ] {
        let request = testing::sign(&Connect::new(jwt_secret)?, request)?;
        let response = app.clone().oneshot(request).await?;
        assert_eq!(response.status(), 200);
        assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, answer);
    }
    Ok(())
}

#[cfg(feature = "testing-sns")]
#[tokio::test]
async fn sns_and_its_portals_are_a_topic_and_a_type() -> Outcomes {
    use tower_webhook::sns::{Confirm, Notification};
    use tower_webhook::testing::FakeSns;
    use tower_webhook::{Sns, pce, telna};

    #[derive(Deserialize)]
    struct MyEvent {
        number: u32,
    }

    async fn on_event(Webhook(n): Webhook<Notification<MyEvent>>) -> String {
        n.message.number.to_string()
    }

    async fn on_pce(Webhook(event): Webhook<pce::Event>) -> String {
        event.event_id.unwrap_or_default()
    }

    let fake = FakeSns::new();
    let arn = fake.topic_arn();
    let (user, password) = ("user", "password");
    let sns = Sns::builder().topic(arn).confirm(Confirm::Automatic).fetch(fake.clone()).build()?;
    let flex = telna::CronusFlex::builder().topic(arn).fetch(fake.clone()).build()?;
    let pce = pce::Pce::builder().topic(arn).basic_auth(user, password).fetch(fake.clone()).build()?;
    let app = Router::new()
        .route("/sns", post(on_event).layer(WebhookLayer::new(sns)))
        .route("/flex", post(on_event).layer(WebhookLayer::new(flex)))
        .route("/pce", post(on_pce).layer(WebhookLayer::new(pce)));
    for (path, message, answer) in
        [("/sns", r#"{"number":7}"#, "7"), ("/flex", r#"{"number":8}"#, "8"), ("/pce", r#"{"eventId":"e1"}"#, "e1")]
    {
        let mut request = fake.notification(message).post(path).map(Full::from);
        request.headers_mut().insert("authorization", "Basic dXNlcjpwYXNzd29yZA==".parse()?);
        let response = app.clone().oneshot(request).await?;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 200).await?;
        assert_eq!((status.as_u16(), std::str::from_utf8(&body)?), (200, answer), "{path}");
    }
    Ok(())
}

#[cfg(feature = "memory-store")]
#[tokio::test]
async fn at_least_once_becomes_effectively_once_by_one_more_layer() -> Outcomes {
    use std::sync::atomic::{AtomicU32, Ordering};
    use tower_webhook::{DedupLayer, MemoryStore};

    static CALLS: AtomicU32 = AtomicU32::new(0);

    let cdr = CdrManager::new("key")?;
    let layers =
        ServiceBuilder::new().layer(WebhookLayer::new(cdr.clone())).layer(DedupLayer::new(MemoryStore::default()));
    let handler = async || CALLS.fetch_add(1, Ordering::SeqCst).to_string();
    let app = Router::new().route("/", post(handler).layer(layers));
    for _ in 0..3 {
        let report = r#"{"callbackURL":"https://cdr.example.com/reports/1"}"#;
        let request = testing::sign(&cdr, Request::post("/").body(report)?)?;
        assert_eq!(app.clone().oneshot(request).await?.status(), 200);
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    Ok(())
}
