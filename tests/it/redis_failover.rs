//! The store in Redis through real fail-overs, under load: nothing is lost, and it recovers by
//! itself.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use futures_util::future::join_all;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_webhook::{DedupLayer, Delivery, RedisStore, WebhookLayer};

use crate::dedup::{acme, delivery};
use crate::redis_server::{Redis, Sentinel, free_port};
use crate::support::until;

const SENDERS: usize = 8;
/// The time after which a sender tries again what was not acknowledged.
const RETRY: Duration = Duration::from_millis(50);
/// Longer than any fail-over here, and shorter than anybody would wait for this test.
const PATIENCE: Duration = Duration::from_secs(40);

/// What became of the events of one run.
#[derive(Debug, Default)]
struct Figures {
    events: usize,
    sent: usize,
    acknowledged: usize,
    handled: usize,
    lost: usize,
    twice: usize,
    /// The longest time from the first try of an event to its acknowledgement.
    slowest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, sent, acknowledged, handled, lost, twice, slowest } = self;
        write!(f, "events {events}, sent {sent}, acknowledged {acknowledged}, handled {handled}, ")?;
        write!(f, "lost {lost}, handled twice {twice}, slowest {slowest:.1?}")
    }
}

/// Sends events while the mishap happens, each until it is acknowledged; and once more each when
/// all is over.
async fn run(name: &str, store: RedisStore, mishap: impl AsyncFnOnce()) -> Figures {
    let handled: Arc<Mutex<HashMap<usize, usize>>> = Arc::default();
    let counted = handled.clone();
    let handler = async move |delivery: Delivery| {
        *counted.lock().unwrap().entry(delivery.id().unwrap().parse().unwrap()).or_default() += 1;
    };
    let layer = DedupLayer::new(store).with_lease(Duration::from_secs(3));
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(layer);
    let server = Arc::new(crate::support::serve(Router::new().route("/", post(handler).layer(layers))).await);
    let client = Client::builder(TokioExecutor::new()).build_http();

    let (over, next, sent) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let acknowledged: Mutex<HashMap<usize, Duration>> = Mutex::default();
    let deliver = async |id: usize| {
        let start = Instant::now();
        loop {
            sent.fetch_add(1, Ordering::SeqCst);
            let status = server.send_by(client.clone(), delivery(&id.to_string())).await.status.as_u16();
            match status {
                200 => return start.elapsed(),
                503 => assert!(start.elapsed() < PATIENCE, "{name}: event {id} is refused for ever"),
                _ => panic!("{name}: event {id} was answered {status}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let sender = async || {
        while !over.load(Ordering::SeqCst) {
            let id = next.fetch_add(1, Ordering::SeqCst);
            let time = deliver(id).await;
            acknowledged.lock().unwrap().insert(id, time);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let fresh = async |number: usize| {
        let from = next.load(Ordering::SeqCst);
        let arrived = async || {
            while acknowledged.lock().unwrap().keys().filter(|id| **id >= from).count() < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived()).await.unwrap_or_else(|_| panic!("{name}: it does not recover"));
    };
    let director = async {
        fresh(100).await;
        mishap().await;
        fresh(300).await;
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(director, join_all((0..SENDERS).map(|_| sender())));

    let acknowledged = acknowledged.into_inner().unwrap();
    // Every event is repeated, as by a sender that never saw our answers.
    let ids: Vec<usize> = acknowledged.keys().copied().collect();
    join_all(ids.chunks(ids.len().div_ceil(SENDERS)).map(async |ids| {
        for id in ids {
            deliver(*id).await;
        }
    }))
    .await;

    let handled = handled.lock().unwrap();
    let figures = Figures {
        events: next.load(Ordering::SeqCst),
        sent: sent.load(Ordering::SeqCst),
        acknowledged: acknowledged.len(),
        handled: handled.len(),
        lost: acknowledged.keys().filter(|id| !handled.contains_key(id)).count(),
        twice: handled.values().filter(|times| **times > 1).count(),
        slowest: acknowledged.values().copied().max().unwrap(),
    };
    println!("{name}: {figures}");
    assert_eq!(figures.events, figures.acknowledged, "{name}: {figures}");
    assert_eq!(figures.lost, 0, "{name}: {figures}");
    // At each mishap every sender may have an event whose handler succeeded and whose commit failed,
    // and one before it whose commit was not replicated yet.
    assert!(figures.twice <= 2 * SENDERS, "{name}: {figures}");
    figures
}

/// One address behind which the server changes.
struct Proxy {
    address: SocketAddr,
    target: Arc<Mutex<u16>>,
    hush: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(redis.port()));
        let (hush, hushed) = watch::channel(());
        let to = target.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (port, mut hushed) = (*to.lock().unwrap(), hushed.clone());
                hushed.mark_unchanged();
                connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = hushed.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, target, hush, task }
    }

    fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Leads new connections to this server. Those that are open stay where they are.
    fn lead_to(&self, redis: &Redis) {
        *self.target.lock().unwrap() = redis.port();
    }

    /// Neither carries nor closes what is open now, as a network that lost its state.
    fn hush(&self) {
        self.hush.send(()).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_on_an_open_connection_is_left_for_the_new_one() {
    let master = Redis::start().await;
    let replica = master.start_replica().await;
    let proxy = Proxy::to(&master).await;
    let store = RedisStore::connect(proxy.url()).await.unwrap();
    let figures = run("fail-over behind one address", store, async || {
        master.command::<()>(&["FAILOVER"]).await;
        until("the master is demoted", async || master.info("replication").await.contains("role:slave")).await;
        until("the replica is promoted", async || replica.info("replication").await.contains("role:master")).await;
        // The address follows later than the roles, as it does everywhere.
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.lead_to(&replica);
    })
    .await;
    assert!(figures.slowest < Duration::from_secs(5), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_silent_is_replaced() {
    let redis = Redis::start().await;
    let proxy = Proxy::to(&redis).await;
    let store = RedisStore::connect(proxy.url()).await.unwrap();
    let figures = run("silent connection", store, async || proxy.hush()).await;
    assert!(figures.slowest < Duration::from_secs(5), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_and_goes_on_is_used_again() {
    let redis = Redis::start().await;
    let store = RedisStore::connect(redis.url()).await.unwrap();
    run("hung server", store, async || {
        redis.pause();
        tokio::time::sleep(Duration::from_secs(4)).await;
        redis.go_on();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_later_is_used_again() {
    let mut redis = Redis::start_persistent().await;
    let store = RedisStore::connect(redis.url()).await.unwrap();
    let figures = run("killed server", store, async || {
        redis.kill();
        tokio::time::sleep(Duration::from_secs(5)).await;
        redis.restart().await;
    })
    .await;
    assert!(figures.slowest < Duration::from_secs(10), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_server_that_is_killed_and_comes_back_is_used_again() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-tls-load-{}", std::process::id()));
    let (mut redis, port, authority) = crate::redis_connect::tls(&dir).await;
    let builder = RedisStore::builder().with_roots(authority);
    let store = builder.connect(format!("rediss://127.0.0.1:{port}/")).await.unwrap();
    let figures = run("TLS, killed server", store, async || {
        redis.kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.restart().await;
    })
    .await;
    assert!(figures.slowest < Duration::from_secs(8), "{figures}");
    let _ = std::fs::remove_dir_all(dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_that_were_withdrawn_and_given_back_are_noticed() {
    let redis = Redis::start().await;
    let grant: &[&str] = &["ACL", "SETUSER", "shop", "on", ">word", "~webhook:*", "+@all", "-@dangerous"];
    redis.command::<()>(grant).await;
    let store = RedisStore::connect(redis.url().replace("//", "//shop:word@")).await.unwrap();
    let figures = run("permissions withdrawn, user deleted", store, async || {
        redis.command::<()>(&["ACL", "SETUSER", "shop", "-evalsha", "-eval"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.command::<()>(grant).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        redis.command::<()>(&["ACL", "DELUSER", "shop"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.command::<()>(grant).await;
    })
    .await;
    assert!(figures.slowest < Duration::from_secs(5), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_is_followed_by_the_one_that_the_sentinels_choose() {
    let mut master = Redis::start().await;
    let replicas = [master.start_replica().await, master.start_replica().await];
    let sentinels =
        [Sentinel::start(&master, 2).await, Sentinel::start(&master, 2).await, Sentinel::start(&master, 2).await];
    for sentinel in &sentinels {
        sentinel.knows(replicas.len(), sentinels.len() - 1).await;
    }
    let urls = sentinels.each_ref().map(Sentinel::url);
    let store = RedisStore::connect_sentinel(&urls, "mymaster").await.unwrap();
    run("Sentinel, master killed", store, async || master.kill()).await;
}

/// Three masters with the slots in thirds, then a replica of each.
async fn cluster() -> Vec<Redis> {
    let mut nodes = Vec::new();
    for _ in 0..6 {
        let bus = free_port().to_string();
        let options =
            ["--save", "", "--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus];
        nodes.push((Redis::start_with(options).await, bus));
    }
    for (index, slots) in [["0", "5460"], ["5461", "10922"], ["10923", "16383"]].iter().enumerate() {
        nodes[index].0.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]).await;
    }
    let port = nodes[0].0.port().to_string();
    for (index, (node, _)) in nodes.iter().enumerate() {
        node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
        if index > 0 {
            node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &nodes[0].1]).await;
        }
    }
    let nodes: Vec<Redis> = nodes.into_iter().map(|(node, _)| node).collect();
    for node in &nodes {
        until("the nodes know each other", async || {
            let info: String = node.command(&["CLUSTER", "INFO"]).await;
            info.contains("cluster_known_nodes:6") && info.contains("cluster_state:ok")
        })
        .await;
    }
    for (master, replica) in [(0, 3), (1, 4), (2, 5)] {
        let id: String = nodes[master].command(&["CLUSTER", "MYID"]).await;
        nodes[replica].command::<()>(&["CLUSTER", "REPLICATE", &id]).await;
    }
    for node in &nodes {
        until("the replicas follow", async || {
            let replicas: String = node.command(&["CLUSTER", "NODES"]).await;
            let follows = !node.info("replication").await.contains("master_link_status:down");
            follows && replicas.matches("slave").count() == 3
        })
        .await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_used_whole_and_one_of_its_masters_may_die() {
    let mut nodes = cluster().await;
    let refused = RedisStore::connect(nodes[0].url()).await.unwrap_err();
    assert!(refused.to_string().contains("connect_cluster"), "{refused}");

    let urls = [nodes[1].url(), nodes[2].url()];
    let store = RedisStore::connect_cluster(&urls).await.unwrap();
    run("cluster, master killed", store, async || {
        for node in &nodes[..3] {
            assert!(node.command::<usize>(&["DBSIZE"]).await > 0, "each master has some of the keys");
        }
        nodes[0].kill();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_master_hangs_goes_on_with_its_replica() {
    let nodes = cluster().await;
    let store = RedisStore::connect_cluster([nodes[1].url(), nodes[2].url()]).await.unwrap();
    run("cluster, master hangs", store, async || {
        nodes[0].pause();
    })
    .await;
}
