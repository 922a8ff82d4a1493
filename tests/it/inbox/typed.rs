//! The typed handlers of the first-class senders behind an inbox: what they take is parsed again
//! from what was stored.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_webhook::connect::Trigger;
use tower_webhook::inbox::{Filter, Page, State};
use tower_webhook::provider::Provider;
use tower_webhook::sns::{Confirm, Confirmation, Message, Notification, RawProof};
use tower_webhook::testing::{self, ManualClock};
use tower_webhook::{CdrManager, Connect, Delivery, Identity, Sns, Webhook, WebhookLayer, cdr_manager, pce, telna};

use super::receiver::{quick, store};
use super::sqlite::Folder;
use crate::sns::{fake, now};
use crate::support::{serve, until};

/// What handlers saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Delivers requests to a handler through an inbox that was opened anew in between, and returns
/// what the handler saw.
async fn through<P, H, T>(
    provider: P,
    at: SystemTime,
    handler: impl Fn(Seen) -> H,
    requests: Vec<Request<Full<Bytes>>>,
) -> Vec<String>
where
    P: Provider,
    H: Handler<T, ()>,
    T: 'static,
{
    let (folder, seen) = (Folder::new(), Seen::default());
    let route = |seen: &Seen| -> MethodRouter { any(handler(seen.clone())) };
    let count = requests.len() as u64;
    {
        // Connect waits for an answer by default, as its validations need one.
        let (inbox, _) = quick(store(&folder)).when(|_| false).wrap(route(&seen));
        let layer = WebhookLayer::new(provider).with_clock(ManualClock::new(at));
        let server = serve(Router::new().fallback_service(layer.layer(inbox))).await;
        for request in requests {
            let reply = server.send(request).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    let (inbox, worker) = quick(store(&folder)).wrap(route(&seen));
    assert_eq!(inbox.stats().await.unwrap().waiting, count);
    let worker = tokio::spawn(worker.run(std::future::pending()));
    until("all are handled", async || {
        let stats = inbox.stats().await.unwrap();
        stats.done + stats.dead == count
    })
    .await;
    worker.abort();
    let dead = Filter { state: Some(State::Dead), ..Filter::default() };
    let dead = inbox.list(dead, Page { before: None, limit: 9 }).await.unwrap().deliveries;
    assert!(dead.is_empty(), "{dead:?}");
    seen.all()
}

#[tokio::test]
async fn a_report_of_cdr_manager() {
    let handler = |seen: Seen| {
        async move |Webhook(report): Webhook<cdr_manager::Report>| {
            seen.0.lock().unwrap().push(format!("{:?}", report.file_name));
        }
    };
    let cdr = || CdrManager::new("Jefe").unwrap();
    let report = Request::post("/").body(r#"{"taskId":12,"fileName":"tx1.zip"}"#).unwrap();
    let seen = through(cdr(), SystemTime::now(), handler, vec![testing::sign(&cdr(), report).unwrap()]).await;
    assert_eq!(seen, [r#"Some("tx1.zip")"#]);
}

#[tokio::test]
async fn a_trigger_of_connect_with_its_signed_claims() {
    let handler = |seen: Seen| {
        async move |delivery: Delivery, Webhook(trigger): Webhook<Trigger<Value>>| {
            let is_signed = ["webhook_id", "product_id", "data"].map(|name| trigger.is_signed(name));
            let text = format!("{:?} {:?} {is_signed:?} {}", trigger.webhook_id, trigger.product_id, trigger.data);
            seen.0.lock().unwrap().push(format!("{text} {}", matches!(delivery.identity(), Identity::Id(_))));
        }
    };
    let connect = || Connect::new("the JWT secret").unwrap();
    let body = json!({"webhook_id": "WH-1", "product_id": "PRD-1", "triggered_at": "2027-01-15T08:00:00+00:00", "data": {"a": 1}});
    let trigger = Request::post("/").body(body.to_string()).unwrap();
    let signed = testing::sign(&connect(), trigger).unwrap();
    // What it says without an inbox is what it says behind one.
    let direct = {
        let seen = Seen::default();
        let route: MethodRouter = any(handler(seen.clone()));
        let layer = WebhookLayer::new(connect());
        let server = serve(Router::new().route_service("/", layer.layer(route))).await;
        assert_eq!(server.send(signed.clone()).await.status, 200);
        seen.all()
    };
    assert_eq!(through(connect(), SystemTime::now(), handler, vec![signed]).await, direct);
    assert!(direct[0].contains("WH-1") && direct[0].contains(r#"{"a":1}"#), "{direct:?}");
}

#[derive(Deserialize)]
struct Usage {
    percentage: u32,
}

#[tokio::test]
async fn a_notification_of_telna_enveloped_or_raw() {
    const USAGE: &str = r#"{"percentage":80}"#;
    let handler = |seen: Seen| {
        async move |Webhook(usage): Webhook<Notification<Usage>>| {
            let is_dated = usage.timestamp.is_some();
            seen.0.lock().unwrap().push(format!("{} {} {is_dated}", usage.message.percentage, usage.topic_arn));
            StatusCode::OK
        }
    };
    let flex = telna::CronusFlex::builder()
        .topic(fake().topic_arn())
        .raw_delivery(RawProof::SecretPath("c2VjcmV0LXBhdGgtb2YtZmxleA".into()))
        .fetch(fake())
        .build()
        .unwrap();
    let raw = Request::post("/sns/c2VjcmV0LXBhdGgtb2YtZmxleA")
        .header("x-amz-sns-rawdelivery", "true")
        .header("x-amz-sns-message-id", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324")
        .header("x-amz-sns-topic-arn", fake().topic_arn())
        .body(USAGE.into())
        .unwrap();
    let enveloped = fake().notification(USAGE).at(now()).post("/sns");
    let mut seen = through(flex, now(), handler, vec![enveloped, raw]).await;
    seen.sort();
    let topic = fake().topic_arn();
    assert_eq!(seen, [format!("80 {topic} false"), format!("80 {topic} true")]);
}

#[tokio::test]
async fn an_event_of_pce() {
    let handler = |seen: Seen| {
        async move |delivery: Delivery, Webhook(event): Webhook<pce::Event>| {
            let Identity::Id(id) = delivery.identity() else { panic!("it has an id") };
            seen.0.lock().unwrap().push(format!("{id} {:?}", event.event_type));
        }
    };
    let pce =
        pce::Pce::builder().topic(fake().topic_arn()).basic_auth("user", "password").fetch(fake()).build().unwrap();
    let event = r#"{"id":"n-1","eventId":"e-1","eventType":"merchant.boarded","payload":[],"version":3}"#;
    let mut request = fake().notification(event).at(now()).post("/sns");
    request.headers_mut().insert("authorization", "Basic dXNlcjpwYXNzd29yZA==".parse().unwrap());
    let seen = through(pce, now(), handler, vec![request]).await;
    assert_eq!(seen, [r#"e-1 Some("merchant.boarded")"#]);
}

#[tokio::test]
async fn a_confirmation_of_sns_with_its_link() {
    let handler = |seen: Seen| {
        async move |Webhook(message): Webhook<Message>, Webhook(confirmation): Webhook<Confirmation>| {
            seen.0.lock().unwrap().push(format!("{} {}", message.topic(), confirmation.subscribe_url()));
        }
    };
    let sns = Sns::builder().topic(fake().topic_arn()).confirm(Confirm::Manual).fetch(fake()).build().unwrap();
    let seen = through(sns, now(), handler, vec![fake().subscription_confirmation().at(now()).post("/sns")]).await;
    let topic = fake().topic_arn();
    assert!(
        seen[0].starts_with(&format!("{topic} https://sns.")) && seen[0].contains("Action=ConfirmSubscription"),
        "{seen:?}"
    );
}

/// Another sender's body is no message of SNS, whatever it reads like.
#[tokio::test]
async fn a_body_that_looks_like_another_senders_is_not_taken_for_one() {
    let handler = |seen: Seen| {
        async move |delivery: Delivery| {
            let message = <Message as tower_webhook::FromDelivery>::from_delivery(&delivery);
            let trigger = <Trigger<Value> as tower_webhook::FromDelivery>::from_delivery(&delivery);
            seen.0.lock().unwrap().push(format!("{} {}", message.is_err(), trigger.is_err()));
        }
    };
    let cdr = || CdrManager::new("Jefe").unwrap();
    let body = Request::post("/").body(fake().notification("hello").at(now()).json()).unwrap();
    let seen = through(cdr(), SystemTime::now(), handler, vec![testing::sign(&cdr(), body).unwrap()]).await;
    assert_eq!(seen, ["true true"]);
}
