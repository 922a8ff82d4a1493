//! The Postgres store, with a server of its own.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use tower_webhook::inbox::postgres::PostgresStore;
use tower_webhook::inbox::{Filter, InboxErrorKind, InboxStore as _, Outcome, Page, Put, State, Take};
use tower_webhook::testing::{inbox_entry, inbox_record_is_whole, inbox_suite};

use super::postgres_server::{PgBouncer, Postgres};
use crate::support::until;

const SCOPE: &str = "hooks";

fn take(max: u32) -> Take {
    let (lease, longest_delay) = (Duration::from_secs(60), Duration::from_secs(3600));
    Take { scope: SCOPE.into(), format: 1, max, lease, now: SystemTime::now(), longest_delay, retries_first: false }
}

fn done() -> Outcome {
    Outcome::Done { keep: true, now: SystemTime::now() }
}

async fn client(server: &Postgres) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Everything that is stored, by the sender's ids.
async fn stored(store: &PostgresStore) -> BTreeSet<String> {
    let (mut ids, mut before) = (BTreeSet::new(), None);
    loop {
        let listing = store.list(Filter::default(), Page { before, limit: 10_000 }).await.unwrap();
        ids.extend(listing.deliveries.into_iter().filter_map(|delivery| delivery.event_id.map(String::from)));
        before = listing.next;
        if before.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn postgres_keeps_the_rules_within_one_process_and_over_two() {
    let server = Postgres::start().await;
    inbox_suite(async || PostgresStore::connect(server.url()).await.unwrap()).await;
    let store = PostgresStore::connect(server.url()).await.unwrap();
    inbox_suite(async || store.clone()).await;
}

#[tokio::test]
async fn the_rules_hold_through_pgbouncer_in_transaction_mode() {
    let server = Postgres::start().await;
    let bouncer = PgBouncer::start(&server).await;
    inbox_suite(async || PostgresStore::connect(bouncer.url()).await.unwrap()).await;
    // No notification comes through: what a replica stored is seen by looking.
    let (here, there) =
        (PostgresStore::connect(bouncer.url()).await.unwrap(), PostgresStore::connect(server.url()).await);
    let idle = here.take(take(1)).await.unwrap();
    there.unwrap().put(inbox_entry(SCOPE, "late", b"")).await.unwrap();
    here.woken(idle.generation).await;
    until("it is seen", async || !here.take(take(1)).await.unwrap().attempts.is_empty()).await;
}

/// Puts from many tasks until it is told to stop, and returns what was acknowledged.
fn load(store: &PostgresStore, run: &'static str, stop: &Arc<AtomicBool>) -> JoinSet<Vec<String>> {
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let (store, stop) = (store.clone(), Arc::clone(stop));
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("{run}-{task}-{n}");
                match store.put(inbox_entry(SCOPE, &name, &[b'x'; 2048])).await {
                    Ok(Put::Stored(_)) => acknowledged.push(name),
                    Ok(other) => panic!("{name} is {other:?}"),
                    Err(error) => {
                        assert!(
                            matches!(error.kind(), InboxErrorKind::Unavailable | InboxErrorKind::Timeout),
                            "{error:?}"
                        );
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            acknowledged
        });
    }
    tasks
}

#[tokio::test]
async fn a_server_that_is_killed_or_paused_loses_nothing_that_was_acknowledged() {
    let mut server = Postgres::start().await;
    let store = PostgresStore::connect(server.url()).await.unwrap();
    let mut acknowledged = BTreeSet::new();
    for run in ["first", "second", "third"] {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = load(&store, run, &stop);
        tokio::time::sleep(Duration::from_millis(300)).await;
        if run == "second" {
            server.pause();
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.go_on();
        } else {
            server.kill();
            assert!(store.health().await.is_err());
            server.restart().await;
        }
        let restarted = Instant::now();
        until("it accepts again", async || store.health().await.is_ok()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(restarted.elapsed() < Duration::from_secs(5));
        stop.store(true, Ordering::Relaxed);
        let of_run: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
        assert!(of_run.len() > 50, "{run}: only {} were acknowledged", of_run.len());
        acknowledged.extend(of_run);
    }
    let stored = stored(&store).await;
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), acknowledged.len());
}

#[tokio::test]
async fn two_replicas_share_the_work_and_nothing_is_handled_twice() {
    let server = Postgres::start().await;
    let (here, there) = tokio::join!(PostgresStore::connect(server.url()), PostgresStore::connect(server.url()));
    let (here, there) = (here.unwrap(), there.unwrap());
    let mut puts = JoinSet::new();
    for n in 0..300 {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        puts.spawn(async move { store.put(inbox_entry(SCOPE, &format!("{n}"), b"")).await.unwrap() });
    }
    puts.join_all().await;
    let mut workers = JoinSet::new();
    for n in 0..4 {
        let store = if n % 2 == 0 { here.clone() } else { there.clone() };
        workers.spawn(async move {
            let mut handled = Vec::new();
            loop {
                let attempts = store.take(take(8)).await.unwrap().attempts;
                if attempts.is_empty() {
                    return handled;
                }
                for attempt in attempts {
                    assert!(store.finish(attempt.token, done()).await.unwrap());
                    handled.push(attempt.token.id);
                }
            }
        });
    }
    let handled: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!((handled.len(), handled.iter().collect::<BTreeSet<_>>().len()), (300, 300));
    // The other one is told, sooner than it would look by itself.
    let idle = there.take(take(1)).await.unwrap();
    tokio::join!(there.woken(idle.generation), async {
        here.put(inbox_entry(SCOPE, "late", b"")).await.unwrap();
    });
    until("the other one sees it", async || !there.take(take(1)).await.unwrap().attempts.is_empty()).await;
}

#[tokio::test]
async fn a_delivery_is_done_exactly_if_the_users_transaction_is_committed() {
    let server = Postgres::start().await;
    let store = PostgresStore::connect(server.url()).await.unwrap();
    let mut client = client(&server).await;
    client.batch_execute("CREATE TABLE invoice (id text PRIMARY KEY)").await.unwrap();
    store.put(inbox_entry(SCOPE, "evt_1", b"{}")).await.unwrap();
    let attempt = store.take(take(1)).await.unwrap().attempts.remove(0);
    let state = async || store.get(attempt.token.id).await.unwrap().unwrap().summary.state;
    for is_committed in [false, true] {
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute("INSERT INTO invoice VALUES ('in_1')").await.unwrap();
        assert!(store.complete_in(&transaction, attempt.token, true, SystemTime::now()).await.unwrap());
        if is_committed {
            transaction.commit().await.unwrap();
            assert_eq!(state().await, State::Done);
        } else {
            transaction.rollback().await.unwrap();
            assert_eq!(state().await, State::InFlight);
        }
    }
    let transaction = client.transaction().await.unwrap();
    assert!(!store.complete_in(&transaction, attempt.token, true, SystemTime::now()).await.unwrap());
}

#[tokio::test]
async fn a_server_that_answers_before_it_writes_is_refused_and_so_is_tls_that_is_not_there() {
    let server = Postgres::start_with(&["synchronous_commit=off"]).await;
    let refused = PostgresStore::connect(server.url()).await.unwrap_err();
    assert!(refused.to_string().contains("synchronous_commit"), "{refused}");
    let url = server.url().replace("postgres@", "postgres:hunter2@") + "?sslmode=require";
    let refused = PostgresStore::connect(url).await.unwrap_err();
    assert!(refused.to_string().contains("TLS"), "{refused}");
    let unreachable = PostgresStore::connect("postgres://postgres:hunter2@127.0.0.1:1/postgres").await.unwrap_err();
    assert_eq!(unreachable.kind(), InboxErrorKind::Unavailable);
    let shown = format!("{unreachable:?} {:?} {refused:?}", unreachable.source());
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// Postgres answers the commit of an aborted transaction with success; a put that failed within one
/// must not be acknowledged.
#[tokio::test]
async fn what_fails_within_a_transaction_is_not_acknowledged() {
    let server = Postgres::start().await;
    let store = PostgresStore::connect(server.url()).await.unwrap();
    let client = client(&server).await;
    client.batch_execute("ALTER TABLE webhook_inbox.record ADD CONSTRAINT broken CHECK (false)").await.unwrap();
    assert!(store.put(inbox_entry(SCOPE, "evt_1", b"{}")).await.is_err());
    client.batch_execute("ALTER TABLE webhook_inbox.record DROP CONSTRAINT broken").await.unwrap();
    assert!(matches!(store.put(inbox_entry(SCOPE, "evt_1", b"{}")).await, Ok(Put::Stored(_))));
}

/// Of those that are stored with one statement, some are known and some stand in lines.
#[tokio::test]
async fn many_at_once_are_each_stored_as_if_alone() {
    let server = Postgres::start().await;
    let store = PostgresStore::connect(server.url()).await.unwrap();
    let entry = |n: usize| {
        let mut entry = inbox_entry(SCOPE, &format!("{n}"), &[b'x'; 2048]);
        entry.order_key = n.is_multiple_of(3).then(|| format!("line {}", n % 2).into());
        entry
    };
    for n in 0..20 {
        assert!(matches!(store.put(entry(n)).await, Ok(Put::Stored(_))), "{n}");
    }
    let mut puts = JoinSet::new();
    for n in 0..60 {
        let (store, entry) = (store.clone(), entry(n));
        puts.spawn(async move { (n, store.put(entry).await.unwrap()) });
    }
    let mut ids = BTreeSet::new();
    for (n, put) in puts.join_all().await {
        match put {
            Put::Known(State::Waiting) => assert!(n < 20, "{n}"),
            Put::Stored(id) => assert!(n >= 20 && ids.insert(id), "{n}"),
            other => panic!("{n} is {other:?}"),
        }
    }
    let stats = store.stats(SCOPE.into()).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight), (60, 0));
    // All that stand in no line, and the first one of each of the two lines.
    let attempts = store.take(take(100)).await.unwrap().attempts;
    assert_eq!(attempts.len(), 40 + 2);
    for attempt in attempts {
        assert!(inbox_record_is_whole(&attempt.record));
    }
}

#[tokio::test]
async fn tables_of_an_earlier_version_are_brought_up_to_date() {
    let server = Postgres::start().await;
    let store = PostgresStore::connect(server.url()).await.unwrap();
    store.put(inbox_entry(SCOPE, "before", b"{}")).await.unwrap();
    let client = client(&server).await;
    // What the fourth version added.
    client
        .batch_execute("DROP FUNCTION webhook_inbox.put_one; DELETE FROM webhook_inbox.version WHERE version >= 4")
        .await
        .unwrap();
    assert!(store.put(inbox_entry(SCOPE, "between", b"{}")).await.is_err());
    let store = PostgresStore::connect(server.url()).await.unwrap();
    assert_eq!(store.put(inbox_entry(SCOPE, "before", b"{}")).await.unwrap(), Put::Known(State::Waiting));
    assert!(matches!(store.put(inbox_entry(SCOPE, "after", b"{}")).await, Ok(Put::Stored(_))));
    assert_eq!(store.take(take(10)).await.unwrap().attempts.len(), 2);
}
