//! Which deliveries are the same, by the senders' own rules: nothing genuine is taken for a
//! repetition, and no copy is handled again because something that nobody signed was changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_webhook::dedup::{Claim, ClaimToken, DoneAnswer, Key, Store, StoreError, StoreFailure};
use tower_webhook::provider::{Behavior, Provider, Repeats};
use tower_webhook::scheme::{SchemeBuilder, header, json};
use tower_webhook::testing::{ManualClock, Sign};
use tower_webhook::{
    AnyOf, Clock as _, DedupLayer, Delivery, Head, Identity, MemoryStore, Scheme, Secret, Secrets, WebhookLayer,
    senders,
};

use crate::support::serve;

type Service = BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, Infallible>;

/// A route with deduplication, whose handler counts.
struct Route {
    service: Service,
    handled: Arc<AtomicUsize>,
}

impl Route {
    fn new(provider: impl Provider) -> Self {
        Self::with(WebhookLayer::new(provider), DedupLayer::new(MemoryStore::new(1000)))
    }

    fn with<P: Provider>(webhook: WebhookLayer<P>, dedup: DedupLayer) -> Self {
        let handled = Arc::new(AtomicUsize::new(0));
        let counted = handled.clone();
        let handler = service_fn(move |_: Request<Full<Bytes>>| {
            let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
            let mut response = Response::new(Full::new(Bytes::from(format!("[accepted {call}]"))));
            response.headers_mut().insert("content-type", "text/plain".parse().unwrap());
            async { Ok::<_, Infallible>(response) }
        });
        let service = ServiceBuilder::new().layer(webhook).layer(dedup).service(handler);
        let service = service_fn(move |request: Request<Full<Bytes>>| {
            let response = service.clone().oneshot(request);
            async {
                let (head, body) = response.await?.into_parts();
                let Ok(body) = body.collect().await;
                Ok(Response::from_parts(head, body.to_bytes()))
            }
        });
        Self { service: BoxCloneSyncService::new(service), handled }
    }

    /// Sends a request, and returns the answer.
    async fn reply(&self, request: Request<impl Into<Bytes>>) -> Response<Bytes> {
        let request = request.map(|body| Full::new(body.into()));
        self.service.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request, and returns whether the handler got it.
    async fn handles(&self, request: Request<impl Into<Bytes>>) -> bool {
        let before = self.handled.load(Ordering::SeqCst);
        let reply = self.reply(request).await;
        assert!(reply.status().is_success(), "{} {:?}", reply.status(), reply.body());
        self.handled.load(Ordering::SeqCst) > before
    }
}

fn acme() -> SchemeBuilder {
    Scheme::hmac_sha256().signature(header("acme-signature").hex()).secret("the secret of acme")
}

fn signed(provider: &impl Sign, request: Request<&'static str>) -> Request<Bytes> {
    provider.sign_at(request.map(Bytes::from), SystemTime::now()).unwrap()
}

fn body(text: &'static str) -> Request<&'static str> {
    Request::post("/").body(text).unwrap()
}

#[tokio::test]
async fn equal_bodies_without_an_id_are_two_events() {
    for (scheme, text) in [
        (senders::dropbox("k").unwrap(), r#"{"list_folder":{"accounts":["dbid:A"]},"delta":{"users":[1]}}"#),
        (acme().build("acme").unwrap(), r#"{"tick":1}"#),
    ] {
        let route = Route::new(scheme.clone().with_behavior(Behavior::UNKNOWN));
        for _ in 0..2 {
            assert!(route.handles(signed(&scheme, body(text))).await, "{text}");
        }
    }
}

#[tokio::test]
async fn equal_bodies_are_one_event_where_the_sender_makes_none_twice_and_where_it_is_asked_for() {
    let scheme = acme().build("acme").unwrap();
    let unique = scheme.clone().with_behavior(Behavior::UNKNOWN.with_unique_bodies("each has a serial number"));
    let strict = DedupLayer::new(MemoryStore::new(10)).with_replay_protection();
    for route in [Route::new(unique), Route::with(WebhookLayer::new(scheme.clone()), strict)] {
        for (text, is_handled) in [("1", true), ("1", false), ("2", true)] {
            assert_eq!(route.handles(signed(&scheme, body(text))).await, is_handled, "{text}");
        }
    }
}

#[tokio::test]
async fn an_unsigned_id_counts_together_with_the_body_unless_copies_are_to_be_refused() {
    let github = senders::github("k").unwrap();
    let push = |id: &'static str, text: &'static str| {
        let request = Request::post("/").header("x-github-event", "push").header("x-github-delivery", id);
        signed(&github, request.body(text).unwrap())
    };
    let route = Route::new(github.clone());
    for (id, text, is_handled) in [("1", "{}", true), ("1", "{}", false), ("2", "{}", true), ("1", "[]", true)] {
        assert_eq!(route.handles(push(id, text)).await, is_handled, "{id} {text}");
    }
    let strict = DedupLayer::new(MemoryStore::new(10)).with_replay_protection();
    let route = Route::with(WebhookLayer::new(github.clone()), strict);
    for (id, text, is_handled) in [("1", "{}", true), ("2", "{}", false), ("1", "[]", true)] {
        assert_eq!(route.handles(push(id, text)).await, is_handled, "{id} {text}");
    }
}

/// Shopify's event id stands for what a merchant did, of which several topics tell.
#[tokio::test]
async fn one_unsigned_id_may_stand_for_events_of_several_names() {
    let shopify = senders::shopify("k").unwrap();
    let send = |topic: &'static str| {
        let request = Request::post("/").header("x-shopify-topic", topic).header("x-shopify-event-id", "1");
        signed(&shopify, request.body(r#"{"id":7}"#).unwrap())
    };
    let route = Route::new(shopify.clone());
    for (topic, is_handled) in
        [("orders/create", true), ("orders/paid", true), ("orders/create", false), ("orders/paid", false)]
    {
        assert_eq!(route.handles(send(topic)).await, is_handled, "{topic}");
    }
}

#[tokio::test]
async fn messages_of_meta_s_are_handled_once_and_what_has_no_id_is_handled_each_time() {
    let meta = senders::meta("k").unwrap();
    let route = Route::new(meta.clone());
    let message = r#"{"object":"page","entry":[{"messaging":[{"message":{"mid":"m_1","text":"a"}}]}]}"#;
    let taken_back = r#"{"object":"page","entry":[{"messaging":[{"message":{"mid":"m_1","is_deleted":true}}]}]}"#;
    let feed = r#"{"object":"page","entry":[{"changes":[{"field":"feed","value":{"item":"like"}}]}]}"#;
    for (text, is_handled) in
        [(message, true), (message, false), (taken_back, true), (taken_back, false), (feed, true), (feed, true)]
    {
        assert_eq!(route.handles(signed(&meta, body(text))).await, is_handled, "{text}");
    }
}

#[tokio::test]
async fn where_the_proof_covers_nothing_the_id_tells_deliveries_apart() {
    let scheme = Scheme::token(header("token")).id(header("message-id")).secret("t").build("raw").unwrap();
    let route = Route::new(scheme);
    let send = |id: &'static str, text: &'static str| {
        Request::post("/").header("token", "t").header("message-id", id).body(text).unwrap()
    };
    for (id, text, is_handled) in [
        ("1", r#"{"tick":1}"#, true),
        ("2", r#"{"tick":1}"#, true),
        ("2", r#"{"tick":1}"#, false),
        ("", r#"{"tick":1}"#, true),
        ("", r#"{"tick":1}"#, true),
    ] {
        assert_eq!(route.handles(send(id, text)).await, is_handled, "{id} {text}");
    }
}

#[cfg(feature = "testing-sns")]
#[tokio::test]
async fn a_raw_delivery_of_sns_is_told_from_others_by_its_message_id() {
    use tower_webhook::Sns;
    use tower_webhook::sns::RawProof;
    use tower_webhook::testing::FakeSns;

    let fake = FakeSns::new();
    let sns = Sns::builder().topic(fake.topic_arn()).fetch(fake.clone());
    let sns = sns.basic_auth("u", "p").raw_delivery(RawProof::BasicAuth);
    let route = Route::new(sns.build().unwrap());
    let send = |id: &'static str| {
        Request::post("/")
            .header("authorization", "Basic dTpw")
            .header("content-type", "text/plain; charset=UTF-8")
            .header("x-amz-sns-message-type", "Notification")
            .header("x-amz-sns-rawdelivery", "true")
            .header("x-amz-sns-message-id", id)
            .header("x-amz-sns-topic-arn", fake.topic_arn())
            .body(r#"{"tick":1}"#)
            .unwrap()
    };
    for (id, is_handled) in [
        ("165545c9-2a5c-472c-8df2-7ff2be2b3b1b", true),
        ("165545c9-2a5c-472c-8df2-7ff2be2b3b1c", true),
        ("165545c9-2a5c-472c-8df2-7ff2be2b3b1c", false),
    ] {
        assert_eq!(route.handles(send(id)).await, is_handled, "{id}");
    }
}

#[tokio::test]
async fn an_empty_id_is_none_and_a_number_is_not_its_digits() {
    let scheme = acme().id(json("/id")).build("acme").unwrap();
    let route = Route::new(scheme.clone());
    for (text, is_handled) in [
        (r#"{"id":""}"#, true),
        (r#"{"id":""}"#, true),
        (r#"{"id":1}"#, true),
        (r#"{"id":"1"}"#, true),
        (r#"{"id":1,"attempt":2}"#, false),
        (r#"{"id":"1","attempt":2}"#, false),
    ] {
        assert_eq!(route.handles(signed(&scheme, body(text))).await, is_handled, "{text}");
    }
}

#[tokio::test]
async fn bytes_moved_from_the_address_into_the_body_make_no_new_delivery() {
    // Its deliveries are all handled, as it acts on the answers, unless its row is another.
    let twilio = senders::twilio("k", "https://h").unwrap().with_behavior(Behavior::UNKNOWN);
    let send = |uri: String, text: String| {
        let request = Request::post(uri).header("content-type", "application/x-www-form-urlencoded");
        request.header("i-twilio-idempotency-token", "t").body(Bytes::from(text)).unwrap()
    };
    let strict = DedupLayer::new(MemoryStore::new(100)).with_replay_protection();
    let route = Route::with(WebhookLayer::new(twilio.clone()), strict);
    let original = twilio.sign_at(send("/in?tenant=ab".into(), "Digits=1".into()), SystemTime::now()).unwrap();
    assert!(route.handles(original.clone()).await);
    for moved in 1..=2 {
        let (stays, moves) = "/in?tenant=ab".split_at("/in?tenant=ab".len() - moved);
        let mut forged = original.clone().map(|_| Bytes::from(format!("{moves}Digits=1")));
        *forged.uri_mut() = stays.parse().unwrap();
        assert!(!route.handles(forged).await, "{moved} bytes moved");
    }
    let elsewhere = twilio.sign_at(send("/in?tenant=cd".into(), "Digits=1".into()), SystemTime::now()).unwrap();
    assert!(route.handles(elsewhere).await, "the same digits at two addresses");

    let square = senders::square("k", "https://h").unwrap();
    let route = Route::new(square.clone());
    let text = r#"{"event_id":"sq1"}"#;
    let original = signed(&square, Request::post("/in?a=12").body(text).unwrap());
    assert!(route.handles(original.clone()).await);
    assert!(!route.handles(original.clone()).await);
    let mut forged = original.map(|_| Bytes::from(format!("2{text}")));
    *forged.uri_mut() = "/in?a=1".parse().unwrap();
    assert!(!route.handles(forged).await);
}

#[tokio::test]
async fn the_time_is_no_part_of_what_is_signed() {
    let hubspot = senders::hubspot_v3("k", "https://h").unwrap();
    let hubspot = hubspot.with_behavior(Behavior::UNKNOWN.with_unique_bodies("a test's"));
    let route = Route::new(hubspot.clone());
    let now = SystemTime::now();
    for (uri, seconds, is_handled) in [("/a", 0, true), ("/a", 20, false), ("/b", 20, true)] {
        let request = Request::post(uri).body(Bytes::from_static(b"[]")).unwrap();
        let request = hubspot.sign_at(request, now - Duration::from_secs(seconds)).unwrap();
        assert_eq!(route.handles(request).await, is_handled, "{uri} {seconds}");
    }
}

#[tokio::test]
async fn secrets_tenants_and_names_keep_deliveries_apart_in_one_store() {
    let store = MemoryStore::new(100);
    let id = |scheme: SchemeBuilder| scheme.id(json("/id")).build("acme").unwrap();
    let request = || Request::post("/").body(r#"{"id":"evt_1"}"#).unwrap();
    let layer = || DedupLayer::new(store.clone());
    let route = |scheme: &Scheme, layer| Route::with(WebhookLayer::new(scheme.clone()), layer);

    // Two endpoints of one sender, each with a secret of its own.
    let [one, other] = ["one", "other"].map(|secret| id(acme().secret(secret)));
    assert!(route(&one, layer()).handles(signed(&one, request())).await);
    assert!(route(&other, layer()).handles(signed(&other, request())).await);
    assert!(!route(&other, layer()).handles(signed(&other, request())).await);

    // Two routes of one endpoint.
    assert!(route(&one, layer().with_name("billing")).handles(signed(&one, request())).await);
    assert!(!route(&one, layer().with_name("billing")).handles(signed(&one, request())).await);

    // Two tenants behind one look-up.
    let tenants = id(acme().secret(Secrets::lookup(|head: Head| async move {
        Ok::<_, Infallible>(Some(Secret::new(format!("the secret of {}", head.uri.path()))))
    })));
    let tenants = route(&tenants, layer());
    for (path, is_handled) in [("/a", true), ("/b", true), ("/b", false)] {
        let signer = id(acme().secret(format!("the secret of {path}")));
        let mut request = signed(&signer, request());
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(tenants.handles(request).await, is_handled, "{path}");
    }
}

#[tokio::test]
async fn what_stays_fresh_for_longer_is_remembered_for_longer() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let day = Duration::from_secs(24 * 60 * 60);
    let scheme = acme()
        .timestamp(header("time").unix_seconds().within(3 * day))
        .signed("{timestamp}.{body}")
        .id(json("/id"))
        .build("acme")
        .unwrap();
    let request = Request::post("/").body(Bytes::from_static(br#"{"id":1}"#)).unwrap();
    let ahead = scheme.sign_at(request, clock.now() + 3 * day).unwrap();
    let store = MemoryStore::new(10).with_clock(clock.clone());
    let webhook = WebhookLayer::new(scheme).with_clock(clock.clone());
    let route = Route::with(webhook, DedupLayer::new(store).with_retention(Duration::from_secs(60)));
    assert!(route.handles(ahead.clone()).await);
    for _ in 0..5 {
        clock.advance(day);
        assert!(!route.handles(ahead.clone()).await);
    }
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_again() {
    let scheme = acme().id(json("/id")).build("acme").unwrap();
    let request = || signed(&scheme, body(r#"{"id":"1"}"#));
    let route = Route::new(scheme.clone());
    let first = route.reply(request()).await;
    assert!(!first.headers().contains_key("webhook-duplicate"));
    let again = route.reply(request()).await;
    assert_eq!(again.headers()["webhook-duplicate"], "true");
    assert_eq!((again.status(), again.body()), (first.status(), first.body()));
    assert_eq!(again.headers()["content-type"], "text/plain");

    let short = DedupLayer::new(MemoryStore::new(10)).with_answer_limit(0);
    let route = Route::with(WebhookLayer::new(scheme.clone()), short);
    assert_eq!(route.reply(request()).await.body(), "[accepted 1]");
    assert_eq!(route.reply(request()).await.body(), "");
}

#[tokio::test]
async fn a_sender_that_acts_on_the_answer_is_never_answered_from_memory() {
    let scheme = acme().id(json("/id")).build("acme").unwrap();
    let scheme = scheme.with_behavior(Behavior::UNKNOWN.with_interactive(true));
    let route = Route::new(AnyOf::new([scheme.clone()]).unwrap());
    for call in 1..=2 {
        let reply = route.reply(signed(&scheme, body(r#"{"id":"1"}"#))).await;
        assert_eq!(reply.body(), &format!("[accepted {call}]"));
    }
}

/// A store that is down.
struct Down;

impl Store for Down {
    async fn claim(&self, _: Key, _: ClaimToken, _: Duration) -> Result<Claim, StoreError> {
        Err(StoreError::new("down"))
    }

    async fn commit(&self, _: Key, _: ClaimToken, _: DoneAnswer, _: Duration) -> Result<bool, StoreError> {
        Err(StoreError::new("down"))
    }

    async fn release(&self, _: Key, _: ClaimToken) -> Result<(), StoreError> {
        Err(StoreError::new("down"))
    }
}

#[tokio::test]
async fn while_the_store_is_down_senders_that_never_repeat_are_handled_and_others_are_put_off() {
    let refusing = || DedupLayer::new(Down).with_store_failure(StoreFailure::Refuse);
    for (repeats, layer, status) in [
        (Repeats::Never, DedupLayer::new(Down), StatusCode::OK),
        (Repeats::OnServerError, DedupLayer::new(Down), StatusCode::SERVICE_UNAVAILABLE),
        (Repeats::Never, refusing(), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let scheme = acme().id(json("/id")).build("acme").unwrap();
        let scheme = scheme.with_behavior(Behavior::UNKNOWN.with_repeats(repeats));
        let route = Route::with(WebhookLayer::new(scheme.clone()), layer);
        let reply = route.reply(signed(&scheme, body(r#"{"id":"1"}"#))).await;
        assert_eq!(reply.status(), status, "{repeats:?}");
    }
}

#[tokio::test]
async fn a_sender_that_hangs_up_finds_its_delivery_done_when_it_comes_again() {
    let scheme = acme().id(json("/id")).build("acme").unwrap();
    let (starts, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (starts, ends) = (starts.clone(), ends.clone());
        async move || {
            starts.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(400)).await;
            ends.fetch_add(1, Ordering::SeqCst);
        }
    };
    let dedup = DedupLayer::new(MemoryStore::new(100)).run_to_end();
    let layers = ServiceBuilder::new().layer(WebhookLayer::new(scheme.clone())).layer(dedup);
    let server = serve(Router::new().route("/", post(handler).layer(layers))).await;
    let event = async |number: usize| {
        let request = Request::post("/").body(Bytes::from(format!(r#"{{"id":{number}}}"#))).unwrap();
        let request = scheme.sign_at(request, SystemTime::now()).unwrap().map(Full::new);
        for tries in 1..100 {
            // The connection ends with the future.
            match tokio::time::timeout(Duration::from_millis(200), server.send(request.clone())).await {
                Ok(reply) if reply.status == 200 => return tries,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("event {number} was never acknowledged");
    };
    let tries = futures_util::future::join_all((0..20).map(event)).await;
    assert!(tries.iter().all(|tries| *tries > 1), "each has hung up at least once: {tries:?}");
    assert_eq!((starts.load(Ordering::SeqCst), ends.load(Ordering::SeqCst)), (20, 20));
}

#[test]
fn debug_prints_nothing_of_a_request() {
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let printed = seen.clone();
    let scheme = acme()
        .secret(Secrets::lookup(move |head: Head| {
            *printed.lock().unwrap() = format!("{head:?} {head:#?}");
            async { Ok::<_, Infallible>(None::<Secret>) }
        }))
        .build("acme")
        .unwrap();
    let request = Request::post("/hooks/path-secret?token=query-secret")
        .header("authorization", "Bearer header-secret")
        .header("acme-signature", "00".repeat(32))
        .body(Full::new(Bytes::from_static(b"body-secret")))
        .unwrap();
    let route = Route::new(scheme);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(route.service.oneshot(request)).unwrap().status(), 401);
    let answer = format!("{:?}", DoneAnswer::new(StatusCode::OK).with_body("answer-secret"));
    let shown = seen.lock().unwrap().clone() + &answer;
    assert!(shown.contains("authorization") && !shown.contains("secret"), "{shown}");
}

/// How long the run over all senders takes. Ten minutes are asked for by `IDENTITY_SECONDS=600`.
#[cfg(feature = "asymmetric")]
fn seconds() -> Duration {
    let seconds = std::env::var("IDENTITY_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// What tells the second delivery of a pair from the first.
#[cfg(feature = "asymmetric")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Differs {
    Id,
    IdAndBody,
    Body,
    Url,
    /// The event's name in a header, where the id beside it is as unsigned.
    Event,
}

/// What may differ in two genuine deliveries of this sender. Where its id names the event, anything
/// else is the same event.
#[cfg(feature = "asymmetric")]
fn ways(request: &Request<Bytes>, delivery: &Delivery, is_named: bool) -> Vec<Differs> {
    let signed = delivery.signed();
    let counts_content = matches!(delivery.identity(), Identity::None | Identity::Content);
    let has_body = !request.body().is_empty();
    // Favro signs its id and the address: whatever the body says, it is that delivery.
    let counts_body = counts_content && (signed.body || !signed.url);
    let event = delivery.event().filter(|event| request.headers().values().any(|value| value == *event));
    [
        (Differs::Id, is_named),
        (Differs::IdAndBody, is_named && has_body),
        (Differs::Body, counts_body && has_body),
        (Differs::Url, signed.url),
        (Differs::Event, counts_content && !signed.event && event.is_some() && delivery.id().is_some()),
    ]
    .into_iter()
    .filter_map(|(way, is_open)| is_open.then_some(way))
    .collect()
}

/// What names the event, and what to put there.
#[cfg(feature = "asymmetric")]
fn names(name: &str, request: &Request<Bytes>, delivery: &Delivery, end: u64) -> Vec<(String, String)> {
    let ids = ids(delivery).into_iter().map(|id| (id.clone(), renamed(&id, end)));
    let special = special(name, end).map(|(from, to)| (from.to_owned(), to));
    let names: Vec<_> = special.map_or_else(|| ids.collect(), |special| vec![special]);
    let is_there = |text: &String| {
        let body = std::str::from_utf8(request.body()).unwrap();
        body.contains(text) || request.headers().values().any(|value| *value == text)
    };
    // Vonage's is in its token: see `with_jti`.
    names.into_iter().filter(|(from, _)| is_there(from) || name == "vonage").collect()
}

/// For senders that make an identity of several values or of a decoded one.
#[cfg(feature = "asymmetric")]
fn special(name: &str, end: u64) -> Option<(&'static str, String)> {
    use base64::Engine as _;

    Some(match name {
        "adyen_payments" if end.is_multiple_of(2) => ("1130", format!("1130{end}")),
        "adyen_payments" => ("79140733", format!("79140733x{end:x}")),
        "braintree" => {
            let payload = base64::engine::general_purpose::STANDARD.encode(format!("<xml>{end}"));
            let encoded = payload.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            ("bt_payload=PHhtbD4%2B%0A", format!("bt_payload={encoded}"))
        }
        "cloudevents" => ("ce1", format!("ce1x{end:x}")),
        "fastspring" => ("f1", format!("f1x{end:x}")),
        "gocardless" => ("EV1", format!("EV1x{end:x}")),
        "meta" => ("wamid.1", format!("wamid.1x{end:x}")),
        "hubspot_v1" => (r#""eventId":1"#, format!(r#""eventId":1{end}"#)),
        _ => return None,
    })
}

/// Another request of the same sender, with an end of its own in what differs.
#[cfg(feature = "asymmetric")]
fn another(name: &str, request: &Request<Bytes>, delivery: &Delivery, differs: Differs, end: u64) -> Request<Bytes> {
    let (mut head, body) = request.clone().into_parts();
    let mut body = String::from_utf8(body.to_vec()).unwrap();
    if matches!(differs, Differs::Id | Differs::IdAndBody) {
        for (from, to) in names(name, request, delivery, end) {
            body = body.replace(&from, &to);
            head.headers.values_mut().filter(|value| **value == from).for_each(|value| *value = to.parse().unwrap());
        }
    }
    match differs {
        Differs::Id => {}
        Differs::Url => {
            let separator = if head.uri.query().is_some() { '&' } else { '?' };
            head.uri = format!("{}{separator}n={end}", head.uri).parse().unwrap();
        }
        Differs::Event => {
            let event = delivery.event().unwrap();
            let value = head.headers.values_mut().find(|value| *value == event).unwrap();
            *value = format!("{event}/{end}").parse().unwrap();
        }
        Differs::Body | Differs::IdAndBody => {
            body = match body.chars().next().unwrap() {
                '{' | '[' => body.replacen('{', &format!(r#"{{"n":{end},"#), 1).replacen(",}", "}", 1),
                // A form of several parts.
                '-' => body.replacen("opened", &format!("opened{end}"), 1),
                _ => format!("{body}&n={end}"),
            }
        }
    }
    Request::from_parts(head, body.into())
}

/// The delivery's id, and what the sender's row takes for its identity.
#[cfg(feature = "asymmetric")]
fn ids(delivery: &Delivery) -> Vec<String> {
    let chosen = match delivery.identity() {
        Identity::Id(id) | Identity::Number(id) => id.split(' ').next().map(str::to_owned),
        _ => None,
    };
    let mut ids: Vec<_> = delivery.id().map(str::to_owned).into_iter().chain(chosen).collect();
    ids.dedup();
    ids
}

#[cfg(feature = "asymmetric")]
fn renamed(id: &str, end: u64) -> String {
    let is_number = id.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { format!("{id}{end}") } else { format!("{id}x{end:x}") }
}

/// The token of a request of Vonage's with another id.
#[cfg(feature = "asymmetric")]
fn with_jti(request: &mut Request<Bytes>, jti: &str) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{KeyInit as _, Mac as _};

    let token = request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let (header, rest) = token.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    let mut claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["jti"] = jti.into();
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(crate::senders::SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    let token = format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    request.headers_mut().insert("authorization", token.parse().unwrap());
}

#[cfg(feature = "asymmetric")]
#[tokio::test]
async fn over_all_senders_what_differs_is_handled_and_what_is_repeated_is_handled_once() {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Instant;

    use crate::hostile::chance::Chance;
    use crate::senders::{Bench, cases, send};

    let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut subjects = Vec::new();
    for case in cases() {
        let sender = senders::all().find(|sender| sender.name == case.name).unwrap();
        let bench = Bench::new(sender, &case);
        let layer = DedupLayer::new(MemoryStore::new(100));
        let route = Route::with(WebhookLayer::new(bench.scheme.clone()).with_clock(move || at), layer);
        let original = case.request.clone();
        subjects.push((case, bench, route, original));
    }
    let (started, mut chance, mut rounds) = (Instant::now(), Chance::new(17), 0);
    let (mut pairs, mut wrong) = (BTreeMap::new(), Vec::new());
    // Each way of each sender comes up within some rounds.
    while rounds < 20 || started.elapsed() < seconds() {
        rounds += 1;
        for (case, bench, route, original) in &mut subjects {
            case.request = original.clone();
            let first = bench.sign(case);
            let delivery = send(&bench.scheme, at, first.clone()).await.unwrap();
            let is_named = !names(case.name, &first, &delivery, 0).is_empty();
            let ways = ways(&first, &delivery, is_named);
            assert!(!ways.is_empty(), "{}: {delivery:?}", case.name);
            let differs = *chance.pick(&ways);
            let end = chance.next() >> 32;
            // The signed one has the ids that signing gives, and is signed anew. Parts of a form would be there
            // twice.
            let base = if first.body().starts_with(b"--") { &*original } else { &first };
            case.request = another(case.name, base, &delivery, differs, end);
            let mut second = bench.sign(case);
            if case.name == "vonage" && differs != Differs::Body {
                with_jti(&mut second, &renamed("msg_1", end));
            }
            route.reply(first.clone()).await;
            let is_told = delivery.identity() != Identity::None && !bench.scheme.behavior().is_interactive();
            for (request, is_new) in [(&second, true), (&first, !is_told), (&second, !is_told)] {
                let before = route.handled.load(Ordering::SeqCst);
                let status = route.reply(request.clone()).await.status();
                let is_handled = route.handled.load(Ordering::SeqCst) > before;
                if !status.is_success() || is_handled != is_new {
                    wrong.push(format!("{} {differs:?}: {status}, handled: {is_handled}: {request:?}", case.name));
                }
            }
            *pairs.entry((case.name, differs)).or_insert(0_u32) += 1;
        }
    }
    let senders: BTreeSet<_> = pairs.keys().map(|(name, _)| *name).collect();
    println!(
        "{} pairs of {} senders, {} wrong verdicts: {pairs:?}",
        pairs.values().sum::<u32>(),
        senders.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} wrong verdicts, the first: {}", wrong.len(), wrong[0]);
    assert_eq!(senders.len(), senders::all().count());
    assert!(pairs.keys().any(|pair| *pair == ("shopify", Differs::Event)), "{pairs:?}");
}

/// Of the providers that are no schemes too, and of those that act on the answer where they are
/// asked to be deduplicated.
#[cfg(feature = "testing-sns")]
#[tokio::test]
async fn of_sns_and_connect_what_differs_is_handled_and_what_is_repeated_is_handled_once() {
    use std::time::Instant;

    use futures_util::FutureExt as _;
    use tower_webhook::testing::FakeSns;
    use tower_webhook::{Connect, Sns};

    use crate::hostile::chance::Chance;

    let fake = FakeSns::new();
    let messages = Route::new(Sns::builder().topic(fake.topic_arn()).fetch(fake.clone()).build().unwrap());
    // In the same words each time.
    let message = || fake.notification(r#"{"tick":1}"#).post("/").map(|body| body.collect().now_or_never().unwrap());
    let message = || message().map(|body| body.unwrap().to_bytes());
    let connect = Connect::new("the JWT secret").unwrap();
    let dedup = DedupLayer::new(MemoryStore::new(100)).with_key(|trigger, _| Key::of(trigger));
    let triggers = Route::with(WebhookLayer::new(connect.clone()), dedup);
    let trigger = |member: &str, value: u64| {
        let text = format!(r#"{{"webhook_id":"WH-1","triggered_at":"2021-05-27T09:54:03+00:00","{member}":{value}}}"#);
        connect.sign_at(Request::post("/").body(Bytes::from(text)).unwrap(), SystemTime::now()).unwrap()
    };
    let (started, mut chance, mut pairs) = (Instant::now(), Chance::new(17), 0);
    while pairs < 100 || started.elapsed() < seconds() {
        let member = *chance.pick(&["webhook_name", "product_id", "processing_timeout", "data", "undocumented"]);
        let number = chance.next() >> 16;
        let pair = [trigger(member, number), trigger(member, number + 1)];
        for (route, [first, second]) in [(&messages, [message(), message()]), (&triggers, pair)] {
            for (request, is_new) in [(&first, true), (&second, true), (&first, false), (&second, false)] {
                assert_eq!(route.handles(request.clone()).await, is_new, "{request:?}");
            }
            pairs += 1;
        }
    }
    println!("{pairs} pairs, no wrong verdict");
}
