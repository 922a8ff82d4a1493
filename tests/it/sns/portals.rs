//! Telna Cronus Flex and Priority PCE, as their documents describe what they send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::routing::post;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde::Deserialize;
use tower_webhook::sns::{Confirm, Message, Notification, RawProof};
use tower_webhook::{Delivery, Fetch as _, Identity, Reason, Webhook, pce, telna};

use super::{Counting, Endpoint, fake, now};

/// A package alert of Telna: an event's name, its time in Unix milliseconds, and details.
const USAGE_ALERT: &str =
    r#"{"event":"PACKAGE_DATA_USAGE_ALERT","eventTime":1800000000123,"eventDetails":{"packageId":17,"percentage":80}}"#;

const PCE_EVENT: &str = r#"{"id":"n-1","eventId":"e-1","eventType":"merchant.boarded",
    "eventTimeStamp":"01/15/2027 08:00:00","eventCreated":1800000000000,
    "payload":[{"resourceName":"merchant","url":"https://api.example.test/merchant/1","id":1}],"version":3}"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageAlert {
    event: String,
    event_time: u64,
    event_details: serde_json::Value,
}

async fn on_alert(Webhook(alert): Webhook<Notification<UsageAlert>>) -> String {
    let it = alert.message;
    format!("{} {} {}", it.event, it.event_time, it.event_details["percentage"])
}

#[tokio::test]
async fn cronus_flex_confirms_and_delivers_events_enveloped_or_raw() {
    let fetches = Counting::new();
    let builder = telna::CronusFlex::builder()
        .topic(fake().topic_arn())
        .raw_delivery(RawProof::SecretPath("c2VjcmV0LXBhdGgtb2YtZmxleA".into()))
        .fetch(fetches.clone());
    let endpoint = Endpoint::serving(fetches, builder, post(on_alert)).await;
    let reply = endpoint.server.send(fake().subscription_confirmation().at(now()).post("/sns")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(endpoint.fetches.count(), 2, "the certificate and the confirmation");
    let expected = (200, "PACKAGE_DATA_USAGE_ALERT 1800000000123 80");
    let reply = endpoint.server.send(fake().notification(USAGE_ALERT).at(now()).post("/sns")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), expected);
    let raw = Request::post("/sns/c2VjcmV0LXBhdGgtb2YtZmxleA")
        .header("x-amz-sns-rawdelivery", "true")
        .header("x-amz-sns-topic-arn", fake().topic_arn())
        .body(USAGE_ALERT.into())
        .unwrap();
    let reply = endpoint.server.send(raw).await;
    assert_eq!((reply.status.as_u16(), reply.text()), expected);
}

async fn on_event(delivery: Delivery, Webhook(event): Webhook<pce::Event>) -> String {
    let Identity::Id(identity) = delivery.identity() else { return "no identity".into() };
    format!("{identity} {} {}", event.event_type.unwrap(), event.payload[0].id.as_deref().unwrap())
}

async fn endpoint_of_pce(fetches: Counting) -> Endpoint {
    let builder = pce::Pce::builder().topic(fake().topic_arn()).basic_auth("user", "password").fetch(fetches.clone());
    Endpoint::serving(fetches, builder, post(on_event)).await
}

fn authorized(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().insert("authorization", HeaderValue::from_static("Basic dXNlcjpwYXNzd29yZA=="));
    request
}

#[tokio::test]
async fn pce_is_challenged_and_confirmed_at_once_and_then_delivers_events() {
    let endpoint = endpoint_of_pce(Counting::new()).await;
    let confirmation = fake().subscription_confirmation().at(now());
    let reply = endpoint.server.send(confirmation.post("/sns")).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"webhook\"");
    assert_eq!(endpoint.fetches.urls().iter().filter(|url| url.contains("Action=ConfirmSubscription")).count(), 1);
    assert_eq!(endpoint.server.send(authorized(confirmation.post("/sns"))).await.status, 200);
    assert_eq!(endpoint.fetches.count(), 2, "confirmed once");

    let event = fake().notification(PCE_EVENT).at(now());
    assert_eq!(endpoint.server.send(event.post("/sns")).await.status, 401);
    let reply = endpoint.server.send(authorized(event.post("/sns"))).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "e-1 merchant.boarded 1"));
    assert_eq!(endpoint.reason(), None);
}

#[tokio::test]
async fn without_credentials_only_a_genuine_confirmation_of_an_allowed_topic_is_acted_upon() {
    let endpoint = endpoint_of_pce(Counting::new()).await;
    let confirmation = fake().subscription_confirmation().at(now());
    let bodies = [
        confirmation.clone().topic("arn:aws:sns:us-west-2:210987654321:Theirs").json(),
        confirmation.clone().at(now() - Duration::from_secs(86_400)).json(),
        fake().notification(PCE_EVENT).at(now()).json(),
        fake().unsubscribe_confirmation().at(now()).json(),
        "{}".into(),
        String::new(),
    ];
    for body in bodies {
        let reply = endpoint.server.send(Request::post("/sns").body(body.into()).unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (401, ""));
    }
    assert_eq!(endpoint.fetches.count(), 0);
    let forged = confirmation.json().replace("\"Token\": \"0", "\"Token\": \"1");
    assert_eq!(endpoint.server.send(Request::post("/sns").body(forged.into()).unwrap()).await.status, 401);
    assert_eq!(endpoint.fetches.count(), 1, "its certificate, and nothing was confirmed");
}

#[tokio::test]
async fn a_failure_of_ours_costs_pce_no_attempt_more_than_it_must() {
    let endpoint = endpoint_of_pce(Counting::fixed(500, "")).await;
    let event = authorized(fake().notification(PCE_EVENT).at(now()).post("/sns"));
    endpoint.refused(&endpoint.server.send(event).await, Reason::KeyUnavailable);
    let confirmation = fake().subscription_confirmation().at(now());
    endpoint.refused(&endpoint.server.send(confirmation.post("/sns")).await, Reason::KeyUnavailable);
}

/// The certificate host is down once: the confirmation is answered 503 and comes again.
#[tokio::test]
async fn a_confirmation_that_fails_on_our_side_is_told_and_comes_again() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = up.clone();
    let fetches = Counting::answering(move |uri| match is_up.load(Relaxed) {
        true => fake().get(uri),
        false => Box::pin(async { Err("down".into()) }),
    });
    let endpoint = endpoint_of_pce(fetches).await;
    let confirmation = fake().subscription_confirmation().at(now());
    endpoint.refused(&endpoint.server.send(confirmation.post("/sns")).await, Reason::KeyUnavailable);
    up.store(true, Relaxed);
    endpoint.clock.advance(Duration::from_secs(20));
    assert_eq!(endpoint.server.send(confirmation.post("/sns")).await.status, 401);
    assert_eq!(endpoint.fetches.urls().iter().filter(|url| url.contains("Action=ConfirmSubscription")).count(), 1);
    assert_eq!(endpoint.rejections.lock().unwrap().len(), 1, "the challenge after the confirmation is no rejection");
}

#[tokio::test]
async fn a_confirmation_that_is_refused_behind_the_challenge_is_reported() {
    let endpoint = endpoint_of_pce(Counting::new()).await;
    let foreign = fake().subscription_confirmation().at(now()).topic("arn:aws:sns:us-west-2:210987654321:Theirs");
    let reply = endpoint.server.send(foreign.post("/sns")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (401, ""), "no answer tells which topics are allowed");
    assert_eq!(endpoint.reason(), Some(Reason::NotForUs));
}

#[tokio::test]
async fn by_hand_the_confirmation_reaches_the_handler_without_credentials() {
    let handler = async |Webhook(message): Webhook<Message>| match message {
        Message::Confirmation(it) => it.subscribe_url().to_owned(),
        _ => "else".into(),
    };
    let fetches = Counting::new();
    let builder = pce::Pce::builder()
        .topic(fake().topic_arn())
        .basic_auth("user", "password")
        .confirm(Confirm::Manual)
        .fetch(fetches.clone());
    let endpoint = Endpoint::serving(fetches, builder, post(handler)).await;
    let reply = endpoint.server.send(fake().subscription_confirmation().at(now()).post("/sns")).await;
    assert!(reply.text().starts_with("https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription"));
    let reply = endpoint.server.send(fake().notification("{}").at(now()).post("/sns")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (401, ""), "and nothing else does");
}

/// SNS drops a message after the challenge if the subscription has no credentials.
#[tokio::test]
async fn an_endpoint_subscribed_without_credentials_is_reported_once_in_a_while() {
    let endpoint = endpoint_of_pce(Counting::new()).await;
    let event = fake().notification(PCE_EVENT).at(now());
    for _ in 0..20 {
        assert_eq!(endpoint.server.send(event.post("/sns")).await.status, 401);
        assert_eq!(endpoint.server.send(authorized(event.post("/sns"))).await.status, 200);
    }
    assert_eq!(endpoint.reason(), None, "each challenge was answered");
    for number in 1..=20 {
        let reply = endpoint.server.send(event.post("/sns")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (401, ""));
        let reported = endpoint.rejections.lock().unwrap().len();
        assert_eq!(reported, [4, 8, 16].iter().filter(|at| **at <= number).count(), "{number}");
    }
    assert_eq!(endpoint.reason(), Some(Reason::MissingSignature));
    assert!(endpoint.text().contains("https://user:password@"), "{}", endpoint.text());
}
