//! The programs of the crate's design, one test for each, beside those in `programs.rs`. That they
//! compile is half of each test.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_webhook::endpoint::EndpointService;
use tower_webhook::ip_allow::{IpAllowList, IpAllowListService};
use tower_webhook::layer::WebhookService;
use tower_webhook::scheme::header;
use tower_webhook::testing::{self, ManualClock, SignError};
use tower_webhook::{
    AnyOf, AnyProvider, CdrManager, Clock, ConfigError, ConfigErrorKind, Delivery, EndpointLayer, Head, Json, Reason,
    Rejection, Scheme, Secret, Secrets, Signed, Text, Verified, Verifier, Verify, Webhook, WebhookLayer, senders,
};

type Outcomes = Result<(), Box<dyn Error>>;

const STRIPE_SECRET: &str = "whsec_the_secret_of_the_endpoint";

/// The status with which an app answers a request.
async fn status(app: &Router, request: Request<Full<Bytes>>) -> StatusCode {
    app.clone().oneshot(request).await.unwrap().status()
}

/// An app whose only route is behind this layer, and which answers with the provider's name.
fn app<P: tower_webhook::provider::Provider>(provider: P) -> Router {
    Router::new()
        .route("/", post(async |delivery: Delivery| delivery.provider().to_owned()).layer(WebhookLayer::new(provider)))
}

/// The name of the provider that took the request, or the status.
async fn taken_by(app: &Router, request: Request<Full<Bytes>>) -> Result<String, StatusCode> {
    let response = app.clone().oneshot(request).await.unwrap();
    if !response.status().is_success() {
        return Err(response.status());
    }
    Ok(String::from_utf8(axum::body::to_bytes(response.into_body(), 100).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn one_layer_and_typed_handlers() -> Outcomes {
    #[derive(Deserialize)]
    struct Event {
        id: String,
    }

    async fn on_event(delivery: Delivery, Webhook(Json(event)): Webhook<Json<Event>>) -> StatusCode {
        assert_eq!((delivery.provider(), event.id.as_str()), ("stripe", "evt_1"));
        StatusCode::NO_CONTENT
    }

    async fn on_raw(body: Bytes) -> Bytes {
        body
    }

    let stripe = senders::stripe(STRIPE_SECRET)?;
    let app = Router::new()
        .route("/webhooks/stripe", post(on_event).layer(WebhookLayer::new(senders::stripe(STRIPE_SECRET)?)))
        .route("/raw", post(on_raw).layer(WebhookLayer::new(senders::stripe(STRIPE_SECRET)?)));
    let event = testing::sign(&stripe, Request::post("/webhooks/stripe").body(r#"{"id":"evt_1"}"#)?)?;
    assert_eq!(status(&app, event).await, 204);
    let raw = testing::sign(&stripe, Request::post("/raw").body(r#"{ "id" : "evt_1" }"#)?)?;
    let response = app.oneshot(raw).await?;
    assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, r#"{ "id" : "evt_1" }"#);
    Ok(())
}

#[tokio::test]
async fn rotation_is_an_array() -> Outcomes {
    let rotating = app(CdrManager::new(["new secret", "old secret"])?);
    for (secret, expected) in [("new secret", 200), ("old secret", 200), ("another", 401)] {
        let request = testing::sign(&CdrManager::new(secret)?, Request::post("/").body("{}")?)?;
        assert_eq!(status(&rotating, request).await, expected, "{secret}");
    }
    CdrManager::new(vec![Secret::new("new"), Secret::from_bytes([1, 2, 3])])?;
    CdrManager::new(String::from("one"))?;
    Ok(())
}

#[tokio::test]
async fn secrets_are_looked_up_by_the_head() -> Outcomes {
    #[derive(Clone)]
    struct Db;

    impl Db {
        async fn secrets_of(&self, tenant: &str) -> Result<Vec<Secret>, std::io::Error> {
            Ok(if tenant == "acme" { vec!["new".into(), "old".into()] } else { Vec::new() })
        }
    }

    fn tenant_in(head: &Head) -> &str {
        head.uri.path().rsplit('/').next().unwrap_or_default()
    }

    let db = Db;
    let secrets = Secrets::lookup(move |head| {
        let db = db.clone();
        async move { db.secrets_of(tenant_in(&head)).await }
    });
    let app = Router::new().route("/{tenant}", post(async || "").layer(WebhookLayer::new(senders::github(secrets)?)));
    for (path, secret, expected) in
        [("/acme", "new", 200), ("/acme", "old", 200), ("/acme", "x", 401), ("/x", "new", 401)]
    {
        let request = testing::sign(&senders::github(secret)?, Request::post(path).body("{}")?)?;
        assert_eq!(status(&app, request).await, expected, "{path} {secret}");
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_stands_beside_any_service_by_one_layer() -> Outcomes {
    async fn on_report(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
        Ok(Response::new("a report".into()))
    }

    let cdr = CdrManager::new("key")?;
    let service = ServiceBuilder::new()
        .layer(EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr.clone()), service_fn(on_report))?)
        .service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner"))));
    let request = testing::sign(&cdr, Request::post("/webhooks/cdr").body("{}")?)?;
    assert_eq!(service.clone().oneshot(request).await?.status(), 200);
    let unsigned = Request::post("/webhooks/cdr").body(Full::default())?;
    assert_eq!(service.oneshot(unsigned).await?.status(), 401);
    Ok(())
}

#[tokio::test]
async fn an_unknown_sender_is_described() -> Outcomes {
    let acme = Scheme::hmac_sha256()
        .signature(header("x-acme-signature").prefix("v1=").hex())
        .timestamp(header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300)))
        .signed("{timestamp}.{body}")
        .id(header("x-acme-delivery"))
        .event(header("x-acme-event"))
        .secret("secret")
        .build("acme")?;
    let request = Request::post("/").header("x-acme-delivery", "1").header("x-acme-event", "paid").body("{}")?;
    assert_eq!(taken_by(&app(acme.clone()), testing::sign(&acme, request)?).await, Ok("acme".into()));
    Ok(())
}

#[tokio::test]
async fn a_sender_whose_rules_need_code_is_one_async_function() -> Outcomes {
    struct Acme;

    impl Verify for Acme {
        async fn verify(&self, head: &Parts, body: &Bytes, now: SystemTime) -> Result<Verified, Rejection> {
            tokio::task::yield_now().await;
            let receipt = head.headers.get("acme-receipt").ok_or(Reason::MissingSignature)?;
            if receipt.as_bytes() != body {
                return Err(Rejection::new(Reason::SignatureMismatch).with_detail("the receipt is for another body"));
            }
            Ok(Verified::new(Signed::default().with_body(true)).with_timestamp(Some(now)))
        }
    }

    let app = app(Verifier::new("acme", Acme)?);
    for (receipt, expected) in [
        (Some("x"), Ok("acme".to_owned())),
        (Some("y"), Err(StatusCode::UNAUTHORIZED)),
        (None, Err(StatusCode::UNAUTHORIZED)),
    ] {
        let mut request = Request::post("/").body(Full::from("x"))?;
        if let Some(receipt) = receipt {
            request.headers_mut().insert("acme-receipt", receipt.parse()?);
        }
        assert_eq!(taken_by(&app, request).await, expected, "{receipt:?}");
    }
    assert_eq!(Verifier::new("Not Snake Case", Acme).unwrap_err().kind(), ConfigErrorKind::Invalid);
    Ok(())
}

#[tokio::test]
async fn many_senders_are_a_list_that_is_decided_at_run_time() -> Outcomes {
    fn sender(name: &str, secret: &str) -> Result<AnyProvider, ConfigError> {
        Ok(match name {
            "github" => AnyProvider::new(senders::github(secret)?),
            "mailgun" => AnyProvider::new(senders::mailgun(secret)?),
            "cdr_manager" => AnyProvider::new(CdrManager::new(secret)?),
            _ => return Err(ConfigError::invalid(format!("there is no sender {name}"))),
        })
    }

    let configured = vec![("github", "g"), ("cdr_manager", "c")];
    let senders = configured.into_iter().map(|(name, secret)| sender(name, secret)).collect::<Result<Vec<_>, _>>()?;
    let app = app(AnyOf::new(senders)?);
    let cdr = testing::sign(&CdrManager::new("c")?, Request::post("/").body("{}")?)?;
    assert_eq!(taken_by(&app, cdr).await, Ok("cdr_manager".into()));
    assert_eq!(sender("nobody", "x").unwrap_err().to_string(), "there is no sender nobody");
    assert_eq!(AnyOf::new(Vec::<AnyProvider>::new()).unwrap_err().kind(), ConfigErrorKind::Missing);
    Ok(())
}

/// Mailgun's signature is in the body, so its head has nothing by which it could be told from
/// GitHub's.
#[tokio::test]
async fn a_signature_in_the_body_shadows_no_other_sender_in_either_order() -> Outcomes {
    let (mailgun, github) = (senders::mailgun("m")?, senders::github("g")?);
    let (m, g) = (AnyProvider::new(mailgun.clone()), AnyProvider::new(github.clone()));
    for order in [vec![m.clone(), g.clone()], vec![g, m]] {
        let app = app(AnyOf::new(order)?);
        let request =
            |content: &'static str| Request::post("/").header("content-type", "application/json").body(content);
        let push = testing::sign(&github, request(r#"{"ref":"main"}"#)?)?;
        assert_eq!(taken_by(&app, push).await, Ok("github".into()));
        let token = r#"{"signature":{"token":"t1"},"event-data":{"event":"delivered"}}"#;
        let delivered = testing::sign(&mailgun, request(token)?)?;
        assert_eq!(taken_by(&app, delivered).await, Ok("mailgun".into()));
        assert_eq!(taken_by(&app, request("{}")?.map(Full::from)).await, Err(StatusCode::UNAUTHORIZED));
    }
    Ok(())
}

#[tokio::test]
async fn a_rejection_is_a_response_for_axum_and_for_everybody_else() {
    async fn handler() -> axum::response::Response {
        let rejection = Rejection::new(Reason::MalformedPayload);
        rejection.into_response()
    }

    assert_eq!(handler().await.status(), 422);
    let response: Response<Bytes> = Rejection::new(Reason::MalformedPayload).into_http_response();
    assert_eq!(response.extensions().get::<Rejection>().unwrap().reason(), Reason::MalformedPayload);
}

#[test]
fn a_text_is_a_string() {
    let mut handlers: HashMap<Text, u32> = HashMap::new();
    handlers.insert("push".into(), 1);
    handlers.insert(Text::from(String::from("ping")), 2);
    assert_eq!((handlers.get("push"), handlers.get("ping")), (Some(&1), Some(&2)));
    let text = Text::from("push");
    assert!(text == "push" && text.starts_with('p'));
    assert_eq!(String::from(text), "push");
}

#[test]
fn errors_can_be_made_by_those_who_implement_our_traits() {
    struct Unsigned;

    impl testing::Sign for Unsigned {
        fn sign_at(&self, _: Request<Bytes>, _: SystemTime) -> Result<Request<Bytes>, SignError> {
            Err(SignError::new("the key is in a vault"))
        }
    }

    let error = testing::sign(&Unsigned, Request::new("")).unwrap_err();
    assert_eq!(error.to_string(), "the request cannot be signed: the key is in a vault");
    let error = ConfigError::key("the key cannot be read").with_source("no such file");
    assert_eq!((error.kind(), error.to_string().as_str()), (ConfigErrorKind::Key, "the key cannot be read"));
    assert_eq!(error.source().unwrap().to_string(), "no such file");
}

#[tokio::test]
async fn providers_and_clocks_are_shared_by_an_arc() -> Outcomes {
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let stripe = Arc::new(senders::stripe(STRIPE_SECRET)?);
    let clocks: [Arc<dyn Clock>; 2] = [Arc::new(ManualClock::new(at)), Arc::new(move || at)];
    for clock in clocks {
        let layer = WebhookLayer::new(stripe.clone()).with_clock(clock);
        let app = Router::new().route("/", post(async || "").layer(layer));
        let request = testing::sign_at(&*stripe, Request::post("/").body("{}")?, at)?;
        assert_eq!(status(&app, request).await, 200);
        let late = testing::sign_at(&*stripe, Request::post("/").body("{}")?, at - Duration::from_secs(3600))?;
        assert_eq!(status(&app, late).await, 401);
    }
    Ok(())
}

#[tokio::test]
async fn services_are_made_without_layers_and_give_their_inner_service_back() -> Outcomes {
    type Handler = tower::util::BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;
    #[derive(Clone, PartialEq, Debug)]
    struct Inner(u8);

    let mut webhook = WebhookService::new(Inner(1), CdrManager::new("key")?);
    webhook.get_mut().0 = 2;
    assert_eq!((webhook.get_ref(), webhook.clone().into_inner()), (&Inner(2), Inner(2)));
    let mut endpoint = EndpointService::new(Inner(1), "/hook", webhook)?;
    endpoint.get_mut().0 = 3;
    assert_eq!((endpoint.get_ref(), endpoint.clone().into_inner()), (&Inner(3), Inner(3)));
    let mut listed = IpAllowListService::new(Inner(1), IpAllowList::new(["192.0.2.1"])?);
    listed.get_mut().0 = 4;
    assert_eq!((listed.get_ref(), listed.clone().into_inner()), (&Inner(4), Inner(4)));
    #[cfg(feature = "dedup")]
    {
        use tower_webhook::{MemoryStore, dedup::DedupService};

        let mut dedup = DedupService::new(Inner(1), MemoryStore::new(10));
        dedup.get_mut().0 = 5;
        assert_eq!((dedup.get_ref(), dedup.clone().into_inner()), (&Inner(5), Inner(5)));
    }

    let handler: Handler = ServiceBuilder::new()
        .layer(tower::util::BoxCloneSyncServiceLayer::new(tower::layer::util::Identity::new()))
        .service(service_fn(async |_: Request<Full<Bytes>>| Ok(Response::new(Full::default()))));
    let cdr = CdrManager::new("key")?;
    let by_new = WebhookService::new(handler.clone(), cdr.clone());
    let by_layer = WebhookLayer::new(cdr.clone()).layer(handler);
    for service in [by_new, by_layer] {
        let request = testing::sign(&cdr, Request::post("/").body("{}")?)?;
        assert_eq!(service.oneshot(request).await?.status(), 200);
    }
    Ok(())
}
