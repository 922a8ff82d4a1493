//! What is kept of one request.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version};

use crate::delivery::{Delivery, Signed};
use crate::redact::{is_credential, without_secrets};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;

/// What stands for a credential.
const REDACTED: HeaderValue = HeaderValue::from_static("[redacted]");
/// What an exchange takes besides its body and its headers.
const OVERHEAD: usize = 1024;

/// One request that arrived, and what became of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// Its number. Later exchanges have higher ones.
    pub id: u64,
    /// When its head arrived.
    pub received_at: SystemTime,
    /// How long it took until the answer began.
    pub took: Duration,
    /// The method.
    pub method: Method,
    /// The URL, without parameters that are secrets.
    pub url: Text,
    /// The headers. Credentials are replaced by `[redacted]`.
    pub headers: HeaderMap,
    /// The body, byte for byte as it arrived. If it is longer than
    /// [`MAX_RECORDED_BODY`](crate::inspect::MAX_RECORDED_BODY), this is its start.
    pub body: Bytes,
    /// How many bytes of the body arrived.
    pub body_bytes: u64,
    /// What became of it.
    pub state: ExchangeState,
    /// The status of the answer.
    pub status: Option<StatusCode>,
    /// The provider that verified or refused it.
    pub provider: Option<Text>,
    /// The sender's id. Set if the request was verified, as everything that is in a delivery.
    pub event_id: Option<Text>,
    /// The sender's name for the kind of event.
    pub event: Option<Text>,
    /// What the signature covers.
    pub signed: Option<Signed>,
    /// The position of the key that verified it.
    pub key_index: usize,
    /// When the sender signed it, if it said so.
    pub timestamp: Option<SystemTime>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// What else is known about the refusal: the detail, and the errors that caused it.
    pub detail: Option<String>,
    /// What would have been accepted, in the order in which it should be tried: each a cause and a
    /// cure.
    pub explanation: Vec<String>,
    /// How often it was handed on: once, and once more for each replay.
    pub attempts: u32,
    /// What became of the last replay.
    pub replayed: Option<String>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExchangeState {
    /// It was verified, and the handler answered with a success.
    Handled,
    /// It was verified, and the handler failed or refused it.
    Failed,
    /// It was not verified.
    Refused,
    /// It was answered as the sender's protocol demands, without a delivery.
    Answered,
    /// The client went away before there was an answer.
    Aborted,
}

impl ExchangeState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Handled, Self::Failed, Self::Refused, Self::Answered, Self::Aborted];

    /// Returns the name, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Answered => "answered",
            Self::Aborted => "aborted",
        }
    }
}

impl Exchange {
    /// Starts with the head of a request.
    pub(super) fn new(head: &Parts, received_at: SystemTime) -> Self {
        let mut headers = head.headers.clone();
        for (name, value) in &mut headers {
            if is_credential(name) || value.is_sensitive() {
                *value = REDACTED;
            }
        }
        if let (None, Some(authority)) = (headers.get(HOST), head.uri.authority())
            && head.version == Version::HTTP_2
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        Self {
            id: 0,
            received_at,
            took: Duration::ZERO,
            method: head.method.clone(),
            url: without_secrets(&path.into()).into(),
            headers,
            body: Bytes::new(),
            body_bytes: 0,
            state: ExchangeState::Aborted,
            status: None,
            provider: None,
            event_id: None,
            event: None,
            signed: None,
            key_index: 0,
            timestamp: None,
            reason: None,
            detail: None,
            explanation: Vec::new(),
            attempts: 1,
            replayed: None,
        }
    }

    #[cfg(test)]
    pub(super) fn with_body(mut self, body: Bytes) -> Self {
        (self.body_bytes, self.body) = (body.len() as u64, body);
        self
    }

    /// Notes what was proven.
    pub(super) fn note_delivery(&mut self, delivery: &Delivery) {
        let text = |text: &str| Text::from(text.to_owned());
        self.provider = Some(delivery.provider_text().clone());
        self.event_id = delivery.id().map(text);
        self.event = delivery.event().map(text);
        self.signed = Some(delivery.signed());
        self.key_index = delivery.key_index();
        self.timestamp = delivery.timestamp();
    }

    /// Notes why the request, or what was proven by it, was refused.
    pub(super) fn note_rejection(&mut self, rejection: &Rejection) {
        if let Some(provider) = rejection.provider() {
            self.provider.get_or_insert_with(|| provider.to_owned().into());
        }
        self.reason = Some(rejection.reason());
        let detail = rejection.to_string();
        let sources = std::iter::successors(std::error::Error::source(rejection), |error| error.source());
        let mut detail = sources.fold(detail, |detail, source| format!("{detail}: {source}"));
        if let Some(rest) = detail.strip_prefix(&rejection.reason().to_string()) {
            detail = rest.trim_start_matches(": ").to_owned();
        }
        self.detail = Some(detail).filter(|detail| !detail.is_empty());
    }

    pub(super) fn note_replay(&mut self, result: &Result<StatusCode, String>) {
        self.attempts += 1;
        self.replayed = Some(match result {
            Ok(status) => format!("answered {}", status.as_u16()),
            Err(error) => error.clone(),
        });
        let is_handled = result.as_ref().is_ok_and(StatusCode::is_success);
        self.state = if is_handled { ExchangeState::Handled } else { ExchangeState::Failed };
    }

    /// Returns how much memory it takes, about.
    pub(super) fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        OVERHEAD + self.body.len() + self.url.len() + headers
    }
}

/// Prints no header, no URL and no part of the body.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.id)
            .field("received_at", &self.received_at)
            .field("provider", &self.provider)
            .field("event", &self.event)
            .field("state", &self.state)
            .field("reason", &self.reason)
            .field("body", &format_args!("{} bytes", self.body_bytes))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_kept() {
        let request = http::Request::post("https://hooks.example.test/hook?tenant=7&token=hunter2")
            .version(Version::HTTP_2)
            .header("authorization", "Bearer hunter2")
            .header("cookie", "session=hunter2")
            .header("x-gitlab-token", "hunter2")
            .header("x-hub-signature-256", "sha256=ab")
            .body(())
            .unwrap();
        let exchange = Exchange::new(&request.into_parts().0, std::time::UNIX_EPOCH);
        let kept = format!("{} {:?} {exchange:?}", exchange.url, exchange.headers);
        assert!(!kept.contains("hunter2"), "{kept}");
        assert_eq!(exchange.url, "/hook?tenant=7");
        for (name, value) in
            [("host", "hooks.example.test"), ("cookie", "[redacted]"), ("x-hub-signature-256", "sha256=ab")]
        {
            assert_eq!(exchange.headers[name], value);
        }
    }
}
