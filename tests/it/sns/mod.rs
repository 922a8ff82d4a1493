//! AWS SNS end to end.

mod access;
mod certificates;
#[cfg(feature = "client")]
mod client;
mod confirmations;
mod portals;
mod real;
mod refusals;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Response, Uri};
use tower_webhook::sns::SnsBuilder;
use tower_webhook::testing::{FakeSns, ManualClock};
use tower_webhook::{Delivery, Fetch, FetchFuture, Reason, Rejection, Sns, WebhookLayer};

use crate::support::{Reply, Server, serve};

/// One key for all tests: making one takes a while.
pub fn fake() -> FakeSns {
    static FAKE: OnceLock<FakeSns> = OnceLock::new();
    FAKE.get_or_init(FakeSns::new).clone()
}

/// The time at which these tests happen.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A fetcher that remembers what it was asked for, and answers as the in-process SNS does unless it
/// is given another way.
#[derive(Clone)]
struct Counting {
    urls: Arc<Mutex<Vec<Uri>>>,
    answer: Arc<dyn Fn(Uri) -> FetchFuture + Send + Sync>,
}

impl Counting {
    fn new() -> Self {
        Self::answering(|uri| fake().get(uri))
    }

    fn answering(answer: impl Fn(Uri) -> FetchFuture + Send + Sync + 'static) -> Self {
        Self { urls: Arc::default(), answer: Arc::new(answer) }
    }

    /// Answers every request with this status and body.
    fn fixed(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::answering(move |_| {
            let response = Response::builder().status(status).body(body.clone()).unwrap();
            Box::pin(async move { Ok(response) })
        })
    }

    fn urls(&self) -> Vec<String> {
        self.urls.lock().unwrap().iter().map(Uri::to_string).collect()
    }

    fn count(&self) -> usize {
        self.urls.lock().unwrap().len()
    }
}

impl Fetch for Counting {
    fn get(&self, uri: Uri) -> FetchFuture {
        self.urls.lock().unwrap().push(uri.clone());
        (self.answer)(uri)
    }
}

/// A server behind a layer for SNS, whose handler answers with the event.
struct Endpoint {
    server: Server,
    fetches: Counting,
    clock: ManualClock,
    rejections: Arc<Mutex<Vec<Rejection>>>,
}

impl Endpoint {
    async fn new(configure: impl FnOnce(SnsBuilder) -> SnsBuilder) -> Self {
        Self::with_fetcher(Counting::new(), configure).await
    }

    async fn with_fetcher(fetches: Counting, configure: impl FnOnce(SnsBuilder) -> SnsBuilder) -> Self {
        let builder = Sns::builder().topic(fake().topic_arn());
        Self::of(fetches.clone(), configure(builder).fetch(fetches)).await
    }

    async fn of(fetches: Counting, builder: SnsBuilder) -> Self {
        let handler = async |delivery: Delivery| delivery.event().unwrap().to_owned();
        Self::serving(fetches, builder, post(handler)).await
    }

    async fn serving(fetches: Counting, builder: SnsBuilder, route: axum::routing::MethodRouter) -> Self {
        let clock = ManualClock::new(now());
        let rejections = Arc::<Mutex<Vec<Rejection>>>::default();
        let seen = rejections.clone();
        let layer = WebhookLayer::new(builder.build().unwrap())
            .with_clock(clock.clone())
            .on_reject(move |rejection| seen.lock().unwrap().push(rejection.clone()));
        let server = serve(Router::new().route("/sns", route.clone()).route("/sns/{*rest}", route).layer(layer)).await;
        Self { server, fetches, clock, rejections }
    }

    /// The reason of the last rejection.
    fn reason(&self) -> Option<Reason> {
        self.rejections.lock().unwrap().last().map(Rejection::reason)
    }

    /// The text of the last rejection.
    fn text(&self) -> String {
        self.rejections.lock().unwrap().last().map(ToString::to_string).unwrap_or_default()
    }

    /// Asserts a refusal.
    fn refused(&self, reply: &Reply, reason: Reason) {
        assert_eq!(self.reason(), Some(reason), "{:?}", self.rejections.lock().unwrap().last());
        assert_eq!(reply.status, reason.status());
        assert_eq!(reply.headers.contains_key("retry-after"), reason.is_transient());
    }
}
