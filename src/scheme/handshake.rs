//! What senders ask before they send: challenges and probes, answered without calling the handler.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{KeyFormat, Secret};
use crate::uri::requested_uri;

use super::mac::Mac;
use super::place::{LONGEST_HEADER, single};
use super::token::Token;
use super::{pointer, urlencoded};

/// The longest text that is echoed. Challenges have a few dozen characters; Microsoft's, the longest, a few hundred.
const LONGEST_ECHO: usize = 1024;

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
///     .handshake(Handshake::query_echo(Method::GET, "challenge"))
///     .secret("whatever Acme's portal shows")
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Handshake(pub(super) Kind);

type Accept = dyn Fn(&Parts, &Secret) -> bool + Send + Sync;

#[derive(Clone)]
pub(super) enum Kind {
    QueryEcho {
        method: Method,
        parameter: &'static str,
    },
    Subscribe {
        token: Token,
    },
    QueryMac {
        parameter: &'static str,
        answer: fn(&Mac, &str, &str) -> Result<Answer, Rejection>,
        label: Box<str>,
    },
    HeaderToJson {
        header: &'static str,
        member: &'static str,
    },
    OfferedSecret {
        header: &'static str,
        accept: Arc<Accept>,
    },
    AllowOrigin {
        origin: Box<str>,
        rate: Option<u32>,
    },
    Probe {
        methods: &'static [Method],
    },
    /// An unsigned body of one exact form.
    UnsignedBody {
        recognize: fn(&Parts) -> bool,
        answer: fn(&[u8]) -> Result<Option<Answer>, Rejection>,
    },
    /// A body that was verified like any other.
    SignedBody {
        answer: AnswerSigned,
    },
}

/// Answers a verified body, where it is a question. The MAC has the key which verified it, where there is one.
pub(crate) type AnswerSigned = fn(&Parts, &[u8], Option<&Mac>) -> Result<Option<Answer>, Rejection>;

/// What a handshake makes of a head.
pub(super) enum Step {
    Answer(Answer),
    /// An answer that needs the key.
    Keyed {
        answer: fn(&Mac, &str, &str) -> Result<Answer, Rejection>,
        challenge: String,
        label: Box<str>,
    },
    /// The body decides.
    UnsignedBody(fn(&[u8]) -> Result<Option<Answer>, Rejection>),
}

impl Handshake {
    /// Answers a request that has this query parameter with its value, as plain text.
    #[must_use]
    pub fn query_echo(method: Method, parameter: &'static str) -> Self {
        Self(Kind::QueryEcho { method, parameter })
    }

    /// Answers a GET with `hub.mode=subscribe` and this `hub.verify_token` with the `hub.challenge`, and one with another
    /// token 403: how Meta's products subscribe.
    ///
    /// # Errors
    ///
    /// Where the token is empty.
    pub fn subscribe(verify_token: impl Into<Secret>) -> Result<Self, ConfigError> {
        let token = Token::of(&verify_token.into().key(KeyFormat::Text)?);
        Ok(Self(Kind::Subscribe { token }))
    }

    /// Answers a GET that has this header with a JSON object whose only member is the header's value.
    #[must_use]
    pub fn header_to_json(header: &'static str, member: &'static str) -> Self {
        Self(Kind::HeaderToJson { header, member })
    }

    /// Answers a POST that offers a secret in this header by repeating it, where `accept` takes it. The request is not
    /// signed: accept one only while you wait for a registration of your own, and keep the secret before you return
    /// `true`. Anything else is refused.
    #[must_use]
    pub fn offered_secret(
        header: &'static str,
        accept: impl Fn(&Parts, &Secret) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::OfferedSecret { header, accept: Arc::new(accept) })
    }

    /// Answers the `OPTIONS` request of the CloudEvents abuse protection, for this origin only, with an allowed rate of
    /// requests per minute.
    #[must_use]
    pub fn allow_origin(origin: impl Into<Box<str>>, requests_per_minute: Option<u32>) -> Self {
        Self(Kind::AllowOrigin { origin: origin.into(), rate: requests_per_minute })
    }

    /// Answers `HEAD`, and `GET` where `get` says so, with an empty 200: senders that try the address before they take it.
    #[must_use]
    pub fn probe(get: bool) -> Self {
        Self(Kind::Probe { methods: if get { &[Method::HEAD, Method::GET] } else { &[Method::HEAD] } })
    }

    pub(crate) fn query_mac(
        parameter: &'static str,
        label: impl Into<Box<str>>,
        answer: fn(&Mac, &str, &str) -> Result<Answer, Rejection>,
    ) -> Self {
        Self(Kind::QueryMac { parameter, answer, label: label.into() })
    }

    pub(crate) fn unsigned_body(
        recognize: fn(&Parts) -> bool,
        answer: fn(&[u8]) -> Result<Option<Answer>, Rejection>,
    ) -> Self {
        Self(Kind::UnsignedBody { recognize, answer })
    }

    pub(crate) fn signed_body(answer: AnswerSigned) -> Self {
        Self(Kind::SignedBody { answer })
    }

    /// Whether a head looks like this handshake. Nothing is accepted by that.
    pub(super) fn recognizes(&self, head: &Parts) -> bool {
        match &self.0 {
            Kind::OfferedSecret { header, .. } => head.method == Method::POST && head.headers.contains_key(*header),
            _ => self.begin(head).is_some(),
        }
    }

    /// What follows from the head; `None` where it is not this handshake.
    pub(super) fn begin(&self, head: &Parts) -> Option<Result<Step, Rejection>> {
        match &self.0 {
            Kind::QueryEcho { method, parameter } if head.method == *method => {
                Some(challenge(head, parameter)?.and_then(|text| echo(&text)).map(Step::Answer))
            }
            Kind::Subscribe { token } if head.method == Method::GET => Some(subscribe(head, token)?.map(Step::Answer)),
            Kind::QueryMac { parameter, answer, label } if head.method == Method::GET => {
                let challenge = match challenge(head, parameter)? {
                    Ok(challenge) => challenge,
                    Err(rejection) => return Some(Err(rejection)),
                };
                Some(Ok(Step::Keyed { answer: *answer, challenge, label: label.clone() }))
            }
            Kind::HeaderToJson { header, member } if head.method == Method::GET => {
                let value = one(head, header)?;
                Some(value.and_then(printable).map(|text| Step::Answer(object(&[(member, &text)]))))
            }
            Kind::OfferedSecret { header, accept } if head.method == Method::POST => {
                Some(offered(head, header, accept)?)
            }
            Kind::AllowOrigin { origin, rate } if head.method == Method::OPTIONS => {
                Some(allow_origin(head, origin, *rate)?.map(Step::Answer))
            }
            Kind::Probe { methods } if methods.contains(&head.method) => {
                Some(Ok(Step::Answer(Answer::empty(StatusCode::OK))))
            }
            Kind::UnsignedBody { recognize, answer } if head.method == Method::POST && recognize(head) => {
                Some(Ok(Step::UnsignedBody(*answer)))
            }
            _ => None,
        }
    }

    /// The answer to a verified body, where it is this handshake.
    pub(super) fn finish(&self, head: &Parts, body: &[u8], mac: Option<&Mac>) -> Result<Option<Answer>, Rejection> {
        match &self.0 {
            Kind::SignedBody { answer } => answer(head, body, mac),
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::QueryEcho { .. } => "Handshake::query_echo",
            Kind::Subscribe { .. } => "Handshake::subscribe",
            Kind::QueryMac { .. } => "Handshake::query_mac",
            Kind::HeaderToJson { .. } => "Handshake::header_to_json",
            Kind::OfferedSecret { .. } => "Handshake::offered_secret",
            Kind::AllowOrigin { .. } => "Handshake::allow_origin",
            Kind::Probe { .. } => "Handshake::probe",
            Kind::UnsignedBody { .. } => "Handshake::unsigned_body",
            Kind::SignedBody { .. } => "Handshake::signed_body",
        })
    }
}

/// A query parameter that is a challenge; `None` where it is absent.
fn challenge(head: &Parts, parameter: &str) -> Option<Result<String, Rejection>> {
    let query = requested_uri(head).query().unwrap_or_default();
    match urlencoded::field(query.as_bytes(), parameter, Reason::MalformedHeader) {
        Ok(None) => None,
        Ok(Some(value)) => Some(printable(&value)),
        Err(rejection) => Some(Err(rejection)),
    }
}

fn one<'a>(head: &'a Parts, name: &'static str) -> Option<Result<&'a [u8], Rejection>> {
    match single(head, &HeaderName::from_static(name), LONGEST_HEADER) {
        Ok(value) => value.map(|value| Ok(value.as_bytes())),
        Err(rejection) => Some(Err(rejection)),
    }
}

fn subscribe(head: &Parts, token: &Token) -> Option<Result<Answer, Rejection>> {
    let mode = challenge(head, "hub.mode")?;
    let read = || {
        let given = challenge(head, "hub.verify_token").unwrap_or_else(|| Ok(String::new()))?;
        // The token is judged first, and whatever it is, the answer to a wrong one is the same.
        if !token.is(&Token::of(given.as_bytes())) {
            return Err(Rejection::new(Reason::NotForUs).with_detail("the verify token is another one"));
        }
        match (mode?.as_str(), challenge(head, "hub.challenge")) {
            ("subscribe", Some(text)) => echo(&text?),
            _ => Err(Rejection::new(Reason::MalformedHeader).with_detail("it is no subscription")),
        }
    };
    Some(read())
}

fn offered(head: &Parts, name: &'static str, accept: &Arc<Accept>) -> Option<Result<Step, Rejection>> {
    let name = HeaderName::from_static(name);
    let value = match single(head, &name, LONGEST_HEADER) {
        Ok(value) => value?,
        Err(rejection) => return Some(Err(rejection)),
    };
    let refused = || Rejection::new(Reason::MissingSignature).with_detail("no registration is awaited");
    Some(match printable(value.as_bytes()) {
        Ok(text) if accept(head, &Secret::new(text.as_str())) => {
            Ok(Step::Answer(Answer::empty(StatusCode::OK).with_header(name, value.clone())))
        }
        Ok(_) => Err(refused()),
        Err(rejection) => Err(rejection),
    })
}

fn allow_origin(head: &Parts, allowed: &str, rate: Option<u32>) -> Option<Result<Answer, Rejection>> {
    let origin = one(head, "webhook-request-origin")?;
    let read = || {
        if origin? != allowed.as_bytes() {
            return Err(Rejection::new(Reason::NotForUs).with_detail("the origin is another one"));
        }
        let header =
            |name, value: Result<HeaderValue, _>| value.ok().map(|value| (HeaderName::from_static(name), value));
        let rate = rate.map_or_else(|| "*".to_owned(), |rate| rate.to_string());
        let origin = header("webhook-allowed-origin", HeaderValue::from_str(allowed));
        let rate = header("webhook-allowed-rate", HeaderValue::from_str(&rate));
        let answer = Answer::empty(StatusCode::OK);
        Ok(origin.into_iter().chain(rate).fold(answer, |answer, (name, value)| answer.with_header(name, value)))
    };
    Some(read())
}

fn printable(text: &[u8]) -> Result<String, Rejection> {
    match std::str::from_utf8(text) {
        Ok(text) if text.len() <= LONGEST_ECHO && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            Ok(text.to_owned())
        }
        _ => Err(Rejection::new(Reason::MalformedHeader).with_detail("a challenge is too long or not printable ASCII")),
    }
}

/// A challenge as plain text.
pub(crate) fn echo(text: &str) -> Result<Answer, Rejection> {
    match text.is_empty() {
        true => Err(Rejection::new(Reason::MalformedHeader).with_detail("a challenge is empty")),
        false => printable(text.as_bytes()).map(Answer::text),
    }
}

/// A JSON object of texts.
pub(crate) fn object(members: &[(&str, &str)]) -> Answer {
    let members: serde_json::Map<_, _> =
        members.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    Answer::json(serde_json::Value::Object(members).to_string())
}

/// A member of a body that is a challenge.
pub(crate) fn challenge_in(body: &[u8], pointer: &str) -> Result<String, Rejection> {
    let malformed = || Rejection::new(Reason::MalformedBody).with_detail("the challenge is missing");
    let text = pointer::member(body, pointer).map_err(|_| malformed())?.ok_or_else(malformed)?;
    match text.is_empty() {
        true => Err(malformed()),
        false => printable(text.as_bytes()),
    }
}

/// Whether a member of the body is this text.
pub(crate) fn member_is(body: &[u8], pointer: &str, text: &str) -> bool {
    pointer::member(body, pointer).is_ok_and(|found| found.as_deref() == Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(handshake: &Handshake, request: http::request::Builder) -> Option<Result<(StatusCode, String), Reason>> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        Some(match handshake.begin(&head)? {
            Ok(Step::Answer(answer)) => {
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
        let long = format!("/?c={}", "a".repeat(LONGEST_ECHO + 1));
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
