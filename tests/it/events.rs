//! One handler per event, and payloads that are no JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::{post, post_service};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::scheme::header;
use tower_webhook::{
    Delivery, Events, Form, FormJson, Json, ParseLayer, Parsed, Scheme, Webhook, WebhookLayer, senders, testing,
};

use crate::support::serve;

fn stripe() -> Scheme {
    senders::stripe("whsec_s").unwrap()
}

fn event(name: &str) -> Request<Full<Bytes>> {
    let body = Bytes::from(json!({"id": "evt_1", "type": name}).to_string());
    testing::sign(&stripe(), Request::post("/").body(body).unwrap()).unwrap()
}

fn github() -> Scheme {
    senders::github("s").unwrap()
}

fn push(body: &'static str) -> Request<Full<Bytes>> {
    let request =
        Request::post("/").header("x-github-event", "push").body(Bytes::from_static(body.as_bytes())).unwrap();
    testing::sign(&github(), request).unwrap()
}

#[tokio::test]
async fn each_event_goes_to_the_handler_of_its_name_or_of_the_longest_start() {
    async fn named(State(name): State<&'static str>, Webhook(Json(event)): Webhook<Json<Value>>) -> String {
        format!("{name} {}", event["type"].as_str().unwrap())
    }

    let handled = |name: &'static str| post(named).with_state(name);
    let events = Events::new()
        .on_service("customer.*", handled("start"))
        .on_service("invoice.paid", handled("replaced"))
        .on_service("customer.subscription.*", handled("longer start"))
        .on_service("customer.subscription.deleted", handled("exact"))
        .on_service("invoice.paid", handled("last"))
        .on_service("in*", handled("short start"));
    assert_eq!(
        format!("{events:?}"),
        r#"["customer.subscription.deleted", "invoice.paid", "customer.subscription.*", "customer.*", "in*"]"#
    );
    let app = |events: Events<_>| Router::new().route("/", post_service(events).layer(WebhookLayer::new(stripe())));
    let server = serve(app(events.clone())).await;
    for (name, handled) in [
        ("invoice.paid", Some("last")),
        ("invoice.paid.later", Some("short start")),
        ("customer.", Some("start")),
        ("customer.subscription.created", Some("longer start")),
        ("customer.subscription.deleted", Some("exact")),
        ("customer", None),
        ("charge.paid", None),
    ] {
        let reply = server.send(event(name)).await;
        match handled {
            Some(handled) => assert_eq!((reply.status.as_u16(), reply.text()), (200, &*format!("{handled} {name}"))),
            None => assert_eq!((reply.status.as_u16(), reply.text()), (204, ""), "{name}"),
        }
    }
    let mut forged = event("invoice.paid");
    *forged.body_mut() = Bytes::from_static(br#"{"type":"charge.paid"}"#).into();
    assert_eq!(server.send(forged).await.status, 401);

    let server = serve(app(events.clone().otherwise(StatusCode::NOT_IMPLEMENTED))).await;
    assert_eq!(server.send(event("charge.paid")).await.status, 501);
    let server = serve(app(events.otherwise_service(handled("others")))).await;
    assert_eq!(server.send(event("charge.paid")).await.text(), "others charge.paid");
}

#[tokio::test]
async fn handlers_share_a_state() {
    async fn on_paid(State(count): State<Arc<AtomicUsize>>, _: Webhook<Json<Value>>) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    let count = Arc::new(AtomicUsize::new(0));
    let events = Events::new().on("invoice.paid", on_paid).with_state(count.clone());
    let server = serve(Router::new().route("/", post_service(events).layer(WebhookLayer::new(stripe())))).await;
    assert_eq!(server.send(event("invoice.paid")).await.status, 200);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_name_that_is_not_signed_chooses_a_handler_only_if_told_to() {
    async fn on_push(delivery: Delivery) -> String {
        delivery.event().unwrap().to_owned()
    }

    let events = || Events::new().on("push", on_push);
    let app = |events: Events<_>| Router::new().route("/", post_service(events).layer(WebhookLayer::new(github())));
    let server = serve(app(events())).await;
    assert_eq!(server.send(push("{}")).await.status, 503);
    let server = serve(app(events().by_unsigned_event_name())).await;
    assert_eq!(server.send(push("{}")).await.text(), "push");
}

#[tokio::test]
async fn it_takes_any_service_and_refuses_what_no_layer_verified() {
    let events = Events::new().on_service(
        "invoice.*",
        service_fn(|request: Request<Full<Bytes>>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
        }),
    );
    let reply = WebhookLayer::new(stripe()).layer(events.clone()).oneshot(event("invoice.paid")).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(events.oneshot(event("invoice.paid")).await.unwrap().status(), 503);
}

#[tokio::test]
async fn payloads_come_from_forms_and_as_text() {
    #[derive(Deserialize)]
    struct Order {
        number: u16,
        #[serde(default)]
        notes: String,
    }

    async fn form(Webhook(Form(order)): Webhook<Form<Order>>) -> String {
        format!("{} {}", order.number, order.notes)
    }

    async fn form_json(Webhook(FormJson(order)): Webhook<FormJson<Order>>) -> String {
        order.number.to_string()
    }

    async fn text(Webhook(text): Webhook<String>) -> String {
        text
    }

    let app = Router::new()
        .route("/form", post(form))
        .route("/form_json", post(form_json))
        .route("/text", post(text))
        .layer(WebhookLayer::new(github()));
    let server = serve(app).await;
    for (path, body, status, reply) in [
        ("/form", "number=7&notes=a%20b%2B+c", 200, "7 a b+ c"),
        ("/form", "number=SECRET", 422, ""),
        ("/form", "notes=7", 422, ""),
        ("/form_json", "payload=%7B%22number%22%3A+7%7D", 200, "7"),
        ("/form_json", "payload=%7B%22number%22%3A+%22x%22%7D", 422, ""),
        ("/form_json", "other=1", 422, ""),
        ("/text", "héllo", 200, "héllo"),
    ] {
        let mut request = push(body);
        *request.uri_mut() = path.parse().unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status, status, "{path} {body}");
        if status == 200 {
            assert_eq!(answer.text(), reply);
        }
    }
    let bytes = Request::post("/text").body(Bytes::from_static(b"\xff")).unwrap();
    assert_eq!(server.send(testing::sign(&github(), bytes).unwrap()).await.status, 422);
}

#[tokio::test]
async fn payloads_of_other_crates_are_read_as_the_route_says() {
    /// Stand for types of which this crate knows nothing.
    struct Named(String, Value);
    struct Length(usize);

    fn named(delivery: &Delivery) -> Result<Named, serde_json::Error> {
        Ok(Named(delivery.event().unwrap_or_default().to_owned(), serde_json::from_slice(delivery.body())?))
    }

    async fn on_event(
        Webhook(Parsed(event)): Webhook<Parsed<Named>>,
        Webhook(Parsed(length)): Webhook<Parsed<Length>>,
    ) -> String {
        format!("{} {} {}", event.0, event.1["ref"], length.0)
    }

    let github = || WebhookLayer::new(github());
    let length = ParseLayer::new(|delivery| Ok::<_, &str>(Length(delivery.body().len())));
    let app = Router::new()
        .route("/", post(on_event).layer((github(), length.clone(), ParseLayer::new(named))))
        .route("/one", post(on_event).layer((github(), length.clone())))
        .route("/outside", post(on_event).layer((ParseLayer::new(named), length, github())));
    let server = serve(app).await;
    assert_eq!(server.send(push(r#"{"ref":1}"#)).await.text(), "push 1 9");
    assert_eq!(server.send(push("{")).await.status, 422);
    for path in ["/one", "/outside"] {
        let mut request = push("{}");
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(server.send(request).await.status, 503, "the sender tries again once {path} is mended");
    }
}

#[tokio::test]
async fn an_error_of_another_crate_is_told_without_the_payload() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Order {
        number: u16,
    }

    let layer = ParseLayer::new(|delivery: &Delivery| match delivery.body().len() {
        0 => Err("SECRET is wrong".to_owned()),
        _ => serde_json::from_slice::<Order>(delivery.body()).map_err(|error| error.to_string()),
    });
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = seen.clone();
    let service = layer.layer(service_fn(move |request: Request<Full<Bytes>>| {
        let rejection = Webhook::<Parsed<Order>>::from_extensions(request.extensions()).unwrap_err();
        noted.lock().unwrap().push(rejection.to_string());
        async { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default())) }
    }));
    let service = WebhookLayer::new(github()).layer(service);
    for (body, told) in [
        ("", "the payload does not fit the type"),
        (r#"{"number":"SECRET"}"#, "expected u16"),
        (r#"{"SECRET":1}"#, "missing field `number`"),
    ] {
        service.clone().oneshot(push(body)).await.unwrap();
        let seen = seen.lock().unwrap().pop().unwrap();
        assert!(seen.contains(told) && !seen.contains("SECRET"), "{seen}");
    }
}

#[tokio::test]
async fn headers_are_kept_on_demand_and_told_apart_by_what_is_signed() {
    async fn on_event(delivery: Delivery) -> String {
        let Some(headers) = delivery.headers() else { return "none".to_owned() };
        let mut signed: Vec<_> =
            headers.keys().filter(|name| delivery.signs_header(name)).map(|name| name.as_str()).collect();
        signed.sort_unstable();
        format!("{} of {}", signed.join(" "), headers.contains_key("x-other"))
    }

    let acme = Scheme::hmac_sha256()
        .signature(header("x-signature").hex())
        .timestamp(header("x-time").prefix("at ").unix_seconds())
        .event(header("x-event"))
        .id(header("x-id").list(','))
        .signed("{timestamp}.{header:x-event}.{header:x-id}.{query:q}.{body}")
        .secret("s")
        .build("acme")
        .unwrap();
    for (scheme, headers) in [
        (acme, "x-event x-id x-time of true"),
        (senders::github("s").unwrap(), " of true"),
        (senders::slack("s").unwrap(), "x-slack-request-timestamp of true"),
        (senders::svix("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), "svix-id svix-timestamp of true"),
        // The header has a signature too.
        (senders::stripe("whsec_s").unwrap(), " of true"),
    ] {
        let request = || {
            let request = Request::post("/?q=1").header("x-other", "1").header("x-event", "e").header("x-id", "7");
            testing::sign(&scheme, request.body(Bytes::from_static(b"{}")).unwrap()).unwrap()
        };
        let app = |layer| Router::new().route("/", post(on_event).layer(layer));
        let server = serve(app(WebhookLayer::new(scheme.clone()).keep_headers())).await;
        assert_eq!(server.send(request()).await.text(), headers);
        let server = serve(app(WebhookLayer::new(scheme.clone()))).await;
        assert_eq!(server.send(request()).await.text(), "none");
    }
}
