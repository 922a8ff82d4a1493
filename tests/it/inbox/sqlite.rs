//! The SQLite store.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Filter, InboxErrorKind, InboxStore as _, Outcome, Page, Put, Take};
use tower_webhook::testing::{inbox_entry, inbox_record_is_whole, inbox_suite};

use crate::support::until;

/// A folder that goes with its value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        Self::within(env!("CARGO_TARGET_TMPDIR").into())
    }

    /// In memory if the machine has such a place, for tests that many writes to a disk would slow
    /// down.
    pub fn in_memory() -> Self {
        let memory = PathBuf::from("/dev/shm");
        if memory.is_dir() { Self::within(memory) } else { Self::new() }
    }

    fn within(place: PathBuf) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("inbox-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = place.join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("webhooks.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn sqlite_keeps_the_rules_within_one_process_and_over_two_connections() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    inbox_suite(async || store.clone()).await;
    let folder = Folder::new();
    inbox_suite(async || SqliteStore::open(folder.file()).unwrap()).await;
}

const SCOPE: &str = "hooks";
const LEASE: Duration = Duration::from_secs(60);

fn take(max: u32) -> Take {
    let longest_delay = Duration::from_secs(3600);
    Take {
        scope: SCOPE.into(),
        format: 1,
        max,
        lease: LEASE,
        now: SystemTime::now(),
        longest_delay,
        retries_first: false,
    }
}

fn page() -> Page {
    Page { before: None, limit: 10_000 }
}

/// Everything that is stored, by the sender's ids.
async fn stored(store: &SqliteStore) -> BTreeSet<String> {
    let (mut ids, mut page) = (BTreeSet::new(), page());
    loop {
        let listing = store.list(Filter::default(), page).await.unwrap();
        ids.extend(listing.deliveries.into_iter().filter_map(|delivery| delivery.event_id.map(String::from)));
        match listing.next {
            Some(next) => page.before = Some(next),
            None => return ids,
        }
    }
}

/// Set for the process that is killed: where its file lies.
const CHILD: &str = "TOWER_WEBHOOK_TEST_INBOX_CHILD";

/// Not a test of its own: what the process that is killed does. It tells each id once its put has
/// returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let Some(file) = std::env::var_os(CHILD) else { return };
    let store = SqliteStore::open(file).unwrap();
    let run = std::process::id();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0.. {
                let name = format!("{run}-{task}-{n}");
                store.put(inbox_entry(SCOPE, &name, &[b'x'; 2048])).await.unwrap();
                // One write, so that lines of several tasks do not mix.
                std::io::stdout().write_all(format!("acknowledged {name}\n").as_bytes()).unwrap();
                if n % 8 == 7 {
                    for attempt in store.take(take(4)).await.unwrap().attempts {
                        let outcome = Outcome::Done { keep: true, now: SystemTime::now() };
                        assert!(store.finish(attempt.token, outcome).await.unwrap());
                    }
                }
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_process_that_is_killed_under_load_loses_nothing_it_acknowledged() {
    let folder = Folder::new();
    let mut acknowledged = BTreeSet::new();
    for run in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inbox::sqlite::child_that_is_killed", "--nocapture"])
            .env(CHILD, folder.file())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_acknowledged = |line: &str| line.split_once("acknowledged ").map(|(_, id)| id.to_owned());
        let mut of_run = 0;
        // Killed while it works, each time after another number of puts.
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(id) = is_acknowledged(&line) {
                acknowledged.insert(id);
                of_run += 1;
                if of_run == 100 + run * 61 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(of_run >= 100 + run * 61, "the child ended by itself after {of_run}");
    }
    let store = SqliteStore::open(folder.file()).unwrap();
    let stored = stored(&store).await;
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} are lost, among them {:?}", lost.len(), acknowledged.len(), lost[0]);
    let stats = store.stats(SCOPE.into()).await.unwrap();
    let counted = stats.waiting + stats.in_flight + stats.done;
    assert_eq!(counted, stored.len() as u64, "the numbers are right after all that: {stats:?}");
}

/// A file system in memory of a few megabytes, which is unmounted with its value. Mounting needs
/// root.
pub struct SmallDisk(pub Folder);

impl SmallDisk {
    pub fn new(mebibytes: u32) -> Self {
        let folder = Folder::new();
        let size = format!("size={mebibytes}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder.0).status();
        assert!(status.is_ok_and(|status| status.success()), "this test mounts a small tmpfs, which needs root");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the writer's thread may still have its file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_at_once_lets_work_be_done_and_accepts_again_when_there_is_room() {
    let disk = SmallDisk::new(32);
    let file = disk.0.file();
    let refused = SqliteStore::open(&file).unwrap_err();
    assert!(refused.source().unwrap().to_string().contains("tmpfs"), "{refused:?}");
    let store = SqliteStore::builder(&file).allow_unsafe_file_systems().open().unwrap();
    let body = [b'x'; 16 * 1024];
    let mut acknowledged = BTreeSet::new();
    let mut put = async |name: String| {
        let result = store.put(inbox_entry(SCOPE, &name, &body)).await;
        if result.is_ok() {
            acknowledged.insert(name);
        }
        result
    };
    let ballast = disk.0.0.join("ballast");
    std::fs::write(&ballast, vec![1; 6 * 1024 * 1024]).unwrap();
    let mut n = 0;
    let full = loop {
        match put(format!("{n}")).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
        assert!(n < 4000, "the disk never fills");
    };
    assert_eq!(full.kind(), InboxErrorKind::Full, "{full:?} {:?}", full.source());
    assert_eq!(store.health().await.unwrap_err().kind(), InboxErrorKind::Full);
    // What is stored is worked off meanwhile, by what room was kept.
    for _ in 0..10 {
        for attempt in store.take(take(2)).await.unwrap().attempts {
            let outcome = Outcome::Done { keep: true, now: SystemTime::now() };
            assert!(store.finish(attempt.token, outcome).await.unwrap());
        }
    }
    assert_eq!(store.stats(SCOPE.into()).await.unwrap().done, 20);
    assert!(put("refused".into()).await.is_err());
    std::fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    until("it accepts again", async || put("after".into()).await.is_ok()).await;
    assert!(freed.elapsed() < Duration::from_secs(5));
    store.health().await.unwrap();
    let stored = stored(&store).await;
    assert_eq!(acknowledged.difference(&stored).count(), 0, "an acknowledged delivery is lost");
    // And so after a restart.
    drop(store);
    let again = SqliteStore::builder(&file).allow_unsafe_file_systems().open().unwrap();
    assert_eq!(self::stored(&again).await, stored);
}

#[tokio::test]
async fn at_its_size_limit_it_refuses_and_still_completes_and_removes() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file()).with_max_bytes(2 * 1024 * 1024).open().unwrap();
    let mut stored = 0;
    let error = loop {
        match store.put(inbox_entry(SCOPE, &format!("{stored}"), &[b'x'; 4096])).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), InboxErrorKind::Full);
    assert!((300..600).contains(&stored), "{stored} of 4 KiB in 2 MiB");
    for attempt in store.take(take(40)).await.unwrap().attempts {
        let outcome = Outcome::Done { keep: false, now: SystemTime::now() };
        assert!(store.finish(attempt.token, outcome).await.unwrap());
    }
    store.put(inbox_entry(SCOPE, "after", b"")).await.unwrap();
}

#[tokio::test]
async fn a_bit_flipped_on_the_disk_is_found_and_the_others_go_on() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    for n in 0..20 {
        store
            .put(inbox_entry(SCOPE, &format!("{n}"), format!("body number {n:04} {}", "x".repeat(2000)).as_bytes()))
            .await
            .unwrap();
    }
    drop(store);
    until("the writer has closed the file", async || !folder.0.join("webhooks.db-wal").exists()).await;
    let mut bytes = std::fs::read(folder.file()).unwrap();
    let at = bytes.windows(16).position(|window| window == b"body number 0007").unwrap();
    bytes[at + 100] ^= 0x10;
    std::fs::write(folder.file(), bytes).unwrap();
    let store = SqliteStore::open(folder.file()).unwrap();
    let attempts = store.take(take(32)).await.unwrap().attempts;
    assert_eq!(attempts.len(), 20);
    let damaged = attempts.iter().filter(|attempt| !inbox_record_is_whole(&attempt.record)).count();
    assert_eq!(damaged, 1);
}

/// Overwrites a page of the table of records, which breaks its structure.
#[tokio::test]
async fn a_page_that_cannot_be_read_sets_its_records_aside_and_the_others_go_on() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    for n in 0..40 {
        store
            .put(inbox_entry(SCOPE, &format!("{n}"), format!("body number {n:04} {}", "x".repeat(1500)).as_bytes()))
            .await
            .unwrap();
    }
    drop(store);
    until("the writer has closed the file", async || !folder.0.join("webhooks.db-wal").exists()).await;
    let mut bytes = std::fs::read(folder.file()).unwrap();
    let at = bytes.windows(16).position(|window| window == b"body number 0020").unwrap() & !16383;
    bytes[at..at + 16384].fill(0xff);
    std::fs::write(folder.file(), bytes).unwrap();
    let store = SqliteStore::open(folder.file()).unwrap();
    let mut handled = 0;
    for _ in 0..10 {
        for attempt in store.take(take(8)).await.unwrap().attempts {
            let outcome = Outcome::Done { keep: true, now: SystemTime::now() };
            assert!(store.finish(attempt.token, outcome).await.unwrap());
            handled += 1;
        }
    }
    let stats = store.stats(SCOPE.into()).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.done + stats.dead), (0, 0, 40), "{stats:?}");
    assert!((30..40).contains(&handled), "{handled} of 40 were handled, {stats:?}");
    store.put(inbox_entry(SCOPE, "after", b"")).await.unwrap();
}

#[tokio::test]
async fn a_second_process_on_the_file_is_waited_for_and_seen() {
    let folder = Folder::new();
    let (old, new) = (SqliteStore::open(folder.file()).unwrap(), SqliteStore::open(folder.file()).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = if n % 2 == 0 { old.clone() } else { new.clone() };
        tasks.spawn(async move { store.put(inbox_entry(SCOPE, &format!("{n}"), b"")).await });
    }
    assert!(tasks.join_all().await.into_iter().all(|put| put.is_ok()));
    let mut taken = 0;
    for store in [&old, &new].into_iter().cycle().take(20) {
        taken += store.take(take(16)).await.unwrap().attempts.len();
    }
    assert_eq!(taken, 200);
    let idle = new.take(take(1)).await.unwrap();
    old.put(inbox_entry(SCOPE, "late", b"")).await.unwrap();
    new.woken(idle.generation).await;
    until("the other one sees it", async || !new.take(take(1)).await.unwrap().attempts.is_empty()).await;
}

/// Keys are written in bulk, some thousands at once.
#[tokio::test]
async fn a_repetition_is_known_among_thousands_by_each_process_and_after_a_restart() {
    let folder = Folder::in_memory();
    let open = || SqliteStore::builder(folder.file()).allow_unsafe_file_systems().with_reserve(0).open().unwrap();
    // Puts the same ones each time, or some of them, and returns how many were new.
    let put_each = async |step: usize, stores: &[SqliteStore]| {
        let mut new = 0;
        for start in (0..35_000).step_by(500) {
            let mut puts = tokio::task::JoinSet::new();
            for n in (start..start + 500).step_by(step) {
                let store = stores[n % stores.len()].clone();
                puts.spawn(async move { store.put(inbox_entry(SCOPE, &format!("{n}"), b"")).await.unwrap() });
            }
            new += puts.join_all().await.into_iter().filter(|put| matches!(put, Put::Stored(_))).count();
        }
        new
    };
    let (here, there) = (open(), open());
    assert_eq!(put_each(1, &[here.clone(), there.clone()]).await, 35_000);
    for attempt in there.take(take(300)).await.unwrap().attempts {
        let outcome = Outcome::Done { keep: false, now: SystemTime::now() };
        assert!(there.finish(attempt.token, outcome).await.unwrap());
    }
    assert_eq!(put_each(7, &[there, here]).await, 0);
    assert_eq!(put_each(7, &[open()]).await, 0);
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    let indexed: i64 = file.query_row("SELECT count(*) FROM unique_key", (), |row| row.get(0)).unwrap();
    assert!((32_768..35_000).contains(&indexed), "{indexed} keys are written");
}

#[tokio::test]
async fn a_file_of_another_application_is_left_alone() {
    let folder = Folder::new();
    rusqlite::Connection::open(folder.file()).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = std::fs::read(folder.file()).unwrap();
    let error = SqliteStore::open(folder.file()).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("another application"), "{error:?}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
}

#[tokio::test]
async fn the_file_is_read_by_an_operator_without_us() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).unwrap();
    store.put(inbox_entry(SCOPE, "evt_1", b"{}")).await.unwrap();
    let shell = rusqlite::Connection::open(folder.file()).unwrap();
    let row: (String, String, String, i64) = shell
        .query_row("SELECT state, provider, event_id, length(record) FROM delivery JOIN record USING (id)", (), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!((&*row.0, &*row.1, &*row.2), ("waiting", "acme", "evt_1"));
    let check: String = shell.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}
