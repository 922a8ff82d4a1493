//! The code that an attacker can reach, one function each, for fuzzers and property tests. Not part
//! of the API.
//!
//! Each takes any bytes and panics if the code breaks a promise: it panics itself, accepts what was
//! not signed, reads a second spelling of one value, or judges a body by how it is split.

use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::delivery::Delivery;
use crate::encoding::Encoding;
use crate::layer::layer::WebhookLayer;
use crate::provider::Provider;
use crate::rejection::Rejection;
use crate::scheme::{Scheme, header};
use crate::senders::SenderConfig;
use crate::sign::Sign;
use crate::time::TimeFormat;

use super::{ScriptedBody, Step};

/// A target, and the name that it has in `fuzz/`.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("encodings", encodings),
    ("timestamps", timestamps),
    ("template", template),
    ("signature_header", signature_header),
    ("layer", layer),
    ("sender_config", sender_config),
    #[cfg(feature = "jwt")]
    ("json", json),
    #[cfg(feature = "jwt")]
    ("jwt", jwt),
    #[cfg(feature = "sns")]
    ("sns_envelope", sns_envelope),
    #[cfg(feature = "sns")]
    ("sns_certificate_url", sns_certificate_url),
];

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A text is read by one encoding in one spelling, or not at all.
pub fn encodings(data: &[u8]) {
    for encoding in [Encoding::Hex, Encoding::HexAnyCase, Encoding::Base64, Encoding::Base64Url] {
        let spelled = encoding.encode(data);
        assert_eq!(encoding.decode(spelled.as_bytes()).as_deref(), Some(data), "{encoding:?}");
        let decoded = encoding.decode(data);
        if let Some(bytes) = &decoded {
            let canonical = encoding.encode(bytes).into_bytes();
            let same = match encoding {
                Encoding::HexAnyCase => canonical.eq_ignore_ascii_case(data),
                _ => canonical == data,
            };
            assert!(same, "{encoding:?} reads two spellings of one value");
        }
        for len in [20, 32, 64] {
            let mut exact = vec![0; len];
            let fits = encoding.decode_exact(data, &mut exact);
            assert_eq!(fits, decoded.as_ref().is_some_and(|bytes| bytes.len() == len), "{encoding:?} of {len} bytes");
            assert!(!fits || decoded.as_deref() == Some(&exact));
        }
    }
}

/// A time that is read is written and read again as the same time, and no arithmetic with it
/// overflows.
pub fn timestamps(data: &[u8]) {
    for format in [TimeFormat::UnixSeconds, TimeFormat::UnixMillis, TimeFormat::Rfc3339] {
        let Some(time) = format.parse(data) else { continue };
        if format != TimeFormat::Rfc3339 {
            assert!(data.iter().all(u8::is_ascii_digit), "{format:?} reads what are no digits");
        }
        for now in [UNIX_EPOCH, UNIX_EPOCH + NOW, time] {
            for distance in [Duration::ZERO, Duration::from_secs(300), Duration::MAX] {
                let tolerance = crate::time::Tolerance::within(distance);
                let allowed = tolerance.allows(time, now);
                assert_eq!(allowed, tolerance.allows(now, time), "the two sides are not the same");
                assert!(allowed || distance < Duration::MAX);
                assert!(allowed || now != time);
            }
        }
        if let Some(text) = format.format(time) {
            assert_eq!(format.parse(text.as_bytes()), Some(time), "{format:?}");
        }
    }
}

/// A template that is accepted has a body in it, and changing the body changes the signature.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(&data[..data.len().min(64)]) else { return };
    let Some(text) = intern(text) else { return };
    let scheme = Scheme::hmac_sha256()
        .signature(header("x-signature").hex())
        .timestamp(header("x-timestamp").unix_seconds())
        .id(header("x-id"))
        .signed(text)
        .secret("key")
        .build("fuzz");
    let Ok(scheme) = scheme else { return };
    assert!(text.contains("{body}") && text.contains("{timestamp}"), "{text:?} is accepted");
    let sign = |body: &'static str, id: &'static str| {
        let request = Request::post("/hook").header("x-id", id).body(Bytes::from_static(body.as_bytes()));
        let signed = request.ok().and_then(|request| scheme.sign_at(request, UNIX_EPOCH + NOW).ok());
        signed.map(|request| request.headers()["x-signature"].clone())
    };
    let Some(signature) = sign("one", "1") else {
        assert!(text.contains("{header:"), "{text:?} cannot be signed, though everything is there");
        return;
    };
    assert_ne!(Some(&signature), sign("two", "1").as_ref());
    let signs_id = text.contains("{id}") || text.to_ascii_lowercase().contains("{header:x-id}");
    assert_eq!(Some(&signature) != sign("one", "2").as_ref(), signs_id);
}

/// Templates are literals in programs; here each that was tried is kept.
fn intern(text: &str) -> Option<&'static str> {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().ok()?;
    if !seen.contains(text) {
        seen.insert(Box::leak(text.into()));
    }
    seen.get(text).copied()
}

/// Two schemes of all parts that a scheme has.
static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    let parts = |builder: crate::scheme::SchemeBuilder, name: &'static str| {
        let builder = builder
            .timestamp(header("x-timestamp").unix_seconds())
            .id(header("x-id"))
            .event(header("x-event").prefix("on:"))
            .signed("{method}:{id}.{timestamp}.{body}");
        builder.secret("key").build(name).ok()
    };
    let prefixed = Scheme::hmac_sha256().signature(header("x-signature").prefix("v1=").hex());
    let plain = Scheme::hmac_sha512().signature(header("x-signature").base64());
    [parts(prefixed, "prefixed"), parts(plain, "plain")].into_iter().flatten().collect()
});

/// Whatever the headers are: nothing that the scheme would not have written itself is delivered.
pub fn signature_header(data: &[u8]) {
    let (headers, body) = cut(data, 0xff);
    for scheme in &*SCHEMES {
        let mut request = Request::new(Bytes::copy_from_slice(body));
        *request.method_mut() = http::Method::POST;
        *request.headers_mut() = named(headers);
        judge_both(scheme, request, &[]);
        // Once more, behind a signature that is right: what is added may only be refused.
        let mut request = Request::new(Bytes::copy_from_slice(body));
        *request.method_mut() = http::Method::POST;
        if let Ok(mut signed) = scheme.sign_at(request, UNIX_EPOCH + NOW) {
            for (name, value) in &named(headers) {
                signed.headers_mut().append(name, value.clone());
            }
            judge_both(scheme, signed, &[]);
        }
    }
}

/// A whole request through the layer: two bytes choose what is tampered with, some how the body is
/// split, the rest is it.
pub fn layer(data: &[u8]) {
    let (script, body) = cut(data, 0xff);
    for scheme in &*SCHEMES {
        let mut request = Request::new(Bytes::copy_from_slice(body));
        *request.method_mut() = http::Method::POST;
        let Ok(mut signed) = scheme.sign_at(request, UNIX_EPOCH + NOW) else { continue };
        match judge_both(scheme, signed.clone(), script) {
            Verdict::Delivered(delivery) => assert_eq!(delivery.body(), body),
            Verdict::Refused(rejection) => panic!("a genuine request is refused: {rejection}"),
        }
        let (Some(&at), Some(&bit)) = (script.first(), script.get(1)) else { continue };
        let mut changed = body.to_vec();
        match changed.get_mut(usize::from(at)) {
            Some(byte) => *byte ^= 1 << (bit % 8),
            None => changed.push(bit),
        }
        *signed.body_mut() = changed.into();
        assert!(matches!(judge_both(scheme, signed, script), Verdict::Refused(_)), "a forgery is delivered");
    }
}

/// A configuration is read or refused at a place in its text, what is missing in it is told in one
/// line, and no sender that it makes delivers what nobody signed.
pub fn sender_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = text.split('\n').count();
    let config: SenderConfig = match serde_json::from_str(text) {
        Ok(config) => config,
        Err(error) => {
            assert!((1..=lines).contains(&error.line()) || error.line() == 0, "{error}");
            return;
        }
    };
    let secrets: Vec<_> = config.secrets.iter().map(|secret| format!("{secret:?}")).collect();
    assert!(secrets.iter().all(|shown| *shown == secrets[0]), "a secret is shown");
    match config.clone().build() {
        Ok(sender) => {
            assert_eq!(sender.facts().len(), 1);
            let mut request = Request::new(());
            *request.method_mut() = http::Method::POST;
            let (head, ()) = request.into_parts();
            let body = ScriptedBody::new([Step::Data(Bytes::copy_from_slice(data))]);
            let delivered = respond(&sender, &head, body).extensions().get::<Delivery>().is_some();
            assert!(!delivered, "{config:?} delivers what nobody signed");
        }
        Err(error) => {
            let told = error.located_in(text, "").to_string();
            let line = told.rsplit_once(" at line ").and_then(|(_, place)| place.split_once(' ')?.0.parse().ok());
            assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{told}");
        }
    }
}

/// JSON is equal to itself, to its other spelling, and to nothing that serde takes for something
/// else.
#[cfg(feature = "jwt")]
pub fn json(data: &[u8]) {
    use crate::json::{Object, equal};

    let (a, b) = cut(data, 0);
    let object = Object::read(&Bytes::copy_from_slice(a));
    let value: Option<serde_json::Value> = serde_json::from_slice(a).ok();
    if let Some(object) = &object {
        let names: std::collections::BTreeSet<_> = object.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), object.iter().count(), "a member is there twice");
        if let Some(value) = &value {
            assert_eq!(value.as_object().map(serde_json::Map::len), Some(object.iter().count()));
        }
    }
    assert_eq!(equal(a, b), equal(b, a));
    if equal(a, b) {
        assert!(equal(a, a) && equal(b, b));
        // serde rounds numbers, so what is equal exactly is equal for it too.
        let other: Option<serde_json::Value> = serde_json::from_slice(b).ok();
        if let (Some(value), Some(other)) = (&value, &other) {
            assert!(alike(value, other), "{value} and {other} are taken as equal");
        }
    }
}

/// Numbers apart, which serde keeps as they were written: `1` is not `1.0` for it.
#[cfg(feature = "jwt")]
fn alike(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;

    match (a, b) {
        (Value::Number(_), Value::Number(_)) => true,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| alike(a, b)))
        }
        _ => a == b,
    }
}

/// No token is taken but the one spelling of what the key signed.
#[cfg(feature = "jwt")]
pub fn jwt(data: &[u8]) {
    use crate::jwt::{Algorithm, TimeRules, Token, encode_hs256};
    use crate::mac::{Mac, MacKind};
    use crate::secrets::Keyring;

    let mac = Mac::new(MacKind::SHA256, b"key");
    let Ok(Some(key)) = Keyring::new([Ok(mac.clone())]) else { return };
    let verify = |text: &[u8]| {
        let token = Token::split(text)?;
        token.header(Algorithm::HS256)?;
        token.verify_hs256(&key)?;
        let claims = token.claims()?;
        let rules = TimeRules { leeway: Duration::from_secs(30), requires_exp: true, issued: None };
        rules.check(&claims, UNIX_EPOCH + NOW)
    };
    if verify(data).is_ok() {
        let Ok(text) = std::str::from_utf8(data) else { panic!("it is not even text") };
        let (message, signature) = text.rsplit_once('.').unwrap_or_default();
        let again = mac.of(message.as_bytes());
        assert_eq!(signature, Encoding::Base64Url.encode(again.as_bytes()), "a token is forged");
    }
    // Signed by the sender, whatever it says: it may be refused, and nothing else may happen.
    if let Ok(claims) = std::str::from_utf8(data) {
        let token = encode_hs256(r#"{"alg":"HS256"}"#, claims, &mac);
        let _ = verify(token.as_bytes());
        let (header, claims) = claims.split_once('\n').unwrap_or((claims, "{}"));
        let token = encode_hs256(header, claims, &mac);
        if verify(token.as_bytes()).is_ok() {
            let none = token.rsplit_once('.').map_or_else(String::new, |(message, _)| format!("{message}."));
            assert!(verify(none.as_bytes()).is_err(), "a token without a signature is taken");
        }
    }
}

/// Any body at all, sent to SNS's endpoint: without a key nothing is delivered, and nothing is
/// fetched but from where keys are.
#[cfg(feature = "sns")]
pub fn sns_envelope(data: &[u8]) {
    let Some(sns) = sns() else { return };
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    let (head, ()) = request.into_parts();
    match judge(&sns, &head, ScriptedBody::new([Step::Data(Bytes::copy_from_slice(data))])) {
        Verdict::Delivered(_) => panic!("a message is delivered that nobody signed"),
        Verdict::Refused(_) => {}
    }
}

/// Any certificate URL, in an otherwise well-formed envelope.
#[cfg(feature = "sns")]
pub fn sns_certificate_url(data: &[u8]) {
    let Ok(url) = serde_json::to_string(&String::from_utf8_lossy(data)) else { return };
    sns_envelope(
        format!(
            r#"{{"Type":"Notification","MessageId":"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324","TopicArn":"{TOPIC}",
                "Message":"m","Timestamp":"2023-11-14T22:13:20.000Z","SignatureVersion":"2","Signature":"AAAA",
                "SigningCertURL":{url}}}"#
        )
        .as_bytes(),
    );
}

#[cfg(feature = "sns")]
const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";

/// An SNS whose certificates cannot be fetched, and which checks where they are fetched from.
#[cfg(feature = "sns")]
fn sns() -> Option<crate::senders::Sns> {
    let fetch = |uri: http::Uri| async move {
        let name = uri.path().strip_prefix("/SimpleNotificationService-").and_then(|it| it.strip_suffix(".pem"));
        let is_name = name.is_some_and(|name| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let is_host = uri.authority().is_some_and(|host| host == "sns.us-west-2.amazonaws.com");
        let is_https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        assert!(is_name && is_host && is_https && uri.query().is_none(), "{uri} is fetched");
        Err::<Response<Bytes>, _>("offline")
    };
    crate::senders::Sns::builder().topic(TOPIC).fetch(fetch).build().ok()
}

/// What is before the first such byte, and what is behind it.
fn cut(data: &[u8], at: u8) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == at) {
        Some(position) => (&data[..position], &data[position + 1..]),
        None => (data, &[]),
    }
}

/// Lines become values of the headers that the schemes look at; the first byte of a line chooses
/// which.
fn named(lines: &[u8]) -> HeaderMap {
    const NAMES: [&str; 4] = ["x-signature", "x-timestamp", "x-id", "x-event"];
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(200) {
        let Some((&first, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(NAMES[usize::from(first) % NAMES.len()]), value);
        }
    }
    headers
}

enum Verdict {
    Delivered(Box<Delivery>),
    Refused(Rejection),
}

/// Judges a request in one frame and split by the script: to the same end. What is delivered has
/// the very signature that the scheme itself would write.
fn judge_both(scheme: &Scheme, request: Request<Bytes>, script: &[u8]) -> Verdict {
    let (head, body) = request.into_parts();
    let whole = judge(scheme, &head, ScriptedBody::new([Step::Data(body.clone())]));
    let split = judge(scheme, &head, split(&body, script));
    match (&whole, &split) {
        (Verdict::Delivered(whole), Verdict::Delivered(split)) => {
            assert_eq!(format!("{whole:?}"), format!("{split:?}"));
            assert!(whole.body() == &body && split.body() == &body, "other bytes are delivered");
            let time = whole.timestamp().unwrap_or(UNIX_EPOCH);
            let mut again = Request::from_parts(head.clone(), body);
            again.headers_mut().remove("x-signature");
            let written = scheme.sign_at(again, time).ok().and_then(|it| it.headers().get("x-signature").cloned());
            assert_eq!(written.as_ref(), head.headers.get("x-signature"), "what was not signed is delivered");
        }
        (Verdict::Refused(whole), Verdict::Refused(split)) => assert_eq!(format!("{whole:?}"), format!("{split:?}")),
        _ => panic!("how a body is split decides whether it is delivered"),
    }
    whole
}

/// Frames of the sizes that the script names, with pauses, empty frames and trailers.
fn split(body: &Bytes, script: &[u8]) -> ScriptedBody {
    let (mut steps, mut rest) = (Vec::new(), body.clone());
    for &step in script.iter().cycle().take(if script.is_empty() { 0 } else { 100 }) {
        match step {
            0xf0.. => steps.push(Step::Pause),
            0 => steps.push(Step::Data(Bytes::new())),
            size => steps.push(Step::Data(rest.split_to(usize::from(size).min(rest.len())))),
        }
    }
    steps.extend([Step::Data(rest), Step::Trailers(HeaderMap::new())]);
    ScriptedBody::new(steps)
}

fn judge<P: Provider + Clone>(provider: &P, head: &Parts, body: ScriptedBody) -> Verdict {
    let response = respond(provider, head, body);
    match (response.extensions().get::<Delivery>(), response.extensions().get::<Rejection>()) {
        (Some(delivery), None) if response.status() == StatusCode::OK => Verdict::Delivered(Box::new(delivery.clone())),
        (None, Some(rejection)) if response.status() == rejection.status() => Verdict::Refused(rejection.clone()),
        _ => panic!("{} by {} with neither a delivery nor a rejection", response.status(), provider.name()),
    }
}

/// Sends a request through the layer, to a handler that hands its delivery back.
fn respond<P: Provider + Clone>(provider: &P, head: &Parts, body: ScriptedBody) -> Response<()> {
    let clock = || UNIX_EPOCH + NOW;
    let layer = WebhookLayer::new(provider.clone()).with_clock(clock);
    #[cfg(feature = "tokio")]
    let layer = layer.without_body_timeout();
    let mut service = layer.layer(ReturnDelivery);
    let mut future = Box::pin(service.call(Request::from_parts(head.clone(), body)));
    let mut cx = Context::from_waker(Waker::noop());
    let response = loop {
        // Nothing stalls in these scripts, so polling again is what a runtime would do.
        if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
            break response;
        }
    };
    let Ok(response) = response;
    response.map(drop)
}

/// A handler that hands its delivery back.
#[derive(Clone, Copy)]
struct ReturnDelivery;

impl Service<Request<Full<Bytes>>> for ReturnDelivery {
    type Response = Response<Full<Bytes>>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let mut response = Response::new(Full::default());
        if let Some(delivery) = request.extensions().get::<Delivery>() {
            response.extensions_mut().insert(delivery.clone());
        }
        std::future::ready(Ok(response))
    }
}
