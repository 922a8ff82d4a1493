//! What connecting to Redis finds wrong, and says; and TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower_webhook::testing::store_suite;
use tower_webhook::{ConfigErrorKind, DedupLayer, RedisStore};

use crate::dedup::{Handler, delivery};
use crate::operators::Log;
use crate::redis_server::{Redis, Sentinel, free_port};
use crate::support::until;

#[tokio::test]
async fn a_replica_is_refused_at_once() {
    let master = Redis::start().await;
    let replica = master.start_replica().await;
    let error = RedisStore::connect(replica.url()).await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Conflict);
    assert_eq!(error.to_string(), "this Redis is a replica, which takes no writes: connect to its master");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused_even_where_it_has_all_slots() {
    let redis = Redis::start_with(["--save", "", "--cluster-enabled", "yes"]).await;
    redis.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    until("the cluster is whole", async || {
        redis.command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    let error = RedisStore::connect(redis.url()).await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Conflict);
    assert!(error.to_string().contains("`RedisStore::connect_cluster`"), "{error}");

    let open = async || RedisStore::connect_cluster([redis.url()]).await.unwrap();
    store_suite(open, async |time| tokio::time::sleep(time).await).await;
}

#[tokio::test]
async fn a_server_that_is_no_cluster_and_one_that_is_a_sentinel_are_told() {
    let redis = Redis::start().await;
    let error = RedisStore::connect_cluster([redis.url()]).await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Conflict);
    assert!(error.to_string().contains("`RedisStore::connect`"), "{error:?}");

    let sentinel = Sentinel::start(&redis, 1).await;
    sentinel.knows(0, 0).await;
    let error = RedisStore::connect(sentinel.url()).await.unwrap_err();
    assert!(error.to_string().contains("`RedisStore::connect_sentinel`"), "{error:?}");

    let error = RedisStore::connect_sentinel([sentinel.url()], "other").await.unwrap_err();
    assert_eq!(error.to_string(), "the Sentinels know no master of this name", "{error:?}");
    let none: [&str; 0] = [];
    let error = RedisStore::connect_sentinel(none, "mymaster").await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Missing);
}

#[tokio::test]
async fn sentinels_name_a_master_that_has_a_password_and_a_database() {
    let redis = Redis::start().await;
    let sentinel = Sentinel::start(&redis, 1).await;
    sentinel.knows(0, 0).await;
    redis.command::<()>(&["ACL", "SETUSER", "shop", "on", ">word", "~webhook:*", "+@all"]).await;
    let store = RedisStore::connect_sentinel([sentinel.url()], "redis://shop:word@mymaster/3").await.unwrap();
    let handler = Handler::default();
    let server = handler.serve(DedupLayer::new(store)).await;
    assert_eq!(server.send(delivery("1")).await.status, 200);
    assert!(redis.info("keyspace").await.contains("db3:keys=1"));

    let error = RedisStore::connect_sentinel([sentinel.url()], "redis://shop:wrong@mymaster").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis refused the credentials", "{error:?}");
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
}

#[tokio::test]
async fn a_user_who_lacks_a_permission_is_told_what_is_needed() {
    let redis = Redis::start().await;
    let url = redis.url().replace("//", "//shop:word@");
    for lacking in [&["-evalsha"][..], &["-@scripting"], &["-set"], &["-del"], &["resetkeys", "~other:*"], &["-@write"]]
    {
        redis.command::<()>(&["ACL", "SETUSER", "shop", "reset", "on", ">word", "~webhook:*", "+@all"]).await;
        assert!(RedisStore::connect(&url).await.is_ok());
        redis.command::<()>(&[&["ACL", "SETUSER", "shop"], lacking].concat()).await;
        let error = RedisStore::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Key, "{lacking:?} {error:?}");
        let expected = "Redis must let the user run EVAL and EVALSHA, with GET, SET and DEL, on keys that start with the store's prefix";
        assert_eq!(error.to_string(), expected, "{lacking:?} {error:?}");
    }
}

#[tokio::test]
async fn a_user_with_no_more_than_is_needed_is_enough_under_another_prefix() {
    let redis = Redis::start().await;
    let url = redis.url().replace("//", "//shop:word@");
    let rights = ["+eval", "+evalsha", "+get", "+set", "+del"];
    redis.command::<()>(&[&["ACL", "SETUSER", "shop", "on", ">word", "~shop:*"], &rights[..]].concat()).await;
    let builder = || RedisStore::builder().with_prefix("shop:");
    assert!(RedisStore::connect(&url).await.is_err());
    let open = async || builder().connect(&url).await.unwrap();
    store_suite(open, async |time| tokio::time::sleep(time).await).await;
    let open = async || RedisStore::connect_lazily(&url).unwrap().with_prefix("shop:");
    store_suite(open, async |time| tokio::time::sleep(time).await).await;
    assert_eq!(redis.command::<Vec<String>>(&["KEYS", "webhook:*"]).await, [""; 0]);
}

#[tokio::test]
async fn a_store_that_evicts_is_warned_of_and_one_that_does_not_is_not() {
    let redis = Redis::start().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    // With one subscriber alone, tracing asks whichever thread comes first whether anyone listens.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber);
    for (limit, policy, is_warned) in [
        ("0", "allkeys-lru", false),
        ("100mb", "noeviction", false),
        ("100mb", "allkeys-lru", true),
        // All our keys are volatile.
        ("100mb", "volatile-ttl", true),
    ] {
        redis.command::<()>(&["CONFIG", "SET", "maxmemory", limit]).await;
        redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", policy]).await;
        RedisStore::connect(redis.url()).await.unwrap();
        let seen = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        assert_eq!(seen.contains(policy), is_warned, "{limit} {policy} {seen}");
    }
}

#[tokio::test]
async fn a_cluster_that_evicts_is_warned_of_too() {
    let redis =
        Redis::start_with(["--cluster-enabled", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu"])
            .await;
    redis.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    until("the cluster is whole", async || {
        redis.command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    // With one subscriber alone, tracing asks whichever thread comes first whether anyone listens.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber);
    RedisStore::connect_cluster([redis.url()]).await.unwrap();
    assert!(String::from_utf8_lossy(&log.0.lock().unwrap()).contains("allkeys-lfu"));
}

#[tokio::test]
async fn connecting_leaves_nothing_behind() {
    let redis = Redis::start().await;
    RedisStore::connect(redis.url()).await.unwrap();
    assert_eq!(redis.command::<usize>(&["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn each_delivery_costs_two_commands_and_each_repetition_one() {
    let redis = Redis::start().await;
    let server = Handler::default().serve(DedupLayer::new(RedisStore::connect(redis.url()).await.unwrap())).await;
    redis.command::<()>(&["CONFIG", "RESETSTAT"]).await;
    for n in 0..10 {
        for _ in 0..2 {
            assert_eq!(server.send(delivery(&n.to_string())).await.status, 200);
        }
    }
    let stats = redis.info("commandstats").await;
    // Ten claims that are won and ten that find what was done; ten commits, whose script sets as well.
    assert!(stats.contains("cmdstat_set:calls=30,"), "{stats}");
    assert!(stats.contains("cmdstat_evalsha:calls=10,"), "{stats}");
    assert!(!stats.contains("cmdstat_eval:") && !stats.contains("cmdstat_script"), "{stats}");
}

/// A Redis with TLS on a port of its own, and the certificate of the authority that vouches for it.
pub async fn tls(dir: &std::path::Path) -> (Redis, u16, String) {
    std::fs::create_dir_all(dir).unwrap();
    let (mut params, ca_key) = (CertificateParams::default(), KeyPair::generate().unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&ca_key).unwrap().pem();
    let ca = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let port = free_port();
    let options = [
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &file("cert.pem", certificate.pem()),
        "--tls-key-file",
        &file("key.pem", key.serialize_pem()),
        "--tls-ca-cert-file",
        &file("ca.pem", authority.clone()),
    ];
    (Redis::start_with(options).await, port, authority)
}

#[tokio::test]
async fn over_tls_a_server_of_our_own_authority_is_trusted_and_one_of_another_is_not() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-tls-{}", std::process::id()));
    let (mut redis, port, authority) = tls(&dir).await;
    let url = format!("rediss://127.0.0.1:{port}/");
    let error = RedisStore::connect(&url).await.unwrap_err();
    assert_eq!(error.to_string(), "Redis could not be reached", "{error:?}");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");

    let open = async || RedisStore::builder().with_roots(authority.clone()).connect(&url).await.unwrap();
    store_suite(open, async |time| tokio::time::sleep(time).await).await;

    let handler = Handler::default();
    let server = handler.serve(DedupLayer::new(open().await)).await;
    assert_eq!(server.send(delivery("1")).await.status, 200);
    redis.kill();
    assert_eq!(server.send(delivery("2")).await.status, 503);
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.restart().await;
    until("the connection is back", async || server.send(delivery("2")).await.status == 200).await;
    assert_eq!(handler.calls(), 2);
    let _ = std::fs::remove_dir_all(dir);
}

#[tokio::test]
async fn a_server_that_takes_connections_and_closes_them_is_not_stormed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = RedisStore::connect_lazily(format!("redis://{}/", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let closing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let server = Handler::default().serve(DedupLayer::new(store)).await;
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(3) {
        let replies = join_all((0..8).map(|n| server.send(delivery(&n.to_string())))).await;
        assert!(replies.iter().all(|reply| reply.status == 503));
        sent += replies.len();
    }
    closing.abort();
    let connections = connections.load(Ordering::SeqCst);
    println!("{sent} deliveries made {connections} connections");
    assert!(sent > 100 && (3..=12).contains(&connections), "{sent} deliveries made {connections} connections");
}
