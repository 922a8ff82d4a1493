//! What the deduplication costs beside the same senders without it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, Service};
use tower_webhook::dedup::DedupService;
use tower_webhook::layer::WebhookService;
use tower_webhook::{DedupLayer, MemoryStore, Scheme, WebhookLayer, senders, testing};

use crate::apps::{self, call, order};
use crate::cases::Sides;
use crate::paired::{now, side, timed};

type Deduplicated = WebhookService<DedupService<Router>, Scheme>;

fn deduplicated(scheme: &Scheme, store: MemoryStore) -> Deduplicated {
    WebhookLayer::new(scheme.clone()).layer(DedupLayer::new(store).layer(apps::behind()))
}

/// Standard Webhooks: a signed id.
fn by_id() -> (Scheme, Bytes) {
    (senders::standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), order())
}

/// GitHub: an id that is not signed, and so counts together with the body.
fn by_body() -> (Scheme, Bytes) {
    (senders::github(apps::SECRET).unwrap(), apps::body(64 << 10))
}

/// Requests of which no two have the same id.
fn requests(scheme: &Scheme, body: Bytes) -> impl FnMut() -> Request<Full<Bytes>> + use<> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let scheme = scheme.clone();
    move || {
        let id = format!("msg_{:020}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut request = apps::unsigned(body.clone());
        for name in ["webhook-id", "x-github-delivery"] {
            request.headers_mut().insert(name, id.parse().unwrap());
        }
        testing::sign(&scheme, request).unwrap()
    }
}

fn beside_none((scheme, body): (Scheme, Bytes)) -> Sides {
    let mut ours = deduplicated(&scheme, MemoryStore::default());
    let mut theirs = WebhookLayer::new(scheme.clone()).layer(apps::behind());
    (
        Box::new(side(requests(&scheme, body.clone()), move |request| call(&mut ours, request))),
        Box::new(side(requests(&scheme, body), move |request| call(&mut theirs, request))),
    )
}

/// With a store that remembers so many deliveries and is full.
pub fn among(count: u64) -> Sides {
    let (scheme, body) = by_id();
    let mut ours = deduplicated(&scheme, MemoryStore::new(count));
    let mut request = requests(&scheme, Bytes::from_static(b"{}"));
    for _ in 0..count {
        call(&mut ours, request());
    }
    let mut theirs = WebhookLayer::new(scheme.clone()).layer(apps::behind());
    (
        Box::new(side(requests(&scheme, body.clone()), move |request| call(&mut ours, request))),
        Box::new(side(requests(&scheme, body), move |request| call(&mut theirs, request))),
    )
}

pub fn id() -> Sides {
    beside_none(by_id())
}

pub fn content() -> Sides {
    beside_none(by_body())
}

/// With a store of the default size that is full, as one is after a day with more than one delivery
/// a second.
pub fn full() -> Sides {
    among(100_000)
}

/// How many times as many deliveries two threads handle as one does, in the same time and with the
/// same store.
pub fn threads() -> Sides {
    let (scheme, body) = by_id();
    let service = deduplicated(&scheme, MemoryStore::default());
    in_two_threads(scheme, body, service)
}

/// The same without a store, which is as good as it can get.
pub fn threads_without() -> Sides {
    let (scheme, body) = by_id();
    let service = WebhookLayer::new(scheme.clone()).layer(apps::behind());
    in_two_threads(scheme, body, service)
}

fn in_two_threads<S, R>(scheme: Scheme, body: Bytes, service: S) -> Sides
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
{
    /// Of both threads together, in each round.
    const REQUESTS: usize = 100;
    let side = move |threads: usize| {
        let (service, scheme, body) = (service.clone(), scheme.clone(), body.clone());
        timed(move || in_threads(threads, &service, || requests(&scheme, body.clone()), REQUESTS / threads))
    };
    (Box::new(side(1)), Box::new(side(2)))
}

/// From when all threads are ready to when the last one is done, in the middle one of some rounds:
/// one in which a thread was interrupted says nothing.
fn in_threads<S, R, F>(threads: usize, service: &S, requests: impl Fn() -> F + Sync, each: usize) -> Duration
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync,
    F: FnMut() -> Request<Full<Bytes>>,
{
    const ROUNDS: usize = 20;
    let ready = AtomicUsize::new(0);
    let work = || -> Vec<(Instant, Instant)> {
        let (mut service, mut request) = (service.clone(), requests());
        let round = |round| {
            // In the thread that handles them and not too many, as a server has them: memory of another
            // thread is slow to give back, and so is much of it at once.
            let requests: Vec<_> = std::iter::repeat_with(&mut request).take(each).collect();
            ready.fetch_add(1, Ordering::SeqCst);
            // A thread that sleeps would be woken too late.
            while ready.load(Ordering::SeqCst) < threads * round {
                std::thread::yield_now();
            }
            let start = now();
            for request in requests {
                call(&mut service, request);
            }
            (start, now())
        };
        (1..=ROUNDS).map(round).collect()
    };
    let spans: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let rounds = (0..ROUNDS).map(|round| {
        let first = spans.iter().map(|spans| spans[round].0).min().unwrap();
        spans.iter().map(|spans| spans[round].1).max().unwrap() - first
    });
    let mut rounds: Vec<Duration> = rounds.collect();
    rounds.sort();
    rounds[ROUNDS / 2]
}
