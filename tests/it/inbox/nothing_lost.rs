//! What was acknowledged is handled, whatever happens in between. Each test prints a line of
//! figures.
//!
//! They are short unless `ROUNDS` says how often things are to break:
//!
//! ```text
//! ROUNDS=20 cargo test --all-features --test it inbox::nothing_lost -- --nocapture --test-threads 1 | grep '^|'
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::Extension;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tower_webhook::inbox::postgres::PostgresStore;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{
    FailureKind, Filter, Inbox, InboxAttempt, InboxErrorKind, InboxStore as _, Page, State, Take,
};
use tower_webhook::testing::inbox_entry;
use tower_webhook::{Clock, Delivery};

use super::postgres_server::Postgres;
use super::receiver::{Notes, Receiver, Route, quick, receive, signed, store};
use super::sqlite::{Folder, SmallDisk};
use crate::support::until;

/// How often something breaks: a few times, or as `ROUNDS` says.
fn rounds(few: usize) -> usize {
    std::env::var("ROUNDS").map_or(few, |rounds| rounds.parse().expect("ROUNDS is a number"))
}

/// What became of the events of a test.
#[derive(Default)]
pub struct Figures {
    pub sent: usize,
    pub acknowledged: BTreeSet<String>,
    pub stored: u64,
    /// How often each was handled.
    pub handled: BTreeMap<String, usize>,
}

impl Figures {
    /// Prints them, and fails if an event is lost.
    #[track_caller]
    pub fn tell(&self, test: &str) {
        let Self { sent, acknowledged, stored, handled } = self;
        let lost: Vec<_> = acknowledged.iter().filter(|id| !handled.contains_key(*id)).collect();
        let twice = handled.values().filter(|times| **times > 1).count();
        println!(
            "\n| {test} | sent {sent} | acknowledged {} | stored {stored} | handled {} | lost {} | handled twice {twice} |",
            acknowledged.len(),
            handled.len(),
            lost.len(),
        );
        assert_eq!(lost, Vec::<&String>::new(), "{test}");
    }
}

/// A sender that sends one event after the other, by several connections, until it is stopped.
pub struct Sending {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<(usize, Vec<String>)>,
}

impl Sending {
    const CONNECTIONS: usize = 8;

    /// Starts to send what `request` makes of an id, to each of these servers.
    pub fn start(
        targets: impl IntoIterator<Item = SocketAddr>,
        request: impl Fn(&str) -> Request<Full<Bytes>> + Copy + Send + 'static,
    ) -> Self {
        let targets = Arc::new(Mutex::new(Vec::from_iter(targets)));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for task in 0..Self::CONNECTIONS {
            let (targets, is_over) = (targets.clone(), is_over.clone());
            tasks.spawn(async move {
                let client = Client::builder(TokioExecutor::new()).build_http();
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return (n, acknowledged);
                    }
                    let target = {
                        let targets = targets.lock().unwrap();
                        targets[task % targets.len()]
                    };
                    let id = format!("{task}-{n}");
                    let mut request = request(&id);
                    *request.uri_mut() = format!("http://{target}{}", request.uri()).parse().unwrap();
                    match tokio::time::timeout(Duration::from_secs(10), client.request(request)).await {
                        Ok(Ok(response)) if response.status().is_success() => acknowledged.push(id),
                        _ => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                unreachable!()
            });
        }
        Self { targets, is_over, tasks }
    }

    /// Leads what goes to a server to the one that took its place.
    pub fn lead_to(&self, number: usize, target: SocketAddr) {
        self.targets.lock().unwrap()[number] = target;
    }

    /// Returns how many events were sent, and those that were acknowledged.
    pub async fn stop(self) -> (usize, BTreeSet<String>) {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut sent, mut acknowledged) = (0, BTreeSet::new());
        for (of_task, ids) in self.tasks.join_all().await {
            sent += of_task;
            acknowledged.extend(ids);
        }
        (sent, acknowledged)
    }
}

fn event(id: &str) -> Request<Full<Bytes>> {
    signed(id, vec![b'x'; 1024])
}

/// Waits until nothing is left to be handled.
async fn drained<S>(inbox: &Inbox<S>) {
    let began = Instant::now();
    loop {
        // A store that was just killed or was full may fail.
        if let Ok(stats) = inbox.stats().await {
            if stats.waiting + stats.in_flight == 0 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{stats:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many events are stored in whatever state.
async fn stored<S>(inbox: &Inbox<S>) -> u64 {
    let stats = inbox.stats().await.unwrap();
    stats.waiting + stats.in_flight + stats.done + stats.dead + stats.cancelled
}

fn handled(notes: &Notes) -> BTreeMap<String, usize> {
    notes.all().into_iter().filter(|(_, (_, ended))| *ended > 0).map(|(id, (_, ended))| (id, ended)).collect()
}

/// A handler that takes a moment.
fn handler(notes: &Notes) -> Route {
    let notes = notes.clone();
    post(move |delivery: Delivery| async move {
        notes.began(&delivery);
        tokio::time::sleep(Duration::from_millis(3)).await;
        notes.ended(&delivery);
    })
}

/// Set for a receiver in a process of its own: the address of its store, and the file in which its
/// handler notes each id.
const STORE: &str = "TOWER_WEBHOOK_TEST_STORE";
const NOTES: &str = "TOWER_WEBHOOK_TEST_NOTES";

/// Not a test of its own: the receiver that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_receives() {
    let (Ok(address), Some(notes)) = (std::env::var(STORE), std::env::var_os(NOTES)) else { return };
    end_with_the_parent();
    let notes = Arc::new(std::fs::File::options().create(true).append(true).open(notes).unwrap());
    let handler = move |delivery: Delivery| async move {
        tokio::time::sleep(Duration::from_millis(3)).await;
        (&*notes).write_all(format!("{}\n", delivery.id().unwrap()).as_bytes()).unwrap();
    };
    let builder = match address.strip_prefix("sqlite:") {
        Some(file) => quick(SqliteStore::open(file).unwrap()),
        None => quick(PostgresStore::connect(address).await.unwrap()),
    };
    let receiver = receive(builder.with_lease(Duration::from_millis(500)).with_crashes(100), post(handler)).await;
    println!("\nlistening {}", receiver.server.address);
    std::future::pending::<()>().await;
}

/// Whoever started this process holds the other end of its stdin; when that is gone, so is this.
fn end_with_the_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// A test of this file as a process of its own, which ends with its value.
struct Child {
    process: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Child {
    fn start(test: &str, variables: &[(&str, &std::ffi::OsStr)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("inbox::nothing_lost::{test}"), "--nocapture"])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Reads what follows this word, once it is said.
    fn hears(&mut self, word: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned())).expect("the child ended by itself")
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A receiver in a process of its own.
struct Replica {
    child: Child,
    address: SocketAddr,
}

impl Replica {
    fn start(store: &str, notes: &Path) -> Self {
        let mut child = Child::start("child_that_receives", &[(STORE, store.as_ref()), (NOTES, notes.as_os_str())]);
        let address = child.hears("listening ").parse().unwrap();
        Self { child, address }
    }
}

fn noted(notes: &Path) -> BTreeMap<String, usize> {
    let mut handled = BTreeMap::new();
    // Nothing was handled if it isn't there.
    for id in std::fs::read_to_string(notes).unwrap_or_default().lines() {
        *handled.entry(id.to_owned()).or_default() += 1;
    }
    handled
}

/// Has receivers on one store killed in turns, each of them `rounds` times.
async fn kill_receivers(test: &str, address: &str, replicas: usize, rounds: usize, inbox: Inbox<()>) {
    let folder = Folder::new();
    let notes = folder.0.join("handled");
    let mut receivers: Vec<Replica> = (0..replicas).map(|_| Replica::start(address, &notes)).collect();
    let sending = Sending::start(receivers.iter().map(|receiver| receiver.address), event);
    for round in 0..rounds * replicas {
        tokio::time::sleep(Duration::from_millis(300 + 70 * (round as u64 % 7))).await;
        let number = round % replicas;
        receivers[number].child.kill();
        receivers[number] = Replica::start(address, &notes);
        sending.lead_to(number, receivers[number].address);
    }
    let (sent, acknowledged) = sending.stop().await;
    drained(&inbox).await;
    assert_eq!(inbox.stats().await.unwrap().dead, 0);
    let stored = stored(&inbox).await;
    drop(receivers);
    assert!(acknowledged.len() > 10 * rounds, "only {} were acknowledged", acknowledged.len());
    Figures { sent, acknowledged, stored, handled: noted(&notes) }.tell(&format!("{test} x{rounds}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_killed_under_load_loses_nothing_it_acknowledged() {
    let folder = Folder::new();
    let address = format!("sqlite:{}", folder.file().display());
    let inbox = Inbox::new(store(&folder)).wrap(()).0;
    kill_receivers("receiver killed, SQLite", &address, 1, rounds(6), inbox).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_on_postgres_that_is_killed_under_load_loses_nothing_it_acknowledged() {
    let server = Postgres::start().await;
    let inbox = Inbox::new(PostgresStore::connect(server.url()).await.unwrap()).wrap(()).0;
    kill_receivers("receiver killed, Postgres", &server.url(), 1, rounds(3), inbox).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_of_which_one_is_killed_lose_nothing_they_acknowledged() {
    let server = Postgres::start().await;
    let inbox = Inbox::new(PostgresStore::connect(server.url()).await.unwrap()).wrap(()).0;
    kill_receivers("one of two replicas killed, Postgres", &server.url(), 2, rounds(4) / 4, inbox).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_whose_postgres_is_killed_or_paused_loses_nothing_it_acknowledged() {
    let mut server = Postgres::start().await;
    let (kills, store) = (rounds(4) / 4, PostgresStore::connect(server.url()).await.unwrap());
    let notes = Notes::default();
    let builder = quick(store.clone()).with_lease(Duration::from_millis(500)).with_crashes(100);
    let receiver = receive(builder, handler(&notes)).await;
    let sending = Sending::start([receiver.server.address], event);
    for round in 0..2 * kills {
        tokio::time::sleep(Duration::from_millis(400)).await;
        if round % 2 == 0 {
            server.kill();
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.restart().await;
        } else {
            server.pause();
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.go_on();
        }
        let back = Instant::now();
        until("it accepts again", async || store.health().await.is_ok()).await;
        assert!(back.elapsed() < Duration::from_secs(5));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (sent, acknowledged) = sending.stop().await;
    drained(&receiver.inbox).await;
    assert!(acknowledged.len() > 50, "only {} were acknowledged", acknowledged.len());
    let stored = stored(&receiver.inbox).await;
    let test = format!("Postgres killed x{kills} and paused x{kills}");
    Figures { sent, acknowledged, stored, handled: handled(&notes) }.tell(&test);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_whose_disk_is_full_loses_nothing_it_acknowledged_and_accepts_once_there_is_room() {
    let disk = SmallDisk::new(40);
    let store = SqliteStore::builder(disk.0.file()).allow_unsafe_file_systems().open().unwrap();
    let ballast = disk.0.0.join("ballast");
    std::fs::write(&ballast, vec![1; 16 * 1024 * 1024]).unwrap();
    let notes = Notes::default();
    let receiver = receive(quick(store.clone()), handler(&notes)).await;
    receiver.inbox.pause().await.unwrap();
    let sending = Sending::start([receiver.server.address], |id| signed(id, vec![b'x'; 32 * 1024]));
    let is_full = async || store.health().await.is_err_and(|error| error.kind() == InboxErrorKind::Full);
    until("the disk is full", is_full).await;
    let full = Instant::now();
    receiver.inbox.resume().await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    std::fs::remove_file(&ballast).unwrap();
    let (freed, full) = (Instant::now(), full.elapsed());
    until("it accepts again", async || receiver.deliver("after", "").await.status == 200).await;
    let accepts_after = freed.elapsed();
    assert!(accepts_after < Duration::from_secs(5), "{accepts_after:?}");
    let (sent, acknowledged) = sending.stop().await;
    drained(&receiver.inbox).await;
    let stored = stored(&receiver.inbox).await;
    let test = format!("disk full for {full:.1?}, accepts {accepts_after:.1?} after there is room");
    Figures { sent, acknowledged, stored, handled: handled(&notes) }.tell(&test);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_whose_postgres_has_a_full_disk_loses_nothing_it_acknowledged_and_accepts_once_there_is_room() {
    let server = Postgres::start_on_small_disk(88).await;
    let ballast = server.disk().join("ballast");
    let store = PostgresStore::connect(server.url()).await.unwrap();
    std::fs::write(&ballast, vec![1; 44 * 1024 * 1024]).unwrap();
    let notes = Notes::default();
    let receiver = receive(quick(store.clone()), handler(&notes)).await;
    receiver.inbox.pause().await.unwrap();
    let event = |id: &str| signed(id, vec![b'x'; 32 * 1024]);
    let sending = Sending::start([receiver.server.address], event);
    let mut number = 0;
    until("the disk is full", async || {
        number += 1;
        let put = store.put(inbox_entry("of nobody", &format!("{number}"), &[b'x'; 32 * 1024])).await;
        put.is_err_and(|error| error.kind() == InboxErrorKind::Full)
    })
    .await;
    let full = Instant::now();
    receiver.inbox.resume().await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    std::fs::remove_file(&ballast).unwrap();
    let (freed, full) = (Instant::now(), full.elapsed());
    until("it accepts again", async || receiver.server.send(event("after")).await.status == 200).await;
    let accepts_after = freed.elapsed();
    assert!(accepts_after < Duration::from_secs(5), "{accepts_after:?}");
    let (sent, acknowledged) = sending.stop().await;
    drained(&receiver.inbox).await;
    let stored = stored(&receiver.inbox).await;
    let test = format!("Postgres' disk full for {full:.1?}, accepts {accepts_after:.1?} after there is room");
    Figures { sent, acknowledged, stored, handled: handled(&notes) }.tell(&test);
}

/// Turns a bit in the first place of the file that reads so.
fn flip(file: &Path, text: &str) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at + text.len() + 50] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

/// The record whose bit was flipped is dead, with the reason, the others are handled, and its
/// sender's repetition is handled like any other.
async fn set_aside_then_sent_again(
    receiver: &Receiver<Route>,
    notes: &Notes,
    acknowledged: BTreeSet<String>,
    body: String,
    test: &str,
) {
    receiver.inbox.resume().await.unwrap();
    drained(&receiver.inbox).await;
    let dead = Filter { state: Some(State::Dead), ..Filter::default() };
    let dead = receiver.inbox.list(dead, Page { before: None, limit: 10 }).await.unwrap().deliveries;
    let [damaged] = &dead[..] else { panic!("{dead:?}") };
    assert_eq!(damaged.event_id.as_deref(), Some("7"));
    assert_eq!(damaged.last_failure.as_ref().unwrap().kind, FailureKind::Damaged);
    assert_eq!(handled(notes).len(), acknowledged.len() - 1);
    // The sender's repetition, or its "redeliver".
    assert_eq!(receiver.deliver("7", body).await.status, 200);
    drained(&receiver.inbox).await;
    let (sent, stored) = (acknowledged.len() + 1, stored(&receiver.inbox).await);
    Figures { sent, acknowledged, stored, handled: handled(notes) }.tell(test);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_set_aside_with_its_reason_until_the_event_is_repeated() {
    let folder = Folder::new();
    let notes = Notes::default();
    let body = |id: usize| format!("body number {id:04} {}", "x".repeat(1000));
    let mut acknowledged = BTreeSet::new();
    {
        let receiver = receive(quick(store(&folder)), handler(&notes)).await;
        receiver.inbox.pause().await.unwrap();
        for id in 0..rounds(5) * 10 {
            assert_eq!(receiver.deliver(&id.to_string(), body(id)).await.status, 200);
            acknowledged.insert(id.to_string());
        }
        receiver.worker.abort();
    }
    until("the file is closed", async || !folder.0.join("webhooks.db-wal").exists()).await;
    flip(&folder.file(), "body number 0007");
    let receiver = receive(quick(store(&folder)), handler(&notes)).await;
    set_aside_then_sent_again(&receiver, &notes, acknowledged, body(7), "bit flipped, then sent again").await;
}

/// Without page checksums, which a server of this version makes only if it is asked to, Postgres
/// hands out what it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_flipped_under_postgres_is_set_aside_with_its_reason_until_the_event_is_repeated() {
    let mut server = Postgres::start().await;
    let notes = Notes::default();
    let body = |id: usize| format!("body number {id:04} {}", "x".repeat(1000));
    let mut acknowledged = BTreeSet::new();
    {
        let store = PostgresStore::connect(server.url()).await.unwrap();
        let receiver = receive(quick(store), handler(&notes)).await;
        receiver.inbox.pause().await.unwrap();
        for id in 0..rounds(5) * 4 {
            assert_eq!(receiver.deliver(&id.to_string(), body(id)).await.status, 200);
            acknowledged.insert(id.to_string());
        }
        receiver.worker.abort();
    }
    let (client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CHECKPOINT").await.unwrap();
    let table = client.query_one("SELECT pg_relation_filepath('webhook_inbox.record')", &[]).await.unwrap();
    server.kill();
    flip(&server.disk().join("data").join(table.get::<_, String>(0)), "body number 0007");
    server.restart().await;
    let receiver = receive(quick(PostgresStore::connect(server.url()).await.unwrap()), handler(&notes)).await;
    let test = "bit flipped under Postgres, then sent again";
    set_aside_then_sent_again(&receiver, &notes, acknowledged, body(7), test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_panic_in_a_third_of_their_calls_lose_nothing() {
    let folder = Folder::new();
    let notes = Notes::default();
    let (noted, calls) = (notes.clone(), Arc::new(AtomicUsize::new(0)));
    let handler = move |delivery: Delivery| async move {
        noted.began(&delivery);
        if calls.fetch_add(1, Ordering::SeqCst) % 10 < 3 {
            // As a panic, but without its report among the figures.
            std::panic::resume_unwind(Box::new("it happens"));
        }
        noted.ended(&delivery);
    };
    let receiver = receive(quick(store(&folder)), post(handler)).await;
    let mut acknowledged = BTreeSet::new();
    for n in 0..40 * rounds(5) {
        assert_eq!(receiver.deliver(&n.to_string(), "x").await.status, 200);
        acknowledged.insert(n.to_string());
    }
    drained(&receiver.inbox).await;
    let began: usize = notes.all().values().map(|(began, _)| began).sum();
    assert!(began * 10 >= acknowledged.len() * 14, "{began} calls");
    let (sent, stored) = (acknowledged.len(), stored(&receiver.inbox).await);
    let figures = Figures { sent, acknowledged, stored, handled: handled(&notes) };
    assert!(figures.handled.values().all(|times| *times == 1));
    figures.tell("handlers panic in 30 %");
}

/// The system's clock, some seconds off.
#[derive(Clone, Default)]
struct Shifted(Arc<AtomicI64>);

impl Clock for Shifted {
    fn now(&self) -> SystemTime {
        let off = self.0.load(Ordering::Relaxed);
        let by = Duration::from_secs(off.unsigned_abs());
        if off < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_moved_by_a_day_either_way_loses_and_delays_nothing() {
    const DAY: i64 = 86_400;
    let folder = Folder::new();
    let (notes, clock) = (Notes::default(), Shifted::default());
    let noted = notes.clone();
    let handler = move |delivery: Delivery, Extension(attempt): Extension<InboxAttempt>| async move {
        noted.began(&delivery);
        tokio::time::sleep(Duration::from_millis(3)).await;
        // Some are in back-off when the clock jumps.
        if delivery.id().unwrap().ends_with('7') && attempt.number < 3 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        noted.ended(&delivery);
        StatusCode::OK
    };
    let builder = quick(store(&folder)).with_clock(clock.clone());
    let receiver = receive(builder, post(handler)).await;
    let sending = Sending::start([receiver.server.address], event);
    for day in [DAY, 0, -DAY, 0].repeat(rounds(4) / 4) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        clock.0.store(day, Ordering::Relaxed);
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    let (sent, acknowledged) = sending.stop().await;
    let began = Instant::now();
    drained(&receiver.inbox).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let stored = stored(&receiver.inbox).await;
    let figures = Figures { sent, acknowledged, stored, handled: handled(&notes) };
    assert!(figures.handled.values().all(|times| *times == 1), "no lease ended by the clock");
    figures.tell(&format!("clock a day ahead and back x{}", rounds(4) / 4 * 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_loses_nothing_and_handles_nothing_twice() {
    let folder = Folder::new();
    let notes = Notes::default();
    let mut receiver = receive(quick(store(&folder)), handler(&notes)).await;
    let sending = Sending::start([receiver.server.address], event);
    for _ in 0..rounds(3) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut next = receive(quick(store(&folder)), handler(&notes)).await;
        sending.lead_to(0, next.server.address);
        std::mem::swap(&mut receiver, &mut next);
        next.shut_down().await;
        // Requests on their way are answered.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (sent, acknowledged) = sending.stop().await;
    drained(&receiver.inbox).await;
    let stored = stored(&receiver.inbox).await;
    let figures = Figures { sent, acknowledged, stored, handled: handled(&notes) };
    assert!(figures.handled.values().all(|times| *times == 1));
    figures.tell(&format!("shutdown under load x{}", rounds(3)));
}

/// What the first version of the crate wrote: five events that wait, in an order, in back-off, done
/// and dead, and one of a later version beside them.
const VERSION_1: &str = include_str!("version_1.sql");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_version_stored_is_handled_and_what_a_later_one_stored_is_left_alone() {
    let folder = Folder::new();
    rusqlite::Connection::open(folder.file()).unwrap().execute_batch(VERSION_1).unwrap();
    let notes = Notes::default();
    let receiver = receive(quick(store(&folder)), handler(&notes)).await;
    until("all but one are handled", async || receiver.inbox.stats().await.unwrap().waiting == 1).await;
    until("none is in flight", async || receiver.inbox.stats().await.unwrap().in_flight == 0).await;
    let left = Filter { state: Some(State::Waiting), ..Filter::default() };
    let left = receiver.inbox.list(left, Page { before: None, limit: 10 }).await.unwrap().deliveries;
    assert_eq!((left[0].format, left[0].attempts, left[0].event_id.as_deref()), (2, 0, Some("newer")));
    // Repetitions are known, and of the dead one revived.
    for id in ["waits", "done", "dead", "in-order-1"] {
        assert_eq!(receiver.deliver(id, format!("{{\"id\":\"{id}\"}}")).await.status, 200);
    }
    until("the dead one is handled", async || handled(&notes).contains_key("dead")).await;
    let ids = ["waits", "back-off", "in-order-1", "in-order-2", "dead"].map(String::from);
    let figures = Figures {
        sent: 7,
        acknowledged: BTreeSet::from(ids),
        stored: stored(&receiver.inbox).await,
        handled: handled(&notes),
    };
    assert!(figures.handled.len() == 5 && figures.handled.values().all(|times| *times == 1), "{:?}", figures.handled);
    figures.tell("a file of the first version");
}

/// Not a test: writes the file for the test above as this version does, once, to be kept when the
/// format changes.
#[tokio::test]
#[ignore = "it writes a file to be committed"]
async fn write_the_file_of_this_version() {
    let folder = Folder::new();
    let handler = post(|delivery: Delivery| async move {
        match delivery.id().unwrap() {
            "dead" => StatusCode::GONE,
            "done" => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    });
    let order = |delivery: &Delivery| delivery.id().unwrap().starts_with("in-order").then(|| "one line".into());
    let hour = Duration::from_secs(3600);
    let slow = tower_webhook::inbox::Backoff::exponential(hour..hour);
    let builder = || quick(store(&folder)).with_retry(slow).with_order(order);
    let receiver = receive(builder(), handler).await;
    let put = async |id: &str| {
        assert_eq!(receiver.deliver(id, format!("{{\"id\":\"{id}\"}}")).await.status, 200);
    };
    for id in ["done", "dead", "back-off"] {
        put(id).await;
    }
    until("they were tried", async || {
        let stats = receiver.inbox.stats().await.unwrap();
        (stats.done, stats.dead, stats.waiting, stats.in_flight) == (1, 1, 1, 0)
    })
    .await;
    receiver.inbox.pause().await.unwrap();
    for id in ["waits", "in-order-1", "in-order-2", "newer"] {
        put(id).await;
    }
    receiver.worker.abort();
    receiver.inbox.resume().await.unwrap();
    drop(receiver);
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.execute_batch("UPDATE delivery SET format = 2 WHERE event_id = 'newer'; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    std::fs::copy(folder.file(), std::env::var_os("WRITE_TO").unwrap()).unwrap();
}

/// Set for the process that fills a store: the file, and how many deliveries.
const FILL: &str = "TOWER_WEBHOOK_TEST_FILL";

/// Not a test of its own: it puts until it is killed, and says when there are enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_fills() {
    let Ok(fill) = std::env::var(FILL) else { return };
    end_with_the_parent();
    let (number, file) = fill.split_once(' ').unwrap();
    let number: usize = number.parse().unwrap();
    let store = SqliteStore::open(file).unwrap();
    let put = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..256 {
        let (store, put) = (store.clone(), put.clone());
        tasks.spawn(async move {
            for n in 0.. {
                store.put(inbox_entry("webhooks", &format!("{task}-{n}"), &[b'x'; 512])).await.unwrap();
                if put.fetch_add(1, Ordering::SeqCst) + 1 == number {
                    println!("\nfilled");
                }
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_many_waiting_it_opens_at_once_after_a_kill_and_takes_as_fast() {
    let number: usize =
        std::env::var("WAITING").map_or(10_000, |waiting| waiting.parse().expect("WAITING is a number"));
    let folder = Folder::new();
    let fill = format!("{number} {}", folder.file().display());
    let mut child = Child::start("child_that_fills", &[(FILL, fill.as_ref())]);
    child.hears("filled");
    child.kill();
    let opening = Instant::now();
    let store = SqliteStore::open(folder.file()).unwrap();
    store.health().await.unwrap();
    let opening = opening.elapsed();
    let take = || Take {
        scope: "webhooks".into(),
        format: 1,
        max: 32,
        lease: Duration::from_secs(600),
        now: SystemTime::now(),
        longest_delay: Duration::from_secs(3600),
        retries_first: false,
    };
    let mut takes = Vec::new();
    for _ in 0..9 {
        let taking = Instant::now();
        assert_eq!(store.take(take()).await.unwrap().attempts.len(), 32);
        takes.push(taking.elapsed());
    }
    takes.sort();
    let mut puts = Vec::new();
    for round in 0..9 {
        let putting = Instant::now();
        let mut tasks = JoinSet::new();
        for n in 0..32 {
            let store = store.clone();
            tasks.spawn(async move {
                store.put(inbox_entry("webhooks", &format!("after-{round}-{n}"), &[b'x'; 512])).await
            });
        }
        assert!(tasks.join_all().await.iter().all(Result::is_ok));
        puts.push(putting.elapsed());
    }
    puts.sort();
    let stats = store.stats("webhooks".into()).await.unwrap();
    let stored = stats.waiting + stats.in_flight;
    println!(
        "\n| {number} waiting, then killed | opens in {opening:.1?} | take of 32 in {:.1?} | put of 32 in {:.1?} | stored {stored} | lost {} |",
        takes[4],
        puts[4],
        (number as u64).saturating_sub(stored),
    );
    assert!(stored >= number as u64 + 9 * 32, "{stored} of {number}");
    assert!(opening < Duration::from_secs(2) && takes[4] < Duration::from_secs(1), "{opening:?} {takes:?}");
}
