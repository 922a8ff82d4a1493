//! Messages that Amazon really signed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::senders::CertificateConfig;
use tower_webhook::sns::{Confirm, Message, SnsBuilder};
use tower_webhook::testing::ManualClock;
use tower_webhook::{Delivery, Reason, Rejection, Sns, Webhook, WebhookLayer};

/// The folder with the messages, which is not part of the project. With `CI_SHARED=1` it has to be
/// there.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/aws-sns");
    if !folder.is_dir() {
        let must_be = std::env::var_os("CI_SHARED").is_some_and(|value| value == "1");
        assert!(!must_be, "CI_SHARED=1, and the messages signed by Amazon are not there ({})", folder.display());
        eprintln!("NOT TESTED: the messages signed by Amazon are not there ({})", folder.display());
        return None;
    }
    Some(folder)
}

struct Real {
    file: String,
    json: String,
    now: SystemTime,
    topic: String,
    certificate: String,
    pem: Bytes,
}

fn all() -> Vec<Real> {
    let Some(folder) = folder() else { return Vec::new() };
    let index: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.len(), 25);
    let real = |entry: &Value| {
        let file = entry["file"].as_str().unwrap().to_owned();
        let json = fs::read_to_string(folder.join(&file)).unwrap();
        let message: Value = serde_json::from_str(&json).unwrap();
        let certificate = entry["cert"].as_str().unwrap().to_owned();
        Real {
            now: OffsetDateTime::parse(message["Timestamp"].as_str().unwrap(), &Rfc3339).unwrap().into(),
            topic: message["TopicArn"].as_str().unwrap().to_owned(),
            pem: fs::read(folder.join(&certificate)).unwrap().into(),
            certificate,
            file,
            json,
        }
    };
    index.iter().map(real).collect()
}

impl Real {
    fn is_short(&self) -> bool {
        self.certificate.starts_with("f3ecfb72")
    }

    fn builder(&self) -> SnsBuilder {
        let files = Arc::new(HashMap::from([(self.certificate.clone(), self.pem.clone())]));
        Sns::builder().topic(&self.topic).confirm(Confirm::Manual).fetch(move |uri: Uri| {
            let name = uri.path().strip_prefix("/SimpleNotificationService-").unwrap_or_default();
            let answer = files.get(name).cloned().map(Response::new).ok_or("not there");
            async move { answer }
        })
    }

    fn verifier(&self) -> impl AsyncFn(String) -> Result<Delivery, Reason> {
        let bits = if self.is_short() { 1024 } else { 2048 };
        let certificates = CertificateConfig::default().with_insecure_min_key_bits(bits);
        let sns = self.builder().certificates(certificates).build().unwrap();
        verifier(sns, self.now)
    }
}

/// Sends a body through the layer alone.
fn verifier(sns: Sns, now: SystemTime) -> impl AsyncFn(String) -> Result<Delivery, Reason> {
    let handler = service_fn(async |request: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::default());
        response.extensions_mut().extend(request.into_parts().0.extensions);
        Ok::<_, std::convert::Infallible>(response)
    });
    let service = WebhookLayer::new(sns).with_clock(ManualClock::new(now)).layer(handler);
    async move |body: String| {
        let request = Request::post("/").body(Full::new(Bytes::from(body))).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        match response.extensions().get::<Delivery>() {
            Some(delivery) => Ok(delivery.clone()),
            None => Err(response.extensions().get::<Rejection>().expect("a rejection").reason()),
        }
    }
}

#[tokio::test]
async fn every_message_that_amazon_signed_is_delivered_at_its_time() {
    for real in all() {
        let verify = real.verifier();
        let delivery = verify(real.json.clone()).await.unwrap_or_else(|reason| panic!("{}: {reason:?}", real.file));
        let message: Value = serde_json::from_str(&real.json).unwrap();
        assert_eq!(delivery.id(), message["MessageId"].as_str());
        assert_eq!(delivery.event(), message["Type"].as_str());
        assert_eq!(delivery.timestamp(), Some(real.now));
        assert_eq!(delivery.body(), &real.json);
    }
}

#[tokio::test]
async fn typed_messages_hold_what_was_sent_and_print_no_token() {
    let mut attributes = 0;
    for real in all() {
        let delivery = real.verifier()(real.json.clone()).await.unwrap();
        let sent: Value = serde_json::from_str(&real.json).unwrap();
        let Webhook(message) = Webhook::<Message>::from_delivery(&delivery).unwrap();
        let debug = format!("{message:?} {delivery:?}");
        for secret in ["Token", "SubscribeURL", "UnsubscribeURL"].map(|member| sent[member].as_str()) {
            assert!(secret.is_none_or(|secret| !debug.contains(secret)), "{}", real.file);
        }
        match message {
            Message::Notification(it) => {
                assert_eq!(it.subject.as_deref(), sent["Subject"].as_str());
                assert_eq!(it.unsigned_unsubscribe_url(), sent["UnsubscribeURL"].as_str());
                let found = it.unsigned_attributes().unwrap();
                attributes += found.len();
                for (name, attribute) in found {
                    assert_eq!(sent["MessageAttributes"][&name]["Value"], attribute.value);
                    assert_eq!(sent["MessageAttributes"][&name]["Type"], attribute.kind);
                }
            }
            // Amazon's own link is the one that is rebuilt.
            Message::Confirmation(it) => assert_eq!(Some(it.subscribe_url()), sent["SubscribeURL"].as_str()),
            Message::Unsubscribed(it) => assert_eq!(Some(it.resubscribe_url()), sent["SubscribeURL"].as_str()),
            _ => unreachable!(),
        }
    }
    assert!(attributes > 0 || folder().is_none());
}

#[tokio::test]
async fn the_key_of_1024_bits_needs_its_switch() {
    for real in all() {
        let outcome = verifier(real.builder().build().unwrap(), real.now)(real.json.clone()).await;
        assert_eq!(outcome.err(), real.is_short().then_some(Reason::KeyUnavailable), "{}", real.file);
    }
}

#[tokio::test]
async fn no_message_survives_the_change_of_a_signed_byte() {
    for real in all() {
        let verify = real.verifier();
        verify(real.json.clone()).await.unwrap();
        let message: Value = serde_json::from_str(&real.json).unwrap();
        let mut changed = 0;
        for member in
            ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type", "Signature"]
        {
            let Some(text) = message[member].as_str() else { continue };
            for (at, letter) in text.char_indices() {
                let other = if letter == 'a' { 'b' } else { 'a' };
                let mut text = text.to_owned();
                text.replace_range(at..at + letter.len_utf8(), other.encode_utf8(&mut [0; 4]));
                let mut message = message.clone();
                message[member] = text.into();
                let outcome = verify(message.to_string()).await;
                assert!(outcome.is_err_and(|reason| !reason.is_transient()), "{}: {member} {at}", real.file);
                changed += 1;
            }
        }
        assert!(changed > 250, "{}: {changed}", real.file);
    }
}

#[tokio::test]
async fn another_layout_and_escapes_are_the_same_message() {
    for real in all() {
        let verify = real.verifier();
        let message: Value = serde_json::from_str(&real.json).unwrap();
        verify(message.to_string()).await.unwrap();
        let escaped: String = message
            .to_string()
            .chars()
            .map(
                |it| if it.is_ascii_alphabetic() && it > 'u' { format!("\\u{:04x}", u32::from(it)) } else { it.into() },
            )
            .collect();
        // Letters that stand for escapes themselves were left alone: those behind a backslash are below
        // `v`.
        verify(escaped).await.unwrap_or_else(|reason| panic!("{}: {reason:?}", real.file));
    }
}
