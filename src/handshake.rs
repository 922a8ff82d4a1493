//! Questions that senders ask beside their deliveries: challenges and probes, answered without
//! calling the handler.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::headers::{self, LONGEST_HEADER, required};
use crate::mac::{Digest, Mac};
use crate::provider::{Begin, MaybeReady, RecognizedBy};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, TriedKeys};
use crate::urlencoded::{self, is_form};

use crate::place::header_name;

/// The longest echoed text. Challenges have a few dozen characters; Microsoft's, the longest, a few
/// hundred.
const MAX_ECHO: usize = 1024;

/// A question that a sender asks an endpoint before, or beside, its deliveries.
///
/// # Examples
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
///     .secret("the secret that Acme's portal shows")
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Handshake(Kind);

/// A mark is what a head has if it may ask the question.
#[derive(Clone)]
enum Kind {
    /// A question that the head alone asks, and that it is answered by.
    Head { about: Cow<'static, str>, mark: Option<RecognizedBy>, recognizes: Arc<Recognizes>, answer: Arc<AnswerHead> },
    /// A query parameter that is answered with a MAC.
    QueryMac(QueryMac),
    /// An unsigned body of one exact form.
    UnsignedBody { mark: Option<RecognizedBy>, recognizes: Arc<Recognizes>, answer: AnswerUnsigned },
    /// A body that was verified like any other.
    SignedBody(Arc<AnswerSigned>),
}

/// A query parameter that is answered with a MAC. Without keys of MACs there is no such question.
#[derive(Clone)]
struct QueryMac {
    parameter: Cow<'static, str>,
    answer: Arc<AnswerByKey>,
    keys: Option<Keys<Mac>>,
    /// The position of the key that answers.
    index: usize,
    /// Whether bodies that a challenge could be are to be refused.
    refuses: bool,
    /// These two come with the question: few senders ask it, and the programs of others have
    /// neither.
    is_in: fn(&Self, &Parts) -> bool,
    ask: fn(&Self, &Parts) -> Option<Begun>,
}

/// What follows from a head that asks a question.
type Begun = Result<MaybeReady<Begin<AnswerUnsigned>>, Rejection>;

impl QueryMac {
    fn new(parameter: Cow<'static, str>, answer: Arc<AnswerByKey>, refuses: bool) -> Self {
        Self { parameter, answer, keys: None, index: 0, refuses, is_in: Self::is_in_head, ask: Self::ask_head }
    }

    #[inline]
    fn is_in_head(&self, head: &Parts) -> bool {
        head.method == Method::GET && self.keys.is_some() && query_parameter(head, &self.parameter).is_some()
    }

    #[inline]
    fn ask_head(&self, head: &Parts) -> Option<Begun> {
        let (answer, index) = (self.answer.clone(), self.index);
        let (challenge, keys) = (query_parameter(head, &self.parameter)?, self.keys.as_ref()?);
        Some(challenge.and_then(|challenge| {
            let own = keys.clone();
            keys.find(head, None).and_then(move |found| {
                let keys = own.tried(&found)?;
                by_one(&keys, index, &*answer, &challenge).map(Begin::Answer)
            })
        }))
    }
}

type Recognizes = dyn Fn(&Parts) -> bool + Send + Sync;
type AnswerHead = dyn Fn(&Parts) -> Result<Answer, Rejection> + Send + Sync;
type AnswerByKey = dyn Fn(&Mac, &str) -> Result<Answer, Rejection> + Send + Sync;

/// Answers an unsigned body, if it is a question.
pub(crate) type AnswerUnsigned = Arc<dyn Fn(&[u8]) -> Result<Option<Answer>, Rejection> + Send + Sync>;

/// Answers a verified body, if it is a question. The MAC has the key that verified the body, if it
/// was verified by one.
type AnswerSigned = dyn Fn(&Parts, &[u8], Option<&Mac>) -> Result<Option<Answer>, Rejection> + Send + Sync;

impl Handshake {
    /// Answers a request that has this query parameter with the parameter's value, as plain text.
    pub fn query_echo(method: Method, parameter: impl Into<Cow<'static, str>>) -> Self {
        let parameter = parameter.into();
        let name = parameter.clone();
        Self::head(
            format!("{method} with query `{parameter}`"),
            move |head| head.method == method && query_parameter(head, &name).is_some(),
            move |head| echo(&query_parameter(head, &parameter).unwrap_or_else(|| Ok(String::new()))?),
        )
    }

    /// Answers `HEAD`, and `GET` if `get` says so, with an empty 200: for senders that try the
    /// address before they use it.
    pub fn probe(get: bool) -> Self {
        Self::head(
            if get { "HEAD and GET" } else { "HEAD" },
            move |head| head.method == Method::HEAD || (get && head.method == Method::GET),
            |_| Ok(Answer::empty(StatusCode::OK)),
        )
    }

    /// Answers requests of this method that have the header `from` by repeating its value in the
    /// header `to`.
    pub fn header_echo(method: Method, from: impl Into<String>, to: impl Into<String>) -> Self {
        let (from, to) = (from.into(), header_name(&to.into()).ok());
        Self::header(method, &from, move |_, own, value| {
            printable(value.as_bytes())?;
            Ok(Answer::empty(StatusCode::OK).with_header(to.clone().unwrap_or_else(|| own.clone()), value.clone()))
        })
    }

    /// Answers a GET that has this query parameter, whose value is a challenge, with what `answer`
    /// makes of the value and its MAC. The MAC is that of a delivery, by the first of the secrets:
    /// see [`Scheme::with_challenge_key`](crate::Scheme::with_challenge_key).
    ///
    /// Anyone can ask, so the MAC must be the signature of no delivery: a challenge is letters,
    /// digits and `+/_=-` alone, and a body of nothing else is refused. For senders whose
    /// bodies are JSON objects.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::scheme::{Handshake, header};
    /// use tower_webhook::{Answer, Encoding, Scheme};
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let acme = Scheme::hmac_sha256()
    ///     .signature(header("x-acme-signature").hex())
    ///     .with_handshake(Handshake::query_challenge("crc", |_, mac| Answer::text(Encoding::Hex.encode(mac))))
    ///     .secret("the secret that Acme's portal shows")
    ///     .build("acme")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn query_challenge(
        parameter: impl Into<Cow<'static, str>>,
        answer: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let answer = move |mac: &Mac, challenge: &str| Ok(answer(challenge, challenge_mac(mac, challenge)?.as_bytes()));
        Self(Kind::QueryMac(QueryMac::new(parameter.into(), Arc::new(answer), true)))
    }

    /// Answers a verified body in which `find` finds a challenge, with what `answer` makes of the
    /// challenge and its MAC by the secret that signed the body. Challenges and bodies are bounded
    /// as in [`query_challenge`](Self::query_challenge).
    pub fn body_challenge(
        find: impl Fn(&[u8]) -> Option<String> + Send + Sync + 'static,
        answer: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::signed_body(move |_, body, mac| {
            no_challenge(body)?;
            let Some((challenge, mac)) = find(body).zip(mac) else { return Ok(None) };
            Ok(Some(answer(&challenge, challenge_mac(mac, &challenge)?.as_bytes())))
        })
    }

    /// Answers a verified request, if `answer` finds a question in it; others go on to the handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::Answer;
    /// use tower_webhook::scheme::Handshake;
    ///
    /// let ping = Handshake::signed_question(|_, body| (body == br#"{"type":"ping"}"#).then(|| Answer::text("pong")));
    /// ```
    pub fn signed_question(answer: impl Fn(&Parts, &[u8]) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self::signed_body(move |head, body, _| Ok(answer(head, body)))
    }

    /// Answers a POST without this header, which is the one of the signature, if `answer` finds a
    /// question in the body. Anyone can ask, so take bodies of one exact form alone; others are
    /// refused as unsigned.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::Answer;
    /// use tower_webhook::scheme::Handshake;
    ///
    /// let hello = Handshake::unsigned_question("x-acme-signature", |body| {
    ///     (body == br#"{"hello":true}"#).then(|| Answer::text("hello"))
    /// });
    /// ```
    pub fn unsigned_question(
        header: impl AsRef<str>,
        answer: impl Fn(&[u8]) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let header = header_name(header.as_ref()).ok();
        let asks = move |head: &Parts| header.as_ref().is_some_and(|header| !head.headers.contains_key(header));
        Self::unsigned_body(None, asks, move |body| Ok(answer(body)))
    }

    /// Answers a POST without this header, which is the one of the signature, whose body is a JSON
    /// object of one member of this name: by the same object.
    pub fn unsigned_echo(header: impl AsRef<str>, member: impl Into<String>) -> Self {
        let member = member.into();
        Self::unsigned_question(header, move |body| Self::echoed(body, &member))
    }

    /// Returns the answer to a JSON object of one member of this name, which is a challenge.
    #[inline]
    pub(crate) fn echoed(body: &[u8], member: &str) -> Option<Answer> {
        only_member(body, member).map(|challenge| Answer::object(&[(member, &challenge)]))
    }

    /// Answers a POST of a form without this header, which is the one of the signature.
    pub(crate) fn unsigned_form(
        header: &'static str,
        answer: impl Fn(&[u8]) -> Result<Option<Answer>, Rejection> + Send + Sync + 'static,
    ) -> Self {
        let header = HeaderName::from_static(header);
        let asks = move |head: &Parts| is_form(head) && !headers::has(head, &header);
        Self::unsigned_body(Some(RecognizedBy::Form), asks, answer)
    }

    /// Answers requests of this method that have this header. One whose name is not valid is never
    /// there.
    pub(crate) fn header(
        method: Method,
        header: &str,
        answer: impl Fn(&Parts, &HeaderName, &HeaderValue) -> Result<Answer, Rejection> + Send + Sync + 'static,
    ) -> Self {
        let about = format!("{method} with header `{header}`");
        let header = header_name(header).ok();
        let asked = header.clone();
        let asks = move |head: &Parts| {
            head.method == method && asked.as_ref().is_some_and(|header| head.headers.contains_key(header))
        };
        Self::head_with(header.clone().map(RecognizedBy::Header), about.into(), asks, move |head| {
            let header = header.as_ref().ok_or(Reason::MissingHeader)?;
            answer(head, header, required(head, header, LONGEST_HEADER)?)
        })
    }

    /// `about` says in words which request it answers.
    pub(crate) fn head(
        about: impl Into<Cow<'static, str>>,
        recognizes: impl Fn(&Parts) -> bool + Send + Sync + 'static,
        answer: impl Fn(&Parts) -> Result<Answer, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self::head_with(None, about.into(), recognizes, answer)
    }

    fn head_with(
        mark: Option<RecognizedBy>,
        about: Cow<'static, str>,
        recognizes: impl Fn(&Parts) -> bool + Send + Sync + 'static,
        answer: impl Fn(&Parts) -> Result<Answer, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Head { about, mark, recognizes: Arc::new(recognizes), answer: Arc::new(answer) })
    }

    /// Answers a GET that has this query parameter with a MAC over its value. `answer` must refuse
    /// every value that could be a body, a header or an address of a delivery: a MAC over it
    /// would be the signature of a forgery.
    pub(crate) fn query_mac(
        parameter: &'static str,
        answer: impl Fn(&Mac, &str) -> Result<Answer, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::QueryMac(QueryMac::new(parameter.into(), Arc::new(answer), false)))
    }

    fn unsigned_body(
        mark: Option<RecognizedBy>,
        recognizes: impl Fn(&Parts) -> bool + Send + Sync + 'static,
        answer: impl Fn(&[u8]) -> Result<Option<Answer>, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::UnsignedBody { mark, recognizes: Arc::new(recognizes), answer: Arc::new(answer) })
    }

    pub(crate) fn signed_body(
        answer: impl Fn(&Parts, &[u8], Option<&Mac>) -> Result<Option<Answer>, Rejection> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::SignedBody(Arc::new(answer)))
    }

    /// Returns whether the answer is safe only if the body itself is part of what is signed.
    pub(crate) fn needs_signed_body(&self) -> bool {
        matches!(&self.0, Kind::QueryMac(question) if question.refuses)
    }

    /// Takes the keys that the sender signs with, if they are keys of MACs and the answer needs
    /// one.
    pub(crate) fn by_keys_of(&mut self, mac_keys: Option<&Keys<Mac>>) {
        if let Kind::QueryMac(question) = &mut self.0 {
            question.keys = mac_keys.cloned();
        }
    }

    /// Sets the position of the key that answers, if one does.
    pub(crate) fn by_key(&mut self, position: usize) {
        if let Kind::QueryMac(question) = &mut self.0 {
            question.index = position;
        }
    }

    /// Says in words which requests are answered.
    pub(super) fn about(&self) -> Cow<'static, str> {
        match &self.0 {
            Kind::Head { about, .. } => about.clone(),
            Kind::QueryMac(question) => format!("GET with query `{}`", question.parameter).into(),
            Kind::UnsignedBody { .. } => "an unsigned POST".into(),
            Kind::SignedBody(_) => "a question in a signed body".into(),
        }
    }

    /// Returns whether a head asks this question. Nothing is accepted by that.
    pub(crate) fn recognizes(&self, head: &Parts) -> bool {
        match &self.0 {
            Kind::Head { recognizes, .. } => recognizes(head),
            Kind::QueryMac(question) => (question.is_in)(question, head),
            Kind::UnsignedBody { recognizes, .. } => head.method == Method::POST && recognizes(head),
            Kind::SignedBody(_) => false,
        }
    }

    /// See [`Provider::recognized_by`](crate::provider::Provider::recognized_by).
    pub(crate) fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        match &self.0 {
            Kind::Head { mark, .. } | Kind::UnsignedBody { mark, .. } => mark.clone().map(|mark| vec![mark]),
            Kind::QueryMac(_) => None,
            Kind::SignedBody(_) => Some(Vec::new()),
        }
    }

    /// Answers a head that asks this question, or returns how to answer the body; `None` if the
    /// head doesn't ask.
    pub(crate) fn begin(&self, head: &Parts) -> Option<Begun> {
        if !self.recognizes(head) {
            return None;
        }
        Some(match &self.0 {
            Kind::Head { answer, .. } => answer(head).map(|answer| Begin::Answer(answer).into()),
            Kind::QueryMac(question) => return (question.ask)(question, head),
            Kind::UnsignedBody { answer, .. } => Ok(Begin::Verify(answer.clone()).into()),
            Kind::SignedBody(_) => return None,
        })
    }

    /// Answers a verified body, if it is this question.
    pub(crate) fn finish(&self, head: &Parts, body: &[u8], mac: Option<&Mac>) -> Result<Option<Answer>, Rejection> {
        match &self.0 {
            Kind::SignedBody(answer) => answer(head, body, mac),
            Kind::QueryMac(question) if question.refuses => no_challenge(body).map(|()| None),
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handshake(..)")
    }
}

#[inline]
fn by_one(keys: &TriedKeys<'_, Mac>, index: usize, answer: &AnswerByKey, challenge: &str) -> Result<Answer, Rejection> {
    match keys.ring.iter().take(index.saturating_add(1)).last() {
        Some(mac) if keys.known => answer(mac, challenge),
        _ => Err(Reason::UnknownTenant.into()),
    }
}

/// Returns a query parameter that is a challenge, or `None` if it is absent.
#[inline]
pub(crate) fn query_parameter(head: &Parts, parameter: &str) -> Option<Result<String, Rejection>> {
    match urlencoded::query_field(head, parameter, Reason::MalformedHeader) {
        Ok(None) => None,
        Ok(Some(value)) => Some(printable(&value)),
        Err(rejection) => Some(Err(rejection)),
    }
}

/// Returns the text that is all that a JSON object has, as the member of this name.
#[inline]
pub(crate) fn only_member(body: &[u8], name: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let text = object.get(name).filter(|_| object.len() == 1)?.as_str()?;
    printable(text.as_bytes()).ok().filter(|text| !text.is_empty())
}

/// Returns whether a text has the characters of challenges alone.
fn is_challenge(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/_=-".contains(byte))
}

/// Returns the MAC of a challenge of letters, digits and `+/_=-`, which no JSON event is made of:
/// the MAC of any other text could be the signature of a forgery.
#[inline]
pub(crate) fn challenge_mac(mac: &Mac, challenge: &str) -> Result<Digest, Rejection> {
    if challenge.is_empty() || !is_challenge(challenge.as_bytes()) {
        return Err(Rejection::new(Reason::MalformedHeader).with_detail("the challenge is not one of this sender"));
    }
    Ok(mac.of(challenge.as_bytes()))
}

/// Refuses a body that a challenge could be.
fn no_challenge(body: &[u8]) -> Result<(), Rejection> {
    if is_challenge(body) {
        return Err(Rejection::new(Reason::MalformedBody).with_detail("it could be a challenge"));
    }
    Ok(())
}

/// Returns a text that may be echoed.
#[inline]
pub(crate) fn printable(text: &[u8]) -> Result<String, Rejection> {
    match std::str::from_utf8(text) {
        Ok(text) if text.len() <= MAX_ECHO && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            Ok(text.to_owned())
        }
        _ => Err(Rejection::new(Reason::MalformedHeader).with_detail("a challenge is too long or not printable ASCII")),
    }
}

/// Answers with a challenge as plain text.
#[inline]
pub(crate) fn echo(text: &str) -> Result<Answer, Rejection> {
    if text.is_empty() {
        return Err(Rejection::new(Reason::MalformedHeader).with_detail("a challenge is empty"));
    }
    printable(text.as_bytes()).map(Answer::text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Asks a handshake whose answer is ready.
    pub(crate) fn ask(
        handshake: &Handshake,
        request: http::request::Builder,
    ) -> Option<Result<(StatusCode, String), Reason>> {
        let (head, ()) = request.body(()).ok()?.into_parts();
        Some(match handshake.begin(&head)? {
            Ok(MaybeReady::Ready(Begin::Answer(answer))) => {
                let response = answer.into_response();
                Ok((response.status(), String::from_utf8_lossy(response.body()).into_owned()))
            }
            Ok(_) => panic!("an answer was expected"),
            Err(rejection) => Err(rejection.reason()),
        })
    }

    #[test]
    fn echoes_are_bounded_and_printable() {
        let echo = Handshake::query_echo(Method::GET, "c");
        let get = |uri: &str| http::Request::get(uri);
        assert_eq!(ask(&echo, get("/?c=a%20b")), Some(Ok((StatusCode::OK, "a b".into()))));
        assert_eq!(ask(&echo, get("/?d=1")), None);
        assert_eq!(ask(&echo, http::Request::post("/?c=1")), None);
        let long = format!("/?c={}", "a".repeat(MAX_ECHO + 1));
        for bad in ["/?c=", "/?c=%00", "/?c=%0d%0a", "/?c=%ff", "/?c=1&c=1", "/?c=%C3%A9", &long] {
            assert_eq!(ask(&echo, get(bad)), Some(Err(Reason::MalformedHeader)), "{bad}");
        }
    }
}
