//! Whole checks beside the cryptography in them, or beside the crate that is usually called for it.

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use tower_webhook::provider::{Begin, MaybeReady, Outcome, Provider};
use tower_webhook::{Connect, SystemClock, testing};

use crate::apps;
use crate::cases::Sides;
use crate::paired::{Side, side};

/// The claims of a trigger, as a program that decodes the token itself would have them.
#[derive(Clone, Debug, serde::Deserialize)]
#[allow(dead_code, reason = "what counts is that it is read")]
struct Claims {
    exp: u64,
    webhook_id: String,
    webhook_name: String,
    api_url: String,
    triggered_at: String,
    object_class: String,
    account_id: String,
    data: serde_json::Value,
}

/// The whole check of one request, from the head to the verdict, without the layer around it.
fn check<P: Provider>(provider: P, head: Parts, body: Bytes) -> Box<dyn Side> {
    Box::new(side(
        || (),
        move |()| {
            let Ok(MaybeReady::Ready(Begin::Verify(mut verification))) = provider.begin(&head, &SystemClock) else {
                panic!("the head is in order and the secret is fixed")
            };
            let outcome = provider.finish(&mut verification, &head, &body, &body);
            assert!(matches!(outcome, Ok(MaybeReady::Ready(Outcome::Deliver(_)))));
            outcome
        },
    ))
}

pub fn sns() -> Sides {
    use aws_lc_rs::signature::{
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    };

    let fake = testing::FakeSns::new();
    let certificates = tower_webhook::senders::CertificateConfig::default().with_roots(fake.root_pem());
    let builder = tower_webhook::Sns::builder().topic(fake.topic_arn()).certificates(certificates).fetch(fake.clone());
    let provider = builder.build().unwrap();
    let (head, body) = fake.notification("x".repeat(1200)).post("/webhooks/sns").into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    // The first one fetches the certificate.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let Begin::Verify(mut verification) = provider.begin(&head, &SystemClock).unwrap().wait().await.unwrap() else {
            panic!("SNS is answered by its body alone")
        };
        provider.finish(&mut verification, &head, &body, &body).unwrap().wait().await.unwrap();
    });

    let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mut signed = String::new();
    for name in ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"] {
        if let Some(value) = envelope[name].as_str() {
            signed += &format!("{name}\n{value}\n");
        }
    }
    let signature = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, envelope["Signature"].as_str().unwrap());
    let signature = signature.unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(fake.certificate_pem().as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let algorithm = match envelope["SignatureVersion"].as_str() {
        Some("2") => &RSA_PKCS1_2048_8192_SHA256,
        _ => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
    };
    let key = ParsedPublicKey::new(algorithm, certificate.public_key().raw).unwrap();
    assert!((2000..2200).contains(&body.len()), "{} bytes", body.len());
    let theirs = move |()| {
        // The cache belongs to it.
        let _ = &runtime;
        key.verify_sig(signed.as_bytes(), &signature).unwrap();
    };
    (check(provider, head, body), Box::new(side(|| (), theirs)))
}

/// A trigger's token and, where the method has one, its body.
pub fn connect(method: Method) -> Sides {
    let claims = serde_json::json!({
        "webhook_id": "WH-123-456-789", "webhook_name": "Orders", "api_url": "https://api.example.test/public/v1",
        "triggered_at": "2026-03-01T12:00:00+00:00", "object_class": "fulfillment_request", "account_id": "VA-123-456",
        "data": { "id": "PR-1234-5678-9012-001", "type": "purchase", "status": "pending", "asset": { "id": "AS-1234-5678" } },
    });
    let provider = Connect::new(apps::SECRET).unwrap();
    let request = Request::builder().method(method).uri("/connect").body(claims.to_string()).unwrap();
    let (head, body) = testing::sign(&provider, request).unwrap().into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    let token = head.headers["authorization"].to_str().unwrap()["Bearer ".len()..].to_owned();
    let key = jsonwebtoken::DecodingKey::from_secret(apps::SECRET.as_bytes());
    let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    let theirs = move |()| jsonwebtoken::decode::<Claims>(&token, &key, &rules).unwrap();
    (check(provider, head, body), Box::new(side(|| (), theirs)))
}
