//! Routes that stand open are found by `testing::assert_protected`.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::routing::{get, post, put};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request};
use tower_webhook::{Json, Webhook, WebhookLayer, senders, testing};

fn github() -> WebhookLayer<tower_webhook::Scheme> {
    WebhookLayer::new(senders::github("secret").unwrap())
}

fn request(method: Method, path: &str) -> Request<&'static str> {
    Request::builder().method(method).uri(path).body("{}").unwrap()
}

async fn found(app: Router, request: Request<&'static str>) -> Option<String> {
    let asserted = AssertUnwindSafe(testing::assert_protected(app, [request])).catch_unwind().await;
    asserted.err().map(|panic| *panic.downcast::<String>().unwrap())
}

#[tokio::test]
async fn a_protected_route_passes_and_each_way_to_leave_one_open_is_named() {
    let handler = || async |_: Bytes| "stored";
    let typed = || async |_: Webhook<Json<serde_json::Value>>| "stored";
    let protected = Router::new().route("/hook", post(handler()).layer(github()));
    assert_eq!(found(protected.clone(), request(Method::POST, "/hook")).await, None);

    let open = [
        // `.layer` before `.route`.
        (Router::new().layer(github()).route("/hook", post(handler())), Method::POST, "answered 200"),
        // A method added after the layer.
        (Router::new().route("/hook", post(handler()).layer(github()).put(handler())), Method::PUT, "answered 200"),
        // Merged after the layer.
        (
            Router::new()
                .route("/other", get(handler()))
                .layer(github())
                .merge(Router::new().route("/hook", put(handler()))),
            Method::PUT,
            "answered 200",
        ),
        // Observe mode.
        (Router::new().route("/hook", post(handler()).layer(github().observe_only())), Method::POST, "answered 200"),
        // No layer at all, where an extractor refuses with 503.
        (Router::new().route("/hook", post(typed())), Method::POST, "no webhook layer stands before the handler"),
        (Router::new().route("/hook", post(handler()).route_layer(github())), Method::GET, "takes no GET here"),
        (Router::new(), Method::POST, "404"),
    ];
    for (app, method, expected) in open {
        let fault = found(app, request(method.clone(), "/hook")).await.expect(expected);
        assert!(
            fault.starts_with(&format!("{method} /hook is not protected: ")) && fault.contains(expected),
            "{fault}"
        );
    }
}

#[tokio::test]
#[should_panic = "there is no request to send"]
async fn nothing_is_shown_by_no_request() {
    testing::assert_protected(Router::new(), [] as [Request<Bytes>; 0]).await;
}
