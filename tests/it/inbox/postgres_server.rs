//! A Postgres of our own, which ends with its value.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::until;

/// A server on a free port, with a cluster in a folder for temporary files.
pub struct Postgres {
    port: u16,
    dir: PathBuf,
    options: Vec<String>,
    child: Child,
    has_disk: bool,
}

impl Postgres {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[&str]) -> Self {
        Self::start_on(None, settings).await
    }

    /// Starts it with its data on a file system in memory of some megabytes. Its log is elsewhere,
    /// as where both share a disk a full one stops the server. Mounting needs root.
    pub async fn start_on_small_disk(mebibytes: u32) -> Self {
        Self::start_on(Some(mebibytes), &[]).await
    }

    async fn start_on(mebibytes: Option<u32>, settings: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("webhook-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Not below the project, which the user of the server may not be allowed to enter.
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(dir.join("disk")).unwrap();
        if let Some(mebibytes) = mebibytes {
            let size = format!("size={mebibytes}m");
            let status =
                Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.join("disk")).status();
            assert!(status.is_ok_and(|status| status.success()), "this test mounts a small tmpfs, which needs root");
        }
        if is_root() {
            let status = Command::new("chown").args(["-R", "postgres"]).arg(&dir).status().unwrap();
            assert!(status.success(), "there is no user postgres");
        }
        let status = program("initdb")
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions", "-X"])
            .arg(dir.join("log"))
            .arg("-D")
            .arg(dir.join("disk/data"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "initdb fails");
        let options: Vec<String> = settings.iter().map(|setting| format!("-c{setting}")).collect();
        let port = free_port();
        let child = spawn(port, &dir, &options);
        let mut server = Self { port, dir, options, child, has_disk: mebibytes.is_some() };
        for _ in 0..5 {
            if server.is_up().await {
                return server;
            }
            // The port was free a moment ago; if somebody else took it first, the server has ended.
            server.port = free_port();
            server.child = spawn(server.port, &server.dir, &server.options);
        }
        panic!("postgres does not start");
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns where its data lie: `data`, and whatever else should take the room.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// Ends it as a power failure would, its processes one after the other.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        // Processes of before may hold its memory for a moment.
        for _ in 0..100 {
            self.child = spawn(self.port, &self.dir, &self.options);
            if self.is_up().await {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("postgres does not start again");
    }

    /// Stops it and all its processes without closing their connections.
    pub fn pause(&self) {
        assert!(self.signal_all("STOP"), "postgres cannot be stopped");
    }

    pub fn go_on(&self) {
        assert!(self.signal_all("CONT"), "postgres cannot go on");
    }

    /// Signals the server, and returns whether it could; then its processes, of which any may end
    /// meanwhile. (They are no process group: each makes one of its own.)
    fn signal_all(&self, name: &str) -> bool {
        let server = self.child.id().to_string();
        let is_signalled = signal(&server, name);
        // A server that is stopped starts no further ones.
        let processes = Command::new("ps").args(["-o", "pid=", "--ppid", &server]).output();
        let processes =
            processes.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for process in processes.split_whitespace() {
            signal(process, name);
        }
        is_signalled
    }

    /// Waits until it answers; false where it ended instead.
    async fn is_up(&mut self) -> bool {
        let url = self.url();
        let mut ended = false;
        until("postgres answers", async || {
            ended = self.child.try_wait().unwrap().is_some();
            ended || tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok()
        })
        .await;
        !ended
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal_all("CONT");
            if !signal(&self.child.id().to_string(), "QUIT") {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
        if self.has_disk {
            let _ = Command::new("umount").arg("-l").arg(self.disk()).status();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A PgBouncer in transaction mode before a server: statements of one connection reach any of few
/// connections of the server.
pub struct PgBouncer {
    port: u16,
    child: Child,
}

impl PgBouncer {
    pub async fn start(server: &Postgres) -> Self {
        let file = server.dir.join("pgbouncer.ini");
        let spawn = |port: u16| {
            let config = format!(
                "[databases]\npostgres = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n",
                server.port
            );
            std::fs::write(&file, config).unwrap();
            let child = of_the_user("/usr/sbin/pgbouncer".as_ref()).arg("-q").arg(&file).stderr(Stdio::null()).spawn();
            child.unwrap_or_else(|error| panic!("pgbouncer cannot be started ({error}); scripts/test installs it"))
        };
        let port = free_port();
        let mut bouncer = Self { port, child: spawn(port) };
        for _ in 0..5 {
            let url = bouncer.url();
            let mut ended = false;
            until("pgbouncer answers", async || {
                ended = bouncer.child.try_wait().unwrap().is_some();
                ended || tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok()
            })
            .await;
            if !ended {
                return bouncer;
            }
            bouncer.port = free_port();
            bouncer.child = spawn(bouncer.port);
        }
        panic!("pgbouncer does not start");
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, and returns whether there was a process to get it.
fn signal(process: &str, name: &str) -> bool {
    Command::new("kill")
        .args([&format!("-{name}"), process])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A port that is free at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, dir: &Path, options: &[String]) -> Child {
    program("postgres")
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"])
        .arg(dir)
        .arg("-D")
        .arg(dir.join("disk/data"))
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A program of the server.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .max()
        .unwrap_or_else(|| panic!("{name} is not there; install postgresql, scripts/test does"));
    of_the_user(&path)
}

/// A program that refuses to be run by root.
fn of_the_user(path: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path).current_dir("/");
        command
    } else {
        Command::new(path)
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
