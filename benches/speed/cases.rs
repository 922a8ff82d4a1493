//! What is compared with what, and the goal of each.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service};
use tower_webhook::{Connect, EndpointLayer, Provider, WebhookLayer, provider, testing};

use crate::apps::{self, bare_mac, call, signed};
use crate::paired::{Side, now, side, timed};

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
    pub ours: Box<dyn Side>,
    pub theirs: Box<dyn Side>,
}

fn case(
    name: &'static str,
    what: &'static str,
    goal: Goal,
    ours: impl Side + 'static,
    theirs: impl Side + 'static,
) -> Case {
    Case { name, what, goal, ours: Box::new(ours), theirs: Box::new(theirs) }
}

pub fn all() -> Vec<Case> {
    use Goal::{AtMost, None};

    let mut cases = Vec::new();
    for (len, outside, on_route) in [
        (1 << 10, ["outside-1k", "outside-1k-bytes"], ["route-1k", "route-1k-bytes"]),
        (1 << 16, ["outside-64k", "outside-64k-bytes"], ["route-64k", "route-64k-bytes"]),
    ] {
        let small = len == 1 << 10;
        let goals = if small { [AtMost(1.10), AtMost(1.18)] } else { [AtMost(1.02), AtMost(1.02)] };
        let text = |what: [&'static str; 2]| what[usize::from(!small)];
        let request = || signed(apps::body(len));
        let ours = |mut service| side(request(), move |request| call(&mut service, request));
        cases.push(case(
            outside[0],
            text([
                "outside the router, `Webhook<Bytes>`, 1 KiB / bare `Bytes` + bare HMAC",
                "outside the router, `Webhook<Bytes>`, 64 KiB / bare `Bytes` + bare HMAC",
            ]),
            goals[0],
            around(apps::layer(), apps::behind(), request()),
            bare_with_mac(len),
        ));
        cases.push(case(
            outside[1],
            text([
                "outside the router, `Bytes`, 1 KiB / bare `Bytes` + bare HMAC",
                "outside the router, `Bytes`, 64 KiB / bare `Bytes` + bare HMAC",
            ]),
            goals[0],
            around(apps::layer(), apps::bare(), request()),
            bare_with_mac(len),
        ));
        cases.push(case(
            on_route[0],
            text([
                "on a route, `Webhook<Bytes>`, 1 KiB / bare `Bytes` + bare HMAC",
                "on a route, `Webhook<Bytes>`, 64 KiB / bare `Bytes` + bare HMAC",
            ]),
            goals[1],
            ours(apps::on_route()),
            bare_with_mac(len),
        ));
        cases.push(case(
            on_route[1],
            text([
                "on a route, `Bytes`, 1 KiB / bare `Bytes` + bare HMAC",
                "on a route, `Bytes`, 64 KiB / bare `Bytes` + bare HMAC",
            ]),
            goals[1],
            ours(apps::bare_on_route()),
            bare_with_mac(len),
        ));
    }
    cases.push(case(
        "json-1k",
        "verified `Webhook<Json<T>>`, outside, 1 KiB / unverified axum `Json<T>`",
        AtMost(1.15),
        around(apps::layer(), apps::json_behind(), signed(apps::order())),
        {
            let mut service = apps::json_bare();
            side(signed(apps::order()), move |request| call(&mut service, request))
        },
    ));
    cases.push(case(
        "json-1k-mac",
        "the same / unverified axum `Json<T>` + bare HMAC",
        None,
        around(apps::layer(), apps::json_behind(), signed(apps::order())),
        {
            let (mut service, mac, order) = (apps::json_bare(), bare_mac(), apps::order());
            side(signed(apps::order()), move |request| (mac(&order), call(&mut service, request)))
        },
    ));
    cases.push(last_frame());
    cases.push(refusal());
    cases.extend(connect());
    cases.push(two_secrets());
    cases.push(pass_through());
    cases
}

fn around<P: Provider, S>(layer: WebhookLayer<P>, inner: S, request: impl FnMut() -> Request<Full<Bytes>>) -> impl Side
where
    S: Service<Request<Full<Bytes>>, Response = Response<axum::body::Body>, Error = Infallible> + Clone,
{
    let mut service = layer.layer(inner);
    side(request, move |request| call(&mut service, request))
}

/// A handler that takes the body unverified, and the MAC of the same bytes beside it.
fn bare_with_mac(len: usize) -> impl Side {
    let (mut service, mac, body) = (apps::bare(), bare_mac(), apps::body(len));
    side(signed(body.clone()), move |request| (mac(&body), call(&mut service, request)))
}

/// From the last frame's arrival to the response: 1 MiB in frames of 16 KiB. Both sides gather the frames as they arrive.
fn last_frame() -> Case {
    const FRAME: usize = 16 << 10;
    let body = apps::body(1 << 20);
    let (frames, head) = (
        move || (0..body.len()).step_by(FRAME).map(|at| body.slice(at..at + FRAME)).collect(),
        signed(apps::body(1 << 20)),
    );
    let request = move || {
        let feed = Feed::new();
        (feed.clone(), head().map(|_| feed))
    };
    let mut ours = apps::layer().without_body_timeout().layer(apps::behind());
    let (mut theirs, mac) = (apps::bare(), bare_mac());
    let (frames_too, request_too) = (frames.clone(), request.clone());
    case(
        "last-frame",
        "after the last frame, 1 MiB in 16 KiB frames / gather, then MAC",
        Goal::AtMost(0.03),
        timed(move || {
            let (feed, request) = request();
            let response = pin!(ours.call(request));
            after_last(&feed, frames(), response)
        }),
        timed(move || {
            let (feed, request) = request_too();
            let response = pin!(async {
                let (head, mut body) = request.into_parts();
                let mut all = Vec::with_capacity(1 << 20);
                while let Some(Ok(frame)) = body.frame().await {
                    all.extend_from_slice(frame.data_ref().unwrap());
                }
                assert!(!mac(&all));
                theirs.call(Request::from_parts(head, Full::new(Bytes::from(all)))).await
            });
            after_last(&feed, frames_too(), response)
        }),
    )
}

fn after_last<R>(
    feed: &Feed,
    frames: Vec<Bytes>,
    mut response: Pin<&mut impl Future<Output = Result<Response<R>, Infallible>>>,
) -> Duration {
    let cx = &mut Context::from_waker(Waker::noop());
    let last = frames.len() - 1;
    for (position, frame) in frames.into_iter().enumerate() {
        feed.push(frame, position == last);
        let start = now();
        match response.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => {
                let taken = start.elapsed();
                assert_eq!((position, response.status().as_u16()), (last, 200));
                return taken;
            }
            Poll::Pending => assert!(position < last),
        }
    }
    unreachable!("the last frame ends the body")
}

/// A body that is filled while it is read.
#[derive(Clone)]
struct Feed(Rc<RefCell<(VecDeque<Bytes>, bool)>>);

impl Feed {
    fn new() -> Self {
        Self(Rc::default())
    }

    fn push(&self, frame: Bytes, last: bool) {
        let mut state = self.0.borrow_mut();
        state.0.push_back(frame);
        state.1 = last;
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.0.borrow_mut();
        match (state.0.pop_front(), state.1) {
            (Some(frame), _) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
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

fn refusal() -> Case {
    let mut ours = apps::layer().layer(apps::behind());
    let announced = signed(apps::body(1 << 20));
    let unsigned = move || {
        let mut request = announced().map(|_| Unread);
        request.headers_mut().remove("x-signature");
        request
    };
    let mut theirs = apps::bare();
    case(
        "refusal",
        "refusal for a missing header, 1 MiB announced / bare `Bytes`, 1 KiB",
        Goal::AtMost(1.0),
        side(unsigned, move |request| {
            let response = ours.call(request).now_or_never().unwrap().unwrap();
            assert_eq!(response.status(), 401);
            response
        }),
        side(signed(apps::body(1 << 10)), move |request| call(&mut theirs, request)),
    )
}

/// The claims of a trigger, as a program that decodes the token itself would have them.
#[derive(Clone, Debug, serde::Deserialize)]
#[allow(dead_code, reason = "what counts is that it is read")]
struct Claims {
    exp: u64,
    webhook_id: String,
    webhook_name: String,
    api_url: String,
    triggered_at: String,
    object_class: String,
    account_id: String,
    data: serde_json::Value,
}

fn connect() -> [Case; 2] {
    let claims = serde_json::json!({
        "webhook_id": "WH-123-456-789", "webhook_name": "Orders", "api_url": "https://api.example.test/public/v1",
        "triggered_at": "2026-03-01T12:00:00+00:00", "object_class": "fulfillment_request", "account_id": "VA-123-456",
        "data": { "id": "PR-1234-5678-9012-001", "type": "purchase", "status": "pending", "asset": { "id": "AS-1234-5678" } },
    });
    let check = |method: Method| {
        let provider = Connect::new(apps::SECRET).unwrap();
        let request = Request::builder().method(method).uri("/connect").body(claims.to_string()).unwrap();
        let request = testing::sign_at(&provider, request, apps::time()).unwrap();
        let (head, body) = request.into_parts();
        let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        let token = head.headers["authorization"].to_str().unwrap()["Bearer ".len()..].to_owned();
        let ours = side(
            || (),
            move |()| {
                let provider::Begin::Verify(mut verification) = provider.begin(&head, apps::time()).unwrap() else {
                    panic!("the secret is fixed")
                };
                provider::Verification::receive(&mut verification, &body);
                provider::Verification::finish(verification, &head, &body).now_or_never().unwrap().unwrap()
            },
        );
        let key = jsonwebtoken::DecodingKey::from_secret(apps::SECRET.as_bytes());
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        // The token is of the benchmark's own time; that it holds is compared all the same.
        rules.leeway = u64::from(u32::MAX);
        let theirs = side(|| (), move |()| jsonwebtoken::decode::<Claims>(&token, &key, &rules).unwrap());
        (ours, theirs)
    };
    let (get, post) = (check(Method::GET), check(Method::POST));
    [
        case(
            "connect",
            "Connect's token, HS256: the whole check / `jsonwebtoken::decode`",
            Goal::AtMost(0.5),
            get.0,
            get.1,
        ),
        case(
            "connect-post",
            "the same, with a body that repeats the claims and is compared with them",
            Goal::None,
            post.0,
            post.1,
        ),
    ]
}

fn two_secrets() -> Case {
    let request = || signed(apps::body(1 << 16));
    let two = WebhookLayer::new(apps::sender_with([apps::SECRET, "the secret before it"]));
    case(
        "two-secrets",
        "two secrets, outside, 64 KiB / one secret",
        Goal::AtMost(1.9),
        around(two, apps::behind(), request()),
        around(apps::layer(), apps::behind(), request()),
    )
}

fn pass_through() -> Case {
    let request = || signed(apps::body(1 << 10));
    let mut ours = EndpointLayer::new("/elsewhere", apps::layer(), apps::behind()).layer(apps::bare());
    let mut theirs = apps::bare();
    case(
        "pass-through",
        "past an `EndpointLayer`, 1 KiB / bare `Bytes`",
        Goal::None,
        side(request(), move |request| call(&mut ours, request)),
        side(request(), move |request| call(&mut theirs, request)),
    )
}
