//! Deduplication over several processes and one Redis, which is killed, paused and started again.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_webhook::dedup::Key;
use tower_webhook::testing::store_suite;
use tower_webhook::{DedupLayer, Delivery, RedisStore, WebhookLayer};

use crate::dedup::{Act, Handler, acme, delivery};
use crate::redis_server::Redis;
use crate::support::until;

/// Long enough for a request to be handled within, short enough to be waited for.
const SHORT_LEASE: Duration = Duration::from_millis(1500);

async fn layer(redis: &Redis) -> DedupLayer {
    DedupLayer::new(RedisStore::connect(redis.url()).await.unwrap())
}

#[tokio::test]
async fn the_store_in_redis_keeps_the_rules() {
    let redis = Redis::start().await;
    let open = async || RedisStore::connect(redis.url()).await.unwrap();
    store_suite(open, async |time| tokio::time::sleep(time).await).await;
}

#[tokio::test]
async fn the_store_runs_on_a_node_of_a_cluster_and_over_any_connection() {
    let redis = Redis::start_with(["--save", "", "--cluster-enabled", "yes"]).await;
    redis.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    until("the cluster is whole", async || {
        redis.command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    let client = redis::Client::open(redis.url()).unwrap();
    let open = async || RedisStore::new(client.get_multiplexed_async_connection().await.unwrap());
    store_suite(open, async |time| tokio::time::sleep(time).await).await;
}

#[tokio::test]
async fn an_entry_has_the_prefix_and_ends_by_itself() {
    let redis = Redis::start().await;
    let store = RedisStore::connect(redis.url()).await.unwrap().with_prefix("shop:");
    let key = Key::new("acme", "1");
    let handler = Handler::new([Act::Hang]);
    let layer = DedupLayer::new(store).with_key(move |_, _| Some(key)).with_retention(Duration::from_secs(1000));
    let name = format!("shop:{key}");
    {
        let server = handler.serve(layer.clone()).await;
        let working = server.send(delivery("1"));
        let looking = until("the claim is there", async || {
            let left: i64 = redis.command(&["PTTL", &name]).await;
            (1..=60_000).contains(&left)
        });
        tokio::select! {
            reply = working => panic!("{reply:?}"),
            () = looking => {}
        }
        // The client is gone now, and the server drops the handler.
        until("the claim is released", async || redis.command::<usize>(&["DBSIZE"]).await == 0).await;
    }
    let server = Handler::default().serve(layer.clone()).await;
    assert_eq!(server.send(delivery("1")).await.text(), "from the handler");
    let left: i64 = redis.command(&["PTTL", &name]).await;
    assert!((990_000..=1_000_000).contains(&left), "{left}");

    // What is not ours is neither believed nor overwritten.
    for foreign in [&["SET", &name, "something"][..], &["LPUSH", &name, "something"]] {
        redis.command::<usize>(&["DEL", &name]).await;
        redis.command::<redis::Value>(foreign).await;
        assert_eq!(server.send(delivery("1")).await.status, 503);
    }
    assert_eq!(redis.command::<usize>(&["LLEN", &name]).await, 1);
}

#[tokio::test]
async fn a_password_is_used_and_a_wrong_one_is_not_repeated() {
    let redis = Redis::start().await;
    redis.command::<()>(&["CONFIG", "SET", "requirepass", "correct-horse"]).await;
    let url = |password: &str| redis.url().replace("//", &format!("//:{password}@"));
    assert!(RedisStore::connect(url("correct-horse")).await.is_ok());
    for (url, message) in [
        (url("battery-staple"), "Redis refused the credentials"),
        (redis.url(), "Redis requires credentials, and the address has none"),
    ] {
        let error = RedisStore::connect(url).await.unwrap_err();
        assert!(!format!("{error:?}").contains("battery-staple"), "{error:?}");
        assert_eq!(error.to_string(), message, "{error:?}");
    }
}

#[tokio::test]
async fn replicas_share_what_failed_and_what_is_done() {
    let redis = Redis::start().await;
    let handler = Handler::new([Act::Answer(500), Act::Panic, Act::Answer(204)]);
    let replicas = [handler.serve(layer(&redis).await).await, handler.serve(layer(&redis).await).await];
    let mut statuses = Vec::new();
    for replica in replicas.iter().cycle().take(6) {
        statuses.push(replica.send(delivery("1")).await.status.as_u16());
    }
    assert_eq!(statuses, [500, 500, 204, 204, 204, 204]);
    assert_eq!(handler.calls(), 3);
}

#[tokio::test]
async fn a_hundred_deliveries_to_two_processes_are_handled_once() {
    let redis = Redis::start().await;
    let mut replicas = [Replica::start(&redis, "answer").await, Replica::start(&redis, "answer").await];
    let sent = (0..100).map(|n| replicas[n % 2].send(delivery("1")));
    let statuses = futures_util::future::join_all(sent).await;
    assert!(statuses.contains(&Some(200)));
    assert!(statuses.iter().all(|status| matches!(status, Some(200 | 503))), "{statuses:?}");
    for replica in &replicas {
        assert_eq!(replica.send(delivery("1")).await, Some(200));
        assert_eq!(replica.send(delivery("2")).await, Some(200));
    }
    let mut calls: Vec<_> = replicas.iter_mut().flat_map(Replica::end).collect();
    calls.sort();
    assert_eq!(calls, ["1", "2"]);
}

#[tokio::test]
async fn a_delivery_whose_process_was_killed_is_handled_again_after_the_lease() {
    let redis = Redis::start().await;
    let mut first = Replica::start(&redis, "hang").await;
    let mut second = Replica::start(&redis, "answer").await;
    let working = first.send(delivery("1"));
    let killed = async {
        until("the handler is at work", async || *first.calls.lock().unwrap() == ["1"]).await;
        // Longer than the lease: it is renewed.
        tokio::time::sleep(SHORT_LEASE + SHORT_LEASE / 3).await;
        assert_eq!(second.send(delivery("1")).await, Some(503));
    };
    tokio::select! {
        status = working => panic!("answered {status:?}"),
        () = killed => {}
    }
    assert_eq!(first.end(), ["1"]);
    assert_eq!(second.send(delivery("1")).await, Some(503), "nobody can know yet that the process is gone");
    until("the lease has ended", async || second.send(delivery("1")).await == Some(200)).await;
    assert_eq!(second.send(delivery("1")).await, Some(200));
    assert_eq!(second.end(), ["1"]);
}

/// What a sender saw of each of its deliveries, while it sent them one after another.
async fn load(redis: &mut Redis, mishap: impl AsyncFnOnce(&mut Redis)) -> (Counts, Vec<(usize, u16)>) {
    let counts: Counts = Arc::default();
    let counted = counts.clone();
    let handler = async move |delivery: Delivery| {
        *counted.lock().unwrap().entry(delivery.id().unwrap().parse().unwrap()).or_default() += 1;
    };
    let layer = layer(redis).await.with_store_timeout(Duration::from_millis(300));
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(layer);
    let server = Arc::new(crate::support::serve(Router::new().route("/", post(handler).layer(layers))).await);
    let (over, next, seen) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let sender = async || {
        while !over.load(Ordering::SeqCst) {
            let id = next.fetch_add(1, Ordering::SeqCst);
            let status = server.send(delivery(&id.to_string())).await.status.as_u16();
            seen.lock().unwrap().push((id, status));
        }
    };
    let fresh = async |status: u16| {
        let from = next.load(Ordering::SeqCst);
        until("deliveries are answered like this", async || {
            seen.lock().unwrap().iter().any(|seen| seen.0 >= from && seen.1 == status)
        })
        .await;
    };
    let director = async {
        fresh(200).await;
        mishap(redis).await;
        fresh(503).await;
        let from = next.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let during = seen.lock().unwrap().iter().filter(|seen| seen.0 >= from && seen.1 != 503).count();
        assert_eq!(during, 0, "without the store nothing is handled");
        redis.go_on_or_restart().await;
        fresh(200).await;
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(director, sender(), sender(), sender(), sender());
    (counts, seen.into_inner().unwrap())
}

type Counts = Arc<Mutex<HashMap<usize, usize>>>;

fn every_success_was_handled_once((counts, seen): (Counts, Vec<(usize, u16)>)) {
    let counts = counts.lock().unwrap();
    for (id, status) in seen {
        match status {
            200 => assert_eq!(counts.get(&id), Some(&1), "delivery {id} was answered 200"),
            503 => assert_eq!(counts.get(&id), None, "delivery {id} was answered 503"),
            _ => panic!("delivery {id} was answered {status}"),
        }
    }
}

#[tokio::test]
async fn while_redis_is_dead_nothing_is_accepted_and_when_it_is_back_all_goes_on() {
    let mut redis = Redis::start().await;
    every_success_was_handled_once(load(&mut redis, async |redis| redis.kill()).await);
}

#[tokio::test]
async fn while_redis_hangs_nothing_is_accepted_and_when_it_is_back_all_goes_on() {
    let mut redis = Redis::start().await;
    every_success_was_handled_once(load(&mut redis, async |redis| redis.pause()).await);
}

#[tokio::test]
async fn what_is_done_outlives_a_redis_that_writes_it_down() {
    let mut redis = Redis::start_persistent().await;
    let handler = Handler::default();
    let server = handler.serve(layer(&redis).await).await;
    assert_eq!(server.send(delivery("1")).await.text(), "from the handler");
    redis.kill();
    assert_eq!(server.send(delivery("1")).await.status, 503);
    redis.restart().await;
    until("the connection is back", async || server.send(delivery("1")).await.status == 200).await;
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn a_claim_that_redis_granted_while_it_hung_is_given_back() {
    let redis = Redis::start().await;
    let handler = Handler::default();
    let server = handler.serve(layer(&redis).await.with_store_timeout(Duration::from_millis(200))).await;
    assert_eq!(server.send(delivery("0")).await.status, 200);
    redis.pause();
    assert_eq!(server.send(delivery("1")).await.status, 503);
    redis.go_on();
    // The lease of a minute has not ended.
    until("the delivery is free", async || server.send(delivery("1")).await.status == 200).await;
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn a_handler_at_work_keeps_its_claim_over_a_redis_that_forgot_it() {
    let mut redis = Redis::start().await;
    let handler = Handler::new([Act::Hang]);
    let server = handler.serve(layer(&redis).await.with_lease(SHORT_LEASE)).await;
    let working = server.send(delivery("1"));
    let forgetting = async {
        until("the handler is at work", async || handler.calls() == 1).await;
        redis.kill();
        redis.restart().await;
        until("the claim is there again", async || redis.command::<usize>(&["DBSIZE"]).await == 1).await;
        assert_eq!(server.send(delivery("1")).await.status, 503);
    };
    tokio::select! {
        reply = working => panic!("{reply:?}"),
        () = forgetting => {}
    }
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn a_service_starts_without_its_redis_when_told_to() {
    let mut redis = Redis::start().await;
    redis.kill();
    assert!(RedisStore::connect(redis.url()).await.is_err());
    let handler = Handler::default();
    let server = handler.serve(DedupLayer::new(RedisStore::connect_lazily(redis.url()).unwrap())).await;
    assert_eq!(server.send(delivery("1")).await.status, 503);
    redis.restart().await;
    until("the connection is there", async || server.send(delivery("1")).await.status == 200).await;
    assert_eq!(handler.calls(), 1);
}

/// Another process that serves the same webhook.
struct Replica {
    child: Child,
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

const REPLICA_OF: &str = "WEBHOOK_TEST_REPLICA_OF";
const REPLICA_ACT: &str = "WEBHOOK_TEST_REPLICA_ACT";

impl Replica {
    async fn start(redis: &Redis, act: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dedup_redis::a_replica", "--ignored", "--nocapture"])
            .envs([(REPLICA_OF, redis.url().as_str()), (REPLICA_ACT, act)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let (told, address) = tokio::sync::oneshot::channel();
        let (stdout, seen) = (child.stdout.take().unwrap(), calls.clone());
        let reader = std::thread::spawn(move || {
            let mut told = Some(told);
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on ") {
                    told.take().unwrap().send(address.parse().unwrap()).unwrap();
                } else if let Some((_, id)) = line.split_once("called for ") {
                    seen.lock().unwrap().push(id.to_owned());
                }
            }
        });
        Self { child, address: address.await.unwrap(), calls, reader: Some(reader) }
    }

    /// The status; `None` where the process ended.
    async fn send(&self, mut request: Request<Full<Bytes>>) -> Option<u16> {
        *request.uri_mut() = format!("http://{}/", self.address).parse().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Some(client.request(request).await.ok()?.status().as_u16())
    }

    /// Kills it, and tells for which ids its handler was called.
    fn end(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // It ends once it has read all that the process wrote.
        self.reader.take().unwrap().join().unwrap();
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "the other process of the tests above, which start it"]
async fn a_replica() {
    let (Ok(url), Ok(act)) = (std::env::var(REPLICA_OF), std::env::var(REPLICA_ACT)) else { return };
    // Whoever started it holds the other end; when that is gone, so is this.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let handler = async move |delivery: Delivery| {
        println!("\ncalled for {}", delivery.id().unwrap());
        if act == "hang" {
            std::future::pending::<()>().await;
        }
        StatusCode::OK
    };
    let layer = DedupLayer::new(RedisStore::connect(url).await.unwrap()).with_lease(SHORT_LEASE);
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    axum::serve(listener, Router::new().route("/", post(handler).layer(layers))).await.unwrap();
}
