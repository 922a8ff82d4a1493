//! Senders that are not built in: tokens, keys by their id, HTTP Message Signatures, and the
//! questions that senders ask beside their deliveries.
//!
//! `cargo run --example custom_sender --features testing,jwt,asymmetric` signs a request for each
//! as its sender would, changes it, asks the questions, and prints what a layer makes of them.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;
use tower_webhook::scheme::{self, Handshake, JwtClaims, JwtRules, KeyLookup, MessageRules, header, json};
use tower_webhook::testing::{self, SigningKey};
use tower_webhook::{Answer, Encoding, Rejection, Scheme, Webhook, WebhookLayer};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const BODY: &str = r#"{"type":"invoice.paid"}"#;

/// The body's hash is in a token, signed with a shared secret. A new endpoint is asked to echo.
fn by_token() -> Result<Scheme> {
    let rules = JwtRules::hs256().with_issuer("acme").with_body_sha256("sha256", Encoding::Hex).with_id_claim("jti");
    let acme = Scheme::jwt(header("x-acme-token"), rules)
        .event(json("/type"))
        .with_handshake(Handshake::unsigned_echo("x-acme-token", "challenge"));
    Ok(acme.secret("the secret that Acme's portal shows").build("by_token")?)
}

/// The whole body is a token.
fn by_body() -> Result<Scheme> {
    let rules = JwtRules::hs512().with_event_claim("type");
    Ok(Scheme::jwt(scheme::body(), rules).secret("the secret that Acme's portal shows").build("by_body")?)
}

/// A header names the key, which is asked for once.
fn by_key_id(key: &SigningKey) -> Result<Scheme> {
    let public_key = key.public_key().to_owned();
    // Elsewhere: GET https://api.acme.example/keys/{id}
    let keys = KeyLookup::new(move |_id| std::future::ready(Ok::<_, Infallible>(public_key.clone())));
    let acme = Scheme::ecdsa_p256().signature(header("x-acme-signature").base64()).event(json("/type"));
    Ok(acme.with_key_lookup(header("x-acme-key"), keys).build("by_key_id")?)
}

/// RFC 9421, over the method, the address and the body's digest.
fn by_message(key: &SigningKey) -> Result<Scheme> {
    let rules = MessageRules::ed25519().covering(["content-digest", "@method", "@target-uri"]);
    let acme = Scheme::message_signature(rules).with_public_url("https://hooks.example.com").event(json("/type"));
    Ok(acme.with_public_key(key.public_key()).build("by_message")?)
}

/// The endpoint is tried by HEAD, by a challenge to be echoed, and by one to be answered with a
/// MAC.
fn by_mac() -> Result<Scheme> {
    Ok(Scheme::hmac_sha384()
        .signature(header("x-acme-signature").hex())
        .event(json("/type"))
        .with_handshake(Handshake::probe(false))
        .with_handshake(Handshake::query_echo(Method::GET, "challenge"))
        .with_handshake(Handshake::query_challenge("crc", |_, mac| Answer::text(Encoding::Base64.encode(mac))))
        .with_handshake(Handshake::signed_question(|_, body| {
            (body == br#"{"type":"ping"}"#).then(|| Answer::text("pong"))
        }))
        .secret("the secret that Acme's portal shows")
        .build("by_mac")?)
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
}

/// What a layer makes of a request.
async fn outcome(scheme: &Scheme, request: Request<Full<Bytes>>) -> String {
    let handler = service_fn(async |request: Request<Full<Bytes>>| {
        let delivery =
            tower_webhook::Delivery::from_extensions(request.extensions()).map(|it| it.event().map(str::to_owned));
        // The claims of a token are a payload like any other.
        let claims = Webhook::<JwtClaims<Event>>::from_extensions(request.extensions());
        let event = claims.map(|Webhook(JwtClaims(event))| Some(event.kind)).or(delivery).ok().flatten();
        Ok::<_, Infallible>(Response::new(Full::from(format!("handled {}", event.unwrap_or_default()))))
    });
    let response = WebhookLayer::new(scheme.clone()).layer(handler).oneshot(request).await;
    let (head, body) = match response {
        Ok(response) => response.into_parts(),
        Err(never) => match never {},
    };
    match head.extensions.get::<Rejection>() {
        Some(rejection) => format!("{}: {rejection}", head.status),
        None => {
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            format!("{}: {}", head.status, String::from_utf8_lossy(&body))
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (ecdsa, ed25519) = (SigningKey::ecdsa_p256()?, SigningKey::ed25519()?);
    let request = || Request::post("/acme?tenant=7").header("x-acme-key", "key-1").body(BODY);
    let senders = [
        (by_token()?, None),
        (by_body()?, None),
        (by_key_id(&ecdsa)?, Some(&ecdsa)),
        (by_message(&ed25519)?, Some(&ed25519)),
        (by_mac()?, None),
    ];
    for (scheme, key) in senders {
        let signed = match key {
            Some(key) => testing::sign_with(&scheme, key, request()?)?,
            None => testing::sign(&scheme, request()?)?,
        };
        println!("genuine  {}", outcome(&scheme, signed.clone()).await);
        println!("changed  {}", outcome(&scheme, signed.map(|_| Full::from("{}"))).await);
    }
    let (mac, token) = (by_mac()?, by_token()?);
    let get = |uri: &str| Request::get(uri).body(Full::default());
    println!("echo     {}", outcome(&mac, get("/acme?challenge=1158201444")?).await);
    println!("MAC      {}", outcome(&mac, get("/acme?crc=aGVsbG8=")?).await);
    println!("ping     {}", outcome(&mac, testing::sign(&mac, Request::post("/").body(r#"{"type":"ping"}"#)?)?).await);
    println!("unsigned {}", outcome(&token, Request::post("/").body(Full::from(r#"{"challenge":"abc"}"#))?).await);
    Ok(())
}
