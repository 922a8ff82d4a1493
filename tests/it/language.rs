//! What a scheme can say: algorithms, tokens, keys by id, HTTP Message Signatures, handshakes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;
use tower_webhook::scheme::{
    self, ChainRoots, Handshake, Jwks, JwtClaims, JwtRules, KeyLookup, MessageRules, SchemeBuilder, bearer, header,
    json,
};
use tower_webhook::senders::{self, SenderConfig};
use tower_webhook::testing::{self, SigningKey};
use tower_webhook::{Answer, Delivery, Encoding, Reason, Scheme, Webhook, WebhookLayer};

use crate::senders::send;

const BODY: &str = r#"{"type":"x.done"}"#;

fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn request(body: &'static str) -> Request<Bytes> {
    Request::post("/hooks/in?a=1").header("host", "hooks.example.com").body(Bytes::from(body)).unwrap()
}

async fn whole(request: Request<Full<Bytes>>) -> Request<Bytes> {
    let (head, body) = request.into_parts();
    Request::from_parts(head, body.collect().await.unwrap().to_bytes())
}

async fn signed_with(scheme: &Scheme, key: &SigningKey, body: &'static str) -> Request<Bytes> {
    whole(testing::sign_with_at(scheme, key, request(body), at()).unwrap()).await
}

async fn signed(scheme: &Scheme, body: &'static str) -> Request<Bytes> {
    whole(testing::sign_at(scheme, request(body), at()).unwrap()).await
}

async fn verdict(scheme: &Scheme, request: Request<Bytes>) -> Result<Delivery, Reason> {
    send(scheme, at(), request).await
}

/// What a layer answers without calling a handler, or `None` if it called it.
async fn answer(scheme: &Scheme, request: Request<Bytes>) -> Option<(u16, String)> {
    let called = Arc::new(AtomicU32::new(0));
    let count = called.clone();
    let handler = service_fn(move |_: Request<Full<Bytes>>| {
        count.fetch_add(1, Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let response =
        WebhookLayer::new(scheme.clone()).with_clock(at).layer(handler).oneshot(request.map(Full::new)).await;
    let (head, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (called.load(Relaxed) == 0).then(|| (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
}

fn keys(key: &SigningKey) -> Jwks {
    let set = key.jwks().unwrap();
    let fetch = move |_| std::future::ready(Ok::<_, Infallible>(Response::new(Bytes::from(set.clone()))));
    Jwks::builder("https://keys.example.com").fetch(fetch).build().unwrap()
}

/// Each algorithm verifies what a key of its kind signed, and nothing else.
#[tokio::test]
async fn every_algorithm_of_public_keys_verifies_its_own_signatures_alone() {
    let (p256, p384) = (SigningKey::ecdsa_p256().unwrap(), SigningKey::ecdsa_p384().unwrap());
    let (rsa, ed25519) = (SigningKey::rsa().unwrap(), SigningKey::ed25519().unwrap());
    let built = |builder: SchemeBuilder, key: &SigningKey| {
        builder.signature(header("x-signature").base64()).with_public_key(key.public_key()).build("acme").unwrap()
    };
    let schemes: Vec<(Scheme, &SigningKey)> = vec![
        (built(Scheme::ed25519(), &ed25519), &ed25519),
        (built(Scheme::ecdsa_p256(), &p256), &p256),
        (built(Scheme::ecdsa_p256_sha1_for_legacy_senders_only(), &p256), &p256),
        (built(Scheme::ecdsa_p384(), &p384), &p384),
        (built(Scheme::rsa_pkcs1_sha256(), &rsa), &rsa),
        (built(Scheme::rsa_pkcs1_sha384(), &rsa), &rsa),
        (built(Scheme::rsa_pkcs1_sha512(), &rsa), &rsa),
        (built(Scheme::rsa_pss_sha256(), &rsa), &rsa),
        (built(Scheme::rsa_pss_sha384(), &rsa), &rsa),
        (built(Scheme::rsa_pss_sha512(), &rsa), &rsa),
    ];
    let mut requests = Vec::new();
    for (scheme, key) in &schemes {
        requests.push(signed_with(scheme, key, BODY).await);
    }
    for (at, (scheme, _)) in schemes.iter().enumerate() {
        for (by, request) in requests.iter().enumerate() {
            let verdict = verdict(scheme, request.clone()).await;
            assert_eq!(verdict.is_ok(), at == by, "{at} {by}: {:?}", verdict.err());
        }
        let changed = requests[at].clone().map(|_| Bytes::from("{}"));
        assert_eq!(verdict(scheme, changed).await.err(), Some(Reason::SignatureMismatch));
    }
}

/// RFC 4231, case 2, for HMAC-SHA384.
#[tokio::test]
async fn hmac_sha384_makes_the_rfc_s_code() {
    let scheme = Scheme::hmac_sha384().signature(header("x-signature").hex()).secret("Jefe").build("acme").unwrap();
    let signed = signed(&scheme, "what do ya want for nothing?").await;
    assert_eq!(
        signed.headers()["x-signature"],
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
    );
    assert!(verdict(&scheme, signed).await.is_ok());
}

/// While Persona rotates a secret, each of the two lists has the time.
#[tokio::test]
async fn a_list_of_lists_has_one_time_and_several_signatures() {
    let persona = |secret: &str| senders::persona(secret).unwrap();
    let value = async |secret: &str| {
        signed(&persona(secret), BODY).await.headers()["persona-signature"].to_str().unwrap().to_owned()
    };
    let (old, new) = (value("old").await, value("new").await);
    let other_time = new.replace("t=1800000000", "t=1800000001");
    for (value, expected) in [
        (new.clone(), None),
        (format!("{old} {new}"), None),
        (format!("{new} {old}"), None),
        (old.clone(), Some(Reason::SignatureMismatch)),
        (format!("{old} {other_time}"), Some(Reason::MalformedTimestamp)),
        (format!("{old} {}", new.replace("v1=", "v2=")), Some(Reason::SignatureMismatch)),
    ] {
        let mut request = request(BODY);
        request.headers_mut().insert("persona-signature", HeaderValue::try_from(&value).unwrap());
        assert_eq!(verdict(&persona("new"), request).await.err(), expected, "{value}");
    }
    let row = r#"{"provider": "scheme", "secrets": ["new"], "scheme": {"name": "by_hand", "algorithm": "hmac_sha256",
        "signature": {"header": "persona-signature", "list": ", ", "prefix": "v1=", "encoding": "hex"},
        "timestamp": {"header": "persona-signature", "list": ", ", "prefix": "t=", "format": "unix_seconds"},
        "signed": "{timestamp}.{body}"}}"#;
    assert!(serde_json::from_str::<SenderConfig>(row).unwrap().build().is_ok());
    let three = row.replace(r#""list": ", ""#, r#""list": ",; ""#);
    let error = serde_json::from_str::<SenderConfig>(&three).unwrap().build().unwrap_err();
    assert!(error.to_string().contains("one separator"), "{error}");
}

#[tokio::test]
async fn a_signature_may_be_behind_the_id_of_its_key_and_the_name_of_its_hash() {
    let worldpay = |secret: &str| senders::worldpay(secret).unwrap();
    let hex = async |secret: &str| {
        let signed = signed(&worldpay(secret), BODY).await;
        signed.headers()["event-signature"].to_str().unwrap().strip_prefix("1/").unwrap().to_owned()
    };
    let (old, new) = (hex("old").await, hex("new").await);
    let list = format!("1/SHA256/{old}, 2/SHA256/{new}");
    for (secret, expected) in [("old", None), ("new", None), ("another", Some(Reason::SignatureMismatch))] {
        let mut request = request(BODY);
        request.headers_mut().insert("event-signature", HeaderValue::try_from(&list).unwrap());
        assert_eq!(verdict(&worldpay(secret), request).await.err(), expected, "{secret}");
    }
}

/// The primary account's key verifies what a subaccount's mail did.
#[tokio::test]
async fn mailgun_s_parent_signature_is_as_good() {
    let body = r#"{"signature":{"token":"tok1"},"event-data":{"event":"opened"}}"#;
    let signed = signed(&senders::mailgun("the primary key").unwrap(), body).await;
    let text = String::from_utf8(signed.body().to_vec()).unwrap();
    let moved = text.replace(r#""signature":""#, r#""parent-signature":""#);
    let both =
        moved.replacen(r#""parent-signature""#, &format!(r#""signature":"{}","parent-signature""#, "0".repeat(64)), 1);
    assert_ne!(both, text);
    for body in [text, moved, both] {
        let request = signed.clone().map(|_| Bytes::from(body.clone()));
        assert!(verdict(&senders::mailgun("the primary key").unwrap(), request.clone()).await.is_ok(), "{body}");
        let other = verdict(&senders::mailgun("another").unwrap(), request).await;
        assert_eq!(other.err(), Some(Reason::SignatureMismatch));
    }
}

/// A look-up that counts, and fails for some ids.
fn lookup(key: &SigningKey, count: &Arc<AtomicU32>) -> KeyLookup {
    let (key, count) = (key.public_key().to_owned(), count.clone());
    KeyLookup::new(move |id: String| {
        count.fetch_add(1, Relaxed);
        let found = match &*id {
            "down" => Err("the key server is down"),
            "junk" => Ok("no key".to_owned()),
            _ => Ok(key.clone()),
        };
        async move {
            tokio::task::yield_now().await;
            found
        }
    })
}

#[tokio::test]
async fn a_key_is_looked_up_by_its_id_once_for_however_many_requests() {
    let (key, count) = (SigningKey::ecdsa_p256().unwrap(), Arc::new(AtomicU32::new(0)));
    let signed = signed_with(&senders::circle(key.public_key()).unwrap(), &key, BODY).await;
    let circle = senders::circle(lookup(&key, &count)).unwrap();
    let named = |id: &str| {
        let mut request = signed.clone();
        request.headers_mut().insert("x-circle-key-id", HeaderValue::try_from(id).unwrap());
        request
    };
    let many = (0..50).map(|_| verdict(&circle, named("key-1")));
    assert!(futures_util::future::join_all(many).await.iter().all(Result::is_ok));
    assert_eq!(count.load(Relaxed), 1);
    for (request, expected, looked_up) in [
        (named("key-1").map(|_| Bytes::from("{}")), Some(Reason::SignatureMismatch), 1),
        (named("key-2"), None, 2),
        (signed.clone(), Some(Reason::MissingHeader), 2),
        (named("../key-1"), Some(Reason::MalformedSignature), 2),
        (named(".."), Some(Reason::MalformedSignature), 2),
        (named(&"k".repeat(129)), Some(Reason::MalformedSignature), 2),
        (named("down"), Some(Reason::KeyUnavailable), 3),
        (named("down"), Some(Reason::KeyUnavailable), 3),
        (named("junk"), Some(Reason::KeyUnavailable), 4),
    ] {
        assert_eq!(verdict(&circle, request).await.err(), expected);
        assert_eq!(count.load(Relaxed), looked_up);
    }
    // eBay's id is beside the signature, in one header.
    let signed = signed_with(&senders::ebay(key.public_key()).unwrap(), &key, BODY).await;
    let ebay = senders::ebay(lookup(&key, &count)).unwrap();
    assert_eq!(verdict(&ebay, signed.clone()).await.err(), Some(Reason::MalformedSignature), "there is no kid");
    let json = STANDARD.decode(signed.headers()["x-ebay-signature"].as_bytes()).unwrap();
    let json = String::from_utf8(json).unwrap().replacen('{', r#"{"alg":"ecdsa","kid":"key-3","digest":"SHA1","#, 1);
    let mut named = signed.clone();
    named.headers_mut().insert("x-ebay-signature", HeaderValue::try_from(STANDARD.encode(json)).unwrap());
    assert!(verdict(&ebay, named.clone()).await.is_ok());
    assert_eq!(verdict(&ebay, named.map(|_| Bytes::from("{}"))).await.err(), Some(Reason::SignatureMismatch));
    assert_eq!(count.load(Relaxed), 5);
    let conflict = Scheme::ecdsa_p256()
        .signature(header("x-signature").base64())
        .with_public_key(key.public_key())
        .with_key_lookup(header("x-key"), lookup(&key, &count))
        .build("acme");
    assert!(conflict.is_err());
}

#[tokio::test]
async fn an_http_message_signature_covers_what_the_rules_demand() {
    let (key, count) = (SigningKey::ed25519().unwrap(), Arc::new(AtomicU32::new(0)));
    let rules = || MessageRules::ed25519().covering(["content-digest", "@method", "@target-uri", "x-event"]);
    let acme = |rules: MessageRules| {
        Scheme::message_signature(rules).with_public_url("https://hooks.example.com").event(header("x-event"))
    };
    let given = acme(rules()).with_public_key(key.public_key()).build("acme").unwrap();
    let by_id = acme(rules()).with_keyid_lookup(lookup(&key, &count)).build("acme").unwrap();
    let mut plain = request(BODY);
    plain.headers_mut().insert("x-event", HeaderValue::from_static("x.done"));
    let genuine = whole(testing::sign_with_at(&given, &key, plain, at()).unwrap()).await;
    for scheme in [&given, &by_id] {
        let delivery = verdict(scheme, genuine.clone()).await.unwrap();
        assert_eq!((delivery.event(), delivery.timestamp()), (Some("x.done"), Some(at())));
        let signed = delivery.signed();
        assert!(signed.body && signed.url && signed.timestamp && signed.event, "{signed:?}");
        let with = |name: &'static str, value: &str| {
            let mut request = genuine.clone();
            request.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
            request
        };
        let mut elsewhere = genuine.clone();
        *elsewhere.uri_mut() = "/hooks/in?a=2".parse().unwrap();
        let digest = genuine.headers()["content-digest"].to_str().unwrap();
        for (request, expected) in [
            (genuine.clone().map(|_| Bytes::from("{}")), Reason::BodyMismatch),
            (elsewhere, Reason::SignatureMismatch),
            (with("x-event", "y.done"), Reason::SignatureMismatch),
            (with("content-digest", &format!("{digest}, sha-512=:AAAA:")), Reason::BodyMismatch),
            (with("content-digest", "md5=:AAAA:"), Reason::BodyMismatch),
            (with("signature-input", r#"sig1=("content-digest");created=1800000000"#), Reason::MalformedSignature),
            (request(BODY), Reason::MissingSignature),
        ] {
            assert_eq!(verdict(scheme, request).await.err(), Some(expected));
        }
        let late = send(scheme, at() + Duration::from_secs(301), genuine.clone()).await;
        assert_eq!(late.err(), Some(Reason::Stale));
    }
    assert_eq!(count.load(Relaxed), 1);
    let shared = Scheme::message_signature(MessageRules::hmac_sha256()).secret("a secret").build("acme").unwrap();
    let genuine = signed(&shared, BODY).await;
    assert!(verdict(&shared, genuine.clone()).await.is_ok());
    let other = Scheme::message_signature(MessageRules::hmac_sha256()).secret("another").build("acme").unwrap();
    assert_eq!(verdict(&other, genuine).await.err(), Some(Reason::SignatureMismatch));
    let uncovered =
        Scheme::message_signature(MessageRules::hmac_sha256().covering(["@method"])).secret("a").build("acme");
    assert!(uncovered.is_err(), "anyone could change the body");
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "type")]
    kind: String,
}

#[tokio::test]
async fn a_token_may_be_anywhere_and_signed_in_every_way() {
    let (p256, p384) = (SigningKey::ecdsa_p256().unwrap(), SigningKey::ecdsa_p384().unwrap());
    let (rsa, ed25519) = (SigningKey::rsa().unwrap(), SigningKey::ed25519().unwrap());
    // Of a set, and given.
    for (rules, key) in [
        (JwtRules::rs256(), &rsa),
        (JwtRules::rs384(), &rsa),
        (JwtRules::rs512(), &rsa),
        (JwtRules::ps256(), &rsa),
        (JwtRules::ps384(), &rsa),
        (JwtRules::ps512(), &rsa),
        (JwtRules::es256(), &p256),
        (JwtRules::es384(), &p384),
        (JwtRules::eddsa(), &ed25519),
    ] {
        let what = format!("{rules:?}");
        let rules = rules.with_body_sha256("hash", Encoding::Base64).with_id_claim("jti").with_issuer("acme");
        let published = Scheme::jwt(bearer(), rules.clone()).with_jwks(keys(key)).build("acme").unwrap();
        let given = Scheme::jwt(bearer(), rules).with_public_key(key.public_key()).build("acme").unwrap();
        let genuine = signed_with(&published, key, BODY).await;
        for scheme in [&published, &given] {
            let delivery = verdict(scheme, genuine.clone()).await.unwrap_or_else(|reason| panic!("{what} {reason:?}"));
            assert_eq!((delivery.id(), delivery.signed().body), (Some("msg_1"), true));
            let changed = genuine.clone().map(|_| Bytes::from("{}"));
            assert_eq!(verdict(scheme, changed).await.err(), Some(Reason::BodyMismatch), "{what}");
            let mut bent = genuine.headers()["authorization"].to_str().unwrap().to_owned();
            let last = bent.pop();
            bent.insert(bent.len() - 5, last.unwrap());
            let mut request = genuine.clone();
            request.headers_mut().insert("authorization", HeaderValue::try_from(bent).unwrap());
            assert!(verdict(scheme, request).await.is_err(), "{what}");
        }
    }
    // By a secret, in the whole body and in one member of it.
    for rules in [JwtRules::hs256(), JwtRules::hs384(), JwtRules::hs512()] {
        for (place, body_is_signed) in [(scheme::body(), true), (json("/token"), false)] {
            let rules = rules.clone().with_event_claim("type");
            let scheme = |secret: &str| Scheme::jwt(place.clone(), rules.clone()).secret(secret).build("acme").unwrap();
            let genuine = signed(&scheme("a secret"), BODY).await;
            let delivery = verdict(&scheme("a secret"), genuine.clone()).await.unwrap();
            assert_eq!((delivery.event(), delivery.signed().body), (Some("x.done"), body_is_signed));
            let claims = Webhook::<JwtClaims<Claims>>::from_delivery(&delivery).unwrap();
            assert_eq!(claims.0.0.kind, "x.done");
            assert_eq!(verdict(&scheme("another"), genuine).await.err(), Some(Reason::SignatureMismatch));
        }
    }
    let github = senders::github("s").unwrap();
    let github = verdict(&github, signed(&github, BODY).await).await.unwrap();
    let none = Webhook::<JwtClaims<Claims>>::from_delivery(&github);
    assert_eq!(none.err().map(|rejection| rejection.reason()), Some(Reason::MalformedPayload));
}

#[tokio::test]
async fn a_detached_token_signs_what_the_template_says() {
    let key = SigningKey::ed25519().unwrap();
    let acme = |template: &'static str| {
        let builder = Scheme::jwt(header("x-signature"), JwtRules::eddsa().with_detached_payload());
        builder.with_jwks(keys(&key)).signed(template).build("acme").unwrap()
    };
    let genuine = signed_with(&acme("{method}.{body}"), &key, BODY).await;
    let token = genuine.headers()["x-signature"].to_str().unwrap().to_owned();
    assert!(token.contains(".."), "{token}");
    assert!(verdict(&acme("{method}.{body}"), genuine.clone()).await.unwrap().signed().body);
    let mut put = genuine.clone();
    *put.method_mut() = Method::PUT;
    let mut whole = genuine.clone();
    whole.headers_mut().insert("x-signature", HeaderValue::try_from(token.replace("..", ".e30.")).unwrap());
    for (scheme, request, expected) in [
        (acme("{body}"), genuine.clone(), Reason::SignatureMismatch),
        (acme("{method}.{body}"), genuine.clone().map(|_| Bytes::from("{}")), Reason::SignatureMismatch),
        (acme("{method}.{body}"), put, Reason::MethodNotAllowed),
        (acme("{method}.{body}"), whole, Reason::MalformedSignature),
    ] {
        assert_eq!(verdict(&scheme, request).await.err(), Some(expected));
    }
}

/// Apple's root has issued certificates that developers have the keys of.
#[tokio::test]
async fn a_token_s_certificates_must_lead_to_the_root_and_be_marked() {
    let marks = |ends: [&[u64]; 2]| ends.map(|end| [&[1, 2, 840, 113_635, 100][..], end].concat());
    let certified = |ends| SigningKey::ecdsa_p256().unwrap().with_certificates(marks(ends)).unwrap();
    let apple = |key: &SigningKey, app: &str| {
        let roots = ChainRoots::from_pem(key.root().unwrap()).unwrap();
        senders::apple_app_store_with_roots(app, roots).unwrap()
    };
    let body = r#"{"notificationType":"TEST","notificationUUID":"n1","data":{"bundleId":"com.example.app"}}"#;
    let (key, other) = (certified([&[6, 11, 1], &[6, 2, 1]]), certified([&[6, 11, 1], &[6, 2, 1]]));
    let scheme = apple(&key, "com.example.app");
    let genuine = signed_with(&scheme, &key, body).await;
    let delivery = verdict(&scheme, genuine.clone()).await.unwrap();
    assert_eq!((delivery.event(), delivery.id()), (Some("TEST"), Some("n1")));
    let years = Duration::from_secs(3000 * 365 * 24 * 3600);
    let developer = certified([&[6, 32], &[6, 2, 1]]);
    let by_developer = signed_with(&apple(&developer, "com.example.app"), &developer, body).await;
    for (scheme, request, now, expected) in [
        (apple(&other, "com.example.app"), genuine.clone(), at(), Reason::SignatureMismatch),
        (senders::apple_app_store("com.example.app").unwrap(), genuine.clone(), at(), Reason::SignatureMismatch),
        (apple(&key, "com.example.another"), genuine.clone(), at(), Reason::NotForUs),
        (apple(&developer, "com.example.app"), by_developer, at(), Reason::SignatureMismatch),
        (scheme.clone(), genuine.clone(), at() + years, Reason::SignatureMismatch),
    ] {
        let verdict = send(&scheme, now, request).await.err();
        assert!(verdict == Some(expected) || (now > at() && verdict == Some(Reason::Stale)), "{verdict:?}");
    }
    let pin = "00".repeat(32);
    assert!(ChainRoots::pinned([&*pin]).is_ok() && ChainRoots::pinned(["00"]).is_err());
    assert!(ChainRoots::pinned([""; 0]).is_err() && ChainRoots::from_pem("no certificate").is_err());
}

#[tokio::test]
async fn tokens_and_algorithms_are_described_by_data_too() {
    let row = |keys: &str, scheme: &str| {
        let text = format!(r#"{{"provider": "scheme", {keys}, "scheme": {{"name": "acme", {scheme}}}}}"#);
        let config: SenderConfig = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        config.build().map(drop).map_err(|error| error.located_in(&text, "").to_string())
    };
    let (rsa, p384) = (SigningKey::rsa().unwrap(), SigningKey::ecdsa_p384().unwrap());
    let secret = r#""secrets": ["s"]"#;
    let public = |key: &SigningKey| format!(r#""public_keys": ["{}"]"#, key.public_key());
    let mac = r#""signature": {"header": "x-s", "encoding": "hex"}"#;
    let token = r#""algorithm": "jwt", "signature": {"bearer": true}"#;
    for (keys, scheme, expected) in [
        (secret.to_owned(), format!(r#""algorithm": "hmac_sha384", {mac}"#), None),
        (public(&rsa), format!(r#""algorithm": "rsa_pss_sha512", {mac}"#), None),
        (public(&rsa), format!(r#""algorithm": "rsa_pkcs1_sha512", {mac}"#), None),
        (public(&p384), format!(r#""algorithm": "ecdsa_p384", {mac}"#), None),
        (public(&rsa), format!(r#""algorithm": "ecdsa_p256_sha1", {mac}"#), Some("not a valid ECDSA P-256 SHA-1 key")),
        (
            secret.to_owned(),
            format!(r#"{token}, "jwt": {{"algorithm": "hs256", "issuer": "a", "id_claim": "jti"}}"#),
            None,
        ),
        (
            secret.to_owned(),
            format!(
                r#"{token}, "jwt": {{"algorithm": "hs512", "body_sha256": {{"claim": "h", "encoding": "base64url"}},
                "claims": {{"sub": ["a", "b"]}}, "true_claims": ["ok"], "issued_within_seconds": 60,
                "requires_expiry": true, "leeway_seconds": 10}}"#
            ),
            None,
        ),
        (public(&rsa), format!(r#"{token}, "jwt": {{"algorithm": "rs256", "audience": "us"}}"#), None),
        (
            public(&rsa),
            r#""algorithm": "jwt", "signature": {"body": true}, "jwt": {"algorithm": "ps256"}"#.to_owned(),
            None,
        ),
        (secret.to_owned(), token.to_owned(), Some("`jwt` belongs to")),
        (secret.to_owned(), format!(r#"{token}, "jwt": {{"algorithm": "rs256"}}"#), Some("`public_keys` is missing")),
        (public(&rsa), format!(r#"{token}, "jwt": {{}}"#), Some("`algorithm` of the tokens is missing")),
        (secret.to_owned(), format!(r#"{token}, "jwt": {{"algorithm": "none"}}"#), Some("unknown variant `none`")),
        (
            secret.to_owned(),
            format!(r#"{token}, "jwt": {{"algorithm": "hs256", "jwks": 1}}"#),
            Some("unknown field `jwks`"),
        ),
    ] {
        let told = row(&keys, &scheme).err();
        match expected {
            None => assert_eq!(told, None, "{scheme}"),
            Some(expected) => assert!(told.as_ref().is_some_and(|told| told.contains(expected)), "{scheme}: {told:?}"),
        }
    }
}

/// What is described by data verifies what the same in code signed, and nothing else.
#[tokio::test]
async fn http_message_signatures_are_described_by_data_too() {
    let row = |keys: &str, rest: &str| {
        let text = format!(
            "{{\"provider\": \"scheme\", {keys}, \"public_url\": \"https://hooks.example.com\",\n\
             \"scheme\": {{\"name\": \"acme\", \"algorithm\": \"message_signature\",\n{rest}}}}}"
        );
        let config: SenderConfig = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        config.build().map_err(|error| error.located_in(&text, "").to_string())
    };
    let (p256, p384) = (SigningKey::ecdsa_p256().unwrap(), SigningKey::ecdsa_p384().unwrap());
    let (rsa, ed25519) = (SigningKey::rsa().unwrap(), SigningKey::ed25519().unwrap());
    let public = |key: &SigningKey| format!(r#""public_keys": ["{}"]"#, key.public_key());
    let covered = ["content-digest", "@method", "@target-uri"];
    for (name, rules, key) in [
        ("ed25519", MessageRules::ed25519(), &ed25519),
        ("ecdsa_p256", MessageRules::ecdsa_p256(), &p256),
        ("ecdsa_p384", MessageRules::ecdsa_p384(), &p384),
        ("rsa_pss_sha512", MessageRules::rsa_pss_sha512(), &rsa),
        ("rsa_v1_5_sha256", MessageRules::rsa_v1_5_sha256(), &rsa),
    ] {
        let in_code = Scheme::message_signature(rules.covering(covered).with_tag("acme"))
            .with_public_url("https://hooks.example.com")
            .with_public_key(key.public_key())
            .build("acme")
            .unwrap();
        let genuine = signed_with(&in_code, key, BODY).await;
        let data = |rest: &str| {
            row(&public(key), &format!(r#""message_signature": {{"algorithm": "{name}", {rest}}}"#)).unwrap()
        };
        let words =
            r#""covering": ["content-digest", "@method", "@target-uri"], "tag": "acme", "tolerance_seconds": 60"#;
        let acme = data(words);
        let sent = |at, request| send(&acme, at, request);
        let delivery = sent(at(), genuine.clone()).await.unwrap_or_else(|reason| panic!("{name}: {reason:?}"));
        assert!(delivery.signed().body && delivery.signed().url, "{name}");
        let minute = Duration::from_secs(60);
        assert!(sent(at() + minute, genuine.clone()).await.is_ok(), "{name}");
        let late = sent(at() + minute + Duration::from_secs(1), genuine.clone()).await;
        assert_eq!(late.err(), Some(Reason::Stale), "{name}");
        let changed = genuine.clone().map(|_| Bytes::from("{}"));
        assert_eq!(sent(at(), changed).await.err(), Some(Reason::BodyMismatch), "{name}");
        let other = send(&data(&words.replace(r#""acme""#, r#""other""#)), at(), genuine.clone()).await;
        assert_eq!(other.err(), Some(Reason::NotForUs), "{name}");
        let more = send(&data(&words.replace("@method", "x-event")), at(), genuine).await;
        assert_eq!(more.err(), Some(Reason::MalformedSignature), "{name}");
    }
    let in_code = Scheme::message_signature(MessageRules::hmac_sha256()).secret("s").build("acme").unwrap();
    let secret = r#""secrets": ["s"]"#;
    let hmac = r#""message_signature": {"algorithm": "hmac_sha256"}"#;
    let acme = row(secret, hmac).unwrap();
    assert!(send(&acme, at(), signed(&in_code, BODY).await).await.is_ok());
    let method = r#""message_signature": {"algorithm": "hmac_sha256", "covering": ["@method"]}"#;
    let unsigned_body = row(secret, &format!(r#"{method}, "body_is_not_signed": true"#)).unwrap();
    let rules = MessageRules::hmac_sha256().covering(["@method"]);
    let in_code = Scheme::message_signature(rules).secret("s").signed_without_the_body("").build("acme").unwrap();
    let delivery = send(&unsigned_body, at(), signed(&in_code, BODY).await).await.unwrap();
    assert!(!delivery.signed().body);

    for (keys, rest, expected) in [
        (secret, method.to_owned(), "covers no content-digest: anyone could change the body at line 3 column 63"),
        (secret, format!(r#"{hmac}, "body_is_not_signed": true"#), "signs the body after all at line 2 column 11"),
        (secret, r#""signature": {"header": "x"}"#.to_owned(), "belongs to the algorithm message_signature"),
        (secret, r#""message_signature": {"algorithm": "none"}"#.to_owned(), "unknown variant `none`"),
        (secret, r#""message_signature": {"tag": "a"}"#.to_owned(), "missing field `algorithm` at line 3 column 33"),
        (secret, r#""message_signature": {"algorithm": "ed25519", "label": "a"}"#.to_owned(), "unknown field `label`"),
        (secret, r#""message_signature": {"algorithm": "ed25519"}"#.to_owned(), "`public_keys` is missing"),
        (r#""public_keys": ["a"]"#, hmac.to_owned(), "`secrets` is missing"),
        (
            r#""public_keys": ["a"]"#,
            r#""message_signature": {"algorithm": "ed25519"}"#.to_owned(),
            "not a valid Ed25519 key at line 1 column 39",
        ),
        (
            secret,
            format!("{hmac},\n\"signature\": {{\"header\": \"x\"}}"),
            "`signature` means nothing here: an HTTP Message Signature says so itself at line 4 column 14",
        ),
        (secret, format!(r#"{hmac}, "other_signatures": [{{"header": "x"}}]"#), "`other_signatures` means nothing"),
        (secret, format!(r#"{hmac}, "timestamp": {{"header": "x"}}"#), "`timestamp` means nothing here"),
        (secret, format!(r#"{hmac}, "signed": "{{body}}""#), "`signed` means nothing here"),
        (secret, format!(r#"{hmac}, "body_hash": {{"header": "x"}}"#), "`body_hash` means nothing here"),
    ] {
        let told = row(keys, &rest).map(drop).unwrap_err();
        assert!(told.contains(expected), "{rest}: {told}");
    }
    let other = r#"{"provider": "scheme", "secrets": ["s"], "scheme": {"name": "acme", "algorithm": "hmac_sha256",
        "signature": {"header": "x", "encoding": "hex"}, "message_signature": {"algorithm": "hmac_sha256"}}}"#;
    let error = serde_json::from_str::<SenderConfig>(other).unwrap().build().unwrap_err().located_in(other, "");
    assert!(
        error.to_string().contains("belongs to the algorithm message_signature, which needs it at line 1"),
        "{error}"
    );
}

#[tokio::test]
async fn challenges_are_answered_in_every_family() {
    let hmac = || Scheme::hmac_sha256().signature(header("x-signature").hex()).secret("a secret");
    let mac = |_: &str, mac: &[u8]| Answer::text(Encoding::Hex.encode(mac));
    let by_query = hmac().with_handshake(Handshake::query_challenge("crc", mac)).build("acme").unwrap();
    let get = |uri: &str| Request::get(uri).body(Bytes::new()).unwrap();
    let (status, text) = answer(&by_query, get("/?crc=aGVsbG8=")).await.unwrap();
    let of_body = signed(&by_query, "{}").await;
    assert_eq!((status, text.len()), (200, 64));
    assert_ne!(of_body.headers()["x-signature"], &*text);
    for bad in ["/?crc=", "/?crc=%7B%7D", "/?crc=a.b", "/?crc=a%20b"] {
        assert_eq!(answer(&by_query, get(bad)).await.unwrap().0, 400, "{bad}");
    }
    // The answer to a challenge is the signature of no delivery.
    let mut forged = request("aGVsbG8=");
    forged.headers_mut().insert("x-signature", HeaderValue::try_from(&text).unwrap());
    assert_eq!(verdict(&by_query, forged).await.err(), Some(Reason::MalformedBody));
    let mut empty = request("");
    empty
        .headers_mut()
        .insert("x-signature", signed(&hmac().build("acme").unwrap(), "").await.headers()["x-signature"].clone());
    assert_eq!(verdict(&by_query, empty).await.err(), Some(Reason::MalformedBody));
    let of_a_hash = hmac().signed("{body_sha256}").with_handshake(Handshake::query_challenge("crc", mac)).build("acme");
    assert!(of_a_hash.unwrap_err().to_string().contains("{body}"), "any hash could be asked for");

    let find = |body: &[u8]| {
        let json: serde_json::Value = serde_json::from_slice(body).ok()?;
        Some(json.get("challenge")?.as_str()?.to_owned())
    };
    let by_body = hmac().with_handshake(Handshake::body_challenge(find, mac)).build("acme").unwrap();
    assert_eq!(answer(&by_body, signed(&by_body, r#"{"challenge":"aGVsbG8="}"#).await).await, Some((200, text)));
    assert_eq!(answer(&by_body, signed(&by_body, r#"{"challenge":"{}"}"#).await).await.unwrap().0, 400);
    assert_eq!(answer(&by_body, request(r#"{"challenge":"aGVsbG8="}"#)).await.unwrap().0, 401);
    assert_eq!(answer(&by_body, signed(&by_body, BODY).await).await, None);

    let monday = senders::monday("a secret").unwrap();
    let echoed = Some((200, r#"{"challenge":"abc"}"#.to_owned()));
    assert_eq!(answer(&monday, request(r#"{"challenge":"abc"}"#)).await, echoed);
    assert_eq!(answer(&monday, signed(&monday, r#"{"challenge":"abc"}"#).await).await, echoed);
    for other in [r#"{"challenge":"abc","event":{}}"#, r#"{"challenge":1}"#, "{}", r#"{"challenge":""}"#] {
        assert_eq!(answer(&monday, request(other)).await.unwrap().0, 401, "{other}");
    }

    let smartsheet = senders::smartsheet("a secret").unwrap();
    let mut asked = request(r#"{"challenge":"c-1","webhookId":1}"#);
    asked.headers_mut().insert("smartsheet-hook-challenge", HeaderValue::from_static("c-1"));
    let handler = service_fn(async |_: Request<Full<Bytes>>| -> Result<Response<Full<Bytes>>, Infallible> {
        panic!("the handler was called")
    });
    let response = WebhookLayer::new(smartsheet).layer(handler).oneshot(asked.map(Full::new)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["smartsheet-hook-response"]),
        (200, &HeaderValue::from_static("c-1"))
    );

    let tebex = senders::tebex("a secret").unwrap();
    let validation = signed(&tebex, r#"{"type":"validation.webhook","id":"v1"}"#).await;
    assert_eq!(answer(&tebex, validation).await, Some((200, r#"{"id":"v1"}"#.to_owned())));

    let config = SenderConfig::default().with_accept_offered_secret(true);
    let notion = senders::by_name("notion", config).unwrap();
    assert_eq!(answer(&notion, request(r#"{"verification_token":"secret_1"}"#)).await, Some((200, String::new())));
    let refusing = senders::notion("s").unwrap();
    assert_eq!(answer(&refusing, request(r#"{"verification_token":"secret_1"}"#)).await.unwrap().0, 401);
}

/// What the operator is told names what to do.
#[test]
fn a_scheme_of_tokens_that_contradicts_itself_is_refused() {
    let key = SigningKey::rsa().unwrap();
    let jwt = |rules: JwtRules| Scheme::jwt(bearer(), rules);
    for (built, expected) in [
        (jwt(JwtRules::hs256()).build("acme"), "there is no secret"),
        (jwt(JwtRules::rs256()).build("acme"), "there is no public key"),
        (jwt(JwtRules::rs256()).secret("s").build("acme"), "a secret means nothing"),
        (jwt(JwtRules::rs256()).with_jwks(keys(&key)).with_public_key(key.public_key()).build("acme"), "a set of them"),
        (jwt(JwtRules::hs256()).secret("s").signature(header("x").hex()).build("acme"), "its signature inside"),
        (jwt(JwtRules::es256()).with_public_key(key.public_key()).build("acme"), "not a valid"),
        (Scheme::jwt(header("a b"), JwtRules::hs256()).secret("s").build("acme"), "header name"),
    ] {
        let told = built.map(drop).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
}
