//! Edge cases that no other test comes by.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::Extension;
use axum::routing::post;
use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::task::JoinSet;
use tower::Layer as _;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Backoff, DEFAULT_RETENTION, FailureKind, Filter, InboxAttempt, Page, State};
use tower_webhook::testing::ManualClock;
use tower_webhook::{Delivery, Reason, WebhookLayer};

use super::receiver::{Notes, acme, quick, receive, signed, store};
use super::sqlite::Folder;
use crate::support::{serve, until};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_repetition_is_known_for_longer_than_senders_repeat_and_its_delivery_is_kept() {
    let folder = Folder::new();
    let (notes, clock) = (Notes::default(), ManualClock::new(SystemTime::now()));
    let noted = notes.clone();
    let handler = post(move |delivery: Delivery| async move { noted.ended(&delivery) });
    let receiver = receive(quick(store(&folder)).with_clock(clock.clone()), handler).await;
    let times = async |expected: usize| {
        assert_eq!(receiver.deliver("1", "x").await.status, 200);
        receiver.settled().await;
        assert_eq!(notes.all()["1"].1, expected);
    };
    times(1).await;
    // Stripe repeats for three days.
    clock.advance(DEFAULT_RETENTION.done + DAY);
    receiver.inbox.prune(100).await.unwrap();
    assert_eq!(receiver.all().await.len(), 0, "the delivery is gone");
    times(1).await;
    clock.advance(DEFAULT_RETENTION.keys - DAY);
    receiver.inbox.prune(100).await.unwrap();
    times(1).await;
    clock.advance(2 * DAY);
    receiver.inbox.prune(100).await.unwrap();
    times(2).await;
}

/// Set for the process that its handler ends: where its file lies.
const SUICIDAL: &str = "TOWER_WEBHOOK_TEST_SUICIDAL";

/// Not a test of its own: a receiver whose handler ends the process.
#[tokio::test]
async fn child_that_ends_itself() {
    let Some(file) = std::env::var_os(SUICIDAL) else { return };
    let handler = post(|_: Delivery| async {
        std::process::abort();
        #[allow(unreachable_code, reason = "what it would return")]
        StatusCode::OK
    });
    let builder = quick(SqliteStore::open(file).unwrap()).with_lease(Duration::from_millis(200)).with_crashes(3);
    let receiver = receive(builder, handler).await;
    until("there is nothing to do", async || {
        let stats = receiver.inbox.stats().await.unwrap();
        stats.waiting + stats.in_flight == 0
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_kills_its_process_is_dead_after_so_many_crashes() {
    let folder = Folder::new();
    let (inbox, _worker) = quick(store(&folder)).wrap(post(|| async {}));
    let layer = WebhookLayer::new(acme());
    let server = serve(Router::new().route_service("/hook", layer.layer(inbox.clone()))).await;
    assert_eq!(server.send(signed("1", "x")).await.status, 200);
    let mut crashes = 0;
    loop {
        let status = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inbox::edges::child_that_ends_itself"])
            .env(SUICIDAL, folder.file())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .status();
        if status.await.unwrap().success() {
            break;
        }
        crashes += 1;
        assert!(crashes < 10, "it never ends");
    }
    let dead = inbox.list(Filter::default(), Page { before: None, limit: 1 }).await.unwrap().deliveries.remove(0);
    assert_eq!((crashes, dead.state, dead.attempts), (3, State::Dead, 3));
    assert_eq!(dead.last_failure.unwrap().kind, FailureKind::Crash);
}

#[tokio::test]
async fn a_lost_lease_cancels_the_handler_and_its_outcome_does_not_count() {
    struct Cancelled(Arc<AtomicBool>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let folder = Folder::new();
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let flag = is_cancelled.clone();
    let handler = post(move || async move {
        let _until_dropped = Cancelled(flag);
        std::future::pending::<()>().await;
    });
    let builder = quick(store(&folder)).with_lease(Duration::from_millis(600)).with_concurrency(1);
    let receiver = receive(builder, handler).await;
    receiver.deliver("1", "x").await;
    until("it runs", async || receiver.inbox.stats().await.unwrap().in_flight == 1).await;
    // As if another worker had reaped and taken it.
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.busy_timeout(Duration::from_secs(5)).unwrap();
    file.execute("UPDATE delivery SET fence = fence + 1, attempts = attempts + 1", ()).unwrap();
    until("the handler is cancelled", async || is_cancelled.load(Ordering::SeqCst)).await;
    let delivery = receiver.all().await.remove(0);
    assert_eq!((delivery.state, delivery.attempts), (State::InFlight, 2), "it is the other one's");
}

#[tokio::test]
async fn an_outage_is_probed_by_few_and_neither_new_deliveries_nor_retries_starve_after_it() {
    let folder = Folder::new();
    let (is_down, running, most) =
        (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let order = Arc::new(Mutex::new(Vec::new()));
    let (down, now, high, log) = (is_down.clone(), running.clone(), most.clone(), order.clone());
    let handler = post(move |delivery: Delivery| async move {
        high.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        now.fetch_sub(1, Ordering::SeqCst);
        if down.load(Ordering::SeqCst) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        log.lock().unwrap().push(delivery.id().unwrap().to_owned());
        StatusCode::OK
    });
    let builder = quick(store(&folder))
        .with_retry(Backoff::exponential(Duration::from_millis(1)..Duration::from_millis(1)).attempts(10_000))
        .with_concurrency(16);
    let receiver = receive(builder, handler).await;
    for n in 0..40 {
        receiver.deliver(&format!("old-{n}"), "x").await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    most.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let probing = most.swap(0, Ordering::SeqCst);
    assert!((1..=2).contains(&probing), "{probing} at once during the outage");

    receiver.inbox.pause().await.unwrap();
    until("all wait", async || receiver.inbox.stats().await.unwrap().in_flight == 0).await;
    for n in 0..40 {
        receiver.deliver(&format!("new-{n}"), "x").await;
    }
    is_down.store(false, Ordering::SeqCst);
    receiver.inbox.resume().await.unwrap();
    receiver.settled().await;
    assert!(most.load(Ordering::SeqCst) > 8, "{} at once after it", most.load(Ordering::SeqCst));
    let order = order.lock().unwrap();
    let old = order[..40].iter().filter(|id| id.starts_with("old")).count();
    assert!(order.len() == 80 && (10..=30).contains(&old), "{old} retries of the first 40: {order:?}");
}

#[tokio::test]
async fn a_store_that_hangs_is_answered_503_in_time_and_what_it_stored_is_known() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file())
        .with_put_timeout(Duration::from_millis(300))
        .with_queue_bytes(64 * 1024)
        .open()
        .unwrap();
    let (inbox, _worker) = quick(store).wrap(post(|| async {}));
    let server = serve(Router::new().route_service("/hook", WebhookLayer::new(acme()).layer(inbox.clone()))).await;
    let server = Arc::new(server);
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let send = async || {
        let mut sending = JoinSet::new();
        for n in 0..20 {
            let server = server.clone();
            sending.spawn(async move { server.send(signed(&n.to_string(), vec![b'x'; 8 * 1024])).await.status });
        }
        sending.join_all().await
    };
    let answers = send().await;
    assert!(answers.iter().all(|status| *status == 503), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(inbox.health().await.is_err());
    file.execute_batch("ROLLBACK").unwrap();
    until("all repetitions are accepted", async || send().await.iter().all(|status| *status == 200)).await;
    assert_eq!(inbox.stats().await.unwrap().waiting, 20);
}

#[tokio::test]
async fn a_body_above_the_stores_limit_is_answered_413_and_not_503() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file()).with_queue_bytes(32 * 1024).open().unwrap();
    let (inbox, _worker) = quick(store).wrap(post(|| async {}));
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let seen = reasons.clone();
    let layer = WebhookLayer::new(acme()).on_reject(move |rejection| seen.lock().unwrap().push(rejection.reason()));
    let server = serve(Router::new().route_service("/hook", layer.layer(inbox.clone()))).await;
    let reply = server.send(signed("1", vec![b'x'; 64 * 1024])).await;
    assert_eq!((reply.status.as_u16(), reply.headers.contains_key("retry-after")), (413, false));
    assert_eq!(*reasons.lock().unwrap(), [Reason::BodyTooLarge]);
    assert_eq!(server.send(signed("2", vec![b'x'; 16 * 1024])).await.status, 200);
    assert_eq!(inbox.stats().await.unwrap().waiting, 1);
}

#[tokio::test]
async fn what_is_erased_leaves_no_bytes_in_the_file() {
    let folder = Folder::new();
    let receiver = receive(quick(store(&folder)), post(|| async {})).await;
    for n in 0..30 {
        receiver.deliver(&n.to_string(), format!("personal data of number {n:02}, {}", "x".repeat(900))).await;
    }
    receiver.settled().await;
    let of = |id: &str| Filter { event_id: Some(id.to_owned().into()), ..Filter::default() };
    assert_eq!(receiver.inbox.erase(of("17"), 10).await.unwrap().erased, 1);
    receiver.worker.abort();
    drop(receiver);
    until("the file is closed", async || !folder.0.join("webhooks.db-wal").exists()).await;
    let bytes = std::fs::read(folder.file()).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("personal data of number 16") && !holds("personal data of number 17"));
}

#[tokio::test]
async fn a_tenant_with_a_backlog_does_not_delay_another_and_keeps_to_its_limit() {
    let folder = Folder::new();
    let notes = Notes::default();
    let (noted, running, most) = (notes.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let high = most.clone();
    let handler = post(move |delivery: Delivery, Extension(attempt): Extension<InboxAttempt>| async move {
        let is_loud = delivery.json("/tenant").as_deref() == Some("loud");
        if is_loud && attempt.number == 1 {
            high.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if is_loud && attempt.number == 1 {
            running.fetch_sub(1, Ordering::SeqCst);
        }
        // One that always fails holds nobody up.
        if delivery.id() == Some("loud-3") {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        noted.ended(&delivery);
        StatusCode::OK
    });
    let builder = quick(store(&folder)).with_concurrency(4).with_tenants(2, |delivery| delivery.json("/tenant"));
    let receiver = receive(builder, handler).await;
    receiver.inbox.pause().await.unwrap();
    for n in 0..200 {
        receiver.deliver(&format!("loud-{n}"), r#"{"tenant":"loud"}"#).await;
    }
    receiver.inbox.resume().await.unwrap();
    until("it works", async || notes.all().len() > 4).await;
    assert_eq!(receiver.deliver("quiet-1", r#"{"tenant":"quiet"}"#).await.status, 200);
    until("the quiet one is handled", async || notes.all().contains_key("quiet-1")).await;
    assert!(notes.all().len() < 100, "after {} of the loud one's", notes.all().len());
    until("all but one are handled", async || notes.all().len() == 200).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn depth_age_attempts_and_put_latency_are_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let folder = Folder::new();
    let handler = post(|delivery: Delivery| async move {
        match delivery.id().unwrap() {
            "gone" => StatusCode::GONE,
            "bad" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    });
    let builder = quick(store(&folder))
        .with_retry(Backoff::exponential(Duration::from_secs(60)..Duration::from_secs(60)))
        .with_lease(Duration::from_millis(300));
    let receiver = receive(builder, handler).await;
    for (id, body) in [("fine", "x"), ("fine", "x"), ("fine", "y"), ("gone", "x"), ("gone", "x"), ("bad", "x")] {
        assert_eq!(receiver.deliver(id, body).await.status, 200);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let mut seen = BTreeSet::new();
    until("everything is told", async || {
        for (key, .., value) in snapshotter.snapshot().into_vec() {
            let key = key.key();
            let is_told = match value {
                DebugValue::Counter(count) => count > 0,
                DebugValue::Gauge(_) => true,
                DebugValue::Histogram(values) => !values.is_empty(),
            };
            if is_told && key.name().starts_with("webhook_inbox_") {
                let label = key.labels().find(|label| ["outcome", "state"].contains(&label.key()));
                seen.insert(format!("{} {}", key.name(), label.map_or("", |label| label.value())));
            }
        }
        let outcomes = ["stored", "known", "conflict", "revived", "done", "retry", "dead"];
        let outcomes = outcomes.map(|outcome| format!("webhook_inbox_total {outcome}"));
        let states = State::ALL.map(|state| format!("webhook_inbox_deliveries {}", state.as_str()));
        let others = ["oldest_due_seconds", "put_seconds"].map(|name| format!("webhook_inbox_{name} "));
        outcomes.iter().chain(&states).chain(&others).all(|name| seen.contains(name))
    })
    .await;
}
