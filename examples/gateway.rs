//! A receiver for every sender, driven by a JSON file:
//!
//!     cargo run --example gateway --all-features -- gateway.json
//!
//!     {"listen": "127.0.0.1:8080", "public_url": "https://hooks.example.test", "endpoints": [
//!       {"path": "/github", "provider": "github", "secrets": ["..."]},
//!       {"path": "/sns", "provider": "aws_sns", "topics": ["arn:..."], "deduplicate": "memory"}]}
//!
//! It says on stderr when it listens, and prints each delivery as one line of JSON on stdout. Ctrl-C lets the requests in
//! flight finish.

mod gateway_config;

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde_json::json;
use tower_webhook::provider::Provider;
use tower_webhook::{DedupLayer, Delivery, MemoryStore, Rejection, WebhookLayer};

use gateway_config::{Config, Endpoint, Result};

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
    let mut app = Router::new();
    let mut paths = HashSet::new();
    for endpoint in &config.endpoints {
        let place = |error| format!("endpoint {}: {error}", endpoint.path);
        if !endpoint.path.starts_with('/') || endpoint.path.contains(['{', '}']) || !paths.insert(&endpoint.path) {
            return Err(place("its path does not start with /, has braces, or is there twice".into()).into());
        }
        app = app.route(&endpoint.path, route(endpoint).await.map_err(place)?);
    }
    let listener = tokio::net::TcpListener::bind(&config.listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(ctrl_c()).await?;
    Ok(())
}

async fn route(endpoint: &Endpoint) -> Result<MethodRouter> {
    match endpoint.provider.as_str() {
        "cdr_manager" => layered(endpoint, endpoint.cdr_manager()?).await,
        "cloudblue_connect" => layered(endpoint, endpoint.connect()?).await,
        "aws_sns" => layered(endpoint, endpoint.sns()?).await,
        _ => layered(endpoint, endpoint.sender()?).await,
    }
}

async fn layered(endpoint: &Endpoint, provider: impl Provider) -> Result<MethodRouter> {
    let mut layer = WebhookLayer::new(provider).on_reject(report);
    if let Some(bytes) = endpoint.body_limit_bytes {
        layer = layer.with_body_limit(bytes);
    }
    let handler = any(on_delivery);
    let handler = match endpoint.deduplicate.as_deref() {
        None => handler,
        Some("memory") => handler.layer(DedupLayer::new(MemoryStore::new(REMEMBERED))),
        Some(url) => handler.layer(DedupLayer::new(tower_webhook::RedisStore::connect(url).await?)),
    };
    Ok(handler.layer(layer))
}

async fn on_delivery(delivery: Delivery) -> Response {
    let summary = json!({
        "provider": delivery.provider(),
        "id": delivery.id(),
        "event": delivery.event(),
        "bytes": delivery.body().len(),
    });
    println!("{summary}");
    // A few senders look at the answer.
    match delivery.provider() {
        "adyen_payments" => "[accepted]".into_response(),
        "xero" => ().into_response(),
        _ => axum::Json(summary).into_response(),
    }
}

/// The layer tells operators what was refused; senders see no more than a status.
fn report(rejection: &Rejection) {
    eprintln!("{}: {rejection}", rejection.provider().unwrap_or("?"));
}

async fn ctrl_c() {
    // Where no signal can be awaited, the gateway runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
