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
use tokio::sync::Semaphore;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_webhook::dedup::{Claim, ClaimToken, DoneAnswer, Key, Store, StoreError, StoreFailure};
use tower_webhook::scheme::header;
use tower_webhook::testing::{self, ManualClock, store_suite};
use tower_webhook::{CdrManager, DedupLayer, Delivery, MemoryStore, Reason, Rejection, Scheme, WebhookLayer};

use crate::support::{Reply, Server, serve, until};

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
pub struct Handler {
    calls: Arc<AtomicUsize>,
    plan: Arc<Vec<Act>>,
}

#[derive(Clone, Copy)]
pub enum Act {
    Answer(u16),
    Panic,
    Hang,
}

impl Handler {
    /// The last of these acts is repeated; without any, it answers 200.
    pub fn new(plan: impl IntoIterator<Item = Act>) -> Self {
        Self { calls: Arc::default(), plan: Arc::new(plan.into_iter().collect()) }
    }

    pub fn calls(&self) -> usize {
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

    pub async fn serve(&self, layer: DedupLayer) -> Server {
        let handler = self.clone();
        let layers = ServiceBuilder::new().layer(CatchPanicLayer::new()).layer(WebhookLayer::new(acme())).layer(layer);
        serve(Router::new().route("/", post(move |delivery| handler.call(delivery)).layer(layers))).await
    }
}

fn memory() -> DedupLayer {
    DedupLayer::new(MemoryStore::new(1000))
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
        assert_eq!((replay.status.as_u16(), replay.text()), (202, "from the handler"));
        assert_eq!(replay.headers["content-type"], first.headers["content-type"]);
        assert_eq!(replay.headers["webhook-duplicate"], "true");
    }
    assert_eq!(handler.calls(), 1);
    assert_eq!(server.send(delivery("2")).await.text(), "from the handler");
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn a_handler_that_fails_twice_and_then_succeeds_succeeds_once() {
    let handler = Handler::new([Act::Answer(500), Act::Answer(404), Act::Answer(200)]);
    let server = handler.serve(memory()).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(server.send(delivery("1")).await.status.as_u16());
    }
    assert_eq!(statuses, [500, 404, 200, 200, 200]);
    assert_eq!(handler.calls(), 3);
}

#[tokio::test]
async fn a_panic_and_an_error_release_the_delivery_too() {
    let handler = Handler::new([Act::Panic, Act::Answer(200)]);
    let server = handler.serve(memory()).await;
    assert_eq!(server.send(delivery("1")).await.status, 500);
    assert_eq!(server.send(delivery("1")).await.text(), "from the handler");

    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let failing = service_fn(move |_: Request<Full<Bytes>>| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move { if call == 0 { Err("the database is gone") } else { Ok(Response::new(Full::<Bytes>::default())) } }
    });
    let service = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(memory()).service(failing);
    assert_eq!(service.clone().oneshot(delivery("1")).await.unwrap_err(), "the database is gone");
    assert_eq!(service.clone().oneshot(delivery("1")).await.unwrap().status(), 200);
    assert_eq!(service.oneshot(delivery("1")).await.unwrap().headers()["webhook-duplicate"], "true");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_hundred_deliveries_at_once_are_handled_once() {
    let handler = Handler::default();
    let server = handler.serve(memory()).await;
    let replies = futures_util::future::join_all((0..100).map(|_| server.send(delivery("1")))).await;
    assert_eq!(handler.calls(), 1);
    let handled = |reply: &&Reply| reply.status == 200 && !reply.headers.contains_key("webhook-duplicate");
    assert_eq!(replies.iter().filter(handled).count(), 1);
    for reply in replies {
        assert!([200, 503].contains(&reply.status.as_u16()), "{reply:?}");
    }
}

#[tokio::test]
async fn a_delivery_in_flight_is_postponed_or_where_asked_for_a_conflict() {
    for (layer, status) in [(memory(), 503), (memory().with_in_flight_status(StatusCode::CONFLICT), 409)] {
        let handler = Handler::new([Act::Hang]);
        let server = handler.serve(layer).await;
        let first = server.send(delivery("1"));
        let second = async {
            until("the handler is at work", async || handler.calls() == 1).await;
            server.send(delivery("1")).await
        };
        let reply = tokio::select! {
            _ = first => unreachable!("the handler does not answer"),
            reply = second => reply,
        };
        assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (status, &"5".parse().unwrap()));
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_handler_along_and_the_next_try_is_handled() {
    let handler = Handler::new([Act::Hang, Act::Answer(200)]);
    let server = handler.serve(memory()).await;
    let (head, body) = delivery("1").into_parts();
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let mut text = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n".to_owned();
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    connection.write_all(format!("{text}\r\n{{}}").as_bytes()).await.unwrap();
    until("the handler is at work", async || handler.calls() == 1).await;
    assert_eq!(server.send(Request::from_parts(head.clone(), body.clone())).await.status, 503);
    drop(connection);
    until("the retry is handled", async || {
        server.send(Request::from_parts(head.clone(), body.clone())).await.status == 200
    })
    .await;
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn without_a_verified_delivery_nothing_is_handled() {
    let handler = Handler::default();
    let unverified = handler.clone();
    let app = Router::new().route("/", post(move |delivery| unverified.call(delivery)).layer(memory()));
    assert_eq!(serve(app).await.send(delivery("1")).await.status, 503);

    // The two layers in the wrong order.
    let unverified = handler.clone();
    let layers = ServiceBuilder::new().layer(memory()).layer(WebhookLayer::new(acme()));
    let app = Router::new().route("/", post(move |delivery| unverified.call(delivery)).layer(layers));
    assert_eq!(serve(app).await.send(delivery("1")).await.status, 503);
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn in_observe_mode_the_handler_gets_everything() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let handler = async move |_: AxumRequest| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(acme()).observe_only()).layer(memory());
    let server = serve(Router::new().route("/", post(handler).layer(layers))).await;
    for request in [delivery("1"), delivery("1"), Request::post("/").body(Full::default()).unwrap()] {
        assert_eq!(server.send(request).await.status, 200);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_layer_fits_a_whole_router_and_a_route() {
    let layers = || ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(memory());
    let handler = async |delivery: Delivery| delivery.id().unwrap().to_owned();
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        let delivery = Delivery::from_extensions(request.extensions()).unwrap();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(delivery.id().unwrap().to_owned())))
    });
    for app in [
        Router::new().route("/", post(handler)).layer(layers()),
        Router::new().route("/", post(handler)).route_layer(layers()),
        Router::new().route("/", any_service(layers().service(inner))),
    ] {
        let server = serve(app).await;
        assert_eq!(server.send(delivery("1")).await.text(), "1");
        assert_eq!(server.send(delivery("1")).await.headers["webhook-duplicate"], "true");
    }
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_called() {
    // ConcurrencyLimit panics where a clone is called that was never polled ready.
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(memory()).concurrency_limit(1);
    let mut service =
        layers.service(service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))));
    for id in ["1", "2"] {
        let ready = tower::ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
        assert_eq!(ready.call(delivery(id)).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_report_is_told_from_others_by_its_address_and_an_empty_body_by_nothing() {
    let sender = CdrManager::new("Jefe").unwrap();
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(sender.clone())).layer(memory());
    let server = serve(Router::new().route("/", post(async || "handled").layer(layers))).await;
    let send = async |body: &'static str| {
        let request = testing::sign(&sender, Request::post("/").body(body).unwrap()).unwrap();
        !server.send(request).await.headers.contains_key("webhook-duplicate")
    };
    assert!(send(r#"{"callbackURL":"https://example.test/1"}"#).await);
    assert!(!send(r#"{"callbackURL":"https://example.test/1","taskName":"again"}"#).await, "the same report");
    for body in [r#"{"taskId":1}"#, "", ""] {
        assert!(send(body).await, "nobody says that {body:?} is a repetition");
    }
}

#[tokio::test]
async fn a_key_may_be_chosen_and_may_be_none() {
    let layer = memory().with_key(|delivery, head| match head.headers.get("tenant")?.as_bytes() {
        b"none" => None,
        tenant => Some(Key::of(delivery)?.within(tenant)),
    });
    let handler = Handler::default();
    let server = handler.serve(layer).await;
    let send = async |tenant: &'static str| {
        let mut request = delivery("1");
        request.headers_mut().insert("tenant", tenant.parse().unwrap());
        !server.send(request).await.headers.contains_key("webhook-duplicate")
    };
    assert!(send("a").await);
    assert!(!send("a").await);
    assert!(send("b").await, "another tenant's id is another id");
    assert!(send("none").await);
    assert!(send("none").await);
}

#[tokio::test]
async fn what_is_done_is_forgotten_after_the_retention_and_not_before() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000_000));
    let store = MemoryStore::new(10).with_clock(clock.clone());
    let handler = Handler::default();
    let server = handler.serve(DedupLayer::new(store).with_retention(Duration::from_secs(3600))).await;
    for (seconds, calls) in [(0, 1), (3599, 1), (1, 2)] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(server.send(delivery("1")).await.status, 200);
        assert_eq!(handler.calls(), calls, "after {seconds} more seconds");
    }
}

#[tokio::test]
async fn what_a_handler_was_waited_for_is_remembered_from_its_end() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_000_000));
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = service_fn({
        let (clock, calls) = (clock.clone(), calls.clone());
        move |_: Request<Full<Bytes>>| {
            let (clock, calls) = (clock.clone(), calls.clone());
            async move {
                calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                clock.advance(Duration::from_secs(1000));
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        }
    });
    let store = MemoryStore::new(10).with_clock(clock.clone());
    let layer = DedupLayer::new(store).with_retention(Duration::from_secs(3600));
    let service = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(layer).service(handler);
    for (seconds, expected) in [(0, 1), (3599, 1), (1, 2)] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(service.clone().oneshot(delivery("1")).await.unwrap().status(), 200);
        assert_eq!(calls.load(Ordering::SeqCst), expected, "after {seconds} more seconds");
    }
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_rules() {
    let clock = ManualClock::new(UNIX_EPOCH);
    let store = MemoryStore::new(100).with_clock(clock.clone());
    store_suite(async || store.clone(), async |time| clock.advance(time)).await;
    let store = Arc::new(MemoryStore::default());
    store_suite(async || store.clone(), async |time| tokio::time::sleep(time).await).await;
}

/// A store that fails on demand, and otherwise does what a store in memory does, after a pause.
#[derive(Clone)]
struct Scripted {
    inner: MemoryStore,
    fails: Arc<dyn Fn(&'static str) -> Fault + Send + Sync>,
    log: Arc<std::sync::Mutex<Vec<&'static str>>>,
    gate: Arc<Semaphore>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Error,
    /// Never answers.
    Silent,
    /// Does it and never answers.
    Mute,
    /// Does it once it gets a permit.
    Gate,
}

impl Scripted {
    fn new(fails: impl Fn(&'static str) -> Fault + Send + Sync + 'static) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        Self { inner: MemoryStore::default(), fails: Arc::new(fails), log: Arc::default(), gate }
    }

    fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }

    async fn run<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        self.log.lock().unwrap().push(call);
        match (self.fails)(call) {
            Fault::None => work.await,
            Fault::Error => Err(StoreError::new("as the script says")),
            Fault::Silent => std::future::pending().await,
            Fault::Gate => {
                self.gate.acquire().await.unwrap().forget();
                work.await
            }
            Fault::Mute => {
                work.await?;
                std::future::pending().await
            }
        }
    }
}

impl Store for Scripted {
    async fn claim(&self, key: Key, token: ClaimToken, lease: Duration) -> Result<Claim, StoreError> {
        self.run("claim", self.inner.claim(key, token, lease)).await
    }

    async fn commit(
        &self,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        time: Duration,
    ) -> Result<bool, StoreError> {
        self.run("commit", self.inner.commit(key, token, answer, time)).await
    }

    async fn release(&self, key: Key, token: ClaimToken) -> Result<(), StoreError> {
        self.run("release", self.inner.release(key, token)).await
    }
}

#[tokio::test]
async fn a_store_that_fails_or_stays_silent_refuses_with_503_or_admits() {
    for fault in [Fault::Error, Fault::Silent] {
        let broken = move |failure| {
            let store = Scripted::new(move |_| fault);
            DedupLayer::new(store).with_store_timeout(Duration::from_millis(50)).with_store_failure(failure)
        };
        let handler = Handler::default();
        let reply = handler.serve(broken(StoreFailure::Refuse)).await.send(delivery("1")).await;
        assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (503, &"5".parse().unwrap()));
        assert_eq!(handler.calls(), 0);
        let reply = handler.serve(broken(StoreFailure::Admit)).await.send(delivery("1")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "from the handler"));
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn the_reason_reaches_the_hook_and_no_more_than_a_fixed_text_the_sender() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hooked = seen.clone();
    let hook = move |rejection: &Rejection| {
        let source = std::error::Error::source(rejection).unwrap().to_string();
        hooked.lock().unwrap().push((rejection.reason(), rejection.provider().unwrap().to_owned(), source));
    };
    let layers = ServiceBuilder::new()
        .layer(WebhookLayer::new(acme()).on_reject(hook))
        .layer(DedupLayer::new(Scripted::new(|_| Fault::Error)));
    let server = serve(Router::new().route("/", post(async || "handled").layer(layers))).await;
    let reply = server.send(delivery("1")).await;
    assert!(!reply.text().contains("script"), "{}", reply.text());
    let expected = (Reason::StoreUnavailable, "acme".to_owned(), "as the script says".to_owned());
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_commit_that_fails_does_not_turn_a_success_into_a_failure() {
    let handler = Handler::default();
    let store = Scripted::new(|call| if call == "commit" { Fault::Error } else { Fault::None });
    let server = handler.serve(DedupLayer::new(store)).await;
    assert_eq!(server.send(delivery("1")).await.text(), "from the handler");
    // The claim lasts on, so that at least until the lease ends nobody repeats the work.
    assert_eq!(server.send(delivery("1")).await.status, 503);
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn a_commit_in_the_background_keeps_nobody_waiting_and_is_made_all_the_same() {
    let handler = Handler::default();
    let gate = Arc::new(Semaphore::new(0));
    let store = Scripted::new(|call| if call == "commit" { Fault::Gate } else { Fault::None });
    let store = Scripted { gate: gate.clone(), ..store };
    let server = handler.serve(DedupLayer::new(store.clone()).with_commit_in_background()).await;
    assert_eq!(server.send(delivery("1")).await.text(), "from the handler");
    assert_eq!(server.send(delivery("1")).await.status, 503, "the claim holds until the store knows");
    gate.add_permits(1);
    let again = loop {
        let reply = server.send(delivery("1")).await;
        if reply.status != 503 {
            break reply;
        }
    };
    assert_eq!((again.text(), again.headers.contains_key("webhook-duplicate")), ("from the handler", true));
    assert_eq!(handler.calls(), 1);
}

/// Without it, what was handled while the store was away would be handled again when its sender
/// repeats it after the lease.
#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_made_good_in_the_background_within_bounds() {
    let far = Scheme::hmac_sha256().signature(header("x").hex()).id(header("id")).secret("k").build("far").unwrap();
    for (down_for, commits, is_duplicate) in [(Duration::from_secs(90), 8, true), (Duration::MAX, 9, false)] {
        // The paused clock of the runtime is the store's clock too.
        let start = tokio::time::Instant::now();
        let store = Scripted {
            inner: MemoryStore::new(10).with_clock(move || UNIX_EPOCH + start.elapsed()),
            ..Scripted::new(
                move |call| {
                    if call == "commit" && start.elapsed() < down_for { Fault::Error } else { Fault::None }
                },
            )
        };
        let inner = service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::from("done"))));
        let layers = ServiceBuilder::new().layer(WebhookLayer::new(far.clone())).layer(DedupLayer::new(store.clone()));
        let service = layers.service(inner);
        let send = async || {
            let request = testing::sign(&far, Request::post("/").header("id", "1").body("1").unwrap()).unwrap();
            service.clone().oneshot(request).await.unwrap()
        };
        assert_eq!(send().await.status(), 200);
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(send().await.status(), 503, "the lease keeps repetitions away");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(store.log().iter().filter(|call| **call == "commit").count(), commits);
        let again = send().await;
        assert_eq!((again.status().as_u16(), again.headers().contains_key("webhook-duplicate")), (200, is_duplicate));
    }
}

/// SNS makes its last try a minute after the first: it would find the claim of a handler that
/// failed, and lose the message.
#[tokio::test(start_paused = true)]
async fn a_release_that_fails_is_made_good_before_the_lease_ends() {
    let far = Scheme::hmac_sha256().signature(header("x").hex()).id(header("id")).secret("k").build("far").unwrap();
    let start = tokio::time::Instant::now();
    let store = Scripted {
        inner: MemoryStore::new(10).with_clock(move || UNIX_EPOCH + start.elapsed()),
        ..Scripted::new(move |_| {
            if (0..5).contains(&start.elapsed().as_secs()) && start.elapsed() > Duration::ZERO {
                Fault::Error
            } else {
                Fault::None
            }
        })
    };
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        Ok::<_, Infallible>(response)
    });
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(far.clone())).layer(DedupLayer::new(store.clone()));
    let service = layers.service(inner);
    let send = async || {
        let request = testing::sign(&far, Request::post("/").header("id", "1").body("1").unwrap()).unwrap();
        service.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(send().await, 500);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(send().await, 500, "it is handled again");
    assert_eq!(store.log(), ["claim", "release", "release", "release", "release", "claim", "release"]);
}

#[tokio::test]
async fn a_claim_that_was_granted_too_late_is_given_back() {
    let first = Arc::new(AtomicUsize::new(0));
    let store = Scripted::new(move |call| {
        if call == "claim" && first.fetch_add(1, Ordering::SeqCst) == 0 { Fault::Mute } else { Fault::None }
    });
    let handler = Handler::default();
    let server = handler.serve(DedupLayer::new(store.clone()).with_store_timeout(Duration::from_millis(50))).await;
    assert_eq!(server.send(delivery("1")).await.status, 503);
    until("the claim is released", async || store.log() == ["claim", "release"]).await;
    assert_eq!(server.send(delivery("1")).await.text(), "from the handler");
}

#[tokio::test]
async fn a_request_dropped_while_it_claims_or_commits_leaves_no_claim_behind() {
    for (polls, ends) in [(1, ["claim", "release"]), (2, ["claim", "commit"])] {
        let handler = Handler::default();
        let store = Scripted::new(|_| Fault::None);
        let counted = handler.clone();
        let inner = service_fn(move |_: Request<Full<Bytes>>| {
            counted.calls.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        });
        let layers = ServiceBuilder::new().layer(WebhookLayer::new(acme())).layer(DedupLayer::new(store.clone()));
        let service = layers.service(inner);
        {
            let mut call = pin!(service.clone().oneshot(delivery("1")));
            for _ in 0..polls {
                assert!(matches!(futures_util::poll!(call.as_mut()), Poll::Pending));
            }
        }
        until("the claim is settled", async || store.log() == ends).await;
        assert_eq!(handler.calls(), polls - 1);
        let after = service.oneshot(delivery("1")).await.unwrap();
        assert_eq!(after.headers().contains_key("webhook-duplicate"), polls == 2, "a success is not forgotten");
        assert_eq!(after.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_long_handler_is_renewed_and_one_failure_does_not_lose_it() {
    let renewals = Arc::new(AtomicUsize::new(0));
    let store = Scripted {
        inner: MemoryStore::new(10).with_clock({
            // The paused clock of the runtime is the store's clock too.
            let start = tokio::time::Instant::now();
            move || UNIX_EPOCH + start.elapsed()
        }),
        ..Scripted::new(move |call| {
            if call == "claim" && renewals.fetch_add(1, Ordering::SeqCst) == 2 { Fault::Error } else { Fault::None }
        })
    };
    let go = Arc::new(Semaphore::new(0));
    let permit = go.clone();
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let permit = permit.clone();
        async move {
            permit.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let layer = DedupLayer::new(store.clone()).with_lease(Duration::from_secs(60));
    let far = Scheme::hmac_sha256().signature(header("x").hex()).id(header("id")).secret("k").build("far").unwrap();
    let service = ServiceBuilder::new().layer(WebhookLayer::new(far.clone())).layer(layer).service(inner);
    let request = || testing::sign(&far, Request::post("/").header("id", "1").body("1").unwrap()).unwrap();
    let first = tokio::spawn(service.clone().oneshot(request()));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), 503, "still at work");
    }
    go.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(service.oneshot(request()).await.unwrap().headers()["webhook-duplicate"], "true");
    // 29 renewals in 590 seconds, at every twentieth; the ten others were the repetitions.
    assert!((38..=42).contains(&store.log().iter().filter(|call| **call == "claim").count()), "{:?}", store.log());
}

#[test]
fn debug_tells_the_settings_and_nothing_of_the_store() {
    let layer = memory().with_lease(Duration::ZERO).with_retention(Duration::MAX);
    assert_eq!(
        format!("{layer:?}"),
        "DedupLayer { name: \"\", lease: 1ms, retention: 31622400s, store_timeout: 1s, store_failure: None, answer_limit: 4096, .. }"
    );
}

#[cfg(feature = "metrics")]
#[test]
fn duplicates_failures_and_admissions_are_counted() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Handler::default().serve(memory()).await;
            for _ in 0..3 {
                server.send(delivery("1")).await;
            }
            let broken = || DedupLayer::new(Scripted::new(|_| Fault::Error));
            Handler::default().serve(broken()).await.send(delivery("1")).await;
            let admitting = broken().with_store_failure(StoreFailure::Admit);
            Handler::default().serve(admitting).await.send(delivery("1")).await;
        });
    });
    let snapshot = snapshotter.snapshot().into_vec();
    let count = |name: &str, label: (&str, &str)| {
        let counted = snapshot.iter().filter(|(key, ..)| {
            key.key().name() == name && key.key().labels().any(|found| (found.key(), found.value()) == label)
        });
        counted.map(|(.., value)| if let DebugValue::Counter(count) = value { *count } else { 0 }).sum::<u64>()
    };
    assert_eq!(count("webhook_dedup_total", ("outcome", "duplicate")), 2);
    assert_eq!(count("webhook_dedup_total", ("outcome", "admitted")), 1);
    assert_eq!(count("webhook_store_failures_total", ("call", "claim")), 2);
    assert_eq!(count("webhook_requests_total", ("outcome", "postponed")), 1);
    assert_eq!(count("webhook_requests_total", ("reason", "store_unavailable")), 1);
}
