//! Rejections: a [`Reason`] for the operator, a generic reply for the sender.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::text::Text;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The reason for a rejection: for the operator, never for the sender.
///
/// A reason is *permanent* if the request itself is wrong (a 4xx, which senders such as SNS take as
/// "don't try again"), and *transient* if something failed on our side (503 with `Retry-After`).
///
/// # Examples
///
/// ```
/// use tower_webhook::Reason;
///
/// assert_eq!(Reason::KeyUnavailable.as_str(), "key_unavailable");
/// assert!(Reason::KeyUnavailable.is_transient() && !Reason::Stale.is_transient());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The sender doesn't use this method. 405.
    MethodNotAllowed,
    /// No header, field or parameter has a signature or token. 401.
    MissingSignature,
    /// A header that the sender always sets, other than the signature, is absent. 400.
    MissingHeader,
    /// A header that must have a single value came more than once. 400.
    DuplicateHeader,
    /// A header is too long, or isn't visible ASCII. 400.
    MalformedHeader,
    /// A signature or token isn't in the sender's form: prefix, encoding, length, padding. 401.
    MalformedSignature,
    /// More signatures than any honest sender lists. 400.
    TooManySignatures,
    /// A timestamp isn't in the sender's form. 400.
    MalformedTimestamp,
    /// The timestamp, or the end of a token's validity, is too far in the past. 401.
    Stale,
    /// The timestamp, or the start of a token's validity, is too far in the future. 401.
    Premature,
    /// The signature is well formed but was made with none of the keys. 401.
    SignatureMismatch,
    /// The secret look-up found no secret for this request. Answered exactly like a bad signature.
    /// 401.
    UnknownTenant,
    /// The body doesn't match a digest or claims that were signed. 401.
    BodyMismatch,
    /// A token names an algorithm, or has a critical extension, that this sender doesn't use. 401.
    UnacceptableAlgorithm,
    /// The request is meant for another topic, account, audience or webhook. 403.
    NotForUs,
    /// The peer's address isn't on the allow-list. 403.
    PeerNotAllowed,
    /// The body is longer than the limit. 413.
    BodyTooLarge,
    /// The body did not arrive in time. 503, or 408 if the
    /// [sender](crate::provider::Behavior::repeats) repeats after that too, or never.
    BodyTimeout,
    /// The body ended early or was framed wrongly, and the detail says which if the server does.
    /// 503, or 400 if the [sender](crate::provider::Behavior::repeats) repeats after that too,
    /// or never.
    BodyBroken,
    /// A part of the body that the verification needs isn't in the sender's form. 400.
    MalformedBody,
    /// The delivery is genuine, but its payload doesn't fit the handler's type. 422.
    MalformedPayload,
    /// The secrets could not be looked up. 503.
    SecretUnavailable,
    /// A certificate or key could not be fetched. 503.
    KeyUnavailable,
    /// This machine's clock reads a time before the release of this version, so no timestamp can be
    /// judged. 503.
    ClockUnset,
    /// The store of the deduplication or the inbox could not be reached, or is full. 503.
    StoreUnavailable,
    /// The same delivery is being handled right now. 503.
    InFlight,
    /// A subscription could not be confirmed with the sender. 503.
    ConfirmationFailed,
    /// The memory budget for bodies in flight is used up. 503.
    Overloaded,
    /// The handler behind an endpoint failed before it answered. 503.
    HandlerFailed,
    /// A handler asked for a delivery, but there is no webhook layer in front of it. 503.
    NoDelivery,
}

impl Reason {
    /// All reasons, for tables and metrics.
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
        Self::ClockUnset,
        Self::StoreUnavailable,
        Self::InFlight,
        Self::ConfirmationFailed,
        Self::Overloaded,
        Self::HandlerFailed,
        Self::NoDelivery,
    ];

    /// Returns the name used in logs and metric labels, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// Returns the status of the reply. A provider may set another one.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }

    /// Returns whether the failure is on our side, so that the same request may succeed later. A
    /// transient failure is answered 503.
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
            Self::NotForUs => ("not_for_us", S::FORBIDDEN, "the request is meant for another recipient"),
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
            Self::ClockUnset => ("clock_unset", S::SERVICE_UNAVAILABLE, "this machine's clock is wrong"),
            Self::StoreUnavailable => ("store_unavailable", S::SERVICE_UNAVAILABLE, "the store could not be reached"),
            Self::InFlight => ("in_flight", S::SERVICE_UNAVAILABLE, "the same delivery is being handled already"),
            Self::ConfirmationFailed => {
                ("confirmation_failed", S::SERVICE_UNAVAILABLE, "the subscription could not be confirmed")
            }
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "the memory for bodies in flight is spent"),
            Self::HandlerFailed => ("handler_failed", S::SERVICE_UNAVAILABLE, "the handler failed before it answered"),
            Self::NoDelivery => (
                "no_delivery",
                S::SERVICE_UNAVAILABLE,
                "no webhook layer in front of the handler verified this request",
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().2)
    }
}

/// The default wait after a transient failure: long enough to get over a hiccup, short enough that
/// no sender's retry schedule runs out.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A refused request.
///
/// The sender gets a status and a generic body ([`Rejection::into_http_response`]). The operator
/// finds the rejection in the extensions of that response and in the `on_reject` hook, and its
/// [`Reason`] in logs and metrics. It never holds a secret, a signature or a part of a body.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Reason, Rejection};
///
/// let rejection = Rejection::new(Reason::KeyUnavailable).with_detail("the certificate host is down");
/// assert_eq!(rejection.status(), 503);
/// assert_eq!(rejection.to_string(), "a certificate or key could not be fetched: the certificate host is down");
/// ```
#[derive(Clone)]
pub struct Rejection(Arc<Why>);

/// What a rejection is made of. It is behind a pointer, as nearly every function returns one or
/// something else: the something else would be moved in room for it. The pointer counts its
/// references, so that all that drops a rejection calls one function for it, and a clone copies
/// nothing.
#[derive(Clone)]
struct Why {
    reason: Reason,
    detail: Option<Cow<'static, str>>,
    provider: Option<Text>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    extra: Option<Box<Extra>>,
}

/// Rarely used fields, boxed because a refusal should be cheap.
#[derive(Clone, Debug, Default)]
struct Extra {
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Rejection {
    /// Creates a rejection for this reason.
    #[must_use]
    #[cold]
    pub fn new(reason: Reason) -> Self {
        Self(Arc::new(Why { reason, detail: None, provider: None, source: None, extra: None }))
    }

    /// Refuses a method that is not one of these.
    pub(crate) fn wrong_method(methods: &[Method]) -> Self {
        let (mut allowed, mut last) = (String::new(), "");
        for method in methods.iter().map(Method::as_str) {
            if method != last {
                allowed += if last.is_empty() { "" } else { ", " };
                allowed += method;
                last = method;
            }
        }
        let rejection = Self::new(Reason::MethodNotAllowed);
        match allowed.try_into() {
            Ok(allowed) => rejection.with_header(header::ALLOW, allowed),
            Err(_) => rejection,
        }
    }

    /// Sets a text for the operator that names the header, claim, member or setting at fault. It
    /// must hold no secret and no part of a body.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.why().detail = Some(detail.into());
        self
    }

    /// Sets the error that caused the rejection, for the operator. It must hold no secret and no
    /// part of a body.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.why().source = Some(source.into().into());
        self
    }

    /// Sets a status other than the reason's own. A status that doesn't fit the reason is ignored:
    ///
    /// - A permanent reason takes a 4xx.
    /// - A transient reason takes a 5xx or 429, as a status that tells the sender to give up would
    ///   lose the message. [`Reason::InFlight`] takes a 409 as well.
    #[must_use]
    #[inline]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        let fits = if !self.0.reason.is_transient() {
            status.is_client_error()
        } else if status == StatusCode::CONFLICT {
            self.0.reason == Reason::InFlight
        } else {
            status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
        };
        if fits {
            self.extra().status = Some(status);
        }
        self
    }

    /// Sets the `Retry-After` of a transient failure. It is rounded up to whole seconds.
    #[must_use]
    #[inline]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.extra().retry_after = Some(wait);
        self
    }

    /// Adds a header to the reply, such as `WWW-Authenticate`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extra().headers.push((name, value));
        self
    }

    /// Returns the reason for the rejection.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Returns the text for the operator, if there is one.
    #[cfg(feature = "inspect")]
    pub(crate) fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Returns the name of the provider that refused, if it is known.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// Returns the status of the reply.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.extra.as_deref().and_then(|extra| extra.status).unwrap_or(self.0.reason.status())
    }

    /// Converts the rejection into the reply to the sender: the status, an RFC 9457 problem that
    /// depends on nothing else, and for transient failures `Retry-After`. The response's
    /// extensions hold the rejection.
    #[must_use]
    pub fn into_http_response(self) -> Response<Bytes> {
        let status = self.status();
        let mut response = Response::new(Bytes::from_static(problem(status).as_bytes()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status.is_server_error() || self.0.reason.is_transient() {
            let wait = self.0.extra.as_deref().and_then(|extra| extra.retry_after).unwrap_or(DEFAULT_RETRY_AFTER);
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(extra) = &self.0.extra {
            for (name, value) in &extra.headers {
                headers.append(name.clone(), value.clone());
            }
        }
        response.extensions_mut().insert(self);
        response
    }

    /// Sets 503 for what the sender should send again: a body that the network cut short or held up
    /// is nobody's last word. A status that was chosen before stays.
    pub(crate) fn repeatable(mut self) -> Self {
        let is_chosen = self.0.extra.as_deref().is_some_and(|extra| extra.status.is_some());
        if !is_chosen && matches!(self.0.reason, Reason::BodyTimeout | Reason::BodyBroken) {
            self.extra().status = Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        self
    }

    /// Sets a status for a sender whose document asks for it, whether it fits the reason or not.
    #[cfg_attr(not(feature = "jwt"), allow(dead_code))]
    #[inline]
    pub(crate) fn with_documented_status(mut self, status: StatusCode) -> Self {
        self.extra().status = Some(status);
        self
    }

    pub(crate) fn with_provider(mut self, provider: &Text) -> Self {
        if self.0.provider.is_none() {
            self.why().provider = Some(provider.clone());
        }
        self
    }

    fn extra(&mut self) -> &mut Extra {
        self.why().extra.get_or_insert_default()
    }

    /// Returns what is to be changed: a copy, if it is shared.
    fn why(&mut self) -> &mut Why {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.detail {
            Some(detail) => write!(f, "{}: {detail}", self.0.reason),
            None => fmt::Display::fmt(&self.0.reason, f),
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("reason", &self.0.reason)
            .field("detail", &self.0.detail)
            .field("provider", &self.0.provider)
            .field("status", &self.status())
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Returns the reply's body. There is one for each status, so that it doesn't give the reason away.
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
    fn what_fails_on_our_side_is_503_with_retry_after_and_never_a_permanent_status() {
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
