//! Every mistake with every sender that can have it: what the operator is told.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::routing::post as post_to;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use tokio::sync::mpsc;
use tower::ServiceExt as _;
use tower_layer::Layer as _;
use tower_webhook::inspect::{Diagnosis, Explainer, Explanation, Mistake};
use tower_webhook::scheme::header;
use tower_webhook::senders::SenderConfig;
use tower_webhook::{Authentic, Reason, Scheme, Secret, WebhookLayer, senders as builtin, testing};

use crate::senders::{self, Bench, Case, SECRET};
use crate::support::{serve, serve_service, service};

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// One sender's genuine request, and how its receiver is configured.
struct Subject {
    name: &'static str,
    request: Request<Bytes>,
    bench: Bench,
    config: Option<SenderConfig>,
    is_body_signed: bool,
    is_address_signed: bool,
}

impl Subject {
    async fn new(case: &Case) -> Self {
        let sender = builtin::all().find(|sender| sender.name == case.name).unwrap();
        let bench = Bench::new(sender, case);
        let request = bench.sign(case);
        let delivery = bench.send(&request).await.unwrap();
        // Everything that a sender signs of an address makes another one a mismatch.
        let mut elsewhere = request.clone();
        *elsewhere.uri_mut() = "/another/path?tenant=a%2Fb".parse().unwrap();
        let is_address_signed = case.name != "adyen_payments" && bench.send(&elsewhere).await.is_err();
        Self {
            name: case.name,
            config: senders::config(case).map(|config| config.with_provider(case.name)),
            is_body_signed: delivery.signed().body,
            is_address_signed: is_address_signed && request.uri().path() != elsewhere.uri().path(),
            request,
            bench,
        }
    }

    /// The headers that have the proof, or a time.
    fn signed_headers(&self, case: &Case) -> Vec<HeaderName> {
        let plain = &case.request;
        let differs = |name: &&HeaderName| plain.headers().get(*name) != self.request.headers().get(*name);
        self.request.headers().keys().filter(differs).cloned().collect()
    }

    fn explainer(&self) -> Explainer {
        match &self.config {
            Some(config) => Explainer::from_config(config.clone()).unwrap(),
            None => Explainer::new(self.bench.scheme.clone()),
        }
    }

    /// An explainer with this secret instead of the sender's, if the sender can have it.
    fn with_secret(&self, secret: Secret) -> Option<Explainer> {
        let config = self.config.clone().filter(|config| !config.secrets.is_empty())?;
        Explainer::from_config(config.with_secrets([secret])).ok()
    }
}

/// What the operator was told, by mistake and sender.
#[derive(Default)]
struct Told {
    right: BTreeMap<&'static str, Vec<(&'static str, Explanation)>>,
    wrong: Vec<String>,
}

impl Told {
    /// Explains a request that is refused, and expects this mistake to be named.
    async fn expect(
        &mut self,
        subject: &Subject,
        what: &'static str,
        mistakes: &[Mistake],
        explainer: &Explainer,
        request: &Request<Bytes>,
        now: Duration,
    ) {
        let (head, body) = request.clone().into_parts();
        let explanation = explainer.explain(&head, Some(&body), UNIX_EPOCH + now).await;
        match explanation {
            Some(explanation) if mistakes.iter().all(|mistake| explanation.has(*mistake)) => {
                let shown = explanation.to_string();
                assert!(!shown.contains(SECRET) && !shown.contains('\n'), "{}: {shown}", subject.name);
                self.right.entry(what).or_default().push((subject.name, explanation));
            }
            other => {
                let told = other.map_or_else(|| "nothing".to_owned(), |other| other.to_string());
                self.wrong.push(format!("{what}: {}: {told}", subject.name));
            }
        }
    }
}

fn with_body(request: &Request<Bytes>, body: impl Into<Bytes>) -> Request<Bytes> {
    let body = body.into();
    request.clone().map(|_| body)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// The JSON with a space after each comma and colon, as Python writes it.
fn as_python(body: &[u8]) -> Option<Vec<u8>> {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).ok()?;
    let (mut written, mut in_string) = (Vec::new(), false);
    for (at, byte) in body.iter().enumerate() {
        in_string ^= *byte == b'"' && body[..at].last() != Some(&b'\\');
        written.push(*byte);
        if !in_string && matches!(byte, b',' | b':') {
            written.push(b' ');
        }
    }
    (written != body).then_some(written)
}

/// The JSON without spaces outside of its strings.
fn as_compact(body: &[u8]) -> Vec<u8> {
    let mut in_string = false;
    let is_kept = |(at, byte): &(usize, &u8)| {
        in_string ^= **byte == b'"' && body[..*at].last() != Some(&b'\\');
        in_string || !byte.is_ascii_whitespace()
    };
    body.iter().enumerate().filter(is_kept).map(|(_, byte)| *byte).collect()
}

/// Whether the sender refuses this, so that there is something to explain.
async fn is_refused(subject: &Subject, request: &Request<Bytes>) -> bool {
    subject.bench.send(request).await.is_err()
}

/// Where in a value a signature is, in hexadecimal or base64.
fn signature(value: &str) -> Option<std::ops::Range<usize>> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "+/=-_".contains(char);
    // Behind a prefix that ends with `=`, as in `sha256=`, too.
    let starts = std::iter::once(0).chain(value.match_indices(['=', ',', ' ', ':']).map(|(at, _)| at + 1));
    let mut found = starts.filter_map(|start| {
        let len = value[start..].find(|char| !is_part(char)).unwrap_or(value.len() - start);
        let text = &value[start..start + len];
        let is_hex = [40, 64, 128].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_base64 = STANDARD.decode(text).is_ok_and(|bytes| [20, 32, 64].contains(&bytes.len()));
        (is_hex || is_base64).then_some(start..start + len)
    });
    found.next_back()
}

/// The same signature in the other encoding.
fn reencoded(value: &str) -> Option<String> {
    let range = signature(value)?;
    let text = &value[range.clone()];
    let other = match hex_decode(text) {
        Some(bytes) => STANDARD.encode(bytes),
        None => STANDARD.decode(text).unwrap().iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    Some([&value[..range.start], &other, &value[range.end..]].concat())
}

fn hex_decode(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

const OLD: &str = "the old secret";

async fn mistakes(told: &mut Told, case: &Case, subject: &Subject) {
    use Mistake::{
        Address, BodyCoding, BodyEdges, BodyReserialized, Clock, JoinedHeaders, LayerOrder, OtherHeader, OtherRoute,
        OtherSecret, SecretEncoding, SecretWhiteSpace, SignatureEncoding,
    };
    let (explainer, request) = (&subject.explainer(), &subject.request);
    let body = request.body();
    // What was written with spaces of its own cannot be found again.
    let is_compact = body.trim_ascii_end() == as_compact(body);
    let python = as_python(body.trim_ascii_end()).filter(|_| is_compact).map(|python| with_body(request, python));
    let old = subject
        .with_secret("another secret".into())
        .map(|explainer| explainer.with_other_secrets(OLD, subject.config.as_ref().unwrap().secrets.clone()));

    // The body.
    if let Some(request) = python.as_ref().filter(|_| subject.is_body_signed)
        && is_refused(subject, request).await
    {
        told.expect(subject, "spaces", &[BodyReserialized], explainer, request, NOW).await;
        if let Some(old) = &old {
            told.expect(subject, "spaces, and an old secret", &[BodyReserialized, OtherSecret], old, request, NOW)
                .await;
        }
    }
    for (what, changed) in [
        ("a line break at the end", [body, &b"\n"[..]].concat()),
        ("a byte order mark", [&b"\xef\xbb\xbf"[..], body].concat()),
    ] {
        let request = with_body(request, changed);
        if subject.is_body_signed && !body.is_empty() && is_refused(subject, &request).await {
            told.expect(subject, what, &[BodyEdges], explainer, &request, NOW).await;
        }
    }
    let mut packed = with_body(request, gzip(body));
    packed.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if subject.is_body_signed && !body.is_empty() && is_refused(subject, &packed).await {
        told.expect(subject, "compressed", &[BodyCoding], explainer, &packed, NOW).await;
    }
    if subject.is_body_signed && !body.is_empty() {
        let mut empty = with_body(request, Bytes::new());
        empty.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        if is_refused(subject, &empty).await {
            told.expect(subject, "read before", &[LayerOrder], explainer, &empty, NOW).await;
        }
    }

    // The secret.
    {
        for (what, wrong) in [
            ("base64 for text", STANDARD.encode(SECRET)),
            ("hexadecimal for text", SECRET.bytes().map(|byte| format!("{byte:02x}")).collect()),
        ] {
            if let Some(explainer) = subject.with_secret(Secret::from_bytes(wrong)).filter(|_| case_has_text(case)) {
                told.expect(subject, what, &[SecretEncoding], &explainer, request, NOW).await;
            }
        }
        for (what, wrong) in
            [("a line break behind the secret", format!("{SECRET}\n")), ("spaces", format!(" {SECRET} "))]
        {
            if let Some(explainer) = subject.with_secret(Secret::from_bytes(wrong)).filter(|_| case_has_text(case)) {
                let what = if what == "spaces" { "spaces around the secret" } else { what };
                told.expect(subject, what, &[SecretWhiteSpace], &explainer, request, NOW).await;
            }
        }
        if let Some(old) = &old {
            told.expect(subject, "an old secret", &[OtherSecret], old, request, NOW).await;
        }
    }

    // The head.
    for header in subject.signed_headers(case) {
        let value = request.headers()[&header].to_str().unwrap();
        if let Some(other) = reencoded(value) {
            let mut request = request.clone();
            request.headers_mut().insert(&header, other.parse().unwrap());
            if is_refused(subject, &request).await {
                told.expect(subject, "another encoding", &[SignatureEncoding], explainer, &request, NOW).await;
            }
        }
        let mut twice = request.clone();
        twice.headers_mut().append(&header, request.headers()[&header].clone());
        told.expect(subject, "a header twice", &[JoinedHeaders], explainer, &twice, NOW).await;
        let mut joined = request.clone();
        joined.headers_mut().insert(&header, format!("{value}, {value}").parse().unwrap());
        if is_refused(subject, &joined).await {
            told.expect(subject, "a header joined", &[JoinedHeaders], explainer, &joined, NOW).await;
        }
        let mut moved = request.clone();
        let value = moved.headers_mut().remove(&header).unwrap();
        moved.headers_mut().insert(format!("x-original-{header}").parse::<HeaderName>().unwrap(), value);
        told.expect(subject, "another header", &[OtherHeader], explainer, &moved, NOW).await;
    }

    // The time.
    if testing::facts(&subject.bench.scheme).tolerance.is_some() {
        for (what, now) in [
            ("a clock that is ahead", NOW + Duration::from_secs(7400)),
            ("a clock that is behind", NOW - Duration::from_secs(7400)),
        ] {
            if senders::send(&subject.bench.scheme, UNIX_EPOCH + now, request.clone()).await.is_err() {
                told.expect(subject, what, &[Clock], explainer, request, now).await;
            }
        }
        let tomorrow = UNIX_EPOCH + NOW + Duration::from_secs(86_400);
        let is_stale = senders::send(&subject.bench.scheme, tomorrow, request.clone()).await.is_err();
        if let Some(old) = old.as_ref().filter(|_| is_stale) {
            let now = NOW + Duration::from_secs(86_400);
            told.expect(subject, "a clock, and an old secret", &[Clock, OtherSecret], old, request, now).await;
        }
    }

    // The address.
    if subject.is_address_signed {
        for path in ["/hooks/in/?tenant=a%2Fb", "/proxy/hooks/in?tenant=a%2Fb", "/hooks/in?tenant=a/b"] {
            let mut request = request.clone();
            let query = request.uri().query().unwrap().to_owned();
            let path = path.split_once('?').unwrap();
            let query = if path.1.contains("%2F") { query } else { query.replace("%2F", "/") };
            *request.uri_mut() = format!("{}?{query}", path.0).parse::<Uri>().unwrap();
            if is_refused(subject, &request).await {
                told.expect(subject, "another path", &[Address], explainer, &request, NOW).await;
            }
        }
        for base in [
            "http://hooks.example.com",
            "https://hooks.example.com:8443",
            "https://10.0.0.7",
            "https://hooks.example.com/in",
        ] {
            let config = senders::config(case).unwrap().with_public_url(base);
            let sender = builtin::by_name(subject.name, config.clone()).unwrap();
            if senders::send(&sender, UNIX_EPOCH + NOW, request.clone()).await.is_ok() {
                continue;
            }
            let explainer = Explainer::from_config(config.with_provider(subject.name)).unwrap();
            let mut request = request.clone();
            request.headers_mut().insert("host", HeaderValue::from_static("hooks.example.com"));
            told.expect(subject, "another address", &[Address], &explainer, &request, NOW).await;
        }
    }

    // The route.
    let wrong = Explainer::new(builtin::cdr_manager("a secret of its own").unwrap());
    let wrong = wrong.with_other_sender("/hooks/right", subject.bench.scheme.clone());
    if subject.name != "cdr_manager" {
        told.expect(subject, "another route", &[OtherRoute], &wrong, request, NOW).await;
    }
}

/// Whether the sender's key is the text of the secret, as in most cases.
fn case_has_text(case: &Case) -> bool {
    let config = senders::config(case).unwrap_or_default();
    config.secrets.len() == 1
        && !["adyen_banking", "adyen_payments", "airtable", "microsoft_teams"].contains(&case.name)
}

/// One mistake with one sender that everybody knows: the request, and what the operator is told.
struct Example {
    what: &'static str,
    mistakes: &'static [Mistake],
    explainer: Explainer,
    request: Request<Bytes>,
}

/// The mistakes as the guide shows them, and further forms of some.
async fn examples() -> (Vec<Example>, Vec<Example>) {
    use Mistake::{
        Address, BodyCoding, BodyEdges, BodyReserialized, Clock, JoinedHeaders, LayerOrder, OtherEnvironment,
        OtherHeader, OtherRecipient, OtherRoute, OtherSecret, OtherSender, SecretEncoding, SecretWhiteSpace,
        SignatureEncoding,
    };
    const BODY: &str =
        r#"{"ref":"main","id":7,"price":1.50,"who":"Zoë <z@example.com>","url":"https://example.com/a"}"#;
    let config = |name: &str, secret: &str| SenderConfig::default().with_provider(name).with_secrets([secret]);
    let explainer = |name: &str, secret: &str| Explainer::from_config(config(name, secret)).unwrap();
    let sign = |scheme: &Scheme, request: Request<Bytes>| signed(scheme, request);
    let post = |body: &[u8]| Request::post("/webhooks").body(Bytes::copy_from_slice(body)).unwrap();
    let github = builtin::github("s3cret").unwrap();
    let genuine = sign(&github, post(BODY.as_bytes()));
    let arrives = |body: &[u8]| with_body(&genuine, body.to_vec());
    let with = |name: &'static str, value: String| {
        let mut request = genuine.clone();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let own = |what, mistakes, request| Example { what, mistakes, explainer: explainer("github", "s3cret"), request };
    let signature = genuine.headers()["x-hub-signature-256"].to_str().unwrap().to_owned();

    let mut announced = arrives(b"");
    announced.headers_mut().insert(CONTENT_LENGTH, BODY.len().into());
    let mut packed = arrives(&gzip(BODY.as_bytes()));
    packed.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let mut elsewhere = with("x-signature", signature.clone());
    elsewhere.headers_mut().remove("x-hub-signature-256");
    let square = builtin::square("s3cret", "https://hooks.example.com").unwrap();
    let square_here = config("square", "s3cret").with_public_url("http://hooks.example.com:8080");
    let mut square_request = sign(&square, post(b"{}"));
    square_request.headers_mut().insert("host", HeaderValue::from_static("hooks.example.com"));
    let shopify = builtin::shopify("another secret").unwrap();
    let stripe = builtin::stripe("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let hex: String = STANDARD
        .decode(&signed(&builtin::shopify("s3cret").unwrap(), post(b"{}")).headers()["x-shopify-hmac-sha256"])
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut shopify_hex = post(b"{}");
    shopify_hex.headers_mut().insert("x-shopify-hmac-sha256", hex.parse().unwrap());

    let shown = vec![
        own("a proxy wrote the JSON anew", &[BodyReserialized][..], arrives(&as_python(BODY.as_bytes()).unwrap())),
        own("a line break was added to the body", &[BodyEdges], arrives(format!("{BODY}\n").as_bytes())),
        Example {
            what: "the secret of Stripe was decoded as base64, but is text",
            mistakes: &[SecretEncoding],
            explainer: explainer("stripe", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            request: sign(&stripe, post(b"{}")),
        },
        Example {
            what: "the file with the secret ends with a line break",
            mistakes: &[SecretWhiteSpace],
            explainer: explainer("github", "s3cret\n"),
            request: genuine.clone(),
        },
        Example {
            what: "the test secret in production",
            mistakes: &[OtherEnvironment],
            explainer: explainer("stripe", "whsec_test_a_secret"),
            request: sign(&builtin::stripe("whsec_another").unwrap(), post(br#"{"livemode":true}"#)),
        },
        Example {
            what: "the sender still has the old secret",
            mistakes: &[OtherSecret],
            explainer: explainer("github", "the new one").with_other_secrets(OLD, "s3cret"),
            request: genuine.clone(),
        },
        Example {
            what: "the signature in hexadecimal instead of base64",
            mistakes: &[SignatureEncoding],
            explainer: explainer("shopify", "s3cret"),
            request: shopify_hex,
        },
        Example {
            what: "the clock is an hour ahead",
            mistakes: &[Clock],
            explainer: explainer("stripe", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            request: signed_at(&stripe, post(b"{}"), NOW - Duration::from_secs(3612)),
        },
        Example {
            what: "the `public_url` is not the address that the sender has",
            mistakes: &[Address],
            explainer: Explainer::from_config(square_here).unwrap(),
            request: square_request,
        },
        own("the body arrived compressed", &[BodyCoding], packed),
        own("the signature came in another header", &[OtherHeader], elsewhere),
        Example {
            what: "Stripe sends to the route of GitHub",
            mistakes: &[OtherSender],
            explainer: explainer("github", "s3cret"),
            request: sign(&stripe, post(b"{}")),
        },
        Example {
            what: "two routes were mixed up",
            mistakes: &[OtherRoute],
            explainer: explainer("github", "s3cret").with_other_sender("/webhooks/shopify", shopify.clone()),
            request: sign(&shopify, post(b"{}")),
        },
        own("something read the body before the layer", &[LayerOrder], announced),
        own(
            "a proxy joined the header of two requests",
            &[JoinedHeaders],
            with("x-hub-signature-256", format!("{signature}, {signature}")),
        ),
        own(
            "a proxy wrote the JSON anew, and the sender has the old secret",
            &[BodyReserialized, OtherSecret],
            arrives(&as_python(BODY.as_bytes()).unwrap()),
        ),
    ];
    let mut shown = shown;
    if let Some(last) = shown.last_mut() {
        last.explainer = explainer("github", "the new one").with_other_secrets(OLD, "s3cret");
    }

    let signed_as = |body: &str| sign(&github, post(body.as_bytes()));
    let changed = |what, signed: &str, arrived: &str| {
        own(what, &[BodyReserialized], with_body(&signed_as(signed), arrived.as_bytes().to_vec()))
    };
    let connect = tower_webhook::Connect::new("s3cret").unwrap().with_webhook_id("WH-1");
    let other_webhook = config("cloudblue_connect", "s3cret").with_webhook_id("WH-2");
    let further = vec![
        changed("sorted keys", r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        changed("escapes", r#"{"a":"\u00eb"}"#, r#"{"a":"ë"}"#),
        changed("no escapes", r#"{"a":"ë"}"#, r#"{"a":"\u00eb"}"#),
        changed("slashes", r#"{"a":"b\/c"}"#, r#"{"a":"b/c"}"#),
        changed("HTML", r#"{"a":"\u003c&"}"#.replace('&', "\\u0026").as_str(), r#"{"a":"<&"}"#),
        changed("one number", r#"{"a":1.0,"b":2}"#, r#"{"a":1,"b":2}"#),
        changed("all numbers", r#"{"a":1.0,"b":2.0}"#, r#"{"a":1,"b":2}"#),
        changed("the end of a number", r#"{"a":1.5}"#, r#"{"a":1.50}"#),
        changed("pretty", "{\n  \"a\": [\n    1\n  ]\n}", r#"{"a":[1]}"#),
        changed("PHP with spaces", r#"{"a":"\u00eb\/"}"#, r#"{"a": "ë/"}"#),
        changed("line ends", "{\n}", "{\r\n}"),
        own("white space", &[BodyEdges], with_body(&genuine, [b" ", BODY.as_bytes(), b" "].concat())),
        own("the end was trimmed", &[BodyEdges], with_body(&signed_as("{}\n"), "{}")),
        own("base64 of a gateway", &[BodyCoding], arrives(STANDARD.encode(BODY).as_bytes())),
        own(
            "upper case",
            &[SignatureEncoding],
            with("x-hub-signature-256", signature.to_uppercase().replace("SHA256", "sha256")),
        ),
        own("no prefix", &[SignatureEncoding], with("x-hub-signature-256", signature.replace("sha256=", ""))),
        own("in quotes", &[SignatureEncoding], with("x-hub-signature-256", format!("\"{signature}\""))),
        Example {
            what: "a scheme that is not built in",
            mistakes: &[SecretWhiteSpace],
            explainer: Explainer::new(acme("s3cret\n")),
            request: sign(&acme("s3cret"), post(b"{}")),
        },
        Example {
            what: "another webhook",
            mistakes: &[OtherRecipient],
            explainer: Explainer::from_config(other_webhook).unwrap(),
            request: signed(&connect, post(b"{}")),
        },
        Example {
            what: "an environment in the secret's name",
            mistakes: &[OtherEnvironment],
            explainer: explainer("github", "key_test_1234"),
            request: sign(&builtin::github("key_live_1234").unwrap(), post(b"{}")),
        },
        Example {
            what: "a clock and a line break",
            mistakes: &[Clock, BodyEdges],
            explainer: explainer("stripe", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            request: with_body(&signed_at(&stripe, post(b"{}"), NOW - Duration::from_secs(3612)), "{}\n"),
        },
        Example {
            what: "a clock and one of many styles",
            mistakes: &[Clock, BodyReserialized],
            explainer: explainer("stripe", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            request: with_body(
                &signed_at(&stripe, post("{\n\t\"a\": \"ë\"\n}".as_bytes()), NOW - Duration::from_secs(3612)),
                r#"{"a":"\u00eb"}"#,
            ),
        },
        Example {
            what: "a path and an address",
            mistakes: &[Address],
            explainer: Explainer::from_config(config("square", "s3cret").with_public_url("http://hooks.example.com"))
                .unwrap(),
            request: {
                let mut request = sign(&square, Request::post("/hooks/in").body(Bytes::new()).unwrap());
                *request.uri_mut() = "/in".parse().unwrap();
                request.headers_mut().insert("x-forwarded-prefix", HeaderValue::from_static("/hooks"));
                request
            },
        },
        Example {
            what: "Stripe with a secret that is not known",
            mistakes: &[OtherSender],
            explainer: explainer("github", "s3cret"),
            request: sign(&builtin::stripe("whsec_another").unwrap(), post(b"{}")),
        },
        own("a browser", &[Mistake::NoWebhook], {
            let mut request = post(b"");
            *request.method_mut() = http::Method::GET;
            request
        }),
    ];
    (shown, further)
}

/// A sender that is described in code.
fn acme(secret: &str) -> Scheme {
    let signature = header("x-acme-signature").hex();
    Scheme::hmac_sha256().signature(signature).secret(secret).build("acme").unwrap()
}

fn signed(sender: &impl testing::Sign, request: Request<Bytes>) -> Request<Bytes> {
    signed_at(sender, request, NOW)
}

fn signed_at(sender: &impl testing::Sign, request: Request<Bytes>, at: Duration) -> Request<Bytes> {
    sender.sign_at(request, UNIX_EPOCH + at).unwrap()
}

#[tokio::test]
async fn each_mistake_is_explained_as_the_guide_says() {
    let (shown, further) = examples().await;
    let mut table = String::from("| what happened | what the operator is told |\n|---|---|\n");
    let mut wrong = Vec::new();
    for (at, Example { what, mistakes, explainer, request }) in shown.iter().chain(&further).enumerate() {
        let (head, body) = request.clone().into_parts();
        let explanation = explainer.explain(&head, Some(&body), UNIX_EPOCH + NOW).await;
        let told = explanation.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        if !explanation.is_some_and(|explanation| mistakes.iter().all(|mistake| explanation.has(*mistake))) {
            wrong.push(format!("{what}: {told}"));
        }
        assert!(!told.contains("s3cret") && !told.contains("MfKQ"), "{told}");
        if at < shown.len() {
            table += &format!("| {what} | {told} |\n");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let guide = std::fs::read_to_string(&path).unwrap();
    if std::env::var_os("WRITE_DOCS").is_some() {
        let (before, rest) = guide.split_once("<!-- mistakes -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end of mistakes -->").unwrap();
        std::fs::write(&path, format!("{before}<!-- mistakes -->\n{table}<!-- end of mistakes -->{after}")).unwrap();
    } else {
        assert!(guide.contains(&table), "run it with WRITE_DOCS=1: docs/troubleshooting.md lacks\n{table}");
    }
}

#[tokio::test]
async fn a_request_that_nothing_explains_is_not_explained() {
    let github = builtin::github("another secret").unwrap();
    let (head, body) = signed(&github, Request::post("/").body(Bytes::from_static(b"{\"a\":1}")).unwrap()).into_parts();
    let explainer =
        Explainer::from_config(SenderConfig::default().with_provider("github").with_secrets(["s3cret"])).unwrap();
    assert_eq!(explainer.explain(&head, Some(&body), UNIX_EPOCH + NOW).await, None);
    // The work is bounded, whatever the head and the body hold.
    let mut hostile = head.clone();
    for number in 0..90 {
        let value = vec!["A".repeat(30); 130].join(",");
        hostile.headers.insert(format!("x-{number}").parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    hostile.headers.remove("x-hub-signature-256");
    let told = explainer.explain(&hostile, Some(&body), UNIX_EPOCH + NOW).await;
    assert!(told.as_ref().is_some_and(|told| !told.is_proven()), "{told:?}");
    let numbers = format!("[{}]", vec!["1"; 100_000].join(","));
    assert_eq!(explainer.explain(&head, Some(&numbers.into()), UNIX_EPOCH + NOW).await, None);
}

#[tokio::test]
async fn every_sender_that_signs_with_a_secret_sends_samples_that_verify() {
    let mut wrong = Vec::new();
    for sender in builtin::all() {
        let config = senders::sample_config(sender.name);
        if config.secrets.is_empty() {
            continue;
        }
        let sample = testing::SampleSender::new(config.clone().with_provider(sender.name)).unwrap();
        let request = Request::post("/hooks/in?a=b").body(None).unwrap();
        let at = UNIX_EPOCH + NOW;
        let scheme = sender.build(config).unwrap();
        let sent = match sample.sign(request, Some("a.test"), "test_1", at) {
            Ok(request) => {
                senders::send(&scheme, at, request).await.map(|delivery| delivery.event().map(str::to_owned))
            }
            Err(error) => {
                wrong.push(format!("{}: {error}", sender.name));
                continue;
            }
        };
        match sent {
            // Adyen signs the event's name, so its sample has one of Adyen's.
            Ok(event) if matches!(event.as_deref(), None | Some("a.test" | "AUTHORISATION")) => {}
            other => wrong.push(format!("{}: {other:?}", sender.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn each_mistake_is_named_for_each_sender_that_can_have_it() {
    let mut told = Told::default();
    for case in &senders::cases() {
        let subject = Subject::new(case).await;
        mistakes(&mut told, case, &subject).await;
    }
    for (what, right) in &told.right {
        println!("{what}: {} senders, such as {}: {}", right.len(), right[0].0, right[0].1);
    }
    assert!(told.wrong.is_empty(), "{}", told.wrong.join("\n"));
}

/// A layer for GitHub that tells what it refused, and why.
fn diagnosed() -> (WebhookLayer<Scheme>, mpsc::UnboundedReceiver<(Reason, Explanation)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let diagnosis = Diagnosis::default()
        .with_other_secrets(OLD, "0ld s3cret")
        .on_explained(move |rejection, explanation| tell.send((rejection.reason(), explanation.clone())).unwrap());
    let layer = WebhookLayer::new(builtin::github("s3cret\n").unwrap());
    (layer.with_clock(|| UNIX_EPOCH + NOW).with_diagnosis(diagnosis), told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<(Reason, Explanation)>) -> (Reason, Explanation) {
    tokio::time::timeout(Duration::from_secs(20), told.recv()).await.expect("an explanation in time").unwrap()
}

#[tokio::test]
async fn a_layer_explains_what_it_refuses_and_answers_as_before() {
    let (layer, mut told) = diagnosed();
    let handler = |_: Request<Full<Bytes>>| async { Bytes::from_static(b"taken") };
    let server = serve_service(service(layer, handler)).await;
    let plain = WebhookLayer::new(builtin::github("s3cret\n").unwrap()).with_clock(|| UNIX_EPOCH + NOW);
    let undiagnosed = serve_service(service(plain, handler)).await;
    // The same where an extractor verifies.
    let (state, mut told_there) = diagnosed();
    let route = post_to(async |Authentic(body): Authentic<Bytes>| body);
    let extractor = serve(Router::new().route("/hooks", route).with_state(state)).await;

    let post = || Request::post("/hooks").body(Bytes::from_static(b"{}")).unwrap();
    let by = |secret: &str| signed(&builtin::github(secret).unwrap(), post());
    let mut in_hex = by("s3cret\n");
    let upper = in_hex.headers()["x-hub-signature-256"].to_str().unwrap().to_uppercase().replace("SHA256", "sha256");
    in_hex.headers_mut().insert("x-hub-signature-256", upper.parse().unwrap());
    let stripe = signed(&builtin::stripe("whsec_another").unwrap(), post());
    for (request, reason, mistake) in [
        (by("s3cret"), Reason::SignatureMismatch, Mistake::SecretWhiteSpace),
        (by("0ld s3cret"), Reason::SignatureMismatch, Mistake::OtherSecret),
        // Refused by their heads.
        (in_hex, Reason::MalformedSignature, Mistake::SignatureEncoding),
        (stripe, Reason::MissingSignature, Mistake::OtherSender),
    ] {
        let reply = server.send(request.clone().map(Full::new)).await;
        assert_eq!(extractor.send(request.clone().map(Full::new)).await.status, 401);
        let before = undiagnosed.send(request.map(Full::new)).await;
        assert_eq!((reply.status, &reply.body), (before.status, &before.body));
        let strip = |headers: &http::HeaderMap| {
            headers
                .iter()
                .filter(|(name, _)| *name != "date")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(strip(&reply.headers), strip(&before.headers));
        assert_eq!(reply.status, 401);
        let (refused, explanation) = next(&mut told).await;
        assert_eq!(refused, reason);
        assert!(explanation.has(mistake), "{explanation}");
        let (refused, explanation) = next(&mut told_there).await;
        assert!(refused == reason && explanation.has(mistake), "{refused:?}: {explanation}");
    }
    // What is genuine is not explained, and neither is what nothing explains.
    assert_eq!(server.send(by("s3cret\n").map(Full::new)).await.text(), "taken");
    assert_eq!(extractor.send(by("s3cret\n").map(Full::new)).await.text(), "{}");
    assert_eq!(server.send(by("nobody's").map(Full::new)).await.status, 401);
    assert!(told.try_recv().is_err() && told_there.try_recv().is_err());
}

#[tokio::test]
async fn no_more_than_a_few_refusals_are_explained_at_once() {
    let (layer, mut told) = diagnosed();
    let service = layer.layer(tower::service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::new())))
    }));
    let request =
        signed(&builtin::github("s3cret").unwrap(), Request::post("/").body(Bytes::from_static(b"{}")).unwrap());
    // One after another, so that none is left out because others are being explained.
    for _ in 0..10 {
        assert_eq!(service.clone().oneshot(request.clone().map(Full::new)).await.unwrap().status(), 401);
        assert!(next(&mut told).await.1.has(Mistake::SecretWhiteSpace));
    }
    // The clock stands still, so there are no more.
    for _ in 0..100 {
        assert_eq!(service.clone().oneshot(request.clone().map(Full::new)).await.unwrap().status(), 401);
    }
    let waited = tokio::time::timeout(Duration::from_millis(200), told.recv()).await;
    assert!(waited.is_err(), "an eleventh explanation without a second in between");
}

#[tokio::test]
async fn in_observe_mode_the_handler_gets_the_request_and_the_operator_the_explanation() {
    let (layer, mut told) = diagnosed();
    let handler = |_: Request<Full<Bytes>>| async { Bytes::from_static(b"taken") };
    let server = serve_service(service(layer.observe_only(), handler)).await;
    let request =
        signed(&builtin::github("s3cret").unwrap(), Request::post("/").body(Bytes::from_static(b"{}")).unwrap());
    assert_eq!(server.send(request.map(Full::new)).await.text(), "taken");
    assert!(next(&mut told).await.1.has(Mistake::SecretWhiteSpace));
}
