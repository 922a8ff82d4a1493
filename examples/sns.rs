//! An SNS subscription from its first to its last message, offline: an axum server on loopback
//! receives what an SNS in the process sends.
//!
//! `cargo run --example sns --features testing-sns`

use std::error::Error;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_webhook::sns::{Confirm, Message, SignatureVersion};
use tower_webhook::testing::FakeSns;
use tower_webhook::{Sns, Webhook, WebhookLayer};

use table::Table;

mod table;

/// The payload that is published to the topic.
#[derive(Deserialize)]
struct Usage {
    iccid: String,
    percent: u8,
}

/// The messages that the handler saw.
type Seen = Arc<Mutex<Vec<String>>>;

async fn on_message(State(seen): State<Seen>, Webhook(message): Webhook<Message>) -> StatusCode {
    let line = match message {
        Message::Notification(it) => match serde_json::from_str::<Usage>(&it.message) {
            Ok(usage) => format!("{} has used {} %", usage.iccid, usage.percent),
            Err(_) => return StatusCode::UNPROCESSABLE_ENTITY,
        },
        Message::Unsubscribed(_) => "unsubscribed".to_owned(),
        _ => return StatusCode::NO_CONTENT,
    };
    seen.lock().unwrap().push(line);
    StatusCode::OK
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let fake = FakeSns::new();
    // In production, leave out `fetch`: the feature `client` has a client.
    let sns = Sns::builder().topic(fake.topic_arn()).confirm(Confirm::Automatic).fetch(fake.clone()).build()?;

    let seen = Seen::default();
    let app =
        Router::new().route("/webhooks/sns", post(on_message).layer(WebhookLayer::new(sns))).with_state(seen.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, app).into_future());

    let usage = r#"{"iccid":"8944500102030405060","percent":80}"#;
    let foreign = "arn:aws:sns:us-west-2:999999999999:Theirs";
    let steps = [
        ("subscription confirmation", fake.subscription_confirmation(), 200),
        ("notification, version 1", fake.notification(usage).version(SignatureVersion::V1), 200),
        ("notification, version 2", fake.notification(usage).subject("usage alert"), 200),
        ("notification of a foreign topic", fake.notification(usage).topic(foreign), 403),
        ("notification of another payload", fake.notification("hello"), 422),
        ("unsubscribe confirmation", fake.unsubscribe_confirmation(), 200),
    ];
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let columns = [("SNS sends", 31), ("answer", 6), ("fetched", 7), ("confirmed", 9), ("the handler saw", 0)];
    let table = Table::new(columns);
    for (step, message, expected) in steps {
        let mut request: Request<Full<Bytes>> = message.post("/webhooks/sns");
        *request.uri_mut() = format!("http://{address}/webhooks/sns").parse()?;
        let status = client.request(request).await?.status();
        let saw = seen.lock().unwrap().pop().unwrap_or_default();
        let (fetched, confirmed) = (fake.certificates_served().to_string(), fake.confirmed().to_string());
        table.row([step, &table.answer(status.is_success(), status.as_str()), &fetched, &confirmed, &saw]);
        if status != expected {
            return Err(format!("{step}: expected {expected}").into());
        }
    }
    server.abort();
    Ok(())
}
