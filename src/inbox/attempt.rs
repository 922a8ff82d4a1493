//! One attempt at a delivery, and what follows from how it ends.

use std::any::Any;
use std::error::Error;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::delivery::Delivery;
use crate::grpc;
use crate::observe;
use crate::rejection::{BoxError, Rejection};
use crate::text::Text;

use super::pace::Ended;
use super::record::{Record, RecordError};
use super::settings::{InboxSettings, OrderOnDead};
use super::store::{Attempt, Failure, FailureKind, Outcome};

/// The longest detail of a failure, in characters.
const MAX_DETAIL: usize = 500;
/// The first and the longest wait before an outcome that the store didn't take is told again.
const TELL_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Why an attempt has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// An operator cancelled the delivery.
    Cancelled,
    /// Another attempt may have the delivery.
    Lost,
    /// The process ends.
    Shutdown,
}

/// Runs one attempt from its record to its outcome in the store.
pub(super) async fn run_attempt<S, R>(
    service: S,
    settings: Arc<InboxSettings>,
    attempt: Attempt,
    mut stopped: oneshot::Receiver<Stop>,
) -> Ended
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Send,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    let mut provider = Text::default();
    let result = match restore(&settings, &attempt, &mut provider) {
        Err(error) => Err(Failed::finally(FailureKind::Damaged, error.to_string())),
        Ok(request) => tokio::select! {
            biased;
            result = traced(service, request, &settings, &attempt, &provider) => result,
            why = &mut stopped => {
                stop(&settings, &attempt, &provider, why.unwrap_or(Stop::Shutdown)).await;
                return Ended::Stopped;
            }
        },
    };
    let ended = if result.as_ref().is_err_and(|failed| !failed.is_final) { Ended::Failed } else { Ended::Handled };
    let outcome = settings.outcome(attempt.number, result);
    let failure = match &outcome {
        Outcome::Dead { failure, .. } => Some((true, failure)),
        Outcome::Retry { failure, .. } => Some((false, failure)),
        Outcome::Done { .. } | Outcome::GiveBack => None,
    };
    let failure = failure.map(|(is_dead, failure)| (is_dead, failure.kind.as_str(), &*failure.detail));
    observe::inbox_attempt(&provider, attempt.token.id.0, attempt.number, failure);
    let mut wait = TELL_AGAIN.0;
    loop {
        match settings.store.finish(attempt.token, outcome.clone()).await {
            Ok(true) => return ended,
            Ok(false) => {
                observe::inbox(&provider, "lost");
                return ended;
            }
            Err(error) => observe::inbox_store_failure("finish", &error),
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(TELL_AGAIN.1),
            _ = &mut stopped => return ended,
        }
    }
}

fn restore(
    settings: &InboxSettings,
    attempt: &Attempt,
    provider: &mut Text,
) -> Result<Request<Full<Bytes>>, RecordError> {
    let record = Record::decode(&attempt.record, &settings.seal)?;
    *provider = record.provider.clone();
    record.into_request(attempt.token.id, attempt.number)
}

/// Gives a delivery back whose handler was cancelled, unless it isn't ours any more.
async fn stop(settings: &InboxSettings, attempt: &Attempt, provider: &str, why: Stop) {
    observe::inbox(provider, if why == Stop::Lost { "lost" } else { "given_back" });
    if why != Stop::Lost
        && let Err(error) = settings.store.finish(attempt.token, Outcome::GiveBack).await
    {
        observe::inbox_store_failure("finish", &error);
    }
}

/// Calls the service in a span of the attempt.
async fn traced<S, R>(
    service: S,
    request: Request<Full<Bytes>>,
    settings: &InboxSettings,
    attempt: &Attempt,
    provider: &str,
) -> Result<(), Failed>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let delivery = request.extensions().get::<Delivery>();
    let (event, event_id) = (delivery.and_then(Delivery::event), delivery.and_then(Delivery::id));
    let number = (attempt.token.id.0, attempt.number);
    let span = observe::AttemptSpan::start(provider, event, event_id, request.headers(), number);
    let result = span.around(handle(service, request, settings)).await;
    if let Err(failed) = &result {
        span.failed(failed.failure.kind.as_str());
    }
    result
}

/// Calls the service and judges its answer.
async fn handle<S, R>(mut service: S, request: Request<Full<Bytes>>, settings: &InboxSettings) -> Result<(), Failed>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let call = async {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    };
    let limit = settings.handler_timeout;
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Err(_) => Err(Failed::for_now(FailureKind::Timeout, format!("the handler took longer than {limit:?}"))),
        Ok(Err(panic)) => Err(Failed::for_now(FailureKind::Panic, panic_text(&*panic))),
        Ok(Ok(Err(error))) => Err(Failed::by_error(error.into())),
        Ok(Ok(Ok(response))) if grpc::succeeded(&response) => Ok(()),
        Ok(Ok(Ok(response))) => Err(Failed::by_answer(&response, settings.clock.now())),
    }
}

/// An attempt that failed.
#[derive(Debug)]
struct Failed {
    failure: Failure,
    /// Whether it would fail again.
    is_final: bool,
    retry_after: Duration,
}

impl Failed {
    fn for_now(kind: FailureKind, detail: String) -> Self {
        let detail = detail.chars().take(MAX_DETAIL).collect();
        Self { failure: Failure { kind, detail }, is_final: false, retry_after: Duration::ZERO }
    }

    fn finally(kind: FailureKind, detail: String) -> Self {
        Self { is_final: true, ..Self::for_now(kind, detail) }
    }

    fn by_error(error: BoxError) -> Self {
        let is_final = error.downcast_ref::<Rejection>().is_some_and(|rejection| !rejection.reason().is_transient());
        let detail = with_sources(&*error);
        if is_final { Self::finally(FailureKind::Refused, detail) } else { Self::for_now(FailureKind::Handler, detail) }
    }

    fn by_answer<R>(response: &Response<R>, now: SystemTime) -> Self {
        let status = response.status();
        let mut detail = format!("the handler answered {}", status.as_u16());
        if let Some(rejection) = response.extensions().get::<Rejection>() {
            detail = format!("{detail}: {}", with_sources(rejection));
        }
        let is_final = status.is_client_error() && !AGAIN.contains(&status);
        if is_final {
            return Self::finally(FailureKind::Refused, detail);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Self {
            retry_after: retry_after.and_then(|value| read_retry_after(value, now)).unwrap_or_default(),
            ..Self::for_now(FailureKind::Handler, detail)
        }
    }
}

/// Answers of the client's class that ask for another try.
const AGAIN: [StatusCode; 3] = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];

impl InboxSettings {
    /// Decides what follows from an attempt.
    fn outcome(&self, number: u32, result: Result<(), Failed>) -> Outcome {
        let now = self.clock.now();
        match result {
            Ok(()) => Outcome::Done { keep: !self.retention.done.is_zero(), now },
            Err(failed) if failed.is_final || number >= self.retry.most_attempts() => {
                let block = self.order_on_dead == OrderOnDead::Block;
                Outcome::Dead { failure: failed.failure, block, now }
            }
            Err(failed) => {
                let asked = failed.retry_after.min(self.retry.longest());
                Outcome::Retry { at: now + self.retry.delay(number).max(asked), now, failure: failed.failure }
            }
        }
    }
}

/// Reads a `Retry-After`: seconds, or a date.
fn read_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(OffsetDateTime::parse(value.trim(), &Rfc2822).ok()?);
    date.duration_since(now).ok()
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| Some(panic.downcast_ref::<String>()?.as_str()));
    text.map_or_else(|| "the handler panicked".to_owned(), |text| format!("the handler panicked: {text}"))
}

fn with_sources(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (**error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use crate::rejection::Reason;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let of = |status: u16| {
            let response = Response::builder().status(status).body(()).unwrap();
            Failed::by_answer(&response, UNIX_EPOCH).is_final
        };
        assert!([400, 401, 404, 409, 410, 422].into_iter().all(of));
        assert!(![302, 408, 425, 429, 500, 503].into_iter().any(of));
    }

    #[test]
    fn a_rejection_tells_why_and_a_permanent_one_is_final() {
        let rejection = || Rejection::new(Reason::MalformedPayload).with_detail("at `id`: expected u32");
        let failed = Failed::by_answer(&rejection().into_http_response(), UNIX_EPOCH);
        let text = "the handler answered 422: the payload does not fit the handler's type: at `id`: expected u32";
        assert_eq!((failed.is_final, &*failed.failure.detail), (true, text));
        assert!(Failed::by_error(rejection().into()).is_final);
        assert!(!Failed::by_error(Rejection::new(Reason::HandlerFailed).into()).is_final);
        assert!(!Failed::by_error("the database is away".into()).is_final);
    }

    #[test]
    fn the_handlers_retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_400);
        assert_eq!(read_retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(80)));
        for neither in ["", "-1", "soon", "Wed, 21 Oct 2015 07:20:00 GMT"] {
            assert_eq!(read_retry_after(neither, now), None, "{neither}");
        }
    }
}
