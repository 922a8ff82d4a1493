//! CDR Manager end to end.

use axum::Router;
use axum::routing::post;
use http::Request;
use tower_webhook::cdr_manager::Report;
use tower_webhook::{CdrManager, Webhook, WebhookLayer, testing};

use crate::support::serve;

#[tokio::test]
async fn a_signed_report_reaches_the_handler_as_a_typed_value() {
    let provider = CdrManager::new("Jefe").unwrap();
    let handler = async |Webhook(report): Webhook<Report>| report.file_name.unwrap();
    let app = Router::new().route("/cdr", post(handler).layer(WebhookLayer::new(provider.clone())));
    let server = serve(app).await;
    let request = Request::post("/cdr").body(r#"{"fileName":"tx1.zip"}"#).unwrap();
    let signed = testing::sign(&provider, request.clone()).unwrap();
    let reply = server.send(signed.clone()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "tx1.zip"));
    assert_eq!(server.send_http2(signed).await.status, 200);
    let reply = server.send(request.map(Into::into)).await;
    assert_eq!(reply.status, 401);
}
