//! What a careful programmer would write by hand for one sender: a service that makes the checks of
//! the layer, and nothing that another sender would need.
//!
//! The signature is there once, short, in the right form; the body is bounded by what it announces,
//! by what arrives and in time; it is fed to the MAC while it arrives; the codes are compared in
//! constant time; and the handler gets the proof with the same bytes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::routing::post;
use bytes::Bytes;
use hmac::digest::KeyInit as _;
use hmac::{Hmac, Mac as _};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use sha2::Sha256;
use tower::Service;

use crate::apps::SECRET;

const LIMIT: usize = 2 << 20;
const LONGEST_HEADER: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The proof, in the extensions of the request.
#[derive(Clone)]
pub struct Proven(pub Bytes);

impl<S: Sync> FromRequestParts<S> for Proven {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

async fn proven(Proven(body): Proven) -> &'static str {
    std::hint::black_box(&body);
    "ok"
}

/// `handler(Proven)`, to stand behind [`service`].
pub fn behind() -> Router {
    Router::new().route("/webhooks/orders", post(proven)).with_state(())
}

pub fn on_route() -> Router {
    Router::new()
        .route("/webhooks/orders", post(proven).layer(tower::layer::layer_fn(service::<_, Body>)))
        .with_state(())
}

pub fn service<S, B>(
    inner: S,
) -> impl Service<Request<B>, Response = S::Response, Error = Infallible, Future: Send> + Clone
where
    S: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    let keyed: &'static _ = Box::leak(Box::new(Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap()));
    tower::service_fn(move |request: Request<B>| {
        let mut inner = inner.clone();
        async move {
            let (mut head, body) = request.into_parts();
            if head.method != Method::POST {
                return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED));
            }
            let Some(offered) = signature(&head.headers) else { return Ok(refusal(StatusCode::UNAUTHORIZED)) };
            if announced(&head.headers, &body) > LIMIT as u64 {
                return Ok(refusal(StatusCode::PAYLOAD_TOO_LARGE));
            }
            let body = match receive(keyed, body, &offered).await {
                Ok(body) => body,
                Err(status) => return Ok(refusal(status)),
            };
            head.extensions.insert(Proven(body.clone()));
            inner.call(Request::from_parts(head, Full::new(body))).await
        }
    })
}

fn signature(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut values = headers.get_all("x-signature").iter();
    let value = values.next().filter(|value| value.len() <= LONGEST_HEADER)?;
    if values.next().is_some() {
        return None;
    }
    hex::decode_to_array(value.as_bytes().strip_prefix(b"sha256=")?).ok()
}

fn announced(headers: &HeaderMap, body: &impl http_body::Body) -> u64 {
    let hint = body.size_hint();
    let length = || headers.get("content-length")?.to_str().ok()?.parse().ok();
    hint.exact().or_else(length).unwrap_or(0).max(hint.lower())
}

/// Returns the body if it fits its signature. What is there at once is fed at once.
async fn receive<B>(keyed: &Hmac<Sha256>, body: B, offered: &[u8; 32]) -> Result<Bytes, StatusCode>
where
    B: http_body::Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let (mut first, mut joined) = (Bytes::new(), Vec::new());
    let mut mac: Option<Box<Hmac<Sha256>>> = None;
    let mut timer: Option<Pin<Box<tokio::time::Sleep>>> = None;
    poll_fn(|cx| {
        loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if first.len().max(joined.len()) + data.len() > LIMIT {
                        return Poll::Ready(Err(StatusCode::PAYLOAD_TOO_LARGE));
                    }
                    if first.is_empty() {
                        first = data;
                        continue;
                    }
                    let running = mac.get_or_insert_with(|| {
                        let mut mac = Box::new(keyed.clone());
                        mac.update(&first);
                        joined.extend_from_slice(&first);
                        mac
                    });
                    running.update(&data);
                    joined.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(StatusCode::BAD_REQUEST)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(TIMEOUT)));
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(Err(StatusCode::REQUEST_TIMEOUT));
                }
            }
        }
    })
    .await?;
    let (mac, body) = match mac {
        Some(mac) => (*mac, joined.into()),
        None => {
            let mut mac = keyed.clone();
            mac.update(&first);
            (mac, first)
        }
    };
    mac.verify_slice(offered).map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(body)
}

#[cold]
fn refusal(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
