//! Questions that senders ask beside their deliveries: challenges and probes, answered without calling the handler.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::headers::{LONGEST_HEADER, required};
use crate::mac::Mac;
use crate::pointer;
use crate::provider::MaybeReady;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{KeyFormat, Keys, KeysFor, Secret};
use crate::uri::requested_uri;
use crate::urlencoded;

use super::mac::keys_for;
use super::proof::AnyForm;
use super::token::Token;

/// The longest echoed text. Challenges have a few dozen characters; Microsoft's, the longest, a few hundred.
const MAX_ECHO: usize = 1024;

/// A question that a sender asks an endpoint before, or beside, its deliveries.
///
/// ```
/// use http::Method;
/// use tower_webhook::Scheme;
/// use tower_webhook::scheme::{Handshake, header};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let acme = Scheme::hmac_sha256()
///     .signature(header("x-acme-signature").hex())
///     .with_handshake(Handshake::query_echo(Method::GET, "challenge"))
///     .secret("whatever Acme's portal shows")
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Handshake {
    name: &'static str,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// A question whose answer follows from the head.
    Head { recognizes: Arc<Recognizes>, answer: Arc<AnswerHead> },
    /// A query parameter that is answered with a MAC. Without keys of MACs there is no such question.
    QueryMac {
        parameter: &'static str,
        answer: Arc<AnswerByKey>,
        keys: Option<Keys<Mac>>,
        /// The position of the key that answers.
        index: usize,
    },
    /// An unsigned body of one exact form.
    UnsignedBody { recognizes: fn(&Parts) -> bool, answer: AnswerUnsigned },
    /// A body that was verified like any other.
    SignedBody(AnswerSigned),
}

type Recognizes = dyn Fn(&Parts) -> bool + Send + Sync;
type AnswerHead = dyn Fn(&Parts) -> Result<Answer, Rejection> + Send + Sync;
type AnswerByKey = dyn Fn(&Mac, &str) -> Result<Answer, Rejection> + Send + Sync;

/// Answers an unsigned body, if it is a question.
pub(crate) type AnswerUnsigned = fn(&[u8]) -> Result<Option<Answer>, Rejection>;

/// Answers a verified body, if it is a question. The MAC has the key that verified the body, if it was verified by one.
pub(crate) type AnswerSigned = fn(&Parts, &[u8], Option<&Mac>) -> Result<Option<Answer>, Rejection>;

/// What follows from a head that asks.
pub(super) enum Step {
    Answer(MaybeReady<Answer>),
    /// The body decides.
    UnsignedBody(AnswerUnsigned),
}

impl Handshake {
    /// Answers a request that has this query parameter with the parameter's value, as plain text.
    #[must_use]
    pub fn query_echo(method: Method, parameter: impl Into<Cow<'static, str>>) -> Self {
        let parameter = parameter.into();
        let name = parameter.clone();
        Self::head(
            "Handshake::query_echo",
            move |head| head.method == method && query_parameter(head, &name).is_some(),
            move |head| echo(&query_parameter(head, &parameter).unwrap_or_else(|| Ok(String::new()))?),
        )
    }

    /// Answers a GET with `hub.mode=subscribe` and this `hub.verify_token` with the `hub.challenge`, and one with another
    /// token with 403: how Meta's products subscribe.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is empty.
    pub fn subscribe(verify_token: impl Into<Secret>) -> Result<Self, ConfigError> {
        let token = Token::of(&verify_token.into().key(KeyFormat::Text)?);
        let recognizes = |head: &Parts| head.method == Method::GET && query_parameter(head, "hub.mode").is_some();
        Ok(Self::head("Handshake::subscribe", recognizes, move |head| subscribe(head, &token)))
    }

    /// Answers a GET that has this header with a JSON object whose only member is the header's value.
    #[must_use]
    pub fn header_to_json(header: impl Into<String>, member: impl Into<String>) -> Self {
        let (header, member) = (header.into(), member.into());
        let name = header.clone();
        Self::head(
            "Handshake::header_to_json",
            move |head| head.method == Method::GET && head.headers.contains_key(&name),
            move |head| Ok(object(&[(&member, &printable(header_value(head, &header)?.as_bytes())?)])),
        )
    }

    /// Answers a POST that offers a secret in this header by repeating it, if `accept` takes it. The request is not signed:
    /// accept one only while you wait for a registration of your own, and keep the secret before you return `true`. Anything
    /// else is refused.
    #[must_use]
    pub fn offered_secret(
        header: impl Into<String>,
        accept: impl Fn(&Parts, &Secret) -> bool + Send + Sync + 'static,
    ) -> Self {
        let header = header.into();
        let name = header.clone();
        Self::head(
            "Handshake::offered_secret",
            move |head| head.method == Method::POST && head.headers.contains_key(&name),
            move |head| {
                let value = header_value(head, &header)?;
                if !accept(head, &Secret::new(printable(value.as_bytes())?)) {
                    return Err(Rejection::new(Reason::MissingSignature).with_detail("no registration is awaited"));
                }
                let answer = Answer::empty(StatusCode::OK);
                let name = HeaderName::from_bytes(header.as_bytes());
                Ok(name.map_or_else(|_| answer.clone(), |name| answer.clone().with_header(name, value.clone())))
            },
        )
    }

    /// Answers the `OPTIONS` request of the CloudEvents abuse protection, for this origin only, with an allowed rate of
    /// requests per minute.
    #[must_use]
    pub fn allow_origin(origin: impl Into<Box<str>>, requests_per_minute: Option<u32>) -> Self {
        Self::allow_origins([origin], requests_per_minute)
    }

    /// As [`allow_origin`](Self::allow_origin), for any of these origins.
    #[must_use]
    pub fn allow_origins<T: Into<Box<str>>>(
        origins: impl IntoIterator<Item = T>,
        requests_per_minute: Option<u32>,
    ) -> Self {
        let origins: Vec<Box<str>> = origins.into_iter().map(Into::into).collect();
        Self::head(
            "Handshake::allow_origins",
            |head| head.method == Method::OPTIONS && head.headers.contains_key("webhook-request-origin"),
            move |head| allow_origin(head, &origins, requests_per_minute),
        )
    }

    /// Answers `HEAD`, and `GET` if `get` says so, with an empty 200: for senders that try the address before they use it.
    #[must_use]
    pub fn probe(get: bool) -> Self {
        Self::head(
            "Handshake::probe",
            move |head| head.method == Method::HEAD || (get && head.method == Method::GET),
            |_| Ok(Answer::empty(StatusCode::OK)),
        )
    }

    fn head(
        name: &'static str,
        recognizes: impl Fn(&Parts) -> bool + Send + Sync + 'static,
        answer: impl Fn(&Parts) -> Result<Answer, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self { name, kind: Kind::Head { recognizes: Arc::new(recognizes), answer: Arc::new(answer) } }
    }

    /// Answers a GET that has this query parameter with a MAC over its value. `answer` must refuse every value that could
    /// be a body, a header or an address of a delivery: a MAC over it would be the signature of a forgery.
    pub(crate) fn query_mac(
        parameter: &'static str,
        answer: impl Fn(&Mac, &str) -> Result<Answer, Rejection> + Send + Sync + 'static,
    ) -> Self {
        let kind = Kind::QueryMac { parameter, answer: Arc::new(answer), keys: None, index: 0 };
        Self { name: "Handshake::query_mac", kind }
    }

    pub(crate) fn unsigned_body(recognizes: fn(&Parts) -> bool, answer: AnswerUnsigned) -> Self {
        Self { name: "Handshake::unsigned_body", kind: Kind::UnsignedBody { recognizes, answer } }
    }

    pub(crate) fn signed_body(answer: AnswerSigned) -> Self {
        Self { name: "Handshake::signed_body", kind: Kind::SignedBody(answer) }
    }

    /// Takes the keys of this form, if the answer needs one.
    pub(super) fn by_keys_of(mut self, form: &AnyForm) -> Self {
        if let Kind::QueryMac { keys, .. } = &mut self.kind {
            *keys = form.mac_keys().cloned();
        }
        self
    }

    /// Sets the position of the key that answers, if one does.
    pub(super) fn by_key(&mut self, position: usize) {
        if let Kind::QueryMac { index, .. } = &mut self.kind {
            *index = position;
        }
    }

    /// Returns whether a head asks this question. Nothing is accepted by that.
    pub(super) fn recognizes(&self, head: &Parts) -> bool {
        match &self.kind {
            Kind::Head { recognizes, .. } => recognizes(head),
            Kind::QueryMac { parameter, keys, .. } => {
                head.method == Method::GET && keys.is_some() && query_parameter(head, parameter).is_some()
            }
            Kind::UnsignedBody { recognizes, .. } => head.method == Method::POST && recognizes(head),
            Kind::SignedBody(_) => false,
        }
    }

    /// Answers a head that asks this question; `None` if it doesn't.
    pub(super) fn begin(&self, head: &Parts) -> Option<Result<Step, Rejection>> {
        if !self.recognizes(head) {
            return None;
        }
        match &self.kind {
            Kind::Head { answer, .. } => Some(answer(head).map(|answer| Step::Answer(answer.into()))),
            Kind::QueryMac { parameter, answer, keys, index } => {
                let challenge = match query_parameter(head, parameter)? {
                    Ok(challenge) => challenge,
                    Err(rejection) => return Some(Err(rejection)),
                };
                let (answer, index) = (answer.clone(), *index);
                let keys = keys_for(keys.as_ref()?, head, |keys| keys);
                Some(keys.and_then(move |keys| by_one(&keys, index, &*answer, &challenge)).map(Step::Answer))
            }
            Kind::UnsignedBody { answer, .. } => Some(Ok(Step::UnsignedBody(*answer))),
            Kind::SignedBody(_) => None,
        }
    }

    /// Answers a verified body, if it is this question.
    pub(super) fn finish(&self, head: &Parts, body: &[u8], mac: Option<&Mac>) -> Result<Option<Answer>, Rejection> {
        match &self.kind {
            Kind::SignedBody(answer) => answer(head, body, mac),
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn by_one(keys: &KeysFor<Mac>, index: usize, answer: &AnswerByKey, challenge: &str) -> Result<Answer, Rejection> {
    match keys.ring.iter().take(index.saturating_add(1)).last() {
        Some(mac) if keys.known => answer(mac, challenge),
        _ => Err(Reason::UnknownTenant.into()),
    }
}

/// Returns a query parameter that is a challenge, or `None` if it is absent.
fn query_parameter(head: &Parts, parameter: &str) -> Option<Result<String, Rejection>> {
    let query = requested_uri(head).query().unwrap_or_default();
    match urlencoded::field(query.as_bytes(), parameter, Reason::MalformedHeader) {
        Ok(None) => None,
        Ok(Some(value)) => Some(printable(&value)),
        Err(rejection) => Some(Err(rejection)),
    }
}

fn header_value<'a>(head: &'a Parts, name: &str) -> Result<&'a HeaderValue, Rejection> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::MissingHeader)?;
    required(head, &name, LONGEST_HEADER)
}

fn subscribe(head: &Parts, token: &Token) -> Result<Answer, Rejection> {
    let given = query_parameter(head, "hub.verify_token").unwrap_or_else(|| Ok(String::new()))?;
    // The token is judged first: the answer to a wrong one is always the same.
    if !token.is(&Token::of(given.as_bytes())) {
        return Err(Rejection::new(Reason::NotForUs).with_detail("the verify token is another one"));
    }
    match (query_parameter(head, "hub.mode").transpose()?.as_deref(), query_parameter(head, "hub.challenge")) {
        (Some("subscribe"), Some(text)) => echo(&text?),
        _ => Err(Rejection::new(Reason::MalformedHeader).with_detail("it is no subscription")),
    }
}

fn allow_origin(head: &Parts, allowed: &[Box<str>], rate: Option<u32>) -> Result<Answer, Rejection> {
    let origin = header_value(head, "webhook-request-origin")?;
    if !allowed.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes()) {
        return Err(Rejection::new(Reason::NotForUs).with_detail("the origin is another one"));
    }
    let rate = rate.map_or(HeaderValue::from_static("*"), HeaderValue::from);
    Ok(Answer::empty(StatusCode::OK)
        .with_header(HeaderName::from_static("webhook-allowed-origin"), origin.clone())
        .with_header(HeaderName::from_static("webhook-allowed-rate"), rate))
}

fn printable(text: &[u8]) -> Result<String, Rejection> {
    match std::str::from_utf8(text) {
        Ok(text) if text.len() <= MAX_ECHO && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            Ok(text.to_owned())
        }
        _ => Err(Rejection::new(Reason::MalformedHeader).with_detail("a challenge is too long or not printable ASCII")),
    }
}

/// Answers with a challenge as plain text.
pub(crate) fn echo(text: &str) -> Result<Answer, Rejection> {
    if text.is_empty() {
        return Err(Rejection::new(Reason::MalformedHeader).with_detail("a challenge is empty"));
    }
    printable(text.as_bytes()).map(Answer::text)
}

/// Answers with a JSON object of texts.
pub(crate) fn object(members: &[(&str, &str)]) -> Answer {
    let members: serde_json::Map<_, _> =
        members.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    Answer::json(serde_json::Value::Object(members).to_string())
}

/// Returns a member of a body that is a challenge.
pub(crate) fn challenge_in(body: &[u8], pointer: &str) -> Result<String, Rejection> {
    let malformed = || Rejection::new(Reason::MalformedBody).with_detail("the challenge is missing");
    let text = pointer::member(body, pointer).map_err(|_| malformed())?.ok_or_else(malformed)?;
    if text.is_empty() {
        return Err(malformed());
    }
    printable(text.as_bytes())
}

/// Returns whether a member of the body is this text.
pub(crate) fn member_is(body: &[u8], pointer: &str, text: &str) -> bool {
    pointer::member(body, pointer).is_ok_and(|found| found.as_deref() == Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(handshake: &Handshake, request: http::request::Builder) -> Option<Result<(StatusCode, String), Reason>> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        Some(match handshake.begin(&head)? {
            Ok(Step::Answer(MaybeReady::Ready(answer))) => {
                let response = answer.into_response();
                Ok((response.status(), String::from_utf8(response.body().to_vec()).unwrap()))
            }
            Ok(_) => panic!("an answer was expected"),
            Err(rejection) => Err(rejection.reason()),
        })
    }

    #[test]
    fn echoes_are_bounded_and_printable() {
        let echo = Handshake::query_echo(Method::GET, "c");
        let get = |uri: &str| http::Request::get(uri);
        assert_eq!(begin(&echo, get("/?c=a%20b")), Some(Ok((StatusCode::OK, "a b".into()))));
        assert_eq!(begin(&echo, get("/?d=1")), None);
        assert_eq!(begin(&echo, http::Request::post("/?c=1")), None);
        let long = format!("/?c={}", "a".repeat(MAX_ECHO + 1));
        for bad in ["/?c=", "/?c=%00", "/?c=%0d%0a", "/?c=%ff", "/?c=1&c=1", "/?c=%C3%A9", &long] {
            assert_eq!(begin(&echo, get(bad)), Some(Err(Reason::MalformedHeader)), "{bad}");
        }
    }

    #[test]
    fn a_subscription_needs_its_token() {
        let meta = Handshake::subscribe("tok").unwrap();
        let get = |query: &str| begin(&meta, http::Request::get(format!("/?{query}")));
        assert_eq!(
            get("hub.mode=subscribe&hub.verify_token=tok&hub.challenge=42"),
            Some(Ok((StatusCode::OK, "42".into())))
        );
        for bad in ["hub.verify_token=to&hub.challenge=42", "hub.challenge=42", "hub.verify_token=&hub.challenge=42"] {
            assert_eq!(get(&format!("hub.mode=subscribe&{bad}")), Some(Err(Reason::NotForUs)), "{bad}");
        }
        assert_eq!(get("hub.mode=x&hub.verify_token=tok&hub.challenge=42"), Some(Err(Reason::MalformedHeader)));
        assert_eq!(get("hub.challenge=42"), None);
    }

    #[test]
    fn an_offered_secret_is_taken_only_when_it_is_awaited() {
        let taken = |accept: bool| {
            let handshake = Handshake::offered_secret("x-hook-secret", move |_, _| accept);
            begin(&handshake, http::Request::post("/").header("x-hook-secret", "abc"))
        };
        assert_eq!(taken(true), Some(Ok((StatusCode::OK, String::new()))));
        assert_eq!(taken(false), Some(Err(Reason::MissingSignature)));
    }

    #[test]
    fn only_the_expected_origin_is_allowed() {
        let handshake = Handshake::allow_origin("eventgrid.azure.net", Some(120));
        let options = |origin: &str| http::Request::options("/").header("webhook-request-origin", origin);
        assert_eq!(begin(&handshake, options("eventgrid.azure.net")), Some(Ok((StatusCode::OK, String::new()))));
        assert_eq!(begin(&handshake, options("evil")), Some(Err(Reason::NotForUs)));
    }
}
