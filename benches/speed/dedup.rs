//! What the deduplication costs beside the same senders without it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Layer as _;
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

/// How many times as many deliveries two threads handle as one does, in the same time and with the
/// same store.
pub fn threads() -> Sides {
    const EACH: usize = 200;
    let (scheme, body) = by_id();
    let service = deduplicated(&scheme, MemoryStore::default());
    let side = move |threads: usize| {
        let (service, scheme, body) = (service.clone(), scheme.clone(), body.clone());
        timed(move || in_threads(threads, &service, || requests(&scheme, body.clone()), 2 * EACH / threads))
    };
    (Box::new(side(1)), Box::new(side(2)))
}

/// From when the first thread starts to when the last one is done.
fn in_threads<F>(threads: usize, service: &Deduplicated, requests: impl Fn() -> F, each: usize) -> Duration
where
    F: FnMut() -> Request<Full<Bytes>>,
{
    let barrier = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let start = |(mut service, requests): (Deduplicated, Vec<_>)| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let start = now();
                for request in requests {
                    call(&mut service, request);
                }
                (start, now())
            })
        };
        let works = (0..threads).map(|_| (service.clone(), std::iter::repeat_with(requests()).take(each).collect()));
        let works: Vec<_> = works.collect();
        let running: Vec<_> = works.into_iter().map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let first = spans.iter().map(|span| span.0).min().unwrap();
    spans.iter().map(|span| span.1).max().unwrap() - first
}
