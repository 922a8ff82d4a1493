//! Answers that a sender's protocol demands in place of the handler's.

use std::fmt;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::rejection::Rejection;

/// An answer that a sender's protocol demands: the echo of a challenge, the receipt of a
/// confirmation.
///
/// It is given without calling the handler, so a provider should only create one if the sender's
/// documents say so.
///
/// # Examples
///
/// ```
/// use tower_webhook::Answer;
///
/// let answer = Answer::text("1158201444");
/// assert_eq!(answer.status(), 200);
/// ```
#[derive(Clone)]
pub struct Answer {
    response: Response<Bytes>,
    report: Option<Box<Rejection>>,
}

impl Answer {
    /// Creates an answer without a body.
    #[must_use]
    #[inline]
    pub fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self { response, report: None }
    }

    /// Creates a 200 with a plain text that no browser takes for anything else.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::with_type("text/plain; charset=utf-8", body.into())
    }

    /// Creates a 200 with a JSON text.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::with_type("application/json", body.into())
    }

    /// Creates a 200 with a JSON object of texts.
    #[inline]
    pub(crate) fn object(members: &[(&str, &str)]) -> Self {
        let members: serde_json::Map<_, _> =
            members.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
        Self::json(serde_json::Value::Object(members).to_string())
    }

    /// Sets a header.
    #[must_use]
    #[inline]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// Has the layer report this rejection (hook, log, metrics), although the answer doesn't show
    /// it: for protocols in which a failure is answered like a success, or must not be told
    /// from it.
    #[must_use]
    #[inline]
    pub fn with_report(mut self, rejection: Rejection) -> Self {
        self.report = Some(Box::new(rejection));
        self
    }

    /// Returns the status.
    #[must_use]
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Takes the rejection that is to be reported.
    #[inline]
    pub(crate) fn take_report(&mut self) -> Option<Rejection> {
        self.report.take().map(|report| *report)
    }

    #[inline]
    pub(crate) fn into_response(self) -> Response<Bytes> {
        self.response
    }

    #[inline]
    fn with_type(content_type: &'static str, body: Bytes) -> Self {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { response, report: None }
    }
}

/// Prints no header and no part of the body, which may be a MAC or what a sender keeps secret.
impl fmt::Debug for Answer {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.response.status())
            .field("body", &format_args!("{} bytes", self.response.body().len()))
            .field("report", &self.report)
            .finish()
    }
}
