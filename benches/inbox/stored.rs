//! What the SQLite store does without HTTP: with many deliveries waiting, and after many were done.
//! Each part is a process of its own, so that its memory can be read and it can be killed.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Attempt, InboxStore as _, Outcome, Retention, Take};
use tower_webhook::testing::inbox_entry;
use tower_webhook::{Clock as _, SystemClock};

use crate::load::BODY_LEN;
use crate::{apps, now, quantile};

const SCOPE: &str = "benchmark";
/// Puts at the same time.
const AT_ONCE: usize = 256;
pub const TURNS: usize = 7;
const CALLS_A_TURN: usize = 20;
/// What growth is measured at. A turn takes as many as it puts, so that they stay.
pub const BACKLOGS: [usize; 4] = [10_000, 30_000, 100_000, 1_000_000];

/// Fills a store with `few` deliveries and one with `many`, and prints the seconds for a put of 32
/// and for a take of 32, with few and with many, in turns. It then says that it is full and goes on
/// storing, to be killed in the middle of it.
pub fn fill(path: &str, few: usize, many: usize) {
    run(async {
        let mut names = 0..;
        let small = SqliteStore::open(format!("{path}-few")).unwrap();
        put_all(&small, &mut names, few).await;
        let large = SqliteStore::open(path).unwrap();
        put_all(&large, &mut names, many).await;
        for _ in 0..TURNS {
            for store in [&small, &large] {
                println!("{}", time(async || put(store, &mut names, 32).await).await);
                println!("{}", time(async || assert_eq!(take(store, 32).await.len(), 32)).await);
            }
        }
        drop(small);
        println!("full");
        loop {
            put(&large, &mut names, AT_ONCE).await;
        }
    });
}

/// Prints the seconds for a put of 32 and for a take of 32, once that many deliveries wait, for
/// each of [`BACKLOGS`].
pub fn grow(path: &str) {
    run(async {
        let mut names = 0..;
        let store = SqliteStore::open(path).unwrap();
        for count in BACKLOGS {
            let missing = count - names.start;
            put_all(&store, &mut names, missing).await;
            let mut times = [const { Vec::new() }; 2];
            for _ in 0..TURNS {
                times[0].push(time(async || put(&store, &mut names, 32).await).await);
                times[1].push(time(async || assert_eq!(take(&store, 32).await.len(), 32)).await);
            }
            times.iter_mut().for_each(|times| println!("{}", quantile(times, 0.5)));
        }
    });
}

/// Opens a store and prints the seconds until it has answered, and how many deliveries there are.
pub fn open(path: &str) {
    run(async {
        let start = now();
        let store = SqliteStore::open(path).unwrap();
        let stats = store.stats(SCOPE.into()).await.unwrap();
        println!("{}\n{}", start.elapsed().as_secs_f64(), stats.waiting + stats.in_flight);
    });
}

/// Puts deliveries and has them done at once, a wave at a time, with what a worker does beside it.
pub fn finish(path: &str, count: usize) {
    run(async {
        let store = SqliteStore::open(path).unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        let retention = Retention { done: Duration::ZERO, dead: None, keys: 7 * day };
        let mut names = 0..;
        while names.start < count {
            put(&store, &mut names, AT_ONCE).await;
            let attempts = take(&store, u32::try_from(AT_ONCE).unwrap()).await;
            let mut finishing = JoinSet::new();
            for attempt in attempts {
                let store = store.clone();
                let done = Outcome::Done { keep: false, now: SystemClock.now() };
                finishing.spawn(async move { assert!(store.finish(attempt.token, done).await.unwrap()) });
            }
            finishing.join_all().await;
            store.prune(retention, 1000, SystemClock.now()).await.unwrap();
        }
        println!("done");
        std::future::pending().await
    });
}

/// Returns the bytes of a store's file and its log.
pub fn bytes(path: &Path) -> u64 {
    let size = |end: &str| std::fs::metadata(format!("{}{end}", path.display())).map_or(0, |file| file.len());
    ["", "-wal"].into_iter().map(size).sum()
}

fn run(part: impl Future<Output = ()>) {
    apps::end_with_parent();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(part);
}

async fn put_all(store: &SqliteStore, names: &mut std::ops::RangeFrom<usize>, count: usize) {
    let end = names.start + count;
    while names.start < end {
        let count = AT_ONCE.min(end - names.start);
        put(store, names, count).await;
    }
}

async fn put(store: &SqliteStore, names: &mut std::ops::RangeFrom<usize>, count: usize) {
    let mut puts = JoinSet::new();
    for name in names.take(count) {
        let store = store.clone();
        puts.spawn(async move {
            let entry = inbox_entry(SCOPE, &format!("delivery {name}"), &[b'x'; BODY_LEN]);
            store.put(entry).await.unwrap()
        });
    }
    puts.join_all().await;
}

async fn take(store: &SqliteStore, max: u32) -> Vec<Attempt> {
    let take = Take {
        retries_first: false,
        scope: SCOPE.into(),
        format: tower_webhook::inbox::RECORD_VERSION,
        max,
        lease: Duration::from_secs(600),
        now: SystemClock.now(),
        longest_delay: Duration::from_secs(3600),
    };
    store.take(take).await.unwrap().attempts
}

/// The mean over a turn, so that what is done between two calls counts.
async fn time(mut call: impl AsyncFnMut()) -> f64 {
    let start = now();
    for _ in 0..CALLS_A_TURN {
        call().await;
    }
    start.elapsed().as_secs_f64() / CALLS_A_TURN as f64
}
