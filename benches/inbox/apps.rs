//! The servers that are compared, each a process of its own: the same app with other things behind
//! its webhook layer.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, mpsc};

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::Layer as _;
use tower_webhook::inbox::postgres::PostgresStore;
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Inbox, InboxStore};
use tower_webhook::{Webhook, WebhookLayer, senders};

use crate::load::{PATH, SECRET};

/// Serves until standard input ends: `nothing`, `log FILE`, `sqlite FILE` or `postgres URL`. With
/// `work`, a worker hands what is stored to a handler that does nothing.
pub fn serve(arguments: &[String]) {
    end_with_parent();
    let works = arguments.iter().any(|argument| argument == "work");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let app = match arguments[0].as_str() {
            "nothing" => verified(post(nothing).with_state(())),
            "log" => verified(post(append).with_state(Log::open(&arguments[1]))),
            "sqlite" => with_inbox(SqliteStore::open(&arguments[1]).unwrap(), works),
            "postgres" => with_inbox(PostgresStore::connect(&arguments[1]).await.unwrap(), works),
            other => panic!("there is no app {other}"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{} {}", std::process::id(), listener.local_addr().unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}

/// A process that was started by the benchmark doesn't outlive it.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

fn layer() -> WebhookLayer<tower_webhook::Scheme> {
    WebhookLayer::new(senders::github(SECRET).unwrap())
}

fn verified(handler: MethodRouter) -> Router {
    Router::new().route_service(PATH, layer().layer(handler))
}

async fn nothing(Webhook(_): Webhook<Bytes>) {}

fn with_inbox(store: impl InboxStore, works: bool) -> Router {
    let (inbox, worker) = Inbox::new(store).wrap(post(nothing).with_state(()));
    if works {
        tokio::spawn(worker.run(std::future::pending()));
    }
    Router::new().route_service(PATH, layer().layer(inbox.clone())).nest("/admin", inbox.router())
}

/// The physical bound: a file that is only appended to, with one fdatasync for all that has
/// gathered while the last one ran. Nothing can be found or removed in it.
#[derive(Clone)]
struct Log(Arc<mpsc::Sender<(Bytes, oneshot::Sender<()>)>>);

impl Log {
    fn open(path: &str) -> Self {
        let mut file = File::create(path).unwrap();
        let (sender, receiver) = mpsc::channel::<(Bytes, oneshot::Sender<()>)>();
        std::thread::spawn(move || {
            while let Ok(first) = receiver.recv() {
                let mut bytes = Vec::new();
                let mut replies = Vec::new();
                for (body, reply) in std::iter::once(first).chain(receiver.try_iter()) {
                    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
                    bytes.extend(body);
                    replies.push(reply);
                }
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
                for reply in replies {
                    let _ = reply.send(());
                }
            }
        });
        Self(Arc::new(sender))
    }
}

async fn append(State(log): State<Log>, Webhook(body): Webhook<Bytes>) {
    let (reply, stored) = oneshot::channel();
    log.0.send((body, reply)).unwrap();
    stored.await.unwrap();
}
