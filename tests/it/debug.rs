//! `Debug` prints no secret and no payload, whatever type it is of.

use std::convert::Infallible;
use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt as _, service_fn};
use tower_webhook::dedup::{DoneAnswer, Key};
use tower_webhook::inbox::Seal;
use tower_webhook::inbox::postgres::PostgresStore;
use tower_webhook::provider::{Outcome, Provider};
use tower_webhook::scheme::{Handshake, Jwks, header};
use tower_webhook::senders::{self, CertificateConfig, PayPalCertificates, PublicAddress, SenderConfig};
use tower_webhook::sns::{Attribute, Notification, RawProof};
use tower_webhook::testing::{FakeSns, Sign, SigningKey};
use tower_webhook::{
    Answer, AnyOf, AnyProvider, CachePolicy, CdrManager, Connect, DedupLayer, Delivery, EndpointLayer,
    FromDelivery as _, Head, Identity, MemoryStore, RedisStore, Rejection, Scheme, Secret, Secrets, Sns, Verified,
    WebhookLayer, cdr_manager, connect, pce,
};

/// What must not be seen. It is long enough for each kind of secret, and plain enough for each
/// place.
const MARK: &str = "hunter2hunter2hunter2hunter2";

/// What was printed, by the names of the types.
#[derive(Default)]
struct Printed(Vec<(&'static str, String)>);

impl Printed {
    fn add<T: Debug>(&mut self, value: &T) {
        self.0.push((std::any::type_name::<T>(), format!("{value:?} {value:#?}")));
    }
}

/// What a handler behind this provider gets.
async fn delivered(provider: impl Provider, request: Request<Full<Bytes>>) -> Delivery {
    let handler = service_fn(async |request: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::new(Bytes::new()));
        response.extensions_mut().insert(Delivery::from_extensions(request.extensions()).unwrap().clone());
        Ok::<_, Infallible>(response)
    });
    let response = WebhookLayer::new(provider).layer(handler).oneshot(request).await.unwrap();
    response.extensions().get::<Delivery>().expect("a delivery").clone()
}

fn url() -> String {
    format!("https://user:{MARK}@hooks.example.com")
}

#[tokio::test]
async fn nothing_prints_a_secret_or_a_payload() -> Result<(), Box<dyn std::error::Error>> {
    let mut printed = Printed::default();

    // What is configured.
    printed.add(&Secret::new(MARK));
    printed.add(&Secrets::new([MARK, MARK]));
    printed.add(&Secrets::lookup(|_: Head| async { Ok::<_, Infallible>(Some(MARK)) }).cached(CachePolicy::default()));
    let config = SenderConfig::default().with_secrets([MARK]).with_verify_token(MARK).with_public_url(url());
    printed.add(&config.clone().with_jwks_url(format!("{}/keys?key={MARK}", url())));
    printed.add(&config);
    printed.add(&PublicAddress::from(url()));
    printed.add(&Jwks::builder(format!("https://keys.example.com/{MARK}?key={MARK}")));
    let fetch = |_| async { Err::<Response<Bytes>, _>("offline") };
    printed.add(&Jwks::builder(format!("https://keys.example.com/{MARK}?key={MARK}")).fetch(fetch).build()?);
    printed.add(&PayPalCertificates::default().with_fetch(fetch).with_certificate(CertificateConfig::default()));
    printed.add(&Handshake::subscribe(MARK)?);
    printed.add(&SigningKey::ed25519()?);

    // What is made of it.
    let builder = Scheme::hmac_sha256().signature(header("x-sig").hex()).secret(MARK).with_public_url(&url());
    printed.add(&builder);
    let scheme = builder.signed("{url}{body}").build("acme")?;
    printed.add(&scheme);
    for sender in senders::all() {
        let mut config = crate::senders::sample_config(sender.name);
        if !config.secrets.is_empty() && !["standard_webhooks", "svix", "clerk", "openai"].contains(&sender.name) {
            config.secrets = vec![Secret::new(MARK)];
        }
        config.public_url = config.public_url.map(|_| url());
        if let Ok(scheme) = sender.build(config) {
            printed.add(&scheme);
        }
    }
    let connect = Connect::new(MARK)?;
    printed.add(&connect);
    let fake = FakeSns::new();
    let sns = || Sns::builder().topic(fake.topic_arn()).fetch(fake.clone()).basic_auth("user", MARK);
    printed.add(&RawProof::SecretPath(MARK.to_owned()));
    printed.add(&sns().raw_delivery(RawProof::SecretPath(MARK.to_owned())));
    printed.add(&sns().build()?);
    printed.add(&fake);
    printed.add(&AnyOf::new([AnyProvider::new(scheme.clone())])?);
    printed.add(&WebhookLayer::new(scheme.clone()));
    let handler =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    printed.add(&DedupLayer::new(MemoryStore::default()).with_name("name"));
    printed.add(&Seal::hmac([MARK])?);
    printed.add(&EndpointLayer::new("/hook", WebhookLayer::new(scheme.clone()), handler)?);

    // What could not be reached.
    let redis = RedisStore::connect(format!("redis://user:{MARK}@127.0.0.1:1")).await.unwrap_err();
    printed.add(&redis);
    let postgres = format!("postgres://user:{MARK}@127.0.0.1:1/db");
    printed.add(&PostgresStore::connect(postgres).await.unwrap_err());

    // What arrives.
    let now = tower_webhook::Clock::now(&tower_webhook::SystemClock);
    let signed = |provider: &dyn Fn(Request<Bytes>) -> Request<Full<Bytes>>, body: String| {
        provider(Request::post("/hook").body(Bytes::from(body)).unwrap())
    };
    let sign = |request| scheme.sign_at(request, now).unwrap().map(Full::new);
    let delivery = delivered(scheme.clone(), signed(&sign, format!(r#"{{"a":"{MARK}"}}"#))).await;
    printed.add(&delivery);
    printed.add(&Key::of_signed(&delivery));
    printed.add(&Identity::Id(MARK.into()));
    printed.add(&Verified::default());
    let body = format!(r#"{{"webhook_id":"WH-1","data":{{"a":"{MARK}"}},"api_url":"https://x/{MARK}"}}"#);
    let sign = |request| connect.sign_at(request, now).unwrap().map(Full::new);
    let trigger = delivered(connect.clone(), signed(&sign, body)).await;
    printed.add(&trigger);
    printed.add(&connect::Trigger::<serde_json::Value>::from_delivery(&trigger)?);
    let plain = || Sns::builder().topic(fake.topic_arn()).fetch(fake.clone());
    let message = delivered(plain().build()?, fake.notification(MARK).subject(MARK).post("/")).await;
    printed.add(&message);
    printed.add(&Notification::<String>::from_delivery(&message)?);
    printed.add(&serde_json::from_str::<Attribute>(&format!(r#"{{"Type":"String","Value":"{MARK}"}}"#))?);
    let event = format!(r#"{{"id":1,"payload":[{{"url":"https://x/{MARK}","a":"{MARK}"}}],"b":"{MARK}"}}"#);
    printed.add(&serde_json::from_str::<pce::Event>(&event)?);
    let report = format!(r#"{{"callbackURL":"https://x/{MARK}","taskId":1}}"#);
    let report: cdr_manager::Report = serde_json::from_str(&report)?;
    printed.add(&report);
    let cdr = CdrManager::new(MARK)?;
    let sign = |request| cdr.sign_at(request, now).unwrap().map(Full::new);
    printed.add(&delivered(cdr.clone(), signed(&sign, format!(r#"{{"callbackURL":"https://x/{MARK}"}}"#))).await);

    // What is answered and refused.
    let answer = Answer::text(MARK).with_header(http::header::ETAG, HeaderValue::from_static(MARK));
    printed.add(&answer);
    printed.add(&Outcome::Answer(answer));
    printed.add(&DoneAnswer::new(StatusCode::OK).with_body(MARK));
    let mut request = sign_for(&scheme, now);
    *request.body_mut() = Full::from(MARK);
    *request.uri_mut() = format!("/hook?token={MARK}").parse()?;
    let handler =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let refused = WebhookLayer::new(scheme.clone()).layer(handler).oneshot(request).await.unwrap();
    let rejection = refused.extensions().get::<Rejection>().unwrap();
    assert!(rejection.to_string().ends_with("https://..@hooks.example.com/hook?token=.."), "{rejection}");
    printed.add(rejection);

    assert!(printed.0.len() > 100, "{}", printed.0.len());
    let telling: Vec<_> = printed.0.iter().filter(|(_, text)| text.contains("hunter2")).collect();
    assert!(telling.is_empty(), "{telling:#?}");
    Ok(())
}

fn sign_for(scheme: &Scheme, now: std::time::SystemTime) -> Request<Full<Bytes>> {
    scheme.sign_at(Request::post("/hook").body(Bytes::from_static(b"{}")).unwrap(), now).unwrap().map(Full::new)
}
