//! What operators' tools get: metrics, a dashboard and alert rules over them, and spans.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::{post, post_service};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde_json::Value;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_webhook::dedup::{Claim, ClaimToken, DoneAnswer, Key, Store, StoreError, StoreFailure};
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Backoff, Filter, Inbox, Page};
use tower_webhook::scheme::{header, json};
use tower_webhook::{
    DedupLayer, Delivery, Events, Json, MemoryStore, Reason, Scheme, Secrets, Webhook, WebhookLayer, senders, testing,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::inbox::sqlite::Folder;
use crate::support::until;

fn acme_with(secrets: impl Into<Secrets>) -> Scheme {
    Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .signed("{id}.{body}")
        .id(header("acme-id"))
        .event(json("/type"))
        .secret(secrets)
        .build("acme")
        .unwrap()
}

fn acme() -> Scheme {
    acme_with(["the new secret", "the old secret"])
}

fn signed_by(secret: &str, id: &str, body: &'static str) -> Request<Full<Bytes>> {
    testing::sign(&acme_with(secret), Request::post("/").header("acme-id", id).body(body).unwrap()).unwrap()
}

fn signed(id: &str, body: &'static str) -> Request<Full<Bytes>> {
    signed_by("the new secret", id, body)
}

async fn send(app: &Router, request: Request<Full<Bytes>>) -> u16 {
    app.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// One sample that is exported: a name and its labels.
type Sample = (String, BTreeMap<String, String>);

fn samples(text: &str) -> Vec<Sample> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| metrics_in(line).remove(0)).map(|(name, matchers)| (name, exact(matchers))).collect()
}

fn exact(matchers: Vec<(String, String, String)>) -> BTreeMap<String, String> {
    matchers.into_iter().map(|(label, _, value)| (label, value)).collect()
}

/// The metrics of this crate in an expression, each with its matchers: label, operator, value.
fn metrics_in(expression: &str) -> Vec<(String, Vec<(String, String, String)>)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find("webhook_") {
        rest = &rest[start..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        let mut matchers = Vec::new();
        if let Some(inner) = after.strip_prefix('{') {
            let mut inner = inner;
            while !inner.starts_with('}') {
                let operator = inner.find(['=', '!']).unwrap();
                let label = inner[..operator].trim_matches([' ', ',']).to_owned();
                let quote = inner.find('"').unwrap();
                let value_end = quote + 1 + inner[quote + 1..].find('"').unwrap();
                let operator = inner[operator..quote].to_owned();
                matchers.push((label, operator, inner[quote + 1..value_end].to_owned()));
                inner = &inner[value_end + 1..];
            }
            rest = inner;
        }
        found.push((name.to_owned(), matchers));
    }
    found
}

/// Every expression of the dashboard, and of the alert rules.
fn expressions() -> Vec<String> {
    let file = |name: &str| {
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana").join(name))
            .unwrap()
    };
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        expressions.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        expressions.extend(variable["query"]["query"].as_str().map(str::to_owned));
    }
    let panels = expressions.len();
    assert!(panels > 15, "{panels}");
    // Each rule is an alert with an expression in a block of its own.
    let rules = file("alerts.yml");
    for rule in rules.split("- alert: ").skip(1) {
        let (_, expression) = rule.split_once("expr: |\n").unwrap_or_else(|| panic!("{rule}"));
        let lines = expression.lines().take_while(|line| line.starts_with("          "));
        expressions.push(lines.collect::<Vec<_>>().join("\n"));
        assert!(rule.contains("severity: ") && rule.contains("summary: "), "{rule}");
    }
    assert_eq!(expressions.len() - panels, 7);
    expressions
}

/// The metrics of the guide: name, type, labels.
fn documented() -> Vec<(String, String, BTreeSet<String>)> {
    let guide = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md"));
    let guide = guide.unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| `webhook_")).map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let labels = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[0].trim_matches(['|', ' ', '`']).to_owned(), cells[1].to_owned(), labels)
    });
    // The table of spans' fields has names with a dot.
    rows.filter(|(name, ..)| !name.contains('.')).collect()
}

/// A store that is down.
#[derive(Clone)]
struct Down;

impl Store for Down {
    async fn claim(&self, _: Key, _: ClaimToken, _: Duration) -> Result<Claim, StoreError> {
        Err(StoreError::new("it is down"))
    }

    async fn commit(&self, _: Key, _: ClaimToken, _: DoneAnswer, _: Duration) -> Result<bool, StoreError> {
        Err(StoreError::new("it is down"))
    }

    async fn release(&self, _: Key, _: ClaimToken) -> Result<(), StoreError> {
        Err(StoreError::new("it is down"))
    }
}

/// Everything that is counted, once at least.
async fn traffic(exported: impl Fn() -> String) {
    let layer = || WebhookLayer::new(acme());
    let handler = async |Webhook(Json(event)): Webhook<Json<Value>>| event["type"].to_string();
    let events = Router::new().route("/", post_service(Events::new().on("paid", handler)).layer(layer()));
    assert_eq!(send(&events, signed("1", r#"{"type":"paid"}"#)).await, 200);
    assert_eq!(send(&events, signed_by("the old secret", "2", r#"{"type":"paid"}"#)).await, 200);
    assert_eq!(send(&events, signed_by("a wrong secret", "3", r#"{"type":"paid"}"#)).await, 401);
    assert_eq!(send(&events, signed("4", r#"{"type":"unheard"}"#)).await, 204);
    let dropbox = WebhookLayer::new(senders::dropbox("secret").unwrap());
    let dropbox = Router::new().route("/", axum::routing::any(async || "handled").layer(dropbox));
    assert_eq!(send(&dropbox, Request::get("/?challenge=abc").body(Full::default()).unwrap()).await, 200);

    let once = ServiceBuilder::new().layer(layer()).layer(DedupLayer::new(MemoryStore::default()));
    let once = Router::new().route("/", post(async || "handled").layer(once));
    let anyway = DedupLayer::new(Down).with_store_failure(StoreFailure::Admit);
    let anyway =
        Router::new().route("/", post(async || "handled").layer(ServiceBuilder::new().layer(layer()).layer(anyway)));
    for app in [&once, &once, &anyway] {
        assert_eq!(send(app, signed("5", "{}")).await, 200);
    }

    let folder = Folder::new();
    let handler = post(async |delivery: Delivery| match delivery.id() {
        Some("gone") => StatusCode::GONE,
        _ => StatusCode::OK,
    });
    let store = SqliteStore::builder(folder.file()).with_max_bytes(1 << 20).open().unwrap();
    let (inbox, worker) = Inbox::new(store).wrap(handler.with_state(()));
    let app = Router::new().route_service("/", layer().with_body_limit(4 << 20).layer(inbox.clone()));
    for id in ["fine", "fine", "gone"] {
        assert_eq!(send(&app, signed(id, "{}")).await, 200);
    }
    let large: &'static str = "x".repeat(600 * 1024).leak();
    let mut statuses = Vec::new();
    while statuses.last() != Some(&503) && statuses.len() < 10 {
        statuses.push(send(&app, signed(&format!("large {}", statuses.len()), large)).await);
    }
    assert_eq!(statuses.last(), Some(&503), "the store is full at last: {statuses:?}");
    tokio::spawn(worker.run(std::future::pending()));
    until("one is dead", async || inbox.stats().await.unwrap().dead == 1).await;
    until("the numbers are told", async || exported().contains("webhook_inbox_oldest_due_seconds{")).await;
}

#[tokio::test]
async fn every_metric_of_the_guide_the_dashboard_and_the_rules_is_exported_after_real_traffic() {
    let buckets = [0.001, 0.01, 0.1, 1.0];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &buckets)
        .unwrap()
        .set_buckets_for_metric(Matcher::Suffix("_batch_size".into()), &buckets)
        .unwrap()
        .build_recorder();
    let handle = recorder.handle();
    // For all threads, since a store writes in one of its own. Tests with a recorder of their own go on
    // using that.
    metrics::set_global_recorder(recorder).unwrap();
    traffic(|| handle.render()).await;
    let text = handle.render();
    let exported = samples(&text);
    let is_exported = |name: &str| exported.iter().any(|(own, _)| own == name);

    let documented = documented();
    for (name, kind, labels) in &documented {
        assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name}, a {kind}, is not exported:\n{text}");
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        let (_, own) = exported.iter().find(|(own, _)| *own == sample).unwrap();
        assert_eq!(own.keys().cloned().collect::<BTreeSet<_>>(), *labels, "{name}");
    }
    let is_documented = |name: &str| documented.iter().any(|(own, ..)| own == name);
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE webhook_")) {
        let name = format!("webhook_{}", line.split(' ').next().unwrap());
        assert!(is_documented(&name), "{name} is not in the guide");
    }

    let reasons: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    for expression in expressions() {
        let metrics = metrics_in(&expression);
        assert!(!metrics.is_empty(), "{expression}");
        for (name, matchers) in metrics {
            assert!(is_exported(&name), "{name} of {expression} is not exported:\n{text}");
            let own: Vec<_> = exported.iter().filter(|(own, _)| *own == name).collect();
            for (label, operator, value) in matchers {
                let values: BTreeSet<_> = own.iter().filter_map(|(_, labels)| labels.get(&label)).collect();
                assert!(!values.is_empty(), "{name} has no label {label}: {expression}");
                if value.contains('$') || operator == "!=" {
                    continue;
                }
                for value in value.split('|') {
                    let is_there = match (value.strip_prefix(".*"), &*label) {
                        (Some(end), "reason") => reasons.iter().any(|reason| reason.ends_with(end)),
                        (None, "reason") => reasons.contains(value),
                        _ => values.iter().any(|own| **own == *value),
                    };
                    assert!(is_there, "{name} has no {label}={value}: {expression}\n{text}");
                }
            }
        }
        // What is grouped by is a label of something in the expression.
        for group in expression.split("by (").skip(1) {
            for label in group.split(')').next().unwrap().split(", ") {
                let is_label = exported.iter().any(|(_, labels)| labels.contains_key(label));
                assert!(is_label, "{label} in {expression}");
            }
        }
    }
}

/// The spans that were made: name, fields, and the events inside them.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<u64, (String, BTreeMap<String, String>)>>>);

impl Spans {
    fn named(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        let spans = self.0.lock().unwrap();
        spans.values().filter(|(own, _)| own == name).map(|(_, fields)| fields.clone()).collect()
    }
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S> tracing_subscriber::Layer<S> for Spans
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().insert(id.into_u64(), (attributes.metadata().name().to_owned(), fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some((_, fields)) = self.0.lock().unwrap().get_mut(&id.into_u64()) {
            values.record(&mut Fields(fields));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        if fields.get("message").is_some_and(|message| message == "the handler works")
            && let Some(span) = context.lookup_current()
        {
            self.0.lock().unwrap().get_mut(&span.id().into_u64()).unwrap().1.insert("handler".into(), "inside".into());
        }
    }
}

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn each_request_and_each_attempt_has_a_span_that_links_to_the_senders_trace() {
    let spans = Spans::default();
    // As in `operators`: with one subscriber alone, another thread may be asked whether anyone listens.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _tracing = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let folder = Folder::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let seen = seen.clone();
        post(async move |headers: HeaderMap| {
            tracing::info!("the handler works");
            let of = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let mut seen = seen.lock().unwrap();
            seen.push((of("traceparent"), of("tracestate")));
            if seen.len() == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
        })
    };
    let (inbox, worker) = Inbox::new(SqliteStore::open(folder.file()).unwrap())
        .with_retry(Backoff::exponential(Duration::from_millis(1)..Duration::from_millis(1)).attempts(3))
        .wrap(handler.clone().with_state(()));
    let app = Router::new()
        .route("/direct", handler.layer(WebhookLayer::new(acme())))
        .route_service("/", WebhookLayer::new(acme()).layer(inbox.clone()));
    let traced = |mut request: Request<Full<Bytes>>, traceparent: &str| {
        request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
        request.headers_mut().insert("tracestate", "vendor=1".parse().unwrap());
        request
    };
    assert_eq!(send(&app, traced(signed("evt_1", r#"{"type":"paid"}"#), TRACEPARENT)).await, 200);
    tokio::spawn(worker.run(std::future::pending()));
    until("it is done", async || inbox.stats().await.unwrap().done == 1).await;

    let [received] = &spans.named("webhook")[..] else { panic!("{:?}", spans.named("webhook")) };
    for (field, value) in [
        ("otel.kind", "server"),
        ("messaging.system", "webhook"),
        ("messaging.operation.type", "receive"),
        ("messaging.destination.name", "acme"),
        ("messaging.message.id", "evt_1"),
        ("messaging.message.body.size", "15"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("webhook.event", "paid"),
        ("webhook.outcome", "delivered"),
        ("webhook.key_index", "0"),
        ("link.trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ("link.span_id", "b7ad6b7169203331"),
    ] {
        assert_eq!(received.get(field).map(String::as_str), Some(value), "{field} of {received:?}");
    }
    let attempts = spans.named("webhook attempt");
    let of = |field: &str| attempts.iter().map(|span| span.get(field).map(String::as_str)).collect::<Vec<_>>();
    assert_eq!(of("webhook.attempt"), [Some("1"), Some("2")]);
    assert_eq!(of("error.type"), [Some("handler"), None]);
    assert_eq!(of("otel.status_code"), [Some("ERROR"), None]);
    assert_eq!(of("messaging.message.id"), [Some("evt_1"); 2]);
    assert_eq!(of("link.trace_id"), [Some("0af7651916cd43dd8448eb211c80319c"); 2]);
    assert_eq!(of("handler"), [Some("inside"); 2], "what the handler logs is in the span");
    let context = (Some(TRACEPARENT.to_owned()), Some("vendor=1".to_owned()));
    assert_eq!(*seen.lock().unwrap(), [context.clone(), context], "both attempts have it");
    let listed = inbox.list(Filter::default(), Page { before: None, limit: 1 }).await.unwrap().deliveries;
    let stored = inbox.get(listed[0].id).await.unwrap().unwrap();
    assert_eq!(stored.traceparent.as_deref(), Some(TRACEPARENT));

    // What isn't well-formed is no link, and is not stored.
    assert_eq!(send(&app, traced(signed("evt_2", "{}"), &TRACEPARENT.to_uppercase())).await, 200);
    let listed = inbox.list(Filter::default(), Page { before: None, limit: 1 }).await.unwrap().deliveries;
    assert_eq!(inbox.get(listed[0].id).await.unwrap().unwrap().traceparent, None);
    let mut forged = signed("evt_3", "{}");
    *forged.uri_mut() = "/direct?token=hunter2".parse().unwrap();
    *forged.body_mut() = Full::from("secret-payload");
    assert_eq!(send(&app, forged).await, 401);
    let spans = spans.named("webhook");
    assert!(!spans[1].contains_key("link.trace_id"), "{:?}", spans[1]);
    assert_eq!(spans[2]["error.type"], "signature_mismatch");
    assert_eq!((&*spans[2]["webhook.outcome"], &*spans[2]["http.response.status_code"]), ("rejected", "401"));
    let all = format!("{spans:?}");
    assert!(!all.contains("hunter2") && !all.contains("secret-payload"), "{all}");
}
