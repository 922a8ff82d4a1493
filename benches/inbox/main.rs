//! What a durable inbox costs and how it holds: SQLite and Postgres beside the same app that stores
//! nothing, beside a log that is only appended to, and beside qhook, a program of the same kind.
//! `scripts/bench inbox` runs it.
//!
//! Figures are ratios of one run: whatever the machine does, it does to both sides, a second each
//! in turns.

mod apps;
mod growth;
mod load;
#[path = "../../tests/it/inbox/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres_server;
mod process;
mod stored;
mod support;
#[path = "../speed/svg.rs"]
mod svg;
mod table;

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use load::{BODY_LEN, Sender, Turn, call};
use postgres_server::Postgres;
use process::{App, Part, Qhook};
use rusqlite::Connection;
use table::{Goal, Table};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |position: usize| arguments[position].parse().unwrap();
    match arguments.first().map(String::as_str) {
        Some("serve") => apps::serve(&arguments[1..]),
        Some("fill") => stored::fill(&arguments[1], number(2), number(3)),
        Some("open") => stored::open(&arguments[1]),
        Some("finish") => stored::finish(&arguments[1], number(2)),
        Some("grow") => stored::grow(&arguments[1]),
        Some("growth") => growth::draw(Path::new(&arguments[1])),
        _ => {
            // Requests are sent by one thread, so that the servers have the rest of the machine.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(Bench::new(&arguments).run());
        }
    }
}

struct Bench {
    table: Table,
    /// What is to be measured, all of it if there is nothing.
    chosen: Vec<String>,
    folder: Folder,
    turns: usize,
    length: Duration,
    /// How many are a million and a hundred thousand.
    many: usize,
    few: usize,
    kills: usize,
}

impl Bench {
    fn new(arguments: &[String]) -> Self {
        let (quick, chosen): (Vec<_>, Vec<_>) = arguments.iter().cloned().partition(|argument| argument == "--quick");
        let folder = Folder::new();
        let table = Table::default();
        if quick.is_empty() {
            let length = Duration::from_secs(1);
            Self { table, chosen, folder, turns: 7, length, many: 1_000_000, few: 100_000, kills: 20 }
        } else {
            let length = Duration::from_millis(500);
            Self { table, chosen, folder, turns: 3, length, many: 100_000, few: 10_000, kills: 3 }
        }
    }

    async fn run(mut self) {
        self.table.head(self.turns, self.length, self.many);
        if self.wants("rates") {
            self.rates().await;
        }
        if self.wants("one") {
            self.one_connection().await;
        }
        if self.wants("syncs") {
            self.syncs().await;
        }
        if self.wants("qhook") {
            self.qhook().await;
        }
        if self.wants("backlog") {
            self.backlog().await;
        }
        if self.wants("million") {
            self.many_waiting();
        }
        if self.wants("churn") {
            self.many_done();
        }
        if self.wants("kill") {
            self.killed().await;
        }
        self.table.end();
    }

    fn wants(&self, part: &str) -> bool {
        self.chosen.is_empty() || self.chosen.iter().any(|chosen| chosen == part)
    }

    /// Accepts a second, beside the same app that stores nothing and beside the log.
    async fn rates(&mut self) {
        let server = Postgres::start().await;
        let nothing = App::start(&["nothing"]);
        let log = App::start(&["log", &self.folder.file("log")]);
        let sqlite = App::start(&["sqlite", &self.folder.file("rates.db")]);
        let postgres = App::start(&["postgres", &server.url()]);
        for (connections, goal, postgres_goal) in [(8, 0.15, None), (64, 0.30, Some(0.20)), (256, 0.45, Some(0.33))] {
            let addresses = [&nothing, &sqlite, &postgres, &log].map(|app| app.address);
            let used = || [&nothing, &sqlite, &log].map(App::processor_time);
            let before = used();
            let turns = self.turns(addresses, connections).await;
            let [nothing, sqlite, postgres, log] = &turns;
            let row = |what: &str| format!("{what}, {connections} connections");
            self.table.rates(&row("SQLite / the same app storing nothing"), Goal::AtLeast(goal), sqlite, nothing);
            let postgres_goal = postgres_goal.map_or(Goal::None, Goal::AtLeast);
            self.table.rates(&row("Postgres / storing nothing"), postgres_goal, postgres, nothing);
            let log_goal = if connections == 64 { Goal::AtLeast(0.55) } else { Goal::None };
            self.table.rates(&row("SQLite / log with fdatasync"), log_goal, sqlite, log);
            self.table.rates(&row("log with fdatasync / storing nothing"), Goal::None, log, nothing);
            let accepted =
                [nothing, sqlite, log].map(|turns| turns.iter().map(|turn| turn.accepted.len()).sum::<usize>());
            let after = used();
            let [nothing, sqlite, log] = [0, 1, 2].map(|app| (after[app] - before[app]) / accepted[app] as f64);
            self.table.times(
                &row("processor time of the server: SQLite / storing nothing"),
                Goal::None,
                &[sqlite],
                &[nothing],
            );
            self.table.times(&row("processor time of the server: SQLite / log"), Goal::None, &[sqlite], &[log]);
        }
    }

    /// A turn of each address after the other, again and again. What is returned is in this order;
    /// the first turns open the way for the others.
    async fn turns<const N: usize>(&self, addresses: [SocketAddr; N], connections: usize) -> [Vec<Turn>; N] {
        let mut senders = Vec::new();
        for address in addresses {
            senders.push(Sender::connect(address, connections).await);
        }
        let mut turns = [const { Vec::new() }; N];
        for _ in 0..=self.turns {
            for (sender, turns) in senders.iter_mut().zip(&mut turns) {
                turns.push(sender.turn(self.length, false).await);
            }
        }
        turns
    }

    /// How long an accept takes that waits for no other, beside what the disk takes.
    async fn one_connection(&mut self) {
        let sqlite = App::start(&["sqlite", &self.folder.file("one.db")]);
        let mut sender = Sender::connect(sqlite.address, 1).await;
        let mut file = File::create(self.folder.file("one")).unwrap();
        let (mut syncs, mut accepts) = (Vec::new(), Vec::new());
        for _ in 0..self.turns {
            syncs.push(syncs_of(&mut file, self.length));
            accepts.push(sender.turn(self.length, false).await.p50);
        }
        self.table.times("accept p50 at 1 connection / one fdatasync of 2 KiB", Goal::AtMost(2.0), &accepts, &syncs);
    }

    /// How many accepts share a sync.
    async fn syncs(&mut self) {
        let trace = PathBuf::from(self.folder.file("trace"));
        let sqlite = App::start_traced(&trace, &["sqlite", &self.folder.file("syncs.db")]);
        let mut sender = Sender::connect(sqlite.address, 64).await;
        let syncs = || {
            let trace = std::fs::read_to_string(&trace).unwrap();
            trace.lines().filter(|line| line.contains("sync(")).count()
        };
        sender.turn(self.length, false).await;
        let before = syncs();
        let accepted: usize = self.length_of_turns(&mut sender).await;
        let shares = (syncs() - before) as f64 / accepted as f64;
        let note = format!("1/{:.0}", 1.0 / shares);
        self.table.row("fdatasyncs per accept at 64 connections", Goal::AtMost(1.0 / 16.0), shares, &note);
        sqlite.kill();
    }

    async fn length_of_turns(&self, sender: &mut Sender) -> usize {
        let mut accepted = 0;
        for _ in 0..self.turns {
            accepted += sender.turn(self.length, false).await.accepted.len();
        }
        accepted
    }

    /// Beside qhook. What is compared is accepting: ours only stores meanwhile. qhook can't be told
    /// not to hand on what it stored, and does so some tens times a second.
    async fn qhook(&mut self) {
        let rows = [
            ("SQLite / qhook 0.6.1 as installed, 64 connections", Goal::AtLeast(20.0)),
            ("SQLite / qhook with WAL set by hand, 64 connections", Goal::AtLeast(6.0)),
            ("Postgres / qhook with Postgres, 64 connections", Goal::AtLeast(3.0)),
            ("Postgres / qhook with Postgres, 1 connection", Goal::AtLeast(1.3)),
            ("drain with a handler that does nothing / qhook's by default", Goal::AtLeast(50.0)),
        ];
        if Qhook::program().is_none() {
            return rows.into_iter().for_each(|(what, goal)| self.table.not_measured(what, goal, "qhook is not there"));
        }
        let (target, handled) = target().await;
        let folder = |name: &str| PathBuf::from(self.folder.file(name));
        let server = Postgres::start().await;
        support::create_database(&server.url(), "qhook").await;
        let server_url = server.url();
        let (server_url, _) = server_url.rsplit_once('/').unwrap();
        let sqlite = App::start(&["sqlite", &self.folder.file("beside.db")]);
        let postgres = App::start(&["postgres", &server.url()]);
        let default = Qhook::start(&folder("qhook"), "driver: sqlite", target).await;
        drop(Qhook::start(&folder("qhook-wal"), "driver: sqlite", target).await);
        let file = Connection::open(folder("qhook-wal").join("qhook.db")).unwrap();
        file.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(())).unwrap();
        let with_wal = Qhook::start(&folder("qhook-wal"), "driver: sqlite", target).await;
        let database = format!("driver: postgres\n  url: {server_url}/qhook");
        let on_postgres = Qhook::start(&folder("qhook-postgres"), &database, target).await;

        let addresses = [sqlite.address, default.address, with_wal.address, postgres.address, on_postgres.address];
        let [ours, default_turns, wal_turns, ours_on_postgres, theirs_on_postgres] = self.turns(addresses, 64).await;
        self.table.rates(rows[0].0, rows[0].1, &ours, &default_turns);
        self.table.rates(rows[1].0, rows[1].1, &ours, &wal_turns);
        self.table.rates(rows[2].0, rows[2].1, &ours_on_postgres, &theirs_on_postgres);
        let [ours, theirs] = self.turns([postgres.address, on_postgres.address], 1).await;
        self.table.rates(rows[3].0, rows[3].1, &ours, &theirs);
        drop((postgres, on_postgres, with_wal, sqlite));

        // Both have a backlog by now, or get one.
        let ours = Backlog::start(&self.folder.file("drain.db")).await;
        let mut theirs = Sender::connect(default.address, 64).await;
        let mut drained = (Vec::new(), Vec::new());
        for _ in 0..self.turns {
            ours.grow(30_000).await;
            theirs.turn(self.length, false).await;
            drained.0.push(ours.drained(self.length).await);
            let before = handled();
            tokio::time::sleep(self.length).await;
            drained.1.push((handled() - before) as f64 / self.length.as_secs_f64());
        }
        self.table.ratio(rows[4].0, rows[4].1, &drained.0, &drained.1, |rate| format!("{rate:.0}/s"));
    }

    /// Accepting while a backlog is worked off, beside accepting while the worker pauses.
    async fn backlog(&mut self) {
        let backlog = Backlog::start(&self.folder.file("backlog.db")).await;
        let mut sender = Sender::connect(backlog.app.address, 8).await;
        let [mut idle, mut busy] = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for _ in 0..self.turns {
            backlog.grow(30_000).await;
            let turn = sender.turn(self.length, false).await;
            idle.0.push(turn.p50);
            idle.1.push(turn.p99);
            backlog.resume().await;
            let turn = sender.turn(self.length, false).await;
            busy.0.push(turn.p50);
            busy.1.push(turn.p99);
            assert!(backlog.waiting().await > 100, "the backlog was worked off before the turn was over");
            backlog.pause().await;
        }
        let what = "accept p50 at 8 connections while a backlog drains / idle";
        self.table.times(what, Goal::AtMost(1.5), &busy.0, &idle.0);
        self.table.times("the same, p99", Goal::AtMost(3.0), &busy.1, &idle.1);
    }

    fn many_waiting(&mut self) {
        let path = self.folder.file("many.db");
        let counts = [self.few.to_string(), self.many.to_string()];
        let mut part = Part::start(&["fill", &path, &counts[0], &counts[1]]);
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..stored::TURNS {
            times.iter_mut().for_each(|times| times.push(part.number()));
        }
        let [few_put, few_take, put, take] = &times;
        let (few, many) = (self.few, self.many);
        self.table.times(&format!("put of 32: {many} waiting / {few}"), Goal::AtMost(1.5), put, few_put);
        self.table.times(&format!("take of 32: {many} waiting / {few}"), Goal::AtMost(1.5), take, few_take);
        assert_eq!(part.line(), "full");
        let memory = part.anonymous_mib();
        self.table.row(&format!("MiB anonymous with {many} waiting"), Goal::AtMost(32.0), memory, "");
        let payload = (many * BODY_LEN) as f64;
        let ratio = stored::bytes(Path::new(&path)) as f64 / payload;
        self.table.row(&format!("file and log / payload with {many} waiting"), Goal::AtMost(2.2), ratio, "");
        // In the middle of a put.
        drop(part);
        let mut part = Part::start(&["open", &path]);
        let (seconds, count) = (part.number(), part.number());
        assert!(count >= many as f64, "{count} are left");
        let what = format!("seconds to open after kill -9 with {many} waiting");
        self.table.row(&what, Goal::AtMost(0.25), seconds, &format!("{count} are there"));
        drop(part);
        self.folder.remove("many.db-few");
        self.folder.remove("many.db");
    }

    fn many_done(&mut self) {
        let path = self.folder.file("churn.db");
        let mut part = Part::start(&["finish", &path, &self.many.to_string()]);
        assert_eq!(part.line(), "done");
        let mib = stored::bytes(Path::new(&path)) as f64 / f64::from(1 << 20);
        let what = format!("MiB of file and log after {} were put and done, their keys kept", self.many);
        self.table.row(&what, Goal::AtMost(64.0), mib, "");
        drop(part);
        self.folder.remove("churn.db");
    }

    /// Kills the server again and again while it accepts, and looks for what it had answered.
    async fn killed(&mut self) {
        let path = self.folder.file("killed.db");
        let mut accepted = Vec::new();
        for kill in 0..self.kills {
            let app = App::start(&["sqlite", &path, "work"]);
            let mut sender = Sender::connect(app.address, 64).await;
            let length = Duration::from_millis(200 + 17 * kill as u64);
            let turn = tokio::spawn(async move { sender.turn(2 * length, true).await });
            tokio::time::sleep(length).await;
            app.kill();
            accepted.append(&mut turn.await.unwrap().accepted);
        }
        // Opened again, so that what the last one left is recovered as it would be.
        let app = App::start(&["sqlite", &path]);
        let file = Connection::open(&path).unwrap();
        let mut statement = file.prepare("SELECT event_id FROM delivery").unwrap();
        let stored: HashSet<String> =
            statement.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let lost = accepted.iter().filter(|id| !stored.contains(&format!("{id:016x}"))).count();
        drop(app);
        let what = format!("acknowledged and lost: {} x kill -9 under load", self.kills);
        self.table.row(&what, Goal::AtMost(0.0), lost as f64, &format!("of {}", accepted.len()));
    }
}

/// A SQLite inbox with a backlog that is worked off while it isn't paused.
struct Backlog {
    app: App,
}

impl Backlog {
    async fn start(path: &str) -> Self {
        let backlog = Self { app: App::start(&["sqlite", path, "work"]) };
        backlog.pause().await;
        backlog
    }

    /// Accepts until so many wait. It has to be paused.
    async fn grow(&self, least: u64) {
        let mut sender = Sender::connect(self.app.address, 64).await;
        while self.waiting().await < least {
            sender.turn(Duration::from_millis(200), false).await;
        }
    }

    /// Has it worked off for so long and returns how many a second were done.
    async fn drained(&self, length: Duration) -> f64 {
        let start = now();
        let before = self.waiting().await;
        self.resume().await;
        tokio::time::sleep(length).await;
        self.pause().await;
        let after = self.waiting().await;
        assert!(after > 0, "the backlog was worked off before the turn was over");
        (before - after) as f64 / start.elapsed().as_secs_f64()
    }

    async fn waiting(&self) -> u64 {
        let stats = call(self.app.address, "GET", "/admin/stats").await.unwrap();
        serde_json::from_str::<serde_json::Value>(&stats).unwrap()["waiting"].as_u64().unwrap()
    }

    async fn pause(&self) {
        call(self.app.address, "POST", "/admin/pause").await.unwrap();
    }

    async fn resume(&self) {
        call(self.app.address, "POST", "/admin/resume").await.unwrap();
    }
}

/// A server that counts what it gets.
async fn target() -> (SocketAddr, impl Fn() -> u64) {
    let handled = Arc::new(AtomicU64::new(0));
    let count = handled.clone();
    let app = Router::new().route(
        "/",
        post(async move || {
            count.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, move || handled.load(Ordering::Relaxed))
}

/// The median time to have 2 KiB more on the disk.
fn syncs_of(file: &mut File, length: Duration) -> f64 {
    let start = now();
    let mut times = Vec::new();
    while start.elapsed() < length {
        let start = now();
        file.write_all(&[b'x'; BODY_LEN]).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed().as_secs_f64());
    }
    quantile(&mut times, 0.5)
}

/// Where the stores lie: on a disk, and gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/bench-inbox-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Removes what has this name and what stands beside it.
    fn remove(&self, name: &str) {
        for end in ["", "-wal", "-shm", "-reserve"] {
            let _ = std::fs::remove_file(self.file(&format!("{name}{end}")));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[allow(clippy::disallowed_methods, reason = "a duration is measured, no time is judged")]
fn now() -> Instant {
    Instant::now()
}

/// Returns the value below which this part of the values lies.
#[allow(clippy::cast_possible_truncation, reason = "a position in a list")]
fn quantile(values: &mut [f64], part: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
