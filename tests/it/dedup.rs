//! Deduplication within one process.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::response::{IntoResponse as _, Response as AxumResponse};
use axum::routing::{any_service, post};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_webhook::dedup::{Claim, Key, Store, StoreError, StoreFailure, Token};
use tower_webhook::scheme::header;
use tower_webhook::testing::{self, ManualClock, store_suite};
use tower_webhook::{
    CdrManager, DedupLayer, Delivery, MemoryStore, Reason, Rejection, Scheme, SystemClock, WebhookLayer,
};

use crate::support::{Server, serve};

/// A sender that signs an id and a time.
pub fn acme() -> Scheme {
    Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .timestamp(header("acme-timestamp").unix_seconds().within(Duration::from_secs(300)))
        .signed("{id}.{timestamp}.{body}")
        .id(header("acme-id"))
        .secret("a key that only Acme and we know")
        .build("acme")
        .unwrap()
}

/// One signed delivery; a copy of it is a replay.
pub fn delivery(id: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("acme-id", id).body("{}").unwrap();
    testing::sign(&acme(), request).unwrap()
}

/// A handler that counts its calls and does what it is told to in each.
#[derive(Clone, Default)]
struct Handler {
    calls: Arc<AtomicUsize>,
    plan: Arc<Vec<Act>>,
}

#[derive(Clone, Copy)]
enum Act {
    Answer(u16),
    Panic,
    Hang,
}

impl Handler {
    /// The last of these acts is repeated; without any, it answers 200.
    fn new(plan: impl IntoIterator<Item = Act>) -> Self {
        Self { calls: Arc::default(), plan: Arc::new(plan.into_iter().collect()) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn call(self, delivery: Delivery) -> AxumResponse {
        assert_eq!(delivery.provider(), "acme");
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.plan.get(call).or(self.plan.last()).copied().unwrap_or(Act::Answer(200)) {
            Act::Answer(status) => (StatusCode::from_u16(status).unwrap(), "from the handler").into_response(),
            Act::Panic => panic!("the handler is told to"),
            Act::Hang => std::future::pending().await,
        }
    }

    async fn serve(&self, layer: DedupLayer) -> Server {
        let handler = self.clone();
        let layers = ServiceBuilder::new().layer(CatchPanicLayer::new()).layer(WebhookLayer::new(acme())).layer(layer);
        serve(Router::new().route("/", post(move |delivery| handler.call(delivery)).layer(layers))).await
    }
}

fn memory() -> DedupLayer {
    DedupLayer::new(MemoryStore::new(1000))
}

/// Waits for what has to come, at most ten seconds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap_or_else(|_| panic!("not in ten seconds: {what}"));
}

#[tokio::test]
async fn a_replayed_request_is_answered_as_before_and_never_handled_twice() {
    let handler = Handler::new([Act::Answer(202)]);
    let server = handler.serve(memory()).await;
    let first = server.send(delivery("1")).await;
    assert_eq!((first.status.as_u16(), first.text()), (202, "from the handler"));
    assert!(!first.headers.contains_key("webhook-duplicate"));
    for _ in 0..20 {
        let replay = server.send(delivery("1")).await;
        assert_eq!((replay.status.as_u16(), replay.text()), (202, ""));
        assert_eq!(replay.headers["webhook-duplicate"], "true");
    }
    assert_eq!(handler.calls(), 1);
    assert_eq!(server.send(delivery("2")).await.text(), "from the handler");
    assert_eq!(handler.calls(), 2);
}
