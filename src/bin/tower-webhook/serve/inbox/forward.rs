//! Forwards a verified request, its bytes unchanged.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;
use tower_webhook::inbox::InboxAttempt;
use tower_webhook::{Clock as _, Delivery, Reason, Rejection, SystemClock};

use super::super::config::Result;
use super::super::{Output, summary, with_sources};

/// The headers of signatures, for targets that verify by themselves.
pub const SIGNATURES: [&str; 14] = [
    "linear-signature",
    "paddle-signature",
    "stripe-signature",
    "svix-signature",
    "webhook-signature",
    "x-cdr-signature",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-shopify-hmac-sha256",
    "x-signature",
    "x-signature-ed25519",
    "x-slack-signature",
    "x-twilio-signature",
    "x-zm-signature",
];

/// The sender's trace, for targets to link to.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// The longest answer of a target that is passed on.
const MAX_ANSWER: usize = 1024 * 1024;

#[derive(Clone)]
pub struct Forward {
    client: Client<HttpConnector, Full<Bytes>>,
    url: Uri,
    key: Option<Hmac<Sha256>>,
    timeout: Duration,
    with_signature: bool,
}

impl Forward {
    pub fn new(url: &str, secret: Option<&str>, timeout: Duration, with_signature: bool) -> Result<Self> {
        let url: Uri = url.parse().map_err(|error| format!("`forward`: {error}"))?;
        if url.scheme_str() != Some("http") {
            return Err("`forward` has to be an http:// address".into());
        }
        let key = secret.map(|secret| match secret.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "`forward_secret` isn't base64 after whsec_"),
            None => Ok(secret.as_bytes().to_vec()),
        });
        let key = match key.transpose()? {
            Some(key) if key.is_empty() => return Err("`forward_secret` is empty".into()),
            Some(key) => Some(Hmac::new_from_slice(&key)?),
            None => None,
        };
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), url, key, timeout, with_signature })
    }

    pub async fn handle(self, (State(output), request): (State<Output>, Request)) -> Response {
        let (head, body) = request.into_parts();
        let Ok(delivery) = Delivery::from_extensions(&head.extensions).cloned() else {
            return Rejection::new(Reason::NoDelivery).into_response();
        };
        drop(body);
        let attempt = head.extensions.get::<InboxAttempt>().copied();
        let mut forwarded = http::Request::new(Full::new(delivery.body().clone()));
        *forwarded.method_mut() = head.method.clone();
        *forwarded.uri_mut() = self.url.clone();
        for (name, value) in &head.headers {
            if self.passes(name, value, &delivery) {
                forwarded.headers_mut().append(name, value.clone());
            }
        }
        for (name, value) in self.own_headers(&delivery, attempt) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                forwarded.headers_mut().insert(name, value);
            }
        }
        let answer = match tokio::time::timeout(self.timeout, self.client.request(forwarded)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return failed(StatusCode::BAD_GATEWAY, format!("the target: {}", with_sources(&error))),
            Err(_) => return failed(StatusCode::GATEWAY_TIMEOUT, "the target took too long".to_owned()),
        };
        let is_done = answer.status().is_success();
        if is_done && !output.deliveries.write(summary(&delivery, attempt).to_string()).await {
            return Rejection::new(Reason::HandlerFailed).with_detail("stdout is not being read").into_response();
        }
        let status = answer.status();
        if attempt.is_some() && !is_done {
            let retry_after = answer.headers().get(RETRY_AFTER).cloned();
            let mut response = failed(StatusCode::BAD_GATEWAY, format!("the target answered {}", status.as_u16()));
            if let Some(value) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
            return response;
        }
        let content_type = answer.headers().get(CONTENT_TYPE).cloned();
        let reading = tokio::time::timeout(self.timeout, Limited::new(answer.into_body(), MAX_ANSWER).collect());
        let body = reading.await.ok().and_then(std::result::Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.headers_mut().remove(CONTENT_TYPE);
        if let Some(value) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        response
    }

    /// The content's type, the sender's id and event, and its trace.
    fn passes(&self, name: &HeaderName, value: &HeaderValue, delivery: &Delivery) -> bool {
        let is = |text: Option<&str>| text.is_some_and(|text| text.as_bytes() == value.as_bytes());
        let is_signature = SIGNATURES.contains(&name.as_str());
        name == CONTENT_TYPE
            || TRACE.contains(&name.as_str())
            || (!is_signature && (is(delivery.id()) || is(delivery.event())))
            || (is_signature && self.with_signature)
    }

    fn own_headers(&self, delivery: &Delivery, attempt: Option<InboxAttempt>) -> Vec<(HeaderName, String)> {
        let now = SystemClock.now();
        let number = attempt.map_or(1, |attempt| attempt.number);
        let received_at = attempt.map_or(now, |attempt| attempt.received_at);
        let mut headers = vec![
            (HeaderName::from_static("webhook-attempt"), number.to_string()),
            (HeaderName::from_static("webhook-received-at"), rfc3339(received_at)),
        ];
        if let Some(key) = &self.key {
            // The same for all attempts and replays.
            let id = match (attempt, delivery.id()) {
                (Some(attempt), _) => format!("msg_{}", attempt.id),
                (None, Some(id)) => id.to_owned(),
                (None, None) => "msg_unnamed".to_owned(),
            };
            let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let start = format!("{id}.{seconds}.");
            let mac = key.clone().chain_update(start).chain_update(delivery.body()).finalize().into_bytes();
            headers.extend([
                (HeaderName::from_static("webhook-id"), id),
                (HeaderName::from_static("webhook-timestamp"), seconds.to_string()),
                (HeaderName::from_static("webhook-signature"), format!("v1,{}", STANDARD.encode(mac))),
            ]);
        }
        headers
    }
}

fn rfc3339(time: SystemTime) -> String {
    use time::format_description::well_known::Rfc3339;

    time::OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

/// A failure that is tried again by the inbox's own delays, and told to the operator.
fn failed(status: StatusCode, detail: String) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(Rejection::new(Reason::HandlerFailed).with_detail(detail));
    response
}

/// The inbox takes the body that the webhook layer has verified, which the delivery has too.
pub fn whole(request: http::Request<Body>) -> http::Request<Full<Bytes>> {
    let body = Delivery::from_extensions(request.extensions()).map(|delivery| delivery.body().clone());
    request.map(|_| Full::new(body.unwrap_or_default()))
}
