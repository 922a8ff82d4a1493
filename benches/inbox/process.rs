//! Processes that are measured from outside.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// This program, doing one of its parts.
pub struct Part {
    child: Child,
    output: BufReader<ChildStdout>,
    _input: ChildStdin,
}

impl Part {
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut Command::new(this_program()), arguments)
    }

    /// Starts it under strace, which writes each sync as a line into the file.
    pub fn start_traced(trace: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync", "-o"])
            .arg(trace)
            .arg(this_program());
        Self::spawn(&mut command, arguments)
    }

    fn spawn(command: &mut Command, arguments: &[&str]) -> Self {
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Self { child, output, _input: input }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "a part of the benchmark ended early");
        line.trim_end().to_owned()
    }

    /// Returns the next number that it prints.
    pub fn number(&mut self) -> f64 {
        self.line().parse().unwrap()
    }

    /// Returns the memory that isn't files, in MiB.
    pub fn anonymous_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

/// Ends it as a crash would.
impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// One of the apps.
pub struct App {
    _part: Part,
    pub address: SocketAddr,
    process: String,
}

impl App {
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(Part::start(&[&["serve"], arguments].concat()))
    }

    pub fn start_traced(trace: &Path, arguments: &[&str]) -> Self {
        Self::of(Part::start_traced(trace, &[&["serve"], arguments].concat()))
    }

    fn of(mut part: Part) -> Self {
        let line = part.line();
        let (process, address) = line.split_once(' ').unwrap();
        Self { _part: part, address: address.parse().unwrap(), process: process.to_owned() }
    }

    /// Returns the seconds of processor time that it has used.
    pub fn processor_time(&self) -> f64 {
        const TICKS_A_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process)).unwrap();
        // Behind the name, the 12th and 13th are those of user and system.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
        ticks.sum::<f64>() / TICKS_A_SECOND
    }

    pub fn kill(self) {
        // The process itself, and not the tracer around it.
        let status = Command::new("kill").args(["-KILL", &self.process]).status().unwrap();
        assert!(status.success());
    }
}

/// The qhook that `scripts/bench inbox` installs.
pub struct Qhook {
    child: Child,
    pub address: SocketAddr,
}

impl Qhook {
    pub fn program() -> Option<PathBuf> {
        std::env::var_os("QHOOK").map(PathBuf::from).filter(|path| path.exists())
    }

    /// Starts it in a folder, with the defaults that its manual gives, on this database. It hands
    /// what it stored to `target`.
    pub async fn start(folder: &Path, database: &str, target: SocketAddr) -> Self {
        fs::create_dir_all(folder).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (port, secret) = (address.port(), crate::load::SECRET);
        let config = format!(
            "database:\n  {database}\n\
             server:\n  port: {port}\n  allow_private_urls: true\n\
             sources:\n  github:\n    type: webhook\n    verify: github\n    secret: \"{secret}\"\n\
             handlers:\n  target:\n    source: github\n    url: http://{target}/\n"
        );
        fs::write(folder.join("qhook.yaml"), config).unwrap();
        let child = Command::new(Self::program().unwrap())
            .arg("start")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let qhook = Self { child, address };
        crate::support::until("qhook answers", async || crate::load::call(address, "GET", "/health").await.is_ok())
            .await;
        qhook
    }
}

impl Drop for Qhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
