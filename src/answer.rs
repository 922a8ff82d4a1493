//! Answers that a sender's protocol demands, given in place of the handler's.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

/// A reply that a sender's own protocol asks for: the echo of a challenge, the receipt of a confirmation.
///
/// It is given without calling the handler, so a provider makes one only where the sender's documents say so.
///
/// ```
/// use tower_webhook::Answer;
///
/// let answer = Answer::text("1158201444");
/// assert_eq!(answer.status(), 200);
/// ```
#[derive(Clone, Debug)]
pub struct Answer(Response<Bytes>);

impl Answer {
    /// An empty reply.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self(response)
    }

    /// 200 with a plain text that no browser takes for anything else.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::with_type("text/plain; charset=utf-8", body.into())
    }

    /// 200 with a JSON text.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::with_type("application/json", body.into())
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        self.0
    }

    fn with_type(content_type: &'static str, body: Bytes) -> Self {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self(response)
    }
}
