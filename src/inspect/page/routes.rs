//! The routes of the page.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{OriginalUri, Path, Query as UrlQuery, State};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::access::{Access, guard};
use super::source::{Overview, Query, Replayed, Source, SourceError};

/// The deliveries of a page by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;
/// How many pages are told of changes at once.
const MAX_LISTENERS: usize = 64;
/// A page is told of changes at most this often.
const BETWEEN_CHANGES: Duration = Duration::from_millis(250);
/// How often a store is asked for changes, which other processes make too.
#[cfg(feature = "inbox")]
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Shared {
    source: Source,
    test_events: Option<TestEvents>,
    listeners: Arc<Semaphore>,
}

/// Sends a test event, of this name if there is one.
pub(super) type TestEvents =
    Arc<dyn Fn(Option<String>) -> Pin<Box<dyn Future<Output = Result<StatusCode, String>> + Send>> + Send + Sync>;

pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    source: Source,
    test_events: Option<TestEvents>,
    access: Access,
) -> Router<S> {
    let file = |kind: &'static str, content: &'static str| get(async move || ([(CONTENT_TYPE, kind)], content));
    Router::new()
        .route("/", get(to_the_page))
        .route("/inspect", file("text/html; charset=utf-8", include_str!("index.html")))
        .route("/inspect/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/inspect/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route("/inspect/icon.svg", file("image/svg+xml", include_str!("icon.svg")))
        .route("/inspect/overview", get(overview))
        .route("/inspect/deliveries", get(list))
        .route("/inspect/deliveries/{id}", get(show))
        .route("/inspect/deliveries/{id}/body", get(body))
        .route("/inspect/deliveries/{id}/request.http", get(request))
        .route("/inspect/deliveries/{id}/replay", post(replay))
        .route("/inspect/test-event", post(send_test_event))
        .route("/inspect/changes", get(changes))
        .layer(from_fn_with_state(access, guard))
        .with_state(Shared { source, test_events, listeners: Arc::new(Semaphore::new(MAX_LISTENERS)) })
}

/// Leads to the page, wherever the routes are nested, and whatever a proxy has cut from the path.
async fn to_the_page(OriginalUri(uri): OriginalUri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let place = if last.is_empty() { "./inspect".to_owned() } else { format!("./{last}/inspect") };
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

type Answer = Result<Response, Response>;

#[derive(Deserialize)]
struct Parameters {
    state: Option<String>,
    sender: Option<String>,
    event: Option<String>,
    q: Option<String>,
    before: Option<i64>,
    limit: Option<usize>,
    /// How many bytes of the body.
    bytes: Option<usize>,
    #[serde(default)]
    force: bool,
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

async fn overview(State(shared): State<Shared>) -> Answer {
    #[derive(Serialize)]
    struct Told {
        #[serde(flatten)]
        overview: Overview,
        sends_test_events: bool,
    }

    let overview = shared.source.overview().await.map_err(failed)?;
    Ok(axum::Json(Told { overview, sends_test_events: shared.test_events.is_some() }).into_response())
}

async fn list(State(shared): State<Shared>, UrlQuery(parameters): UrlQuery<Parameters>) -> Answer {
    let query = Query {
        state: filled(parameters.state),
        provider: filled(parameters.sender),
        event: filled(parameters.event),
        text: filled(parameters.q),
        before: parameters.before,
        limit: parameters.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
    };
    Ok(axum::Json(shared.source.list(&query).await.map_err(failed)?).into_response())
}

async fn show(State(shared): State<Shared>, Path(id): Path<i64>) -> Answer {
    let shown = shared.source.show(id).await.map_err(failed)?.ok_or_else(unknown)?;
    Ok(axum::Json(shown).into_response())
}

async fn body(State(shared): State<Shared>, Path(id): Path<i64>, UrlQuery(parameters): UrlQuery<Parameters>) -> Answer {
    let raw = shared.source.raw(id).await.map_err(failed)?.ok_or_else(unknown)?;
    let end = parameters.bytes.unwrap_or(usize::MAX).min(raw.body.len());
    Ok(file(format!("{}.bin", raw.file_name(id)), raw.body.slice(..end)))
}

async fn request(State(shared): State<Shared>, Path(id): Path<i64>) -> Answer {
    let raw = shared.source.raw(id).await.map_err(failed)?.ok_or_else(unknown)?;
    if !raw.is_whole {
        return Err(refused(StatusCode::CONFLICT, "only the start of its body was kept"));
    }
    Ok(file(format!("{}.http", raw.file_name(id)), raw.http()))
}

/// Returns bytes that a browser saves and never shows: anyone may have chosen them.
fn file(name: String, bytes: impl IntoResponse) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox".to_owned()),
    ];
    (headers, bytes).into_response()
}

async fn replay(
    State(shared): State<Shared>,
    Path(id): Path<i64>,
    UrlQuery(parameters): UrlQuery<Parameters>,
) -> Answer {
    match shared.source.replay(id, parameters.force).await.map_err(failed)? {
        Replayed::Done(text) => Ok((StatusCode::ACCEPTED, axum::Json(json!({ "replayed": text }))).into_response()),
        Replayed::NeedsForce => Err(refused(StatusCode::CONFLICT, "it was handled: ?force=true handles it again")),
        Replayed::Failed(error) => Err(refused(StatusCode::BAD_GATEWAY, &error)),
        Replayed::Unknown => Err(unknown()),
    }
}

async fn send_test_event(State(shared): State<Shared>, UrlQuery(parameters): UrlQuery<Parameters>) -> Answer {
    let send = shared.test_events.ok_or_else(|| refused(StatusCode::NOT_FOUND, "no test events are sent from here"))?;
    match send(filled(parameters.event)).await {
        Ok(status) => {
            let sent = format!("answered {}", status.as_u16());
            Ok((StatusCode::ACCEPTED, axum::Json(json!({ "sent": sent }))).into_response())
        }
        Err(error) => Err(refused(StatusCode::BAD_GATEWAY, &error)),
    }
}

/// Tells the page, by server-sent events, that something has changed. It then asks again for what
/// it shows.
async fn changes(State(shared): State<Shared>) -> Answer {
    let Ok(permit) = shared.listeners.clone().try_acquire_owned() else {
        return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "too many pages listen already"));
    };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(match shared.source {
        Source::Recorder(recorder) => {
            let changes = recorder.changes();
            Sse::new(told(permit, changes, async |changes| changes.changed().await.ok()))
                .keep_alive(keep_alive)
                .into_response()
        }
        #[cfg(feature = "inbox")]
        Source::Inboxes(_) => {
            let seen = (fingerprint(&shared.source).await, shared.source);
            Sse::new(told(permit, seen, async |(seen, source)| {
                loop {
                    sleep(BETWEEN_LOOKS).await;
                    let now = fingerprint(source).await;
                    if now.is_some() && *seen != now {
                        *seen = now;
                        return Some(());
                    }
                }
            }))
            .keep_alive(keep_alive)
            .into_response()
        }
    })
}

/// Returns an event for each change, for as long as there is a next one.
fn told<T: Send>(
    permit: OwnedSemaphorePermit,
    state: T,
    next: impl AsyncFnMut(&mut T) -> Option<()>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold((permit, state, next), |(permit, mut state, mut next)| async move {
        next(&mut state).await?;
        sleep(BETWEEN_CHANGES).await;
        // Browsers drop an event without data.
        Some((Ok(Event::default().event("change").data("changed")), (permit, state, next)))
    })
}

/// Returns what changes with the newest deliveries and the numbers. `None` if the store fails.
#[cfg(feature = "inbox")]
async fn fingerprint(source: &Source) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    let query = Query { state: None, provider: None, event: None, text: None, before: None, limit: PAGE };
    let (overview, rows) = (source.overview().await.ok()?, source.list(&query).await.ok()?);
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&(overview, rows)).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({ "error": error }))).into_response()
}

fn unknown() -> Response {
    refused(StatusCode::NOT_FOUND, "there is no such delivery")
}

fn failed(SourceError(error): SourceError) -> Response {
    refused(StatusCode::SERVICE_UNAVAILABLE, &error)
}
