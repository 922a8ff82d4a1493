//! Secrets that rotate and secrets of tenants.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _};
use tower_webhook::provider::{Begin, Behavior, MaybeReady, Outcome, Provider, Recognition};
use tower_webhook::{
    AnyOf, AnyProvider, CachePolicy, CdrManager, Clock, Delivery, Head, Rejection, Secret, Secrets, Text, Verdict,
    WebhookLayer, testing,
};

use crate::support::{Server, serve};

fn signed_by(secret: &str, path: &str) -> Request<Full<Bytes>> {
    testing::sign(&CdrManager::new(secret).unwrap(), Request::post(path).body("hello").unwrap()).unwrap()
}

async fn server(secrets: impl Into<Secrets>) -> Server {
    let layer = WebhookLayer::new(CdrManager::new(secrets).unwrap()).with_lookup_timeout(Duration::from_millis(50));
    serve(Router::new().fallback(async |delivery: Delivery| delivery.key_index().to_string()).layer(layer)).await
}

#[tokio::test]
async fn while_secrets_rotate_any_of_them_verifies_and_the_delivery_says_which() {
    let server = server(Secrets::new(["current", "previous"])).await;
    for (secret, status, index) in [("current", 200, "0"), ("previous", 200, "1"), ("older", 401, "")] {
        let reply = server.send(signed_by(secret, "/")).await;
        assert_eq!(reply.status, status, "{secret}");
        assert!(status == 401 || reply.text() == index, "{secret}: {}", reply.text());
    }
}

#[test]
fn no_secret_an_empty_one_and_nine_are_refused_when_the_provider_is_built() {
    for (secrets, fault) in [
        (Secrets::new([""]), "a secret is empty"),
        (Secrets::new(["a", ""]), "a secret is empty"),
        (Secrets::new(Vec::<String>::new()), "there is no secret"),
        (Secrets::new((0..9).map(|n| n.to_string())), "there are more than 8 secrets"),
    ] {
        assert_eq!(CdrManager::new(secrets).unwrap_err().to_string(), fault);
    }
    assert!(CdrManager::new(Secrets::new((0..8).map(|n| n.to_string()))).is_ok());
}

async fn find(head: Head) -> Result<Vec<Secret>, std::io::Error> {
    match head.uri.path() {
        "/one" => Ok(vec!["secret of one".into()]),
        "/two" => Ok(vec!["new secret of two".into(), "secret of two".into()]),
        "/down" => Err(std::io::Error::other("the database is down")),
        "/empty" => Ok(vec!["".into()]),
        "/many" => Ok((0..9).map(|n| Secret::new(n.to_string())).collect()),
        "/slow" => std::future::pending().await,
        _ => Ok(Vec::new()),
    }
}

#[tokio::test]
async fn each_tenant_has_its_own_secrets() {
    let server = server(Secrets::lookup(find)).await;
    for (path, secret, status, text) in [
        ("/one", "secret of one", 200, "0"),
        ("/two", "secret of two", 200, "1"),
        ("/two", "secret of one", 401, ""),
        ("/unknown", "secret of one", 401, ""),
        ("/down", "secret of one", 503, ""),
        ("/empty", "secret of one", 503, ""),
        ("/many", "0", 503, ""),
        ("/slow", "secret of one", 503, ""),
    ] {
        let reply = server.send(signed_by(secret, path)).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(text.is_empty() || reply.text() == text, "{path}: {}", reply.text());
        assert_eq!(reply.headers.contains_key("retry-after"), status == 503, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_tenant_is_answered_exactly_as_a_wrong_signature_is() {
    let server = server(Secrets::lookup(find)).await;
    let wrong = server.send(signed_by("wrong", "/one")).await;
    let unknown = server.send(signed_by("wrong", "/unknown")).await;
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    let names = |reply: &crate::support::Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&wrong), names(&unknown));
    // The decoy that is tried for an unknown tenant is no key.
    let decoy = "a decoy: no tenant has this key.";
    assert_eq!(server.send(signed_by(decoy, "/unknown")).await.status, 401);
}

#[tokio::test]
async fn nothing_is_looked_up_for_a_head_that_is_refused_anyway() {
    let looked_up = Secrets::lookup(async |_| -> Result<Option<Secret>, std::io::Error> { panic!("looked up") });
    let layer = WebhookLayer::new(CdrManager::new(looked_up).unwrap());
    let server = serve(Router::new().route("/", post(async || "handled")).layer(layer)).await;
    assert_eq!(server.send(Request::post("/").body("x".into()).unwrap()).await.status, 401);
    let signature = signed_by("x", "/").headers()["x-cdr-signature"].to_str().unwrap().to_owned();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-cdr-signature: {signature}\r\n");
    let reply = server.raw(format!("{head}content-length: 99999999\r\n\r\n").as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
}

/// Without a cache, 5,000 forgeries are 5,000 queries to the database.
#[tokio::test]
async fn five_thousand_forgeries_cost_one_look_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = asked.clone();
    let secrets = Secrets::lookup(move |head: Head| {
        counts.fetch_add(1, Ordering::Relaxed);
        find(head)
    });
    // However long the forgeries take, the time stands still for the cache.
    let policy = CachePolicy::default().with_clock(testing::ManualClock::new(UNIX_EPOCH));
    let server = server(secrets.cached(policy)).await;
    for _ in 0..5000 {
        assert_eq!(server.send(signed_by("forged", "/one")).await.status, 401);
    }
    assert_eq!(server.send(signed_by("secret of one", "/one")).await.status, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // Another tenant has another look-up, and what fails is answered 503 and not kept.
    assert_eq!(server.send(signed_by("secret of two", "/two")).await.status, 200);
    assert_eq!(server.send(signed_by("secret of one", "/two")).await.status, 401);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    for _ in 0..2 {
        assert_eq!(server.send(signed_by("any", "/down")).await.status, 503);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

/// An entry of the extensions that counts its clones, which are those of the head.
#[derive(Default)]
struct Counts(Arc<AtomicUsize>);

impl Clone for Counts {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

fn is_whole(head: &Parts) -> bool {
    head.method == "POST"
        && head.uri.path() != "/"
        && head.headers.contains_key("x-cdr-signature")
        && head.extensions.get::<Counts>().is_some()
}

/// Sends a request, and returns the status, how often its head was cloned, and whether the handler
/// was called; it gets the whole head.
async fn send<P: Provider>(layer: &WebhookLayer<P>, secret: &str, path: &str) -> (u16, usize, bool) {
    let (counts, called) = (Counts::default(), Arc::new(AtomicUsize::new(0)));
    let (clones, calls) = (counts.0.clone(), called.clone());
    let mut request = signed_by(secret, path);
    request.extensions_mut().insert(counts);
    let handler = tower::service_fn(move |request: Request<Full<Bytes>>| {
        assert!(is_whole(&request.into_parts().0));
        calls.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let status = layer.layer(handler).oneshot(request).await.unwrap().status();
    (status.as_u16(), clones.load(Ordering::Relaxed), called.load(Ordering::Relaxed) > 0)
}

async fn find_later(head: Head) -> Result<Vec<Secret>, std::io::Error> {
    tokio::task::yield_now().await;
    find(head).await
}

#[tokio::test]
async fn a_look_up_borrows_the_head_and_the_handler_gets_it_back() {
    let at_once = CdrManager::new(Secrets::lookup(find)).unwrap();
    let later = CdrManager::new(Secrets::lookup(find_later)).unwrap();
    for sender in [at_once.clone(), later.clone(), at_once.or(later)] {
        let layer = WebhookLayer::new(sender.clone());
        assert_eq!(send(&layer, "secret of one", "/one").await, (200, 0, true));
        assert_eq!(send(&WebhookLayer::new(Arc::new(sender.clone())), "secret of one", "/one").await, (200, 0, true));
        let any = AnyProvider::new(AnyOf::new([AnyProvider::new(sender)]).unwrap());
        assert_eq!(send(&WebhookLayer::new(any), "secret of two", "/two").await, (200, 0, true));
    }
}

#[tokio::test]
async fn a_head_that_the_program_still_holds_is_cloned_for_the_handler() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let holds = held.clone();
    let secrets = Secrets::lookup(move |head: Head| {
        holds.lock().unwrap().push(head.clone());
        find_later(head)
    });
    let layer = WebhookLayer::new(CdrManager::new(secrets).unwrap());
    assert_eq!(send(&layer, "secret of one", "/one").await, (200, 1, true));
    assert!(is_whole(&held.lock().unwrap()[0]));
}

/// A provider that asserts that whatever it is asked about has a whole head.
struct Asserts<P>(P);

impl<P: Provider> Provider for Asserts<P> {
    type Verification = P::Verification;

    fn name(&self) -> &Text {
        self.0.name()
    }

    fn behavior(&self) -> &Behavior {
        self.0.behavior()
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        self.0.recognizes(head)
    }

    fn begin(&self, _: &Parts, _: &dyn Clock) -> Result<MaybeReady<Begin<P::Verification>>, Rejection> {
        panic!("the head can be shared")
    }

    fn shares_head(&self) -> bool {
        self.0.shares_head()
    }

    fn begin_shared(
        &self,
        head: &Arc<Parts>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begin<P::Verification>>, Rejection> {
        assert!(is_whole(head));
        self.0.begin_shared(head, clock)
    }

    fn receive(&self, verification: &mut P::Verification, head: &Parts, chunk: &[u8]) {
        assert!(is_whole(head));
        self.0.receive(verification, head, chunk);
    }

    fn finish(
        &self,
        verification: &mut P::Verification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        assert!(is_whole(head));
        self.0.finish(verification, head, body, rest)
    }

    fn refuse(&self, head: &Parts, rejection: Rejection) -> Rejection {
        assert!(is_whole(head));
        self.0.refuse(head, rejection)
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_is_whole_again_whatever_a_look_up_comes_to() {
    for secrets in [Secrets::lookup(find), Secrets::lookup(find_later)] {
        let layer = WebhookLayer::new(Asserts(CdrManager::new(secrets).unwrap()));
        for (path, secret, status) in [
            ("/one", "secret of one", 200),
            ("/one", "forged", 401),
            ("/unknown", "secret of one", 401),
            ("/down", "secret of one", 503),
            ("/slow", "secret of one", 503),
        ] {
            assert_eq!(send(&layer, secret, path).await, (status, 0, status == 200), "{path}");
        }
        // In observe mode the handler gets every request.
        let layer = layer.observe_only();
        for (path, verdict) in [("/one", true), ("/unknown", false), ("/slow", false)] {
            let mut request = signed_by("secret of one", path);
            request.extensions_mut().insert(Counts::default());
            let handler = tower::service_fn(move |request: Request<Full<Bytes>>| {
                let head = request.into_parts().0;
                assert!(is_whole(&head));
                assert_eq!(matches!(head.extensions.get(), Some(Verdict::Verified)), verdict);
                async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
            });
            assert_eq!(layer.layer(handler).oneshot(request).await.unwrap().status(), 200, "{path}");
        }
        // What is announced as too long is refused before anything is looked up.
        let mut request = signed_by("secret of one", "/one");
        request.extensions_mut().insert(Counts::default());
        let layer = layer.with_body_limit(1);
        let handler = tower::service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        assert_eq!(layer.layer(handler).oneshot(request).await.unwrap().status(), 413);
    }
}
