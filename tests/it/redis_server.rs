//! A Redis of our own, which ends with its value.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::until;

/// A `redis-server` on a free port.
pub struct Redis {
    port: u16,
    dir: PathBuf,
    options: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts one that remembers nothing over a restart.
    pub async fn start() -> Self {
        Self::start_with(["--save", "", "--appendonly", "no"]).await
    }

    /// Starts one that has written each change to its disk before it answers.
    pub async fn start_persistent() -> Self {
        Self::start_with(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).await
    }

    pub async fn start_with<O: Into<String>>(options: impl IntoIterator<Item = O>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("redis-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let options: Vec<String> = options.into_iter().map(Into::into).collect();
        let port = free_port();
        let child = spawn(port, &dir, &options);
        let mut redis = Self { port, dir, options, child };
        for _ in 0..5 {
            if redis.is_up().await {
                return redis;
            }
            // The port was free a moment ago; if somebody else took it first, Redis has ended.
            redis.port = free_port();
            redis.child = spawn(redis.port, &redis.dir, &redis.options);
        }
        panic!("redis-server does not start");
    }

    /// Starts one that keeps a copy of this one.
    pub async fn start_replica(&self) -> Self {
        let port = self.port.to_string();
        let replica =
            Self::start_with(["--save", "", "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port])
                .await;
        until("the replica follows", async || replica.info("replication").await.contains("master_link_status:up"))
            .await;
        replica
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn info(&self, section: &str) -> String {
        self.command(&["INFO", section]).await
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.child = spawn(self.port, &self.dir, &self.options);
        assert!(self.is_up().await, "redis-server does not start again");
    }

    /// Stops it without closing its connections.
    pub fn pause(&self) {
        signal(&self.child, "STOP");
    }

    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// Undoes [`kill`](Self::kill) or [`pause`](Self::pause).
    pub async fn go_on_or_restart(&mut self) {
        match self.child.try_wait().unwrap() {
            Some(_) => self.restart().await,
            None => self.go_on(),
        }
    }

    /// Any command, by a connection of its own.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await.unwrap()
    }

    /// Waits until it answers; false where it ended instead.
    async fn is_up(&mut self) -> bool {
        let client = redis::Client::open(self.url()).unwrap();
        let mut ended = false;
        until("redis-server answers", async || {
            ended = self.child.try_wait().unwrap().is_some();
            if ended {
                return true;
            }
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await;
        !ended
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that is free at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Sentinel on a free port.
pub struct Sentinel {
    port: u16,
    dir: PathBuf,
    child: Child,
}

impl Sentinel {
    /// Starts one that watches this master by the name `mymaster`.
    pub async fn start(master: &Redis, quorum: usize) -> Self {
        let port = free_port();
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sentinel-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor mymaster 127.0.0.1 {} {quorum}", master.port),
            "sentinel down-after-milliseconds mymaster 1000".to_owned(),
            "sentinel failover-timeout mymaster 4000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        Self { port, dir, child: command.spawn().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Waits until it knows this many replicas of the master and other Sentinels.
    pub async fn knows(&self, replicas: usize, sentinels: usize) {
        let client = redis::Client::open(self.url()).unwrap();
        let expected = [("num-slaves", replicas), ("num-other-sentinels", sentinels)];
        until("the Sentinel knows the others", async || {
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
            let facts: redis::RedisResult<std::collections::HashMap<String, String>> =
                redis::cmd("SENTINEL").arg(&["MASTER", "mymaster"]).query_async(&mut connection).await;
            facts.is_ok_and(|facts| expected.iter().all(|(name, number)| facts.get(*name) == Some(&number.to_string())))
        })
        .await;
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn spawn(port: u16, dir: &PathBuf, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server cannot be started ({error}); install it, scripts/test does"))
}

/// Sends a signal to this one process.
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} fails");
}
