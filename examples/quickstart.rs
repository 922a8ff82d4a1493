//! A webhook endpoint in an axum app, and what it accepts and refuses.
//!
//! `cargo run --example quickstart --features testing,jwt` starts the app on a free port of this
//! machine, sends itself signed and forged requests with a real HTTP client, prints what became of
//! them, and ends.
//!
//! With `-- --serve` it stays up instead, and prints a line of shell that signs and sends a
//! request.

use std::error::Error;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower_webhook::cdr_manager::Report;
use tower_webhook::connect::Trigger;
use tower_webhook::{CdrManager, Connect, Rejection, Webhook, WebhookLayer, testing};

use table::Table;

mod table;

const KEY: &str = "the key from the portal";
const REPORT: &str = r#"{"contentType":"application\/zip","httpMethod":"GET","callbackURL":"https:\/\/cdr.example.test\/r\/1","validUntil":"2030-01-01T00:00:00Z","fileName":"tx00001.zip","fileSizeInBytes":1048576,"numberOfLines":4711,"taskId":12,"taskName":"hourly","error":""}"#;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The whole integration: one layer on each route, one typed argument of its handler.
fn app() -> Result<Router> {
    let cdr = WebhookLayer::new(CdrManager::new(KEY)?).with_body_limit(64 * 1024).on_reject(remember);
    let connect = WebhookLayer::new(Connect::new(KEY)?.with_webhook_id("WH-123-456-789")).on_reject(remember);
    Ok(Router::new()
        .route("/webhooks/cdr", post(on_report).layer(cdr))
        .route("/webhooks/connect", get(on_trigger).post(on_trigger).layer(connect)))
}

async fn on_report(Webhook(report): Webhook<Report>) -> (StatusCode, String) {
    match report.outcome() {
        Ok(report) => (StatusCode::OK, format!("{} lines to fetch", report.number_of_lines.unwrap_or_default())),
        Err(failed) => (StatusCode::ACCEPTED, format!("the export failed: {failed}")),
    }
}

async fn on_trigger(Webhook(trigger): Webhook<Trigger<Option<serde_json::Value>>>) -> String {
    format!("{} has a new object", trigger.product_id.unwrap_or_default())
}

/// In a real program this would be an alert; here it is the last column of the table.
fn remember(rejection: &Rejection) {
    LAST_REASON.with_borrow_mut(|last| *last = rejection.to_string());
}

thread_local! {
    static LAST_REASON: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    if std::env::args().any(|argument| argument == "--serve") {
        println!("listening on {url}; sign and send a request with:\n\n{}\n", shell_line(&url));
        return Ok(axum::serve(listener, app()?).with_graceful_shutdown(ctrl_c()).await?);
    }
    let server = tokio::spawn(async move { axum::serve(listener, app().map_err(std::io::Error::other)?).await });
    let client = Client::builder(TokioExecutor::new()).build_http();
    let table = Table::new([("request", 33), ("answer", 6), ("what the handler or the layer says", 0)]);
    for (what, expected, request) in requests()? {
        LAST_REASON.with_borrow_mut(String::clear);
        let (mut head, body) = request.into_parts();
        head.uri = format!("{url}{}", head.uri).parse()?;
        let response = client.request(Request::from_parts(head, body)).await?;
        let status = response.status();
        let text = String::from_utf8(response.into_body().collect().await?.to_bytes().into())?;
        let why = LAST_REASON.with_borrow(|reason| if reason.is_empty() { text } else { reason.clone() });
        table.row([what, &table.answer(status.is_success(), status.as_str()), &why]);
        if status != expected {
            return Err(format!("{what}: expected {expected}").into());
        }
    }
    server.abort();
    Ok(())
}

/// What is sent, the status it has to get, and the request.
type Attempt = (&'static str, u16, Request<Full<Bytes>>);

fn requests() -> Result<Vec<Attempt>> {
    let request = |body: &'static str| Request::post("/webhooks/cdr").body(body);
    let signed = |body: &'static str| {
        testing::sign(&CdrManager::new(KEY)?, request(body)?).map_err(Box::<dyn Error + Send + Sync>::from)
    };
    let mut by_another_key = testing::sign(&CdrManager::new("a guess")?, request(REPORT)?)?;
    by_another_key.headers_mut().insert("user-agent", HeaderValue::from_static("somebody else"));
    let mut twice = signed(REPORT)?;
    let signature = twice.headers()["x-cdr-signature"].clone();
    twice.headers_mut().append("x-cdr-signature", signature);
    let mut hexadecimal = signed(REPORT)?;
    hexadecimal.headers_mut().insert("x-cdr-signature", HeaderValue::from_str(&"ab".repeat(64))?);
    let connect = Connect::new(KEY)?;
    let trigger = r#"{"webhook_id":"WH-123-456-789","product_id":"PRD-111-222-333"}"#;
    let trigger_request = |body: &'static str| Request::post("/webhooks/connect").body(body);
    let token = testing::sign(&connect, trigger_request(trigger)?)?;
    let contradicted = token.clone().map(|_| Full::from(trigger.replace("PRD-111", "PRD-999")));
    let for_another = testing::sign(&connect, trigger_request(r#"{"webhook_id":"WH-999-999-999"}"#)?)?;
    let mut by_get = token.clone().map(|_| Full::default());
    *by_get.method_mut() = http::Method::GET;
    Ok(vec![
        ("a signed report", 200, signed(REPORT)?),
        ("a signed failure notice", 202, signed(r#"{"taskId":12,"error":"disk full"}"#)?),
        ("a changed body", 401, signed(REPORT)?.map(|_| Full::from(REPORT.replace("4711", "4712")))),
        ("another key", 401, by_another_key),
        ("no signature", 401, request(REPORT)?.map(Full::from)),
        ("a signature in hexadecimal", 401, hexadecimal),
        ("two signature headers", 400, twice),
        ("a signed text that is no report", 422, signed("hello")?),
        ("a body over the limit", 413, signed(Box::leak("x".repeat(65 * 1024).into_boxed_str()))?),
        ("a Connect trigger, POST", 200, token),
        ("a Connect trigger, GET", 200, by_get),
        ("a body that contradicts its token", 401, contradicted),
        ("a token for another webhook", 403, for_another),
        ("a trigger without a token", 401, trigger_request(trigger)?.map(Full::from)),
    ])
}

/// Signs with openssl and sends with curl.
fn shell_line(url: &str) -> String {
    format!(
        r#"body='{{"taskId":12,"numberOfLines":4711,"error":""}}'; curl -i --data-binary "$body" -H "X-CDR-Signature: $(printf %s "$body" | openssl dgst -sha512 -hmac '{KEY}' -binary | base64 -w0)" {url}/webhooks/cdr"#
    )
}

async fn ctrl_c() {
    // Where no signal can be awaited, the server runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
