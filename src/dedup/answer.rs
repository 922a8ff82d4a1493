//! What a handler answered, kept for repetitions.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

/// Marks an answer that was given without calling the handler.
const WEBHOOK_DUPLICATE: HeaderName = HeaderName::from_static("webhook-duplicate");

/// What a handler answered to a delivery that is done: the status, and where the layer keeps it,
/// the body with its type.
///
/// The body may be confidential: `Debug` prints its length.
///
/// # Examples
///
/// ```
/// use http::{HeaderValue, StatusCode};
/// use tower_webhook::dedup::DoneAnswer;
///
/// let answer = DoneAnswer::new(StatusCode::OK)
///     .with_content_type(Some(HeaderValue::from_static("text/plain")))
///     .with_body("[accepted]");
/// assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"[accepted]"[..]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DoneAnswer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl DoneAnswer {
    /// Creates an answer without a body.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self { status, content_type: None, body: Bytes::new() }
    }

    /// Sets the `Content-Type`.
    #[must_use]
    pub fn with_content_type(mut self, content_type: Option<HeaderValue>) -> Self {
        self.content_type = content_type;
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the `Content-Type`, if there is one.
    #[must_use]
    pub const fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    /// Returns the body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Copies the body out of whatever buffer it is a part of, which a store would keep as a whole.
    pub(super) fn detached(&self) -> Self {
        let content_type = self.content_type.clone();
        Self { status: self.status, content_type, body: Bytes::copy_from_slice(&self.body) }
    }

    /// Takes the status and the type of a response, and this body.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        // Gone through as in `tells_all`.
        let content_type = headers.iter().find(|(name, _)| **name == CONTENT_TYPE).map(|(_, value)| value);
        Self { status, content_type: content_type.filter(|_| !body.is_empty()).cloned(), body }
    }

    /// Returns whether a response of these headers is told by its status, its type and its body.
    pub(super) fn tells_all(headers: &HeaderMap) -> bool {
        // They are few, and are gone through faster than one of them is looked up.
        headers.iter().all(|(name, value)| {
            let is_grpc = || value.as_bytes().starts_with(b"application/grpc");
            name != CONTENT_ENCODING && (name != CONTENT_TYPE || !is_grpc())
        })
    }

    /// Returns the answer to a repetition.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        // Only a success is ever committed. A store that says otherwise isn't believed.
        *response.status_mut() = if self.status.is_success() { self.status } else { StatusCode::OK };
        let headers = response.headers_mut();
        headers.insert(WEBHOOK_DUPLICATE, HeaderValue::from_static("true"));
        headers.extend(self.content_type.map(|value| (CONTENT_TYPE, value)));
        response
    }
}

impl fmt::Debug for DoneAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DoneAnswer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}
