//! What was refused and why: a [`Reason`] for the operator, a fixed reply for the sender.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use crate::text::Text;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request was refused: for the operator, never for the sender.
///
/// A reason is *permanent* if the request itself is wrong (a 4xx, which senders such as SNS take as "do not try again"), and
/// *transient* if something on our side was missing (503 with `Retry-After`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The sender does not use this method. 405.
    MethodNotAllowed,
    /// No header, field or parameter holds a signature or token. 401.
    MissingSignature,
    /// A header other than the signature that the sender always sets is absent. 400.
    MissingHeader,
    /// A header that has one value came more than once. 400.
    DuplicateHeader,
    /// A header is too long or not visible ASCII. 400.
    MalformedHeader,
    /// A signature or token is there but not in the sender's form: prefix, encoding, length, padding. 401.
    MalformedSignature,
    /// More signatures than any honest sender lists. 400.
    TooManySignatures,
    /// A timestamp is not in the sender's form. 400.
    MalformedTimestamp,
    /// The timestamp, or the end of a token's validity, is too far in the past. 401.
    Stale,
    /// The timestamp, or the start of a token's validity, is too far in the future. 401.
    Premature,
    /// The signature is well formed and belongs to none of the keys. 401.
    SignatureMismatch,
    /// The secret look-up knows no secret for this request; answered exactly like a wrong signature. 401.
    UnknownTenant,
    /// The body differs from a digest or from claims that were signed. 401.
    BodyMismatch,
    /// A token names an algorithm, or has a critical extension, that this sender does not use. 401.
    UnacceptableAlgorithm,
    /// Validly signed, but for somebody else: another topic, account, audience or webhook. 403.
    NotForUs,
    /// The peer's address is not on the allow-list. 403.
    PeerNotAllowed,
    /// The body is longer than the limit. 413.
    BodyTooLarge,
    /// The body did not arrive in time. 408.
    BodyTimeout,
    /// The body broke off or was framed wrongly. 400.
    BodyBroken,
    /// A part of the body that the verification needs is not in the sender's form. 400.
    MalformedBody,
    /// The delivery is genuine, but its payload does not fit the handler's type. 422.
    MalformedPayload,
    /// The secrets could not be looked up. 503.
    SecretUnavailable,
    /// A certificate or key could not be fetched. 503.
    KeyUnavailable,
    /// The deduplication store could not be reached. 503.
    StoreUnavailable,
    /// The same delivery is being handled at this moment. 503.
    InFlight,
    /// A subscription could not be confirmed with the sender. 503.
    ConfirmationFailed,
    /// The memory set aside for bodies in flight is spent. 503.
    Overloaded,
    /// The handler behind an endpoint failed before it answered. 503.
    HandlerFailed,
    /// A handler asks for a delivery, and no webhook layer stands before it. 503.
    NoDelivery,
}

impl Reason {
    /// Every reason there is, for tables and metrics.
    pub const ALL: &'static [Self] = &[
        Self::MethodNotAllowed,
        Self::MissingSignature,
        Self::MissingHeader,
        Self::DuplicateHeader,
        Self::MalformedHeader,
        Self::MalformedSignature,
        Self::TooManySignatures,
        Self::MalformedTimestamp,
        Self::Stale,
        Self::Premature,
        Self::SignatureMismatch,
        Self::UnknownTenant,
        Self::BodyMismatch,
        Self::UnacceptableAlgorithm,
        Self::NotForUs,
        Self::PeerNotAllowed,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::BodyBroken,
        Self::MalformedBody,
        Self::MalformedPayload,
        Self::SecretUnavailable,
        Self::KeyUnavailable,
        Self::StoreUnavailable,
        Self::InFlight,
        Self::ConfirmationFailed,
        Self::Overloaded,
        Self::HandlerFailed,
        Self::NoDelivery,
    ];

    /// The name in logs and metric labels, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The status that the sender is answered, unless the provider sets another one.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }

    /// Returns whether the failure is on our side, so that the same request may succeed later. A transient failure is
    /// answered 503.
    #[must_use]
    pub fn is_transient(self) -> bool {
        self.status().is_server_error()
    }

    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "the sender does not use this method")
            }
            Self::MissingSignature => ("missing_signature", S::UNAUTHORIZED, "there is no signature"),
            Self::MissingHeader => {
                ("missing_header", S::BAD_REQUEST, "a header that the sender always sets is missing")
            }
            Self::DuplicateHeader => {
                ("duplicate_header", S::BAD_REQUEST, "a header that has one value came more than once")
            }
            Self::MalformedHeader => ("malformed_header", S::BAD_REQUEST, "a header is too long or not visible ASCII"),
            Self::MalformedSignature => {
                ("malformed_signature", S::UNAUTHORIZED, "the signature is not in the sender's form")
            }
            Self::TooManySignatures => ("too_many_signatures", S::BAD_REQUEST, "there are too many signatures"),
            Self::MalformedTimestamp => {
                ("malformed_timestamp", S::BAD_REQUEST, "the timestamp is not in the sender's form")
            }
            Self::Stale => ("stale", S::UNAUTHORIZED, "the timestamp or token is too old"),
            Self::Premature => ("premature", S::UNAUTHORIZED, "the timestamp or token lies in the future"),
            Self::SignatureMismatch => {
                ("signature_mismatch", S::UNAUTHORIZED, "the signature belongs to none of the keys")
            }
            Self::UnknownTenant => ("unknown_tenant", S::UNAUTHORIZED, "there is no secret for this request"),
            Self::BodyMismatch => ("body_mismatch", S::UNAUTHORIZED, "the body differs from what was signed about it"),
            Self::UnacceptableAlgorithm => (
                "unacceptable_algorithm",
                S::UNAUTHORIZED,
                "the token names an algorithm that this sender does not use",
            ),
            Self::NotForUs => ("not_for_us", S::FORBIDDEN, "the signature is valid, but for somebody else"),
            Self::PeerNotAllowed => ("peer_not_allowed", S::FORBIDDEN, "the peer's address is not on the allow-list"),
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "the body is longer than the limit"),
            Self::BodyTimeout => ("body_timeout", S::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Self::BodyBroken => ("body_broken", S::BAD_REQUEST, "the body could not be read to its end"),
            Self::MalformedBody => ("malformed_body", S::BAD_REQUEST, "the body is not in the sender's form"),
            Self::MalformedPayload => {
                ("malformed_payload", S::UNPROCESSABLE_ENTITY, "the payload does not fit the handler's type")
            }
            Self::SecretUnavailable => {
                ("secret_unavailable", S::SERVICE_UNAVAILABLE, "the secrets could not be looked up")
            }
            Self::KeyUnavailable => {
                ("key_unavailable", S::SERVICE_UNAVAILABLE, "a certificate or key could not be fetched")
            }
            Self::StoreUnavailable => {
                ("store_unavailable", S::SERVICE_UNAVAILABLE, "the deduplication store could not be reached")
            }
            Self::InFlight => ("in_flight", S::SERVICE_UNAVAILABLE, "the same delivery is being handled already"),
            Self::ConfirmationFailed => {
                ("confirmation_failed", S::SERVICE_UNAVAILABLE, "the subscription could not be confirmed")
            }
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "the memory for bodies in flight is spent"),
            Self::HandlerFailed => ("handler_failed", S::SERVICE_UNAVAILABLE, "the handler failed before it answered"),
            Self::NoDelivery => (
                "no_delivery",
                S::SERVICE_UNAVAILABLE,
                "no webhook layer that verified this request stands before the handler",
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().2)
    }
}

/// How long a sender is asked to wait after a passing failure, unless the rejection says otherwise. Long enough to get
/// over a hiccup, short enough that no sender's retry schedule runs out.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// One refused request.
///
/// The sender sees a status and a fixed text ([`Rejection::into_http_response`]). The operator finds the rejection itself in
/// the extensions of that response, in the `on_reject` hook, and its [`Reason`] in logs and metrics. It never holds
/// a secret, a signature or a part of a body.
///
/// ```
/// use tower_webhook::{Reason, Rejection};
///
/// let rejection = Rejection::new(Reason::KeyUnavailable).with_detail("the certificate host is down");
/// assert_eq!(rejection.status(), 503);
/// assert_eq!(rejection.to_string(), "a certificate or key could not be fetched: the certificate host is down");
/// ```
#[derive(Clone)]
pub struct Rejection {
    reason: Reason,
    detail: Option<&'static str>,
    provider: Option<Text>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    extra: Option<Box<Extra>>,
}

/// What few rejections have.
#[derive(Clone, Debug, Default)]
struct Extra {
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    headers: HeaderMap,
}

impl Rejection {
    /// A rejection for this reason.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, detail: None, provider: None, source: None, extra: None }
    }

    /// Adds a fixed text for the operator: which header, which rule.
    #[must_use]
    pub fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds the error that caused it, for the operator. It must hold no secret and no part of a body.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// Sets another status than the reason's own. A passing reason stays a server error: a status that tells the sender
    /// to give up would lose the message, so anything but a 5xx or 429 is ignored there, except 409 for
    /// [`Reason::InFlight`]; and no rejection becomes a success.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        let fits = if !self.reason.is_transient() {
            status.is_client_error()
        } else if status == StatusCode::CONFLICT {
            self.reason == Reason::InFlight
        } else {
            status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
        };
        if fits {
            self.extra().status = Some(status);
        }
        self
    }

    /// Sets the time after which a passing failure is worth another try. Whole seconds, rounded up.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.extra().retry_after = Some(wait);
        self
    }

    /// Adds a header to the reply, such as `WWW-Authenticate`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extra().headers.append(name, value);
        self
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The name of the provider that refused, where it is known.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// The status of the reply.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.extra.as_deref().and_then(|extra| extra.status).unwrap_or(self.reason.status())
    }

    /// What the sender is answered: the status, a fixed RFC 9457 text that depends on nothing else, and for passing
    /// failures `Retry-After`. The rejection travels in the response's extensions.
    #[must_use]
    pub fn into_http_response(self) -> Response<Bytes> {
        let status = self.status();
        let mut response = Response::new(Bytes::from_static(problem(status).as_bytes()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.reason.is_transient() {
            let wait = self.extra.as_deref().and_then(|extra| extra.retry_after).unwrap_or(RETRY_AFTER);
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(extra) = &self.extra {
            for (name, value) in &extra.headers {
                headers.append(name, value.clone());
            }
        }
        response.extensions_mut().insert(self);
        response
    }

    pub(crate) fn with_provider(mut self, provider: &Text) -> Self {
        self.provider.get_or_insert_with(|| provider.clone());
        self
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.reason),
            None => fmt::Display::fmt(&self.reason, f),
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("reason", &self.reason)
            .field("detail", &self.detail)
            .field("provider", &self.provider)
            .field("status", &self.status())
            .field("source", &self.source)
            .finish()
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The reply's text. One text a status: a stranger learns nothing of the reason from it.
const fn problem(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => {
            r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"The request is not in the form that this webhook expects."}"#
        }
        401 => {
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The request could not be authenticated."}"#
        }
        403 => {
            r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"The request is not meant for this webhook."}"#
        }
        405 => {
            r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"This webhook does not accept that method."}"#
        }
        408 => {
            r#"{"type":"about:blank","title":"Request Timeout","status":408,"detail":"The body did not arrive in time."}"#
        }
        409 => {
            r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"The same request is being processed at this time; try again later."}"#
        }
        413 => {
            r#"{"type":"about:blank","title":"Content Too Large","status":413,"detail":"The body is longer than this webhook accepts."}"#
        }
        422 => {
            r#"{"type":"about:blank","title":"Unprocessable Content","status":422,"detail":"The payload is not one that this webhook understands."}"#
        }
        503 => {
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The request could not be processed at this time; try again later."}"#
        }
        _ => r#"{"type":"about:blank","detail":"The request was refused."}"#,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_a_fixed_text_for_its_status() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let status = reason.status();
            assert!(problem(status).contains(status.as_str()), "{reason:?}");
            let problem: serde_json::Value = serde_json::from_str(problem(status)).unwrap();
            assert_eq!(problem["status"], status.as_u16());
            assert_eq!(
                problem["title"],
                status
                    .canonical_reason()
                    .unwrap()
                    .replace("Payload", "Content")
                    .replace("Unprocessable Entity", "Unprocessable Content")
            );
        }
    }

    #[test]
    fn what_fails_on_our_side_is_503_with_retry_after_and_never_a_final_status() {
        let ours = Reason::ALL.iter().filter(|reason| reason.is_transient());
        assert!(ours.clone().count() > 5);
        for &reason in ours {
            let response = Rejection::new(reason).with_status(StatusCode::NOT_FOUND).into_http_response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()["retry-after"], "5");
        }
    }

    #[test]
    fn a_provider_may_set_the_status_but_not_a_success() {
        let rejection = Rejection::new(Reason::SignatureMismatch);
        assert_eq!(rejection.clone().with_status(StatusCode::FORBIDDEN).status(), 403);
        assert_eq!(rejection.with_status(StatusCode::OK).status(), 401);
    }

    #[test]
    fn only_a_delivery_in_flight_may_be_answered_409_and_keeps_its_retry_after() {
        let conflict = |reason| Rejection::new(reason).with_status(StatusCode::CONFLICT).into_http_response();
        let response = conflict(Reason::InFlight);
        assert_eq!(
            (response.status(), &response.headers()["retry-after"]),
            (StatusCode::CONFLICT, &"5".parse().unwrap())
        );
        assert_eq!(conflict(Reason::StoreUnavailable).status(), 503);
    }

    #[test]
    fn source_never_repeats_display() {
        let rejection = Rejection::new(Reason::BodyBroken).with_source("connection reset");
        assert_eq!(rejection.to_string(), "the body could not be read to its end");
        assert_eq!(rejection.source().unwrap().to_string(), "connection reset");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let response =
            Rejection::new(Reason::InFlight).with_retry_after(Duration::from_millis(1200)).into_http_response();
        assert_eq!(response.headers()["retry-after"], "2");
    }
}
