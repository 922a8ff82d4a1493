//! What is compared with what, and the goal of each.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::{Layer as _, Service};
use tower_webhook::provider::Provider;
use tower_webhook::{EndpointLayer, WebhookLayer};

use crate::apps::{self, bare_mac, call, signed};
use crate::dedup;
use crate::last_frame::last_frame;
use crate::paired::{Side, side};
use crate::{bodies, by_hand, checks, senders};

/// Whether less or more is better.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Worth knowing, and no goal.
    None,
}

pub struct Case {
    /// For choosing it on the command line.
    pub name: &'static str,
    pub what: &'static str,
    pub goal: Goal,
    /// Makes both sides, ours and theirs; only when the row is measured, as some take long to make.
    pub sides: fn() -> Sides,
}

pub type Sides = (Box<dyn Side>, Box<dyn Side>);

const KIB: usize = 1 << 10;

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    Case { name: "paypal-forged", goal: Goal::AtMost(0.2), sides: senders::paypal,
        what: "work by the byte before a signature is judged (PayPal's checksum), 1 MiB / MAC of the same bytes" },
    Case { name: "slack-1k", goal: Goal::AtMost(1.30), sides: senders::slack,
        what: "Slack, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "stripe-1k", goal: Goal::AtMost(1.30), sides: senders::stripe,
        what: "Stripe, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "standard-webhooks-1k", goal: Goal::AtMost(1.35), sides: senders::standard_webhooks,
        what: "Standard Webhooks, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "body-fields-64k", goal: Goal::AtMost(1.1), sides: senders::body_fields,
        what: "`id()`, `event()` and `identity()` of 64 KiB / one pass that ignores everything" },
    Case { name: "lookup-1k", goal: Goal::AtMost(1.15), sides: senders::lookup,
        what: "`Secrets::lookup` that is ready at once, 1 KiB / fixed secrets" },
    Case { name: "any-of-5", goal: Goal::AtMost(1.05), sides: || senders::any_of(false),
        what: "`AnyOf` of 5, the last one sends, 1 KiB / the sender alone" },
    Case { name: "any-of-5-erased", goal: Goal::None, sides: || senders::any_of(true),
        what: "the same, each an `AnyProvider`" },
    Case { name: "dedup-id-1k", goal: Goal::AtMost(1.25), sides: dedup::id,
        what: "deduplication in memory by a signed id, 1 KiB / without" },
    Case { name: "dedup-id-full", goal: Goal::AtMost(1.25), sides: dedup::full,
        what: "the same, with a store of 100,000 deliveries that is full" },
    Case { name: "dedup-threads", goal: Goal::AtLeast(1.6), sides: dedup::threads,
        what: "the same, deliveries of two threads / of one" },
    Case { name: "dedup-none-threads", goal: Goal::None, sides: dedup::threads_without,
        what: "without deduplication, deliveries of two threads / of one" },
    Case { name: "dedup-body-64k", goal: Goal::AtMost(1.10), sides: dedup::content,
        what: "deduplication that includes the body, 64 KiB / without" },
    Case { name: "two-secrets", goal: Goal::AtMost(1.45), sides: two_secrets,
        what: "two secrets, outside, 64 KiB / one secret" },
    Case { name: "pending-once", goal: Goal::AtMost(1.12), sides: bodies::pending_once,
        what: "a body that is pending once, 1 KiB / a layer written by hand" },
    Case { name: "outside-1k-hand", goal: Goal::AtMost(1.06), sides: outside_by_hand,
        what: "outside the router, `Webhook<Bytes>`, 1 KiB / a layer written by hand" },
    Case { name: "outside-1k", goal: Goal::AtMost(1.15), sides: || outside(apps::behind(), KIB),
        what: "outside the router, `Webhook<Bytes>`, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "hand-outside-1k", goal: Goal::None, sides: by_hand_outside,
        what: "a layer written by hand, outside, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "outside-1k-bytes", goal: Goal::None, sides: || outside(apps::bare(), KIB),
        what: "outside the router, `Bytes`, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "route-1k-hand", goal: Goal::AtMost(1.03), sides: || (on(apps::on_route(), KIB), on(by_hand::on_route(), KIB)),
        what: "on a route, `Webhook<Bytes>`, 1 KiB / a layer written by hand" },
    Case { name: "route-1k", goal: Goal::AtMost(1.30), sides: || on_route(apps::on_route(), KIB),
        what: "on a route, `Webhook<Bytes>`, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "hand-route-1k", goal: Goal::None, sides: || on_route(by_hand::on_route(), KIB),
        what: "a layer written by hand, on a route, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "extractor-1k", goal: Goal::AtMost(1.12), sides: || on_route(apps::extracting(), KIB),
        what: "an extractor that verifies by itself, `Authentic<Bytes>`, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "route-1k-bytes", goal: Goal::None, sides: || on_route(apps::bare_on_route(), KIB),
        what: "on a route, `Bytes`, 1 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "unknown-length", goal: Goal::AtMost(1.15), sides: bodies::unknown_length,
        what: "25 MiB in 16 KiB frames of unknown length / of known length" },
    Case { name: "tenants", goal: Goal::AtMost(1.2), sides: senders::tenants,
        what: "any of a million tenants behind a cached look-up, 1 KiB / fixed secrets" },
    Case { name: "outside-64k", goal: Goal::AtMost(1.02), sides: || outside(apps::behind(), 64 * KIB),
        what: "outside the router, `Webhook<Bytes>`, 64 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "outside-64k-bytes", goal: Goal::AtMost(1.02), sides: || outside(apps::bare(), 64 * KIB),
        what: "outside the router, `Bytes`, 64 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "route-64k", goal: Goal::AtMost(1.02), sides: || on_route(apps::on_route(), 64 * KIB),
        what: "on a route, `Webhook<Bytes>`, 64 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "route-64k-bytes", goal: Goal::AtMost(1.02), sides: || on_route(apps::bare_on_route(), 64 * KIB),
        what: "on a route, `Bytes`, 64 KiB / bare `Bytes` + bare HMAC" },
    Case { name: "json-1k", goal: Goal::AtMost(1.15), sides: || json(false),
        what: "verified `Webhook<Json<T>>`, outside, 1 KiB / unverified axum `Json<T>`" },
    Case { name: "json-1k-mac", goal: Goal::None, sides: || json(true),
        what: "the same / unverified axum `Json<T>` + bare HMAC" },
    Case { name: "last-frame", goal: Goal::AtMost(0.03), sides: last_frame,
        what: "after the last frame, 1 MiB in 16 KiB frames / gather, then MAC" },
    Case { name: "refusal", goal: Goal::AtMost(1.0), sides: refusal,
        what: "refusal for a missing header, 1 MiB announced / bare `Bytes`, 1 KiB" },
    Case { name: "connect", goal: Goal::AtMost(0.5), sides: || checks::connect(Method::GET),
        what: "Connect's token, HS256: the whole check / `jsonwebtoken::decode`" },
    Case { name: "connect-post", goal: Goal::None, sides: || checks::connect(Method::POST),
        what: "the same, with a body that repeats the claims and is compared with them" },
    Case { name: "sns", goal: Goal::AtMost(1.2), sides: checks::sns,
        what: "SNS, 2 KiB, certificate cached: the whole check / RSA verification alone" },
    Case { name: "pass-through", goal: Goal::None, sides: pass_through,
        what: "past an `EndpointLayer`, 1 KiB / bare `Bytes`" },
];

pub fn outside(inner: Router, len: usize) -> Sides {
    (around(apps::layer(), inner, signed(apps::body(len))), bare_with_mac(len))
}

fn by_hand_outside() -> Sides {
    (hand(), bare_with_mac(KIB))
}

fn outside_by_hand() -> Sides {
    (around(apps::layer(), apps::behind(), signed(apps::body(KIB))), hand())
}

/// The layer that was written by hand, outside the router.
fn hand() -> Box<dyn Side> {
    let mut service = by_hand::service(by_hand::behind());
    Box::new(side(signed(apps::body(KIB)), move |request| call(&mut service, request)))
}

fn on(mut app: Router, len: usize) -> Box<dyn Side> {
    Box::new(side(signed(apps::body(len)), move |request| call(&mut app, request)))
}

fn on_route(app: Router, len: usize) -> Sides {
    (on(app, len), bare_with_mac(len))
}

fn json(with_mac: bool) -> Sides {
    let ours = around(apps::layer(), apps::json_behind(), signed(apps::order()));
    let (mut service, mac, order) = (apps::json_bare(), bare_mac(), apps::order());
    let theirs = side(signed(apps::order()), move |request| (with_mac && mac(&order), call(&mut service, request)));
    (ours, Box::new(theirs))
}

pub fn around<P, S>(
    layer: WebhookLayer<P>,
    inner: S,
    request: impl FnMut() -> Request<Full<Bytes>> + 'static,
) -> Box<dyn Side>
where
    P: Provider,
    S: Service<Request<Full<Bytes>>, Response = Response<axum::body::Body>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    let mut service = layer.layer(inner);
    Box::new(side(request, move |request| call(&mut service, request)))
}

/// A handler that takes the body unverified, and the MAC of the same bytes beside it.
fn bare_with_mac(len: usize) -> Box<dyn Side> {
    let (mut service, mac, body) = (apps::bare(), bare_mac(), apps::body(len));
    Box::new(side(signed(body.clone()), move |request| (mac(&body), call(&mut service, request))))
}

/// A body of which nobody may read a byte.
struct Unread;

impl Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body is read");
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1 << 20)
    }
}

fn refusal() -> Sides {
    let mut ours = apps::layer().layer(apps::behind());
    let announced = signed(apps::body(1024 * KIB));
    let unsigned = move || {
        let mut request = announced().map(|_| Unread);
        request.headers_mut().remove("x-signature");
        request
    };
    let mut theirs = apps::bare();
    let ours = move |request| {
        let response = ours.call(request).now_or_never().unwrap().unwrap();
        assert_eq!(response.status(), 401);
        response
    };
    let theirs = side(signed(apps::body(KIB)), move |request| call(&mut theirs, request));
    (Box::new(side(unsigned, ours)), Box::new(theirs))
}

fn two_secrets() -> Sides {
    let request = || signed(apps::body(64 * KIB));
    let two = WebhookLayer::new(apps::sender_with([apps::SECRET, "the secret before it"]));
    (around(two, apps::behind(), request()), around(apps::layer(), apps::behind(), request()))
}

fn pass_through() -> Sides {
    let request = || signed(apps::body(KIB));
    let mut ours = EndpointLayer::new("/elsewhere", apps::layer(), apps::behind()).unwrap().layer(apps::bare());
    let mut theirs = apps::bare();
    (
        Box::new(side(request(), move |request| call(&mut ours, request))),
        Box::new(side(request(), move |request| call(&mut theirs, request))),
    )
}
