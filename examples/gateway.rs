//! A receiver for every sender, driven by a JSON file:
//!
//!     cargo run --example gateway --all-features -- gateway.json
//!
//!     {"listen": "127.0.0.1:8080", "public_url": "https://hooks.example.test", "endpoints": [
//!       {"path": "/github", "provider": "github", "secrets": ["..."]},
//!       {"path": "/sns", "provider": "aws_sns", "topics": ["arn:..."], "deduplicate": "memory"}]}
//!
//! With `"inbox": "sqlite:webhooks.db"` (or `postgres://..`) each delivery is stored before its
//! sender gets the 2xx; with `"forward": "http://127.0.0.1:3000/hooks"` it is sent there, with an inbox until the target answers 2xx. Further keys:
//! `retry`, `lease_seconds`, `concurrency`, `order`, `order_on_dead`, `forward_secret`,
//! `forward_timeout_seconds`, `forward_signature`, for all endpoints or in one; and `admin` with
//! the operator's `path` and `bearer`.
//!
//! It says on stderr when it listens, and prints each delivery as one line of JSON on stdout.
//! SIGTERM and Ctrl-C let the requests in flight finish.

mod gateway_config;
mod gateway_inbox;
mod gateway_output;
mod gateway_serve;

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde_json::{Value, json};
use tower_webhook::inbox::InboxAttempt;
use tower_webhook::{DedupLayer, Delivery, MemoryStore, Reason, Rejection, WebhookLayer};

use gateway_config::{Config, Result};
use gateway_inbox::Inboxes;
use gateway_output::Lines;

/// How many deliveries one endpoint remembers in memory.
const REMEMBERED: u64 = 100_000;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: gateway <configuration.json>");
        return ExitCode::FAILURE;
    };
    match run(Path::new(&path)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: &Path) -> Result<()> {
    let config = Config::read(path)?;
    let output = Output { deliveries: Lines::to(std::io::stdout()), refusals: Lines::to(std::io::stderr()) };
    let mut app = Router::new();
    let mut paths = HashSet::new();
    let mut inboxes = Inboxes::default();
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        let place = |error| format!("endpoint {}: {error}", endpoint.path);
        if !endpoint.path.starts_with('/') || endpoint.path.contains(['{', '}']) || !paths.insert(&endpoint.path) {
            return Err(place("its path does not start with /, has braces, or is there twice".into()).into());
        }
        app = app.route(&endpoint.path, route(index, &config, &mut inboxes, &output).await.map_err(place)?);
    }
    let app = app.merge(inboxes.admin(&config)?);
    let listener = tokio::net::TcpListener::bind(&config.listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let refusals = output.refusals.clone();
    let workers = inboxes.start();
    if !gateway_serve::serve(listener, app.with_state(output)).await {
        let told = refusals.write("gateway: some requests did not finish in time".to_owned());
        // The end does not wait for somebody to read it.
        let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
    }
    // They heard the same signal.
    workers.join_all().await;
    Ok(())
}

/// Where the gateway tells what came.
#[derive(Clone)]
struct Output {
    deliveries: Lines,
    refusals: Lines,
}

async fn route(index: usize, config: &Config, inboxes: &mut Inboxes, output: &Output) -> Result<MethodRouter<Output>> {
    let endpoint = &config.endpoints[index];
    let mut handler = inboxes.wrap(config, endpoint, output, any(on_delivery)).await?;
    handler = match endpoint.deduplicate.as_deref() {
        None => handler,
        Some("memory") => handler.layer(DedupLayer::new(MemoryStore::new(REMEMBERED))),
        Some(url) => handler.layer(DedupLayer::new(tower_webhook::RedisStore::connect(url).await?)),
    };
    let refusals = output.refusals.clone();
    let report = move |rejection: &Rejection| refusals.report(told(rejection));
    Ok(handler.layer(WebhookLayer::new(config.provider(index)?).on_reject(report)))
}

async fn on_delivery(
    State(output): State<Output>,
    delivery: Delivery,
    attempt: Option<Extension<InboxAttempt>>,
) -> Response {
    let summary = summary(&delivery, attempt.map(|Extension(attempt)| attempt));
    // A delivery that nobody was told of did not happen: 503, after which most senders repeat it.
    if !output.deliveries.write(summary.to_string()).await {
        return Rejection::new(Reason::HandlerFailed).with_detail("stdout is not being read").into_response();
    }
    // A few senders look at the answer.
    match delivery.provider() {
        "adyen_payments" => "[accepted]".into_response(),
        "xero" => ().into_response(),
        _ => axum::Json(summary).into_response(),
    }
}

/// What is printed of a delivery.
fn summary(delivery: &Delivery, attempt: Option<InboxAttempt>) -> Value {
    let mut summary = json!({
        "provider": delivery.provider(),
        "id": delivery.id(),
        "event": delivery.event(),
        "bytes": delivery.body().len(),
    });
    if let Some(attempt) = attempt {
        summary["attempt"] = attempt.number.into();
    }
    summary
}

/// What the operator is told of a refusal; the sender sees no more than a status.
fn told(rejection: &Rejection) -> String {
    format!("{}: {rejection}", rejection.provider().unwrap_or("?"))
}
