//! Senders that need more than a MAC over the body, several on one route, and secrets that are
//! looked up.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, Service as _};
use tower_webhook::provider::Provider;
use tower_webhook::scheme::{header, json};
use tower_webhook::testing::{self, Sign};
use tower_webhook::{AnyOf, AnyProvider, CachePolicy, Delivery, Head, Scheme, Secret, Secrets, WebhookLayer, senders};

use crate::apps::{self, bare_mac, call, copies, order};
use crate::cases::{Sides, around};
use crate::paired::side;

/// Bare handler and bare MAC beside the same request through a layer of this sender.
fn beside_mac<P: Provider + Sign + Clone>(provider: P, body: Bytes) -> Sides {
    let request = signed_by(&provider, body.clone());
    let (mut service, mac) = (apps::bare(), bare_mac());
    let theirs = side(request.clone(), move |request| (mac(&body), call(&mut service, request)));
    (around(WebhookLayer::new(provider), apps::behind(), request), Box::new(theirs))
}

fn signed_by<P: Sign>(provider: &P, body: Bytes) -> impl Fn() -> Request<Full<Bytes>> + Clone + use<P> {
    copies(testing::sign(provider, apps::unsigned(body)).unwrap())
}

pub fn slack() -> Sides {
    let mut event: serde_json::Value = serde_json::from_slice(&order()).unwrap();
    event["type"] = "event_callback".into();
    event["event_id"] = "Ev08MFMKH6".into();
    let extra = event.to_string().len() - 1024;
    let note = event["note"].as_str().unwrap().len() - extra;
    event["note"] = "x".repeat(note).into();
    beside_mac(senders::slack(apps::SECRET).unwrap(), event.to_string().into())
}

pub fn stripe() -> Sides {
    beside_mac(senders::stripe(apps::SECRET).unwrap(), order())
}

pub fn standard_webhooks() -> Sides {
    beside_mac(senders::standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), order())
}

/// What is done with a forged mebibyte before its signature is judged, beside a MAC of it.
pub fn paypal() -> Sides {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    use tower_webhook::SystemClock;
    use tower_webhook::provider::{Begin, MaybeReady};
    use tower_webhook::senders::{CertificateConfig, PayPalCertificates};

    let key = testing::SigningKey::rsa().unwrap();
    let pem = key.certificate().unwrap();
    let fetch = move |_| ready(Ok::<_, Infallible>(Response::new(Bytes::from(pem.clone()))));
    let config = CertificateConfig::default().with_insecure_any_validity();
    let certificates = PayPalCertificates::default().with_fetch(fetch).with_certificate(config);
    let paypal = senders::paypal("WH-1", certificates).unwrap();
    let url = "https://api.paypal.com/v1/notifications/certs/CERT-1";
    let request = Request::post("/webhooks/orders").header("paypal-cert-url", url);
    let (head, body) =
        testing::sign_with(&paypal, &key, request.body(apps::body(1 << 20)).unwrap()).unwrap().into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    let (mac, forged) = (bare_mac(), body.clone());
    let ours = side(
        || (),
        move |()| {
            let Ok(MaybeReady::Ready(Begin::Verify(mut verification))) = paypal.begin(&head, &SystemClock) else {
                panic!("the head is in order")
            };
            // What waits for the certificate has seen every byte.
            paypal.finish(&mut verification, &head, &body, &body)
        },
    );
    (Box::new(ours), Box::new(side(|| (), move |()| mac(&forged))))
}

/// All that a delivery reads of its body, beside one pass that ignores all of it.
pub fn body_fields() -> Sides {
    let scheme = Scheme::hmac_sha256()
        .signature(header("x-signature").prefix("sha256=").hex())
        .id(json("/id"))
        .event(json("/event/type"))
        .with_identity_at("/event/key")
        .secret(apps::SECRET)
        .build("fields")
        .unwrap();
    let body = events(64 << 10);
    let request = signed_by(&scheme, body.clone());
    let taken = Arc::new(Mutex::new(None));
    let slot = taken.clone();
    let mut service = WebhookLayer::new(scheme).layer(tower::service_fn(move |mut request: Request<Full<Bytes>>| {
        *slot.lock().unwrap() = request.extensions_mut().remove::<Delivery>();
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    }));
    let fresh = move || {
        call(&mut service, request());
        taken.lock().unwrap().take().unwrap()
    };
    let ours = side(fresh, |delivery: Delivery| {
        assert!(delivery.id().is_some() && delivery.event().is_some());
        delivery.identity()
    });
    let theirs = side(|| (), move |()| serde_json::from_slice::<serde::de::IgnoredAny>(&body).unwrap());
    (Box::new(ours), Box::new(theirs))
}

/// A JSON document of about this length, of many small values, its fields at the end.
fn events(len: usize) -> Bytes {
    let line = serde_json::json!({ "sku": "A-101", "title": "Screws, 4 x 40 mm", "quantity": 3, "cents": 499 });
    let lines = vec![line.clone(); len / (line.to_string().len() + 1)];
    let event = serde_json::json!({ "data": lines, "event": { "type": "order.paid", "key": "k-17" }, "id": "evt_17" });
    event.to_string().into()
}

/// A look-up that is ready at once, of a secret that the program keeps, beside fixed secrets.
pub fn lookup() -> Sides {
    let kept = Secret::new(apps::SECRET);
    let secrets = Secrets::lookup(move |_: Head| ready(Ok::<_, Infallible>([kept.clone()])));
    let request = || apps::signed(apps::body(1 << 10));
    (
        around(WebhookLayer::new(apps::sender_of(secrets)), apps::behind(), request()),
        around(apps::layer(), apps::behind(), request()),
    )
}

/// A million tenants behind a cached look-up, in an order that no processor's cache foresees,
/// beside fixed secrets.
pub fn tenants() -> Sides {
    const TENANTS: usize = 1_000_000;
    let secrets = Secrets::lookup(|_: Head| ready(Ok::<_, Infallible>([apps::SECRET])));
    let policy = CachePolicy::default().with_max_tenants(2 * TENANTS).with_fresh_for(Duration::from_secs(3600));
    let mut ours = WebhookLayer::new(apps::sender_of(secrets.cached(policy))).layer(apps::behind());
    let request = apps::signed(apps::body(1 << 10));
    let request_of = move |tenant: usize| {
        let mut request = request();
        let host = format!("tenant-{tenant}.example.test").try_into().unwrap();
        request.headers_mut().insert("host", host);
        request
    };
    for tenant in 0..TENANTS {
        call(&mut ours, request_of(tenant));
    }
    let any = move |next: &mut usize| {
        *next = (*next * 48_271 + 11) % TENANTS;
        request_of(*next)
    };
    let (mut one, mut other, any_too) = (17, 17, any.clone());
    let mut theirs = apps::layer().layer(apps::behind());
    (
        Box::new(side(move || any(&mut one), move |request| call(&mut ours, request))),
        Box::new(side(move || any_too(&mut other), move |request| call(&mut theirs, request))),
    )
}

/// How many look-ups for tenants that nobody knows are under way at most, with 10,000 requests of
/// as many tenants in a second, and a source that takes 100 ms.
pub fn unknown_tenants() -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_too, most_too) = (now.clone(), most.clone());
    let secrets = Secrets::lookup(move |_: Head| {
        let (now, most) = (now_too.clone(), most_too.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, Infallible>(None::<Secret>)
        }
    });
    let layer = WebhookLayer::new(apps::sender_of(secrets.cached(CachePolicy::default())));
    let request = apps::signed(apps::body(64));
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for tenant in 0..10_000 {
            let mut service = layer.layer(apps::behind());
            let mut request = request();
            request.headers_mut().insert("host", format!("junk-{tenant}.example.test").try_into().unwrap());
            tasks.spawn(async move { service.call(request).await.unwrap().status() });
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        assert!(tasks.join_all().await.iter().all(|status| !status.is_success()));
    });
    most.load(Ordering::Relaxed)
}

/// Five senders on one route, whose last one sends, beside it alone.
pub fn any_of(erased: bool) -> Sides {
    let secret = apps::SECRET;
    let others = [senders::github(secret), senders::shopify(secret), senders::slack(secret), senders::stripe(secret)];
    let senders = others.into_iter().map(Result::unwrap).chain([apps::sender()]);
    let request = || apps::signed(apps::body(1 << 10));
    let alone = around(apps::layer(), apps::behind(), request());
    if erased {
        let any = AnyOf::new(senders.map(AnyProvider::new)).unwrap();
        return (around(WebhookLayer::new(any), apps::behind(), request()), alone);
    }
    (around(WebhookLayer::new(AnyOf::new(senders).unwrap()), apps::behind(), request()), alone)
}
