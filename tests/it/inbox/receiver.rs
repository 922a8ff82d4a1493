//! An inbox behind a real server: accepted, handled, tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Extension;
use axum::response::IntoResponse as _;
use axum::routing::post;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tower::{Layer as _, service_fn};
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{
    Backoff, DeliveryId, FailureKind, Filter, Inbox, InboxAttempt, InboxBuilder, InboxStore, OrderOnDead, Page, Replay,
    State, StoredDelivery,
};
use tower_webhook::provider::{Behavior, ExpectedAnswer};
use tower_webhook::scheme::header;
use tower_webhook::{Delivery, Identity, Json, Rejection, Scheme, Signed, Webhook, WebhookLayer, testing};

use super::sqlite::Folder;
use crate::support::{Reply, Server, serve, until};

/// A sender that signs its ids.
pub(super) fn acme() -> Scheme {
    Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .signed("{id}.{body}")
        .id(header("acme-id"))
        .event(header("acme-event"))
        .secret("whatever Acme's portal shows")
        .build("acme")
        .unwrap()
}

pub(super) fn signed(id: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    signed_to("/hook", id, body)
}

pub(super) fn signed_to(path: &str, id: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("acme-id", id).header("acme-event", "paid").body(body.into()).unwrap();
    testing::sign(&acme(), request).unwrap()
}

/// A server, its inbox, and the worker that runs beside it.
pub(super) struct Receiver<S> {
    pub(super) server: Server,
    pub(super) inbox: Inbox<S>,
    pub(super) shutdown: Option<oneshot::Sender<()>>,
    pub(super) worker: JoinHandle<()>,
}

pub(super) type Route = axum::routing::MethodRouter;

/// Tries soon again, and ends leases soon.
pub(super) fn quick(store: impl InboxStore) -> InboxBuilder {
    Inbox::new(store)
        .with_retry(Backoff::exponential(Duration::from_millis(5)..Duration::from_millis(50)).attempts(100))
        .with_lease(Duration::from_secs(2))
}

pub(super) async fn receive(builder: InboxBuilder, handler: Route) -> Receiver<Route> {
    receive_from(acme(), builder, handler).await
}

async fn receive_from(sender: Scheme, builder: InboxBuilder, handler: Route) -> Receiver<Route> {
    let (inbox, worker) = builder.wrap(handler);
    let app = Router::new()
        .route_service("/hook", WebhookLayer::new(sender).layer(inbox.clone()))
        .nest("/admin", inbox.router());
    let (shutdown, stopped) = oneshot::channel();
    let worker = tokio::spawn(worker.run(async {
        let _ = stopped.await;
    }));
    Receiver { server: serve(app).await, inbox, shutdown: Some(shutdown), worker }
}

impl<S> Receiver<S> {
    pub(super) async fn deliver(&self, id: &str, body: impl Into<Bytes>) -> Reply {
        self.server.send(signed(id, body)).await
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/admin{path}")).body(Full::default()).unwrap();
        let reply = self.server.send(request).await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    pub(super) async fn all(&self) -> Vec<tower_webhook::inbox::Summary> {
        self.inbox.list(Filter::default(), Page { before: None, limit: 10_000 }).await.unwrap().deliveries
    }

    /// Waits until each delivery is done or dead.
    pub(super) async fn settled(&self) {
        until("everything is handled", async || {
            let stats = self.inbox.stats().await.unwrap();
            stats.waiting + stats.in_flight == 0
        })
        .await;
    }

    pub(super) async fn shut_down(&mut self) {
        let _ = self.shutdown.take().map(|shutdown| shutdown.send(()));
        tokio::time::timeout(Duration::from_secs(10), &mut self.worker).await.expect("it ends in time").unwrap();
    }
}

pub(super) fn store(folder: &Folder) -> SqliteStore {
    SqliteStore::open(folder.file()).unwrap()
}

/// What handlers noted: how often they began and succeeded, by id.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<String, (usize, usize)>>>);

impl Notes {
    pub(super) fn began(&self, delivery: &Delivery) {
        self.0.lock().unwrap().entry(delivery.id().unwrap().to_owned()).or_default().0 += 1;
    }

    pub(super) fn ended(&self, delivery: &Delivery) {
        self.0.lock().unwrap().entry(delivery.id().unwrap().to_owned()).or_default().1 += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<String, (usize, usize)> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_handler_gets_what_arrived_with_what_was_proven() {
    let folder = Folder::new();
    let seen = Arc::new(Mutex::new(None));
    let noted = seen.clone();
    let handler = move |method: Method,
                        uri: Uri,
                        headers: HeaderMap,
                        Extension(attempt): Extension<InboxAttempt>,
                        delivery: Delivery,
                        Webhook(Json(payload)): Webhook<Json<Value>>,
                        body: Bytes| async move {
        *noted.lock().unwrap() = Some((method, uri, headers, attempt, delivery, payload, body));
    };
    let receiver = receive(quick(store(&folder)), post(handler)).await;
    let body = r#"{"n": 1,  "spaced":true}"#;
    let mut request = signed_to("/hook?tenant=7&token=s3cret", "evt 1", body);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
    headers.insert(AUTHORIZATION, "Bearer s3cret".parse().unwrap());
    headers.insert(COOKIE, "session=s3cret".parse().unwrap());
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    assert_eq!(receiver.server.send(request).await.status, 200);
    until("it is handled", async || seen.lock().unwrap().is_some()).await;
    let (method, uri, headers, attempt, delivery, payload, bytes) = seen.lock().unwrap().take().unwrap();
    assert_eq!((method, uri.to_string().as_str(), &bytes[..]), (Method::POST, "/hook?tenant=7", body.as_bytes()));
    assert_eq!((delivery.provider(), delivery.id(), delivery.event()), ("acme", Some("evt 1"), Some("paid")));
    assert_eq!(delivery.signed(), Signed::default().with_body(true).with_id(true));
    assert!(delivery.identity() == Identity::Id("evt 1".into()) && delivery.body() == body.as_bytes());
    assert_eq!((attempt.number, &payload["n"]), (1, &Value::from(1)));
    assert_eq!(delivery.headers(), Some(&headers));
    let names: BTreeSet<_> = headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["acme-event", "acme-id", "content-type", "traceparent"]));
    let stored = receiver.inbox.get(attempt.id).await.unwrap().unwrap();
    assert!(!format!("{stored:?}").contains("spaced") && stored.body == body);
}

#[tokio::test]
async fn the_sender_is_answered_as_it_expects_and_only_after_the_commit() {
    let cases: [(Option<ExpectedAnswer>, u16, &str); 4] = [
        (None, 200, ""),
        (Some(ExpectedAnswer::AnySuccess), 200, ""),
        (Some(ExpectedAnswer::Status(&[StatusCode::NO_CONTENT, StatusCode::OK])), 204, ""),
        (Some(ExpectedAnswer::Body("[accepted]")), 200, "[accepted]"),
    ];
    for (expected, status, body) in cases {
        let folder = Folder::new();
        let behavior = expected.map_or(Behavior::UNKNOWN, |expected| Behavior::UNKNOWN.with_expected(expected));
        let (inbox, _worker) = quick(store(&folder)).wrap(post(|| async { StatusCode::IM_A_TEAPOT }));
        let layer = WebhookLayer::new(acme().with_behavior(behavior));
        let server = serve(Router::new().route_service("/hook", layer.layer(inbox))).await;
        let reply = server.send(signed("1", "x")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, body));
        // Another process sees it at once.
        let other = Inbox::new(store(&folder)).wrap(()).0;
        assert_eq!(other.stats().await.unwrap().waiting, 1);
        // A repetition hears the same.
        let reply = server.send(signed("1", "x")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, body));
        assert_eq!(other.stats().await.unwrap().waiting, 1);
        // The same id with another body is another delivery, and its repetition is known as well.
        for _ in 0..2 {
            assert_eq!(server.send(signed("1", "y")).await.status.as_u16(), status);
            assert_eq!(other.stats().await.unwrap().waiting, 2);
        }
    }
}

#[tokio::test]
async fn a_request_without_a_webhook_layer_is_refused() {
    let folder = Folder::new();
    let (inbox, _worker) = quick(store(&folder)).wrap(post(|| async {}));
    let service = tower::ServiceBuilder::new()
        .map_request(|request: Request<axum::body::Body>| request.map(|_| Full::<Bytes>::default()))
        .service(inbox.clone());
    let server = serve(Router::new().route_service("/hook", service)).await;
    assert_eq!(server.send(signed("1", "x")).await.status, 503);
    assert_eq!(inbox.stats().await.unwrap().waiting, 0);
}

#[tokio::test]
async fn an_interactive_request_gets_the_handlers_own_answer() {
    let folder = Folder::new();
    let builder = quick(store(&folder)).when(|delivery| delivery.json("/type").as_deref() == Some("command"));
    let receiver = receive(builder, post(|| async { "the answer" })).await;
    assert_eq!(receiver.deliver("1", r#"{"type":"command"}"#).await.text(), "the answer");
    assert_eq!(receiver.deliver("2", r#"{"type":"event"}"#).await.text(), "");
    receiver.settled().await;
    assert_eq!(receiver.all().await.len(), 1);

    let folder = Folder::new();
    let sender = acme().with_behavior(Behavior::UNKNOWN.with_interactive(true));
    let receiver = receive_from(sender, quick(store(&folder)), post(|| async { "the answer" })).await;
    assert_eq!(receiver.deliver("1", "{}").await.text(), "the answer");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_the_put() {
    let folder = Folder::new();
    let (inbox, _worker) = quick(store(&folder)).wrap(post(|| async {}));
    let mut layered = WebhookLayer::new(acme()).layer(inbox.clone());
    for n in 0..20 {
        let mut call = std::pin::pin!(tower::Service::call(&mut layered, signed(&n.to_string(), "x")));
        // Polled once, as by a server whose client then goes away.
        let _ = futures_util::poll!(&mut call);
    }
    until("all are stored", async || inbox.stats().await.unwrap().waiting == 20).await;
}

#[tokio::test]
async fn an_order_key_that_panics_is_answered_so_that_the_sender_tries_again() {
    let folder = Folder::new();
    let builder = quick(store(&folder)).with_order(|delivery| match delivery.id() {
        Some("bad") => panic!("no key for this one"),
        _ => None,
    });
    let receiver = receive(builder, post(|| async {})).await;
    assert_eq!(receiver.deliver("bad", "x").await.status, 503);
    assert_eq!(receiver.deliver("good", "x").await.status, 200);
    assert_eq!(receiver.all().await.len(), 1);
}

/// The signature covers the address alone, which names the delivery together with an id.
#[tokio::test]
async fn two_bodies_that_nobody_signed_are_two_deliveries() {
    let folder = Folder::new();
    let sender = Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .signed_without_the_body("{url}")
        .id(header("acme-id"))
        .with_public_url("https://hooks.example.com")
        .secret("whatever Acme's portal shows")
        .build("acme")
        .unwrap();
    let receiver = receive_from(sender.clone(), quick(store(&folder)), post(|| async {})).await;
    for body in ["one", "two", "one", "two"] {
        let request = Request::post("/hook").header("acme-id", "1").body(Bytes::from(body)).unwrap();
        let request = testing::sign(&sender, request).unwrap();
        assert_eq!(receiver.server.send(request).await.status, 200);
    }
    assert_eq!(receiver.all().await.len(), 2);
}

#[tokio::test]
async fn each_failure_is_told_apart_and_followed_by_its_own() {
    let folder = Folder::new();
    let handler = |delivery: Delivery, Extension(attempt): Extension<InboxAttempt>| async move {
        match (delivery.id().unwrap(), attempt.number) {
            ("gone", _) => StatusCode::GONE.into_response(),
            ("busy", 1) => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response(),
            ("bad", _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            ("panic", _) => panic!("it was {}", "too much"),
            ("slow", _) => std::future::pending().await,
            ("payload", _) => Rejection::new(tower_webhook::Reason::MalformedPayload).into_response(),
            ("flaky", 1..=3) => StatusCode::BAD_GATEWAY.into_response(),
            _ => StatusCode::NO_CONTENT.into_response(),
        }
    };
    let builder = quick(store(&folder))
        .with_retry(Backoff::exponential(Duration::from_millis(1)..Duration::from_secs(2)).attempts(4))
        .with_handler_timeout(Duration::from_millis(50));
    let receiver = receive(builder, post(handler)).await;
    let began = Instant::now();
    for id in ["gone", "busy", "bad", "panic", "slow", "payload", "flaky", "fine"] {
        assert_eq!(receiver.deliver(id, "x").await.status, 200);
    }
    receiver.settled().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "its Retry-After was one second");
    let ends: BTreeMap<_, _> = receiver
        .all()
        .await
        .into_iter()
        .map(|delivery| {
            let failure = delivery.last_failure.map(|failure| (failure.kind, failure.detail));
            (delivery.event_id.unwrap().as_str().to_owned(), (delivery.state, delivery.attempts, failure))
        })
        .collect();
    let is = |id: &str, state: State, attempts: u32, kind: Option<FailureKind>, text: &str| {
        let (is_state, is_attempts, failure) = &ends[id];
        assert_eq!((*is_state, *is_attempts), (state, attempts), "{id}: {failure:?}");
        assert_eq!(failure.as_ref().map(|(kind, _)| *kind), kind, "{id}");
        assert!(failure.as_ref().is_none_or(|(_, detail)| detail.contains(text)), "{id}: {failure:?}");
    };
    is("gone", State::Dead, 1, Some(FailureKind::Refused), "answered 410");
    is("payload", State::Dead, 1, Some(FailureKind::Refused), "does not fit");
    is("busy", State::Done, 2, Some(FailureKind::Handler), "answered 429");
    is("bad", State::Dead, 4, Some(FailureKind::Handler), "answered 500");
    is("panic", State::Dead, 4, Some(FailureKind::Panic), "it was too much");
    is("slow", State::Dead, 4, Some(FailureKind::Timeout), "longer than 50ms");
    is("flaky", State::Done, 4, Some(FailureKind::Handler), "answered 502");
    is("fine", State::Done, 1, None, "");
}

#[tokio::test]
async fn a_dead_delivery_lives_again_when_it_is_repeated_or_replayed() {
    let folder = Folder::new();
    let works = Arc::new(AtomicUsize::new(0));
    let switch = works.clone();
    let handler =
        move || async move { if switch.load(Ordering::SeqCst) == 1 { StatusCode::OK } else { StatusCode::NOT_FOUND } };
    let receiver = receive(quick(store(&folder)), post(handler)).await;
    for id in ["1", "2", "3"] {
        receiver.deliver(id, "x").await;
    }
    receiver.settled().await;
    assert_eq!(receiver.inbox.stats().await.unwrap().dead, 3);
    works.store(1, Ordering::SeqCst);
    assert_eq!(receiver.deliver("1", "x").await.status, 200);
    receiver.settled().await;
    assert_eq!(receiver.inbox.stats().await.unwrap().dead, 2);
    let oldest = receiver.all().await.last().unwrap().id;
    assert_eq!(receiver.inbox.replay(oldest, false).await.unwrap(), Replay::AlreadyDone);
    assert_eq!(receiver.inbox.replay(DeliveryId(999), false).await.unwrap(), Replay::Unknown);
    assert_eq!(receiver.inbox.replay_dead(Filter::default(), 100).await.unwrap(), 2);
    receiver.settled().await;
    let stats = receiver.inbox.stats().await.unwrap();
    assert_eq!((stats.done, stats.dead), (3, 0));
}

#[tokio::test]
async fn deliveries_of_one_key_are_handled_one_by_one_in_order() {
    let folder = Folder::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let noted = log.clone();
    let handler = move |delivery: Delivery, Extension(attempt): Extension<InboxAttempt>| async move {
        let (line, id) = (delivery.json("/line").unwrap(), delivery.id().unwrap().to_owned());
        noted.lock().unwrap().push((line.clone(), id.clone(), "begins"));
        tokio::time::sleep(Duration::from_millis(2)).await;
        noted.lock().unwrap().push((line, id, "ends"));
        // Every third one needs a second try, and holds up its line meanwhile.
        if delivery.json("/n").unwrap().parse::<u32>().unwrap() % 3 == 0 && attempt.number == 1 {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        }
    };
    let builder = quick(store(&folder)).with_order(|delivery| delivery.json("/line"));
    let receiver = receive(builder, post(handler)).await;
    for n in 0..60 {
        let reply = receiver.deliver(&format!("{n:02}"), format!(r#"{{"line":"{}","n":{n}}}"#, n % 5)).await;
        assert_eq!(reply.status, 200);
    }
    receiver.settled().await;
    let log = log.lock().unwrap();
    for line in ["0", "1", "2", "3", "4"] {
        let of_line: Vec<_> = log.iter().filter(|(of, ..)| of == line).collect();
        let mut ids: Vec<_> = of_line.chunks(2).map(|pair| pair[0].1.as_str()).collect();
        assert!(of_line.chunks(2).all(|pair| pair[0].1 == pair[1].1 && pair[1].2 == "ends"), "{of_line:?}");
        ids.dedup();
        assert!(ids.len() == 12 && ids.is_sorted(), "{ids:?}");
    }
}

#[tokio::test]
async fn a_dead_head_blocks_its_line_if_it_should() {
    for (policy, handled) in [(OrderOnDead::Skip, 2), (OrderOnDead::Block, 0)] {
        let folder = Folder::new();
        let builder = quick(store(&folder)).with_order(|_| Some("one line".into())).with_order_on_dead(policy);
        let handler = |delivery: Delivery| async move {
            if delivery.id() == Some("0") { StatusCode::BAD_REQUEST } else { StatusCode::OK }
        };
        let receiver = receive(builder, post(handler)).await;
        receiver.inbox.pause().await.unwrap();
        for id in ["0", "1", "2"] {
            receiver.deliver(id, "x").await;
        }
        receiver.inbox.resume().await.unwrap();
        until("the head is dead", async || receiver.inbox.stats().await.unwrap().dead == 1).await;
        if handled > 0 {
            receiver.settled().await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(receiver.inbox.stats().await.unwrap().done, handled, "{policy:?}");
    }
}

#[tokio::test]
async fn a_handler_slower_than_its_senders_patience_ends_once_for_each_event() {
    let folder = Folder::new();
    let notes = Notes::default();
    let noted = notes.clone();
    let handler = move |delivery: Delivery| async move {
        noted.began(&delivery);
        tokio::time::sleep(Duration::from_millis(500)).await;
        noted.ended(&delivery);
    };
    let receiver = receive(quick(store(&folder)), post(handler)).await;
    // The sender waits for 100 ms, and repeats each event as often as it isn't answered by then.
    let mut sending = JoinSet::new();
    for n in 0..20 {
        let address = receiver.server.address;
        sending.spawn(async move { repeat(address, &n.to_string(), Duration::from_millis(100)).await });
    }
    sending.join_all().await;
    receiver.settled().await;
    let notes = notes.all();
    assert_eq!(notes.len(), 20);
    assert!(notes.values().all(|counts| *counts == (1, 1)), "{notes:?}");
}

/// Sends an event until it is answered 2xx in time. Returns how often it was sent.
async fn repeat(address: SocketAddr, id: &str, patience: Duration) -> usize {
    let server = Server { address, task: tokio::spawn(async {}) };
    for sent in 1.. {
        let sending = async { try_to_send(&server, signed(id, id.to_owned())).await };
        match tokio::time::timeout(patience, sending).await {
            Ok(Some(status)) if status.is_success() => return sent,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    unreachable!()
}

/// Sends a request to a server that may be down.
async fn try_to_send(server: &Server, mut request: Request<Full<Bytes>>) -> Option<StatusCode> {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    *request.uri_mut() = format!("http://{}{}", server.address, request.uri()).parse().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    client.request(request).await.ok().map(|response| response.status())
}

#[tokio::test]
async fn a_handler_may_take_longer_than_the_lease() {
    let folder = Folder::new();
    let notes = Notes::default();
    let noted = notes.clone();
    let handler = move |delivery: Delivery| async move {
        noted.began(&delivery);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        noted.ended(&delivery);
    };
    let builder = quick(store(&folder)).with_lease(Duration::from_millis(500));
    let receiver = receive(builder, post(handler)).await;
    receiver.deliver("1", "x").await;
    receiver.settled().await;
    assert_eq!(notes.all()["1"], (1, 1));
}

#[tokio::test]
async fn a_cancelled_delivery_stops_its_handler() {
    let folder = Folder::new();
    let builder = quick(store(&folder)).with_lease(Duration::from_millis(300));
    let receiver = receive(builder, post(std::future::pending::<()>)).await;
    receiver.deliver("1", "x").await;
    until("it runs", async || receiver.inbox.stats().await.unwrap().in_flight == 1).await;
    let id = receiver.all().await[0].id;
    assert!(receiver.inbox.cancel(id).await.unwrap());
    until("it has stopped", async || receiver.inbox.stats().await.unwrap().cancelled == 1).await;
}

#[tokio::test]
async fn a_shutdown_under_load_lets_handlers_finish_and_gives_the_rest_back() {
    let folder = Folder::new();
    let notes = Notes::default();
    let handler = |notes: Notes, hangs: bool| {
        post(move |delivery: Delivery| async move {
            notes.began(&delivery);
            // Some take longer than the shutdown has.
            let hangs = hangs && delivery.id().unwrap().ends_with('7');
            tokio::time::sleep(Duration::from_millis(if hangs { 60_000 } else { 20 })).await;
            notes.ended(&delivery);
        })
    };
    let builder = || quick(store(&folder)).with_concurrency(16).with_shutdown_timeout(Duration::from_millis(300));
    let mut receiver = receive(builder(), handler(notes.clone(), true)).await;
    for n in 0..100 {
        assert_eq!(receiver.deliver(&n.to_string(), "x").await.status, 200);
    }
    receiver.shut_down().await;
    let stats = receiver.inbox.stats().await.unwrap();
    assert_eq!(stats.in_flight, 0, "what doesn't finish is given back at once");
    assert!(receiver.all().await.iter().all(|delivery| delivery.state != State::Waiting || delivery.attempts == 0));
    assert!(notes.all().values().all(|(began, ended)| *ended == 1 || *began == 1), "nothing was cut off unseen");
    drop(receiver);
    let receiver = receive(builder(), handler(notes.clone(), false)).await;
    receiver.settled().await;
    let notes = notes.all();
    assert_eq!(notes.len(), 100);
    assert!(notes.values().all(|(_, ended)| *ended == 1));
}

#[tokio::test]
async fn a_full_store_is_answered_503_and_accepts_again_when_there_is_room() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file()).with_max_bytes(512 * 1024).open().unwrap();
    let retention = tower_webhook::inbox::Retention { done: Duration::ZERO, ..tower_webhook::inbox::DEFAULT_RETENTION };
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let handler = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
    };
    let receiver = receive(quick(store).with_retention(retention), post(handler)).await;
    receiver.inbox.pause().await.unwrap();
    let mut accepted = 0;
    loop {
        let reply = receiver.deliver(&accepted.to_string(), vec![b'x'; 16 * 1024]).await;
        if reply.status == 503 {
            assert!(reply.headers.contains_key(RETRY_AFTER));
            break;
        }
        assert_eq!(reply.status, 200);
        accepted += 1;
        assert!(accepted < 100, "it is full at some time");
    }
    receiver.inbox.resume().await.unwrap();
    until("it accepts again", async || {
        receiver.deliver(&accepted.to_string(), vec![b'x'; 16 * 1024]).await.status == 200
    })
    .await;
    receiver.settled().await;
    assert_eq!(handled.load(Ordering::SeqCst), accepted + 1);
}

#[tokio::test]
async fn an_error_of_the_service_is_tried_again_and_kept() {
    let folder = Folder::new();
    let service = service_fn(|_: Request<Full<Bytes>>| async {
        Err::<http::Response<Full<Bytes>>, _>(std::io::Error::other("the database is away"))
    });
    let (inbox, worker) = quick(store(&folder))
        .with_retry(Backoff::exponential(Duration::ZERO..Duration::ZERO).attempts(3))
        .wrap(service);
    let mut layered = WebhookLayer::new(acme()).layer(inbox.clone());
    tower::Service::call(&mut layered, signed("1", "x")).await.unwrap();
    tokio::spawn(worker.run(std::future::pending()));
    until("it is dead", async || inbox.stats().await.unwrap().dead == 1).await;
    let dead = inbox.list(Filter::default(), Page { before: None, limit: 1 }).await.unwrap().deliveries.remove(0);
    assert_eq!((dead.attempts, dead.last_failure.unwrap().detail), (3, "the database is away".to_owned()));
}

#[tokio::test]
async fn operators_see_and_decide_over_http() {
    let folder = Folder::new();
    let handler = |delivery: Delivery| async move {
        if delivery.id() == Some("good") { StatusCode::OK } else { StatusCode::FORBIDDEN }
    };
    let receiver = receive(quick(store(&folder)), post(handler)).await;
    for id in ["good", "bad-1", "bad-2"] {
        receiver.deliver(id, r#"{"a":1}"#).await;
    }
    receiver.settled().await;
    let (status, stats) = receiver.ask(Method::GET, "/stats").await;
    assert_eq!(
        (status.as_u16(), &stats["dead"], &stats["done"], &stats["waiting"]),
        (200, &2.into(), &1.into(), &0.into())
    );
    assert_eq!(stats["oldest_due_seconds"], 0.0);
    let (_, page) = receiver.ask(Method::GET, "/deliveries?state=dead&provider=acme&limit=1").await;
    let dead = &page["deliveries"][0];
    assert_eq!((&dead["event_id"], &dead["event"], &dead["attempts"]), (&"bad-2".into(), &"paid".into(), &1.into()));
    assert_eq!(dead["last_error"], "refused: the handler answered 403");
    assert!(dead["received_at"].as_str().unwrap().ends_with('Z'));
    let (_, page) =
        receiver.ask(Method::GET, &format!("/deliveries?state=dead&limit=1&cursor={}", page["cursor"])).await;
    assert_eq!(page["deliveries"][0]["event_id"], "bad-1");
    assert_eq!(page["cursor"], Value::Null);
    let id = &page["deliveries"][0]["id"];
    let (_, shown) = receiver.ask(Method::GET, &format!("/deliveries/{id}")).await;
    assert_eq!((&shown["body"], &shown["headers"]["acme-id"]), (&"eyJhIjoxfQ==".into(), &"bad-1".into()));
    let past = &shown["past"][0];
    assert_eq!((&past["attempt"], &past["kind"]), (&1.into(), &"refused".into()));
    assert!(
        past["detail"] == "the handler answered 403" && past["ended_at"].as_str().unwrap().ends_with('Z'),
        "{past}"
    );
    assert_eq!(receiver.ask(Method::POST, &format!("/deliveries/{id}/replay")).await.0, 202);
    assert_eq!(receiver.ask(Method::POST, "/replay?state=dead").await.0, 202);
    assert_eq!(receiver.ask(Method::POST, "/replay").await.0, 400);
    receiver.settled().await;
    assert_eq!(receiver.ask(Method::DELETE, &format!("/deliveries/{id}")).await.0, 204);
    for (method, path) in [
        (Method::GET, format!("/deliveries/{id}")),
        (Method::DELETE, format!("/deliveries/{id}")),
        (Method::POST, format!("/deliveries/{id}/replay")),
        (Method::GET, "/deliveries/999".to_owned()),
    ] {
        assert_eq!(receiver.ask(method, &path).await.0, 404, "{path}");
    }
    assert_eq!(receiver.ask(Method::GET, "/deliveries?state=unheard").await.0, 400);
    let good = receiver.ask(Method::GET, "/deliveries?state=done").await.1["deliveries"][0]["id"].clone();
    assert_eq!(receiver.ask(Method::POST, &format!("/deliveries/{good}/replay")).await.0, 409);
    assert_eq!(receiver.ask(Method::POST, &format!("/deliveries/{good}/replay?force=true")).await.0, 202);
    assert_eq!(receiver.ask(Method::POST, "/pause").await.0, 204);
    assert_eq!(receiver.ask(Method::GET, "/stats").await.1["paused"], true);
    assert_eq!(receiver.ask(Method::POST, "/resume").await.0, 204);
}

/// That it is `Send` and that clones work in either half is what servers need.
#[test]
fn inbox_and_worker_go_to_other_threads() {
    fn threads<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn sends<T: Send>(_: &T) {}
    let folder = Folder::new();
    let (inbox, worker) = quick(store(&folder)).wrap(post(|| async {}).with_state::<()>(()));
    threads(&inbox);
    threads(&worker);
    let running = worker.run(std::future::pending());
    sends(&running);
    let _: Option<StoredDelivery> = None;
}
