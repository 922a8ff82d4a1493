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
}

impl Postgres {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("webhook-pg-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Not below the project, which the user of the server may not be allowed to enter.
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        if is_root() {
            let status = Command::new("chown").arg("postgres").arg(&dir).status().unwrap();
            assert!(status.success(), "there is no user postgres");
        }
        let status = program("initdb")
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions", "-D"])
            .arg(dir.join("data"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "initdb fails");
        let options: Vec<String> = settings.iter().map(|setting| format!("-c{setting}")).collect();
        for _ in 0..5 {
            // The port is free at this moment; where somebody else takes it first, the server ends and the next one is tried.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = spawn(port, &dir, &options);
            let mut server = Self { port, dir: dir.clone(), options: options.clone(), child };
            if server.is_up().await {
                return server;
            }
        }
        panic!("postgres does not start");
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it as a power failure would, its processes one after the other.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        // Processes of before may hold its memory for a moment.
        for _ in 0..20 {
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
        self.signal_all("STOP");
    }

    pub fn go_on(&self) {
        self.signal_all("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name} fails");
    }

    fn signal_all(&self, name: &str) {
        let parent = self.child.id().to_string();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &parent]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        self.signal(name);
        // Some of its processes may have ended meanwhile.
        let _ = Command::new("kill")
            .arg(format!("-{name}"))
            .args(children.split_whitespace())
            .stderr(Stdio::null())
            .status();
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
            self.go_on();
            self.signal("QUIT");
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn spawn(port: u16, dir: &Path, options: &[String]) -> Child {
    program("postgres")
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"])
        .arg(dir)
        .arg("-D")
        .arg(dir.join("data"))
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A program of the server, which refuses to be run by root.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .max()
        .unwrap_or_else(|| panic!("{name} is not there; install postgresql, scripts/test does"));
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
