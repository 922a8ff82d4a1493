//! One set of operator's routes over the inboxes of all endpoints.

use std::cmp::Reverse;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use futures_util::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;
use tower_webhook::ConfigError;
use tower_webhook::inbox::Inbox;
use tower_webhook::inspect::Inspector;

use super::super::Output;
use super::super::server::terminated;

/// The largest answer of one inbox.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Clone)]
struct Operator {
    inboxes: Vec<Router>,
    /// Digests are compared, so that the time tells nothing about the token.
    token: [u8; 32],
}

pub fn router(inboxes: &[Inbox<MethodRouter>], bearer: &str) -> Router<Output> {
    let inboxes = inboxes.iter().map(Inbox::router).collect();
    let operator = Operator { inboxes, token: Sha256::digest(bearer).into() };
    Router::new().fallback(operate).with_state(operator)
}

/// Returns the page in the browser, for the same token.
pub fn inspector(inboxes: &[Inbox<MethodRouter>], bearer: &str) -> Result<Router<Output>, ConfigError> {
    let page = inboxes.iter().collect::<Inspector>().router_with_token(bearer)?;
    Ok(page.layer(map_response(until_terminated)))
}

/// Ends what has no end of its own, so that an open page doesn't delay the gateway's end.
async fn until_terminated(response: Response) -> Response {
    let is_endless = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if !is_endless {
        return response;
    }
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(terminated())))
}

async fn operate(State(operator): State<Operator>, request: Request) -> Response {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if token.is_none_or(|token| <[u8; 32]>::from(Sha256::digest(token)) != operator.token) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut answers = Vec::new();
    for inbox in &operator.inboxes {
        let mut copy = Request::new(Body::empty());
        *copy.method_mut() = method.clone();
        *copy.uri_mut() = request.uri().clone();
        let response = match inbox.clone().oneshot(copy).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        // Numbers are the store's, so a delivery is in one of them.
        if path.starts_with("/deliveries/") && response.status() == StatusCode::NOT_FOUND {
            continue;
        }
        let is_one = path.starts_with("/deliveries/") || !response.status().is_success();
        if is_one {
            return response;
        }
        let body = to_bytes(response.into_body(), MAX_ANSWER).await.unwrap_or_default();
        answers.push(serde_json::from_slice::<Value>(&body).unwrap_or_default());
    }
    match (method, &*path) {
        (Method::GET, "/stats") => axum::Json(stats(&answers)).into_response(),
        (Method::GET, "/deliveries") => axum::Json(page(answers, limit(&request))).into_response(),
        (Method::POST, "/replay") => {
            let replayed: u64 = answers.iter().filter_map(|answer| answer["replayed"].as_u64()).sum();
            (StatusCode::ACCEPTED, axum::Json(json!({ "replayed": replayed }))).into_response()
        }
        (Method::POST, "/pause" | "/resume") => StatusCode::NO_CONTENT.into_response(),
        _ => (StatusCode::NOT_FOUND, axum::Json(json!({ "error": "there is no such delivery" }))).into_response(),
    }
}

fn stats(answers: &[Value]) -> Value {
    let sum = |name: &str| answers.iter().filter_map(|answer| answer[name].as_u64()).sum::<u64>();
    let oldest = answers.iter().filter_map(|answer| answer["oldest_due_seconds"].as_f64()).fold(0.0, f64::max);
    let paused = answers.iter().any(|answer| answer["paused"] == true);
    json!({
        "waiting": sum("waiting"), "in_flight": sum("in_flight"), "done": sum("done"), "dead": sum("dead"),
        "cancelled": sum("cancelled"), "oldest_due_seconds": oldest, "paused": paused,
    })
}

/// Merges pages, the newest first.
fn page(answers: Vec<Value>, limit: usize) -> Value {
    let id = |delivery: &Value| delivery["id"].as_i64();
    let rest = answers.iter().filter_map(|answer| answer["cursor"].as_i64()).max();
    let mut deliveries: Vec<Value> = answers
        .into_iter()
        .filter_map(|mut answer| answer["deliveries"].as_array_mut().map(std::mem::take))
        .flatten()
        .collect();
    deliveries.sort_by_key(|delivery| Reverse(id(delivery)));
    let cut = deliveries.len() > limit;
    deliveries.truncate(limit);
    // What an inbox has behind its own page is found again from the lowest number that is shown.
    let cursor = if cut { deliveries.last().and_then(id) } else { rest };
    json!({ "deliveries": deliveries, "cursor": cursor })
}

fn limit(request: &Request) -> usize {
    let query = request.uri().query().unwrap_or_default();
    let limit = query.split('&').find_map(|parameter| parameter.strip_prefix("limit="));
    limit.and_then(|limit| limit.parse().ok()).unwrap_or(50).max(1)
}
