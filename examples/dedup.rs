//! Effectively-once handlers, shown by a sender that repeats itself.
//!
//! ```text
//! cargo run --example dedup --features memory-store,testing
//! cargo run --example dedup --features memory-store,redis,testing -- redis://127.0.0.1/
//! ```

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Request, Response, StatusCode};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_webhook::scheme::header;
use tower_webhook::{DedupLayer, Delivery, MemoryStore, Scheme, WebhookLayer, testing};

use table::Table;

mod table;

/// How often the handler was called for each delivery.
type Calls = Arc<Mutex<HashMap<String, usize>>>;

/// Whether a delivery was accepted, and what its sender was told.
type Answered = (bool, String);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let layer = match std::env::args().nth(1) {
        None => DedupLayer::new(MemoryStore::default()),
        Some(url) => over_redis(&url).await?,
    };
    let sender = Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .signed("{id}.{body}")
        .id(header("acme-id"))
        .secret("whatever Acme's portal shows")
        .build("acme")?;
    let calls = Calls::default();
    // Two replicas of one service: they share the store and nothing else of the layers.
    let replicas = [replica(&sender, &layer, &calls), replica(&sender, &layer, &calls)];

    // With Redis, each run has deliveries of its own.
    let run = std::process::id();
    let deliver = |replica: usize, name: &str| {
        let request = Request::post("/webhooks/acme").header("acme-id", format!("{name}-{run}")).body("{}");
        let (app, sender) = (replicas[replica].clone(), sender.clone());
        async move {
            let request = testing::sign(&sender, request?)?.map(Body::new);
            Ok::<_, Box<dyn Error>>(outcome(&app.oneshot(request).await?))
        }
    };
    let called = |name: &str| calls.lock().map_or(0, |calls| calls.get(&format!("{name}-{run}")).copied().unwrap_or(0));
    let table = Table::new([("what happens", 44), ("handled", 7), ("the sender was answered", 0)]);
    let show = |what: &str, name: &str, answers: &[Answered]| {
        let answers: Vec<_> = answers.iter().map(|(accepted, answer)| table.answer(*accepted, answer)).collect();
        table.row([what, &called(name).to_string(), &answers.join(", ")]);
    };

    let answers = [deliver(0, "plain").await?, deliver(0, "plain").await?];
    show("a delivery, and a replay of it", "plain", &answers);
    assert_eq!(called("plain"), 1);

    let answers = [deliver(0, "shared").await?, deliver(1, "shared").await?];
    show("the replay goes to another replica", "shared", &answers);
    assert_eq!(called("shared"), 1);

    let mut counts = BTreeMap::<_, usize>::new();
    for answer in futures_util::future::join_all((0..100).map(|n| deliver(n % 2, "slow-burst"))).await {
        *counts.entry(answer?).or_default() += 1;
    }
    let count = |((accepted, answer), count)| (accepted, format!("{count} x {answer}"));
    let mut answers: Vec<_> = counts.into_iter().map(count).collect();
    answers.sort_by_key(|(accepted, _)| !accepted);
    show("a hundred copies at once, over both replicas", "slow-burst", &answers);
    assert_eq!(called("slow-burst"), 1);

    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(deliver(0, "flaky").await?);
    }
    show("the handler fails twice", "flaky", &answers);
    assert_eq!(called("flaky"), 3);

    let handler_is_at_work = async {
        while called("slow-client") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut answers = tokio::select! {
        answer = deliver(0, "slow-client") => vec![answer?],
        () = handler_is_at_work => vec![(false, "(hung up)".to_owned())],
    };
    // The claim is given back in the background.
    tokio::time::sleep(Duration::from_millis(100)).await;
    answers.extend([deliver(1, "slow-client").await?, deliver(0, "slow-client").await?]);
    show("the sender hangs up and tries again, twice", "slow-client", &answers);
    assert_eq!(called("slow-client"), 2);
    Ok(())
}

#[cfg(feature = "redis")]
async fn over_redis(url: &str) -> Result<DedupLayer, Box<dyn Error>> {
    let store = tower_webhook::RedisStore::connect(url).await?.with_prefix("webhook-example:");
    Ok(DedupLayer::new(store).with_retention(Duration::from_secs(60)))
}

#[cfg(not(feature = "redis"))]
async fn over_redis(_: &str) -> Result<DedupLayer, Box<dyn Error>> {
    Err("for Redis, add --features redis".into())
}

fn replica(sender: &Scheme, layer: &DedupLayer, calls: &Calls) -> Router {
    let calls = calls.clone();
    let handler = async move |delivery: Delivery| {
        let id = delivery.id().unwrap_or_default().to_owned();
        let call = calls.lock().map_or(0, |mut calls| {
            let count = calls.entry(id.clone()).or_default();
            *count += 1;
            *count
        });
        if id.starts_with("slow") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if id.starts_with("flaky") && call < 3 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    };
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(sender.clone())).layer(layer.clone());
    Router::new().route("/webhooks/acme", post(handler).layer(layers))
}

fn outcome(response: &Response<Body>) -> Answered {
    let status = response.status();
    if response.headers().contains_key("webhook-duplicate") {
        (status.is_success(), format!("{} (duplicate)", status.as_str()))
    } else {
        (status.is_success(), status.as_str().to_owned())
    }
}
