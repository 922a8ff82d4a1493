//! A durable inbox, shown by a server that is killed again and again while a sender sends.
//!
//! ```text
//! cargo run --example inbox --features sqlite,testing
//! ```
//!
//! The example starts itself as the server. Its handler fails at every fifth event's first attempt,
//! and notes what it has handled in a file. The sender repeats each event until it is answered 2xx,
//! as real ones do.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::Layer as _;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Backoff, Filter, Inbox, InboxAttempt, Page};
use tower_webhook::scheme::header;
use tower_webhook::{Delivery, Scheme, WebhookLayer, testing};

use table::Table;

mod table;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const EVENTS: usize = 40;
/// The server is killed after each of these.
const KILLED_AFTER: [usize; 3] = [8, 17, 29];

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("serve"), Some(folder)) => serve(Path::new(&folder)).await,
        _ => send().await,
    }
}

fn acme() -> Result<Scheme> {
    Ok(Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .signed("{id}.{body}")
        .id(header("acme-id"))
        .secret("whatever Acme's portal shows")
        .build("acme")?)
}

/// The server: what a user writes.
async fn serve(folder: &Path) -> Result<()> {
    let handled = Arc::new(std::fs::File::options().create(true).append(true).open(folder.join("handled"))?);
    let handler = move |delivery: Delivery, Extension(attempt): Extension<InboxAttempt>| async move {
        let number: usize = delivery.json("/number").and_then(|number| number.parse().ok()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if number.is_multiple_of(5) && attempt.number == 1 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        match (&*handled).write_all(format!("{} {}\n", delivery.id().unwrap_or("?"), attempt.number).as_bytes()) {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    };
    let (inbox, worker) = Inbox::new(SqliteStore::open(folder.join("webhooks.db"))?)
        .with_retry(Backoff::exponential(Duration::from_millis(50)..Duration::from_secs(1)).attempts(10))
        // Short, so that the events of a killed server are tried again soon.
        .with_lease(Duration::from_millis(500))
        .wrap(post(handler).with_state(()));
    let app = Router::new().route_service("/webhooks/acme", WebhookLayer::new(acme()?).layer(inbox));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    // Under another name first, so that nobody reads half of it.
    std::fs::write(folder.join("address.new"), listener.local_addr()?.to_string())?;
    std::fs::rename(folder.join("address.new"), folder.join("address"))?;
    let shutdown = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        () = worker.run(shutdown) => {}
    }
    Ok(())
}

/// A server in a process of its own, killed when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    async fn start(folder: &Path) -> Result<Self> {
        let _ = std::fs::remove_file(folder.join("address"));
        let child = Command::new(std::env::current_exe()?).arg("serve").arg(folder).stdin(Stdio::null()).spawn()?;
        loop {
            if let Ok(address) = std::fs::read_to_string(folder.join("address")) {
                return Ok(Self { child, address: address.parse()? });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: no handler finishes, no destructor runs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sender.
async fn send() -> Result<()> {
    let folder = Folder::new()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut server = Server::start(&folder.0).await?;
    let mut sent = BTreeMap::new();
    for number in 0..EVENTS {
        let id = format!("evt_{number:02}");
        let mut tries = 0;
        loop {
            tries += 1;
            let url = format!("http://{}/webhooks/acme", server.address);
            let request = Request::post(url).header("acme-id", &id).body(format!(r#"{{"number":{number}}}"#))?;
            let answer = client.request(testing::sign(&acme()?, request)?).await;
            if KILLED_AFTER.contains(&number) && tries == 1 {
                // The sender doesn't hear the answer: it is killed right after it, and the event is sent again.
                drop(server);
                server = Server::start(&folder.0).await?;
            } else if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
        }
        sent.insert(id, tries);
    }

    let (inbox, _) = Inbox::new(SqliteStore::open(folder.0.join("webhooks.db"))?).wrap(());
    while inbox.stats().await?.waiting + inbox.stats().await?.in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stored = inbox.list(Filter::default(), Page { before: None, limit: 1000 }).await?.deliveries;
    let handled = std::fs::read_to_string(folder.0.join("handled"))?;
    let table = Table::new([("event", 8), ("sent", 5), ("stored", 7), ("attempts", 9), ("handled", 8), ("state", 0)]);
    let mut lost = 0;
    for (id, tries) in &sent {
        let of_id: Vec<_> = stored.iter().filter(|stored| stored.event_id.as_deref() == Some(id)).collect();
        let times = handled.lines().filter(|line| line.starts_with(&**id)).count();
        lost += usize::from(times == 0);
        let attempts = of_id.first().map_or(0, |stored| stored.attempts);
        let state = of_id.first().map_or("lost", |stored| stored.state.as_str());
        let state = table.answer(times > 0, state);
        let numbers = [*tries, of_id.len(), attempts as usize, times].map(|number| number.to_string());
        table.row([id, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &state]);
    }
    println!("\nkilled {} times, {} events acknowledged, {lost} lost", KILLED_AFTER.len(), sent.len());
    assert_eq!(lost, 0);
    Ok(())
}

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        // Beside the program: temporary folders are in memory on many machines, where an inbox refuses to
        // be.
        let program = std::env::current_exe()?;
        let place = program.parent().ok_or("the program has no folder")?;
        let folder = place.join(format!("inbox-example-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
