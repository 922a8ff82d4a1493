//! Events and metrics for operators. No other file uses tracing or metrics.
#![cfg_attr(not(all(feature = "tracing", feature = "metrics")), allow(unused_variables, dead_code))]

use http::{HeaderMap, Method};

use crate::rejection::Rejection;
#[cfg(feature = "tracing")]
use crate::trace_context::TraceContext;

/// Observes one request: times its verification if metrics are on, and has a span if tracing is.
///
/// The fields have the names of OpenTelemetry's conventions for messaging and HTTP where those have
/// one. Neither the URL nor anything of the payload is among them.
pub(crate) struct Watch {
    #[cfg(feature = "metrics")]
    started: std::time::Instant,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Watch {
    #[allow(clippy::disallowed_methods, reason = "it measures a duration and judges no time")]
    #[inline]
    pub(crate) fn start(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: {
                let span = tracing::info_span!(
                    "webhook",
                    otel.kind = "server",
                    otel.status_code = tracing::field::Empty,
                    messaging.system = "webhook",
                    messaging.operation.name = "receive",
                    messaging.operation.type = "receive",
                    messaging.destination.name = tracing::field::Empty,
                    messaging.message.id = tracing::field::Empty,
                    messaging.message.body.size = tracing::field::Empty,
                    http.request.method = method.as_str(),
                    http.response.status_code = tracing::field::Empty,
                    error.type = tracing::field::Empty,
                    webhook.event = tracing::field::Empty,
                    webhook.outcome = tracing::field::Empty,
                    webhook.key_index = tracing::field::Empty,
                    link.trace_id = tracing::field::Empty,
                    link.span_id = tracing::field::Empty,
                );
                link(&span, || TraceContext::of(headers));
                span
            },
            #[cfg(feature = "metrics")]
            started: std::time::Instant::now(),
        }
    }

    /// Enters the request's span until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered {
            #[cfg(feature = "tracing")]
            _guard: self.span.enter(),
            _watch: std::marker::PhantomData,
        }
    }

    /// Returns whether anyone looks at the span.
    pub(crate) fn is_traced(&self) -> bool {
        #[cfg(feature = "tracing")]
        return !self.span.is_disabled();
        #[cfg(not(feature = "tracing"))]
        false
    }

    /// Notes what was verified.
    pub(crate) fn delivered(&self, id: Option<&str>, event: Option<&str>, bytes: usize, key_index: usize) {
        #[cfg(feature = "tracing")]
        {
            self.span.record("messaging.message.id", id);
            self.span.record("webhook.event", event);
            self.span.record("messaging.message.body.size", bytes);
            self.span.record("webhook.key_index", key_index);
        }
    }

    /// Notes the status of the answer.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        #[cfg(feature = "tracing")]
        if self.is_traced() {
            self.span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                self.span.record("otel.status_code", "ERROR");
            }
        }
    }

    #[cfg(feature = "tracing")]
    fn ended(&self, provider: &str, end: End<'_>) {
        if !self.is_traced() {
            return;
        }
        let outcome = match end {
            End::Delivered => "delivered",
            End::Answered => "answered",
            End::Challenged => "challenged",
            End::Rejected(_) => "rejected",
        };
        self.span.record("messaging.destination.name", provider);
        self.span.record("webhook.outcome", outcome);
        if let End::Rejected(rejection) = end {
            self.span.record("error.type", rejection.reason().as_str());
        }
    }
}

/// The time in a request's span.
pub(crate) struct Entered<'a> {
    #[cfg(feature = "tracing")]
    _guard: tracing::span::Entered<'a>,
    _watch: std::marker::PhantomData<&'a Watch>,
}

/// Notes the sender's trace.
#[cfg(feature = "tracing")]
fn link(span: &tracing::Span, context: impl FnOnce() -> Option<TraceContext>) {
    if span.is_disabled() {
        return;
    }
    if let Some(context) = context() {
        span.record("link.trace_id", context.trace_id());
        span.record("link.span_id", context.span_id());
    }
}

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    Delivered,
    Answered,
    /// Asked for credentials, which the sender is expected to send next.
    Challenged,
    Rejected(&'a Rejection),
}

/// Reports the verdict on one request.
#[inline]
pub(crate) fn verdict(provider: &(impl AsRef<str> + ?Sized), watch: &Watch, end: End<'_>) {
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    let provider = provider.as_ref();
    #[cfg(feature = "tracing")]
    watch.ended(provider, end);
    #[cfg(feature = "tracing")]
    match end {
        End::Delivered => tracing::debug!(provider, "webhook delivered"),
        End::Answered => tracing::debug!(provider, "webhook answered by protocol"),
        End::Challenged => tracing::debug!(provider, "webhook challenged for credentials"),
        End::Rejected(rejection) => rejected(provider, rejection),
    }
    #[cfg(feature = "metrics")]
    {
        let (outcome, reason) = match end {
            End::Delivered => ("delivered", ""),
            End::Answered => ("answered", ""),
            End::Challenged => ("challenged", ""),
            End::Rejected(rejection) => ("rejected", rejection.reason().as_str()),
        };
        count(provider, outcome, reason);
        let histogram = metrics::histogram!("webhook_verification_seconds", "provider" => provider.to_owned(), "outcome" => outcome);
        histogram.record(watch.started.elapsed());
    }
}

/// Reports a delivery that was verified by another key than the first one: its sender still uses an
/// old one.
pub(crate) fn old_key(provider: &str, key_index: usize) {
    #[cfg(feature = "tracing")]
    tracing::debug!(provider, key_index, "webhook verified by an old key");
    #[cfg(feature = "metrics")]
    metrics::counter!("webhook_old_key_total", "provider" => provider.to_owned(), "key_index" => key_index.to_string())
        .increment(1);
}

/// Reports a verified request that was refused behind the layer, by the handler's type or by the
/// deduplication.
pub(crate) fn refused_behind(provider: &str, rejection: &Rejection) {
    #[cfg(feature = "tracing")]
    rejected(provider, rejection);
    #[cfg(feature = "metrics")]
    {
        let outcome = if rejection.reason().is_transient() { "postponed" } else { "payload_rejected" };
        count(provider, outcome, rejection.reason().as_str());
    }
}

/// Reports a peer that isn't on the allow-list.
pub(crate) fn refused_peer(rejection: &Rejection) {
    #[cfg(feature = "tracing")]
    rejected("ip_allow_list", rejection);
    #[cfg(feature = "metrics")]
    count("ip_allow_list", "rejected", rejection.reason().as_str());
}

/// Reports a handler behind an endpoint that failed before it answered.
pub(crate) fn handler_failed(rejection: &Rejection) {
    let provider = rejection.provider().unwrap_or_default();
    #[cfg(feature = "tracing")]
    rejected(provider, rejection);
    #[cfg(feature = "metrics")]
    count(provider, "handler_failed", rejection.reason().as_str());
}

/// Reports why a request was refused that should not have been.
#[cfg(feature = "inspect")]
pub(crate) fn explained(provider: &str, explanation: &impl std::fmt::Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!(provider, "webhook rejection explained: {explanation}");
}

/// Reports an event that no handler is for.
pub(crate) fn unhandled(provider: &str, event: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(provider, event, "webhook event without a handler");
    #[cfg(feature = "metrics")]
    metrics::counter!("webhook_events_unhandled_total", "provider" => provider.to_owned()).increment(1);
}

#[cfg(feature = "metrics")]
fn count(provider: &str, outcome: &'static str, reason: &'static str) {
    metrics::counter!("webhook_requests_total", "provider" => provider.to_owned(), "outcome" => outcome, "reason" => reason)
        .increment(1);
}

#[cfg(feature = "tracing")]
fn rejected(provider: &str, rejection: &Rejection) {
    use std::error::Error as _;

    let reason = rejection.reason().as_str();
    let status = rejection.status().as_u16();
    let source = rejection.source().map(tracing::field::display);
    if rejection.reason().is_transient() {
        tracing::error!(provider, reason, status, source, "webhook rejected: {rejection}");
    } else {
        tracing::warn!(provider, reason, status, source, "webhook rejected: {rejection}");
    }
}

/// A call of a deduplication's store.
#[cfg(feature = "dedup")]
#[derive(Clone, Copy)]
pub(crate) enum StoreCall {
    Claim,
    Renew,
    Commit,
    Release,
}

#[cfg(feature = "dedup")]
#[cfg(any(feature = "tracing", feature = "metrics"))]
impl StoreCall {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Commit => "commit",
            Self::Release => "release",
        }
    }
}

/// Reports a delivery that was answered without calling the handler, as it was handled before.
#[cfg(feature = "dedup")]
pub(crate) fn duplicate(provider: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(provider, "webhook delivered before");
    #[cfg(feature = "metrics")]
    count_dedup(provider, "duplicate");
}

/// Reports a delivery that was handled although the store couldn't say whether it is a repetition.
#[cfg(feature = "dedup")]
pub(crate) fn admitted(provider: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(provider, "webhook admitted without deduplication");
    #[cfg(feature = "metrics")]
    count_dedup(provider, "admitted");
}

/// Reports that deliveries are lost while the store is down: their sender never repeats them, and
/// they are refused.
#[cfg(feature = "dedup")]
pub(crate) fn refusals_lose(provider: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        provider,
        "webhook sender never repeats: while the store fails, StoreFailure::Refuse loses deliveries"
    );
}

/// Runs a future in the span of the caller, in whatever task.
#[cfg(all(any(feature = "dedup", feature = "inspect"), feature = "tokio"))]
pub(crate) fn in_current_span<F: Future>(future: F) -> impl Future<Output = F::Output> {
    #[cfg(feature = "tracing")]
    let future = tracing::Instrument::in_current_span(future);
    future
}

/// Reports a handler that succeeded after its claim had passed to another one: the delivery may
/// have been handled twice.
#[cfg(feature = "dedup")]
pub(crate) fn claim_lost(provider: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!(provider, "webhook handled longer than its claim lasted");
    #[cfg(feature = "metrics")]
    count_dedup(provider, "claim_lost");
}

/// Reports a call of the store that failed.
#[cfg(feature = "dedup")]
pub(crate) fn store_failure(provider: &str, call: StoreCall, error: &(dyn std::error::Error + 'static)) {
    #[cfg(feature = "tracing")]
    {
        let source = error.source().map(tracing::field::display);
        tracing::error!(provider, call = call.as_str(), source, "webhook store failed: {error}");
    }
    #[cfg(feature = "metrics")]
    metrics::counter!("webhook_store_failures_total", "provider" => provider.to_owned(), "call" => call.as_str())
        .increment(1);
}

/// Reports a Redis that evicts claims and handled deliveries when its memory is full.
#[cfg(feature = "redis")]
pub(crate) fn store_evicts(policy: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(policy, "webhook store may forget deliveries: its maxmemory-policy should be noeviction");
}

#[cfg(all(feature = "dedup", feature = "metrics"))]
fn count_dedup(provider: &str, outcome: &'static str) {
    metrics::counter!("webhook_dedup_total", "provider" => provider.to_owned(), "outcome" => outcome).increment(1);
}

/// Reports what became of a delivery at an inbox.
#[cfg(feature = "inbox")]
pub(crate) fn inbox(provider: &str, outcome: &'static str) {
    #[cfg(feature = "tracing")]
    match outcome {
        "conflict" => tracing::warn!(provider, "webhook has the id of another one and was stored beside it"),
        "lost" => tracing::error!(provider, "webhook was handled longer than its lease lasted"),
        _ => tracing::debug!(provider, outcome, "webhook at the inbox"),
    }
    #[cfg(feature = "metrics")]
    count_inbox(provider, outcome);
}

/// Reports how long it took to store a delivery.
#[cfg(feature = "inbox")]
pub(crate) fn inbox_put(took: std::time::Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("webhook_inbox_put_seconds").record(took.as_secs_f64());
    let _ = took;
}

/// Reports how many deliveries a store put at once.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn inbox_batch(deliveries: usize) {
    #[cfg(feature = "metrics")]
    #[allow(clippy::cast_precision_loss, reason = "a histogram holds floats")]
    metrics::histogram!("webhook_inbox_batch_size").record(deliveries as f64);
    let _ = deliveries;
}

/// The span of an attempt at a stored delivery, if tracing is on.
#[cfg(feature = "inbox")]
pub(crate) struct AttemptSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

#[cfg(feature = "inbox")]
impl AttemptSpan {
    pub(crate) fn start(
        provider: &str,
        event: Option<&str>,
        event_id: Option<&str>,
        headers: &HeaderMap,
        (id, attempt): (i64, u32),
    ) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: {
                let span = tracing::info_span!(
                    "webhook attempt",
                    otel.kind = "consumer",
                    otel.status_code = tracing::field::Empty,
                    messaging.system = "webhook",
                    messaging.operation.name = "process",
                    messaging.operation.type = "process",
                    messaging.destination.name = provider,
                    messaging.message.id = event_id,
                    error.type = tracing::field::Empty,
                    webhook.event = event,
                    webhook.stored_id = id,
                    webhook.attempt = attempt,
                    link.trace_id = tracing::field::Empty,
                    link.span_id = tracing::field::Empty,
                );
                link(&span, || TraceContext::of(headers));
                span
            },
        }
    }

    /// Runs a future in the span.
    pub(crate) fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        #[cfg(feature = "tracing")]
        let future = tracing::Instrument::instrument(future, self.span.clone());
        future
    }

    /// Notes that the attempt failed.
    pub(crate) fn failed(&self, kind: &'static str) {
        #[cfg(feature = "tracing")]
        {
            self.span.record("error.type", kind);
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// Reports an attempt at a stored delivery that came to an end.
#[cfg(feature = "inbox")]
pub(crate) fn inbox_attempt(provider: &str, id: i64, attempt: u32, failure: Option<(bool, &str, &str)>) {
    #[cfg(feature = "tracing")]
    match failure {
        None => tracing::debug!(provider, id, attempt, "webhook handled"),
        Some((false, kind, detail)) => tracing::warn!(provider, id, attempt, kind, "webhook is tried again: {detail}"),
        Some((true, kind, detail)) => tracing::error!(provider, id, attempt, kind, "webhook is dead: {detail}"),
    }
    #[cfg(feature = "metrics")]
    count_inbox(
        provider,
        match failure {
            None => "done",
            Some((false, ..)) => "retry",
            Some((true, ..)) => "dead",
        },
    );
}

/// Reports deliveries whose process died.
#[cfg(feature = "inbox")]
pub(crate) fn inbox_reaped(retried: u32, dead: u32) {
    #[cfg(feature = "tracing")]
    if retried + dead > 0 {
        tracing::warn!(retried, dead, "webhooks were being handled by a process that died");
    }
    #[cfg(feature = "metrics")]
    for (outcome, count) in [("crash_retry", retried), ("crash_dead", dead)] {
        metrics::counter!("webhook_inbox_total", "provider" => "", "outcome" => outcome).increment(count.into());
    }
    let _ = (retried, dead);
}

/// Reports a call of an inbox's store that failed.
#[cfg(feature = "inbox")]
pub(crate) fn inbox_store_failure(call: &'static str, error: &(dyn std::error::Error + 'static)) {
    #[cfg(feature = "tracing")]
    {
        let source = error.source().map(tracing::field::display);
        tracing::error!(call, source, "inbox store failed: {error}");
    }
    #[cfg(feature = "metrics")]
    metrics::counter!("webhook_inbox_store_failures_total", "call" => call).increment(1);
}

/// Reports how many deliveries an inbox has in each state, and for how long the oldest has been
/// due.
#[cfg(feature = "inbox")]
pub(crate) fn inbox_stats(scope: &str, states: &[(&'static str, u64)], oldest_due: std::time::Duration) {
    #[cfg(feature = "metrics")]
    {
        for (state, count) in states {
            #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!("webhook_inbox_deliveries", "scope" => scope.to_owned(), "state" => *state)
                .set(*count as f64);
        }
        metrics::gauge!("webhook_inbox_oldest_due_seconds", "scope" => scope.to_owned()).set(oldest_due.as_secs_f64());
    }
}

#[cfg(all(feature = "inbox", feature = "metrics"))]
fn count_inbox(provider: &str, outcome: &'static str) {
    metrics::counter!("webhook_inbox_total", "provider" => provider.to_owned(), "outcome" => outcome).increment(1);
}
