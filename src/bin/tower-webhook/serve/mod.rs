//! The gateway: a receiver for every sender, driven by a JSON file.

mod config;
mod inbox;
mod output;
pub mod server;

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde_json::{Value, json};
use tower_webhook::inbox::InboxAttempt;
use tower_webhook::inspect::Diagnosis;
use tower_webhook::{AnyProvider, DedupLayer, Delivery, MemoryStore, Reason, Rejection, WebhookLayer};

use config::{Config, Endpoint, Result};
use inbox::Inboxes;
use output::Lines;

/// How many endpoints are tried for a request that another one refused.
const MAX_OTHERS: usize = 32;

/// How many deliveries one endpoint remembers in memory.
const REMEMBERED: u64 = 100_000;

/// Returns an error with what caused it.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Serves what this file says, until SIGTERM or Ctrl-C.
pub async fn run(path: &Path) -> Result<()> {
    let config = Config::read(path)?;
    let output = Output { deliveries: Lines::to(std::io::stdout()), refusals: Lines::to(std::io::stderr()) };
    let mut app = Router::new();
    let mut paths = HashSet::new();
    let mut inboxes = Inboxes::default();
    let mut providers = Vec::new();
    let mut diagnosis = Diagnosis::default();
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        let place = |error| format!("endpoint {}: {error}", endpoint.path);
        if !endpoint.path.starts_with('/') || endpoint.path.contains(['{', '}']) || !paths.insert(&endpoint.path) {
            return Err(place("its path does not start with /, has braces, or is there twice".into()).into());
        }
        let provider = config.provider(index).map_err(place)?;
        if index < MAX_OTHERS {
            diagnosis = diagnosis.with_other_sender(endpoint.path.clone(), provider.clone());
        }
        providers.push(provider);
    }
    for (endpoint, provider) in config.endpoints.iter().zip(providers) {
        let place = |error| format!("endpoint {}: {error}", endpoint.path);
        let layer = WebhookLayer::new(provider).with_diagnosis(explain(&diagnosis, endpoint, &output));
        app = app.route(&endpoint.path, route(endpoint, layer, &config, &mut inboxes, &output).await.map_err(place)?);
    }
    let app = app.merge(inboxes.admin(&config)?);
    let listener = tokio::net::TcpListener::bind(&config.listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let refusals = output.refusals.clone();
    let workers = inboxes.start();
    if !server::serve(listener, app.with_state(output)).await {
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

/// Returns what explains the refusals of an endpoint, in one line each. All endpoints share the
/// work that is done for it.
fn explain(diagnosis: &Diagnosis, endpoint: &Endpoint, output: &Output) -> Diagnosis {
    let lines = output.refusals.clone();
    diagnosis.clone().with_config(endpoint.sender.clone()).on_explained(move |rejection, explanation| {
        lines.report(format!("{}: {explanation}", rejection.provider().unwrap_or("?")));
    })
}

async fn route(
    endpoint: &Endpoint,
    layer: WebhookLayer<AnyProvider>,
    config: &Config,
    inboxes: &mut Inboxes,
    output: &Output,
) -> Result<MethodRouter<Output>> {
    let mut handler = inboxes.wrap(config, endpoint, output, any(on_delivery)).await?;
    handler = match endpoint.deduplicate.as_deref() {
        None => handler,
        Some("memory") => handler.layer(DedupLayer::new(MemoryStore::new(REMEMBERED))),
        Some(url) => handler.layer(DedupLayer::new(tower_webhook::RedisStore::connect(url).await?)),
    };
    let refusals = output.refusals.clone();
    let report = move |rejection: &Rejection| refusals.report(told(rejection));
    Ok(handler.layer(layer.on_reject(report)))
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
