//! The inbox over HTTP, as JSON.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Path, Query, Request, State as AxumState};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::inbox::{DeliveryId, Filter, Inbox, InboxError, InboxErrorKind, Page, PastAttempt, Replay, State, Summary};
use crate::text::Text;
use crate::time::TimeFormat;

use super::same_origin;

/// The deliveries of a page by default, and at most.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 1000;
/// The dead deliveries that one request replays, by default and at most.
const MAX_REPLAYED: u32 = 10_000;

impl<S> Inbox<S> {
    /// Returns routes that show and control what is stored. They authenticate nobody: put them
    /// behind your own authentication.
    ///
    /// | route | |
    /// |---|---|
    /// | `GET /stats` | numbers by state, and the age of the oldest delivery that is due |
    /// | `GET /deliveries?state=&provider=&event=&event_id=&limit=&cursor=` | a page of deliveries, the newest first |
    /// | `GET /deliveries/{id}` | one delivery with its last failed attempts, its headers, and its body in base64 |
    /// | `POST /deliveries/{id}/replay?force=` | has it handled again |
    /// | `DELETE /deliveries/{id}` | removes it, or cancels it if it is being handled |
    /// | `POST /replay?state=dead&provider=&event=&limit=` | has the dead handled again |
    /// | `POST /pause`, `POST /resume` | stops and restarts the handling |
    /// | `GET /inspect` | with the feature `inspect`: the page of an `Inspector`, for `localhost` alone |
    ///
    /// A request that changes something and comes from a page of another site, as browsers say, is
    /// refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use axum::Router;
    /// use axum::routing::{MethodRouter, post};
    /// use tower_webhook::inbox::{Inbox, sqlite::SqliteStore};
    ///
    /// # fn app(store: SqliteStore) -> Router {
    /// let handler: MethodRouter = post(|| async {});
    /// let (inbox, worker) = Inbox::new(store).wrap(handler);
    /// Router::new().nest("/admin/webhooks", inbox.router())
    /// # }
    /// # }
    /// ```
    pub fn router<T: Clone + Send + Sync + 'static>(&self) -> Router<T> {
        let routes = Router::new()
            .route("/stats", get(stats))
            .route("/deliveries", get(list))
            .route("/deliveries/{id}", get(show).delete(remove))
            .route("/deliveries/{id}/replay", post(replay))
            .route("/replay", post(replay_dead))
            .route("/pause", post(pause))
            .route("/resume", post(resume))
            .layer(from_fn(refuse_other_sites))
            .with_state(Operator(Arc::new(self.operator())));
        #[cfg(feature = "inspect")]
        let routes = routes.merge(super::page::beside(self));
        routes
    }
}

/// A browser that is logged in changes nothing for a page of another site.
async fn refuse_other_sites(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match same_origin::check(&head) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err((status, error)) => refused(status, error),
    }
}

#[derive(Clone)]
struct Operator(Arc<Inbox<()>>);

type Answer = Result<Response, Response>;

#[derive(Deserialize)]
struct Parameters {
    state: Option<String>,
    provider: Option<String>,
    event: Option<String>,
    event_id: Option<String>,
    limit: Option<u32>,
    cursor: Option<i64>,
    #[serde(default)]
    force: bool,
}

impl Parameters {
    /// Returns `None` if there is no such state.
    fn filter(&self) -> Option<Filter> {
        let text = |text: &Option<String>| text.clone().map(Text::from);
        let state = match &self.state {
            Some(name) => Some(State::from_name(name)?),
            None => None,
        };
        let (provider, event, event_id) = (text(&self.provider), text(&self.event), text(&self.event_id));
        Some(Filter { state, provider, event, event_id, ..Filter::default() })
    }
}

async fn stats(AxumState(Operator(inbox)): AxumState<Operator>) -> Answer {
    let stats = inbox.stats().await.map_err(failed)?;
    let oldest = stats.oldest_due.and_then(|due| inbox.now().duration_since(due).ok()).unwrap_or_default();
    Ok(axum::Json(json!({
        "waiting": stats.waiting,
        "in_flight": stats.in_flight,
        "done": stats.done,
        "dead": stats.dead,
        "cancelled": stats.cancelled,
        "oldest_due_seconds": oldest.as_secs_f64(),
        "paused": stats.paused,
    }))
    .into_response())
}

async fn list(AxumState(Operator(inbox)): AxumState<Operator>, Query(query): Query<Parameters>) -> Answer {
    let page = Page { before: query.cursor.map(DeliveryId), limit: query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE) };
    let listing = inbox.list(query.filter().ok_or_else(unknown_state)?, page).await.map_err(failed)?;
    let deliveries: Vec<Value> = listing.deliveries.iter().map(|summary| Value::Object(describe(summary))).collect();
    Ok(axum::Json(json!({ "deliveries": deliveries, "cursor": listing.next.map(|next| next.0) })).into_response())
}

async fn show(AxumState(Operator(inbox)): AxumState<Operator>, Path(id): Path<i64>) -> Answer {
    let Some(delivery) = inbox.get(DeliveryId(id)).await.map_err(failed)? else { return Err(unknown()) };
    let mut headers = Map::new();
    for name in delivery.headers.keys() {
        let values: Vec<_> =
            delivery.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    let mut shown = describe(&delivery.summary);
    shown.insert("method".to_owned(), delivery.method.as_str().into());
    shown.insert("url".to_owned(), delivery.url.as_str().into());
    shown.insert("traceparent".to_owned(), delivery.traceparent.as_deref().into());
    shown.insert("past".to_owned(), delivery.past.iter().map(describe_past).collect());
    shown.insert("headers".to_owned(), headers.into());
    shown.insert("body".to_owned(), STANDARD.encode(&delivery.body).into());
    Ok(axum::Json(Value::Object(shown)).into_response())
}

async fn replay(
    AxumState(Operator(inbox)): AxumState<Operator>,
    Path(id): Path<i64>,
    Query(query): Query<Parameters>,
) -> Answer {
    let queued = |replay| (StatusCode::ACCEPTED, axum::Json(json!({ "replay": replay }))).into_response();
    match inbox.replay(DeliveryId(id), query.force).await.map_err(failed)? {
        Replay::Queued => Ok(queued("queued")),
        Replay::AfterAttempt => Ok(queued("after_attempt")),
        Replay::AlreadyDone => Err(refused(StatusCode::CONFLICT, "it is done: ?force=true handles it again")),
        Replay::Unknown => Err(unknown()),
    }
}

async fn replay_dead(AxumState(Operator(inbox)): AxumState<Operator>, Query(query): Query<Parameters>) -> Answer {
    let filter = query.filter().ok_or_else(unknown_state)?;
    if filter.state != Some(State::Dead) {
        return Err(refused(StatusCode::BAD_REQUEST, "only the dead are replayed together: ?state=dead"));
    }
    let limit = query.limit.unwrap_or(MAX_REPLAYED).min(MAX_REPLAYED);
    let replayed = inbox.replay_dead(filter, limit).await.map_err(failed)?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({ "replayed": replayed }))).into_response())
}

async fn remove(AxumState(Operator(inbox)): AxumState<Operator>, Path(id): Path<i64>) -> Answer {
    let filter = Filter { id: Some(DeliveryId(id)), ..Filter::default() };
    let erased = inbox.erase(filter, 1).await.map_err(failed)?;
    if erased.in_flight > 0 {
        Ok((StatusCode::ACCEPTED, axum::Json(json!({ "cancelled": true }))).into_response())
    } else if erased.erased > 0 {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(unknown())
    }
}

async fn pause(AxumState(Operator(inbox)): AxumState<Operator>) -> Answer {
    inbox.pause().await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn resume(AxumState(Operator(inbox)): AxumState<Operator>) -> Answer {
    inbox.resume().await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn describe(summary: &Summary) -> Map<String, Value> {
    let time = |time: Option<SystemTime>| time.and_then(|time| TimeFormat::Rfc3339.format(time));
    let last_error =
        summary.last_failure.as_ref().map(|failure| format!("{}: {}", failure.kind.as_str(), failure.detail));
    let fields = [
        ("id", summary.id.0.into()),
        ("provider", summary.provider.as_str().into()),
        ("event", summary.event.as_deref().into()),
        ("event_id", summary.event_id.as_deref().into()),
        ("order_key", summary.order_key.as_deref().into()),
        ("state", summary.state.as_str().into()),
        ("attempts", summary.attempts.into()),
        ("received_at", time(Some(summary.received_at)).into()),
        ("due_at", time(summary.due_at).into()),
        ("ended_at", time(summary.ended_at).into()),
        ("last_error", last_error.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn describe_past(attempt: &PastAttempt) -> Value {
    let failure = attempt.failure.as_ref();
    json!({
        "attempt": attempt.number,
        "ended_at": TimeFormat::Rfc3339.format(attempt.ended_at),
        "kind": failure.map_or("done", |failure| failure.kind.as_str()),
        "detail": failure.map(|failure| &failure.detail),
    })
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({ "error": error }))).into_response()
}

fn unknown_state() -> Response {
    refused(StatusCode::BAD_REQUEST, "there is no such state")
}

fn unknown() -> Response {
    refused(StatusCode::NOT_FOUND, "there is no such delivery")
}

fn failed(error: InboxError) -> Response {
    crate::observe::inbox_store_failure("operate", &error);
    let status = match error.kind() {
        InboxErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    refused(status, &error.to_string())
}
