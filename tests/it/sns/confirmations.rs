//! Subscriptions: confirmed once, by what was signed, and only then answered.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower_webhook::sns::{Confirm, Confirmation, Message, Notification, SnsBuilder, Unsubscribe, Unsubscribed};
use tower_webhook::testing::FakeMessage;
use tower_webhook::{Fetch as _, FetchFuture, Reason, Sns, Webhook};

use super::{Counting, Endpoint, fake, now};

fn confirmation() -> FakeMessage {
    fake().subscription_confirmation().at(now())
}

/// What was asked for besides certificates.
fn confirmed(endpoint: &Endpoint) -> Vec<String> {
    endpoint.fetches.urls().into_iter().filter(|url| url.contains("Action=")).collect()
}

fn request(message: &FakeMessage) -> Request<Full<Bytes>> {
    message.post("/sns")
}

/// A fetcher whose confirmations are answered by this.
fn confirming(answer: impl Fn() -> FetchFuture + Send + Sync + 'static) -> Counting {
    Counting::answering(move |uri: Uri| match uri.query() {
        Some(_) => answer(),
        None => fake().get(uri),
    })
}

#[tokio::test]
async fn a_subscription_is_confirmed_once_at_the_topics_own_region() {
    let endpoint = Endpoint::new(|it| it).await;
    let message = confirmation();
    let token =
        serde_json::from_str::<serde_json::Value>(&message.json()).unwrap()["Token"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        let reply = endpoint.server.send(request(&message)).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""), "the handler is not called");
    }
    let topic = fake().topic_arn();
    let expected =
        format!("https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
    assert_eq!(confirmed(&endpoint), [expected]);
    assert_eq!(endpoint.server.send(request(&confirmation())).await.status, 200);
    assert_eq!(confirmed(&endpoint).len(), 2, "another token");
}

#[tokio::test]
async fn the_same_confirmation_many_times_at_once_is_confirmed_once() {
    let endpoint = Endpoint::new(|it| it).await;
    let message = confirmation();
    let replies = join_all((0..50).map(|_| endpoint.server.send(request(&message)))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(confirmed(&endpoint).len(), 1);
}

#[tokio::test]
async fn nothing_is_confirmed_before_it_is_verified_and_allowed() {
    let endpoint = Endpoint::new(|it| it).await;
    let foreign = confirmation().topic("arn:aws:sns:us-west-2:210987654321:Theirs");
    endpoint.refused(&endpoint.server.send(request(&foreign)).await, Reason::NotForUs);
    let message = confirmation();
    for (from, to) in [("\"Token\": \"0", "\"Token\": \"1"), ("Action=ConfirmSubscription", "Action=Other")] {
        let request = Request::post("/sns").body(message.json().replace(from, to).into()).unwrap();
        endpoint.refused(&endpoint.server.send(request).await, Reason::SignatureMismatch);
    }
    let request =
        Request::post("/sns").body(message.json().replace("\"Token\": \"0", "\"Token\": \"&x=").into()).unwrap();
    endpoint.refused(&endpoint.server.send(request).await, Reason::MalformedBody);
    assert!(confirmed(&endpoint).is_empty());
}

#[tokio::test]
async fn a_confirmation_that_aws_does_not_confirm_is_503_and_tried_again() {
    let up = Arc::new(AtomicUsize::new(0));
    let answers = up.clone();
    let fetches = confirming(move || {
        let (status, body) = match answers.fetch_add(1, Relaxed) {
            0 => (500, "".to_owned()),
            1 => (400, "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>".to_owned()),
            2 => (302, "".to_owned()),
            3 => (200, "fine".to_owned()),
            4 => (200, "<SubscriptionArn>".repeat(10_000)),
            5 => return Box::pin(async { Err("down".into()) }),
            _ => {
                let arn = "arn:aws:sns:us-west-2:123456789012:MyTopic:1";
                let xml = format!(
                    "<ConfirmSubscriptionResult><SubscriptionArn>{arn}</SubscriptionArn></ConfirmSubscriptionResult>"
                );
                (200, xml)
            }
        };
        Box::pin(async move { Ok(Response::builder().status(status).body(body.into())?) })
    });
    let endpoint = Endpoint::with_fetcher(fetches, |it| it).await;
    let message = confirmation();
    for _ in 0..6 {
        endpoint.refused(&endpoint.server.send(request(&message)).await, Reason::ConfirmationFailed);
        let reason = endpoint.rejections.lock().unwrap().last().map(|rejection| format!("{rejection:?}")).unwrap();
        assert!(!reason.contains("Token"), "{reason}");
    }
    assert_eq!(endpoint.server.send(request(&message)).await.status, 200);
    assert_eq!(endpoint.server.send(request(&message)).await.status, 200);
    assert_eq!(confirmed(&endpoint).len(), 7);
}

#[tokio::test]
async fn by_hand_the_handler_gets_the_link() {
    let handler = async |Webhook(message): Webhook<Message>| match message {
        Message::Confirmation(it) => it.subscribe_url().to_owned(),
        _ => "else".into(),
    };
    let fetches = Counting::new();
    let builder = Sns::builder().topic(fake().topic_arn()).confirm(Confirm::Manual).fetch(fetches.clone());
    let endpoint = Endpoint::serving(fetches, builder, post(handler)).await;
    let reply = endpoint.server.send(request(&confirmation())).await;
    assert!(reply.text().starts_with("https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:"));
    assert!(confirmed(&endpoint).is_empty());
}

#[tokio::test]
async fn a_callback_gets_it_and_its_failure_is_503() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let calls = seen.clone();
    let callback = Confirm::callback(move |it: Confirmation| {
        let mut calls = calls.lock().unwrap();
        calls.push(it.topic_arn().to_owned());
        let outcome = if calls.len() == 1 { Err(std::io::Error::other("no mail")) } else { Ok(()) };
        async move { outcome }
    });
    let endpoint = Endpoint::new(|it| it.confirm(callback)).await;
    endpoint.refused(&endpoint.server.send(request(&confirmation())).await, Reason::ConfirmationFailed);
    assert_eq!(endpoint.server.send(request(&confirmation())).await.status, 200);
    assert_eq!(*seen.lock().unwrap(), [fake().topic_arn(); 2]);
    assert!(confirmed(&endpoint).is_empty());
}

#[tokio::test]
async fn what_is_ignored_is_answered_and_nothing_else() {
    let endpoint = Endpoint::new(|it| it.confirm(Confirm::Ignore).unsubscribe(Unsubscribe::Ignore)).await;
    for message in [confirmation(), fake().unsubscribe_confirmation().at(now())] {
        let reply = endpoint.server.send(request(&message)).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    }
    assert!(confirmed(&endpoint).is_empty());
}

#[tokio::test]
async fn an_unsubscription_is_handed_on_or_reversed_if_asked() {
    let handler = async |Webhook(it): Webhook<Unsubscribed>| it.resubscribe_url().to_owned();
    let fetches = Counting::new();
    let builder = Sns::builder().topic(fake().topic_arn()).fetch(fetches.clone());
    let endpoint = Endpoint::serving(fetches, builder, post(handler)).await;
    let message = fake().unsubscribe_confirmation().at(now());
    assert!(endpoint.server.send(request(&message)).await.text().contains("Action=ConfirmSubscription"));
    assert!(confirmed(&endpoint).is_empty());

    let endpoint = Endpoint::new(|it| it.unsubscribe(Unsubscribe::Resubscribe)).await;
    assert_eq!(endpoint.server.send(request(&message)).await.text(), "");
    assert_eq!(confirmed(&endpoint).len(), 1);
}

#[tokio::test]
async fn payloads_are_read_from_json_or_taken_as_text() {
    #[derive(serde::Deserialize)]
    struct Usage {
        iccid: String,
    }
    let typed =
        post(async |Webhook(it): Webhook<Notification<Usage>>| format!("{} {:?}", it.message.iccid, it.subject));
    let text = post(async |Webhook(it): Webhook<Notification>| it.message);
    for (route, message, status, answer) in [
        (typed.clone(), r#"{"iccid":"8901","new":1}"#, 200, "8901 None"),
        (typed.clone(), "not JSON", 422, ""),
        (text.clone(), "not \"JSON\"", 200, "not \"JSON\""),
        (text, r#""quoted""#, 200, r#""quoted""#),
    ] {
        let fetches = Counting::new();
        let builder = Sns::builder().topic(fake().topic_arn()).fetch(fetches.clone());
        let endpoint = Endpoint::serving(fetches, builder, route).await;
        let reply = endpoint.server.send(fake().notification(message).at(now()).post("/sns")).await;
        assert_eq!(reply.status, status);
        if status == 200 {
            assert_eq!(reply.text(), answer);
        } else {
            endpoint.refused(&reply, Reason::MalformedPayload);
        }
        if route_is_typed(answer) {
            let reply = endpoint.server.send(request(&fake().unsubscribe_confirmation().at(now()))).await;
            endpoint.refused(&reply, Reason::MalformedPayload);
        }
    }
}

fn route_is_typed(answer: &str) -> bool {
    answer.starts_with("8901")
}

#[tokio::test]
async fn a_local_sns_gets_the_confirmations_too() {
    let local = tower_webhook::senders::CertificateConfig::default()
        .with_insecure_origin("http://127.0.0.1:4566")
        .with_path_prefix("/x/");
    let fetches = Counting::answering(|uri| match uri.path() {
        "/x/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem" => {
            fake().get("https://x/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem".parse().unwrap())
        }
        _ => fake().get(uri),
    });
    let endpoint = Endpoint::with_fetcher(fetches, |it| it.certificates(local)).await;
    let url = "http://127.0.0.1:4566/x/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let reply = endpoint.server.send(request(&confirmation().signing_cert_url(url))).await;
    assert_eq!(reply.status, 200, "{:?}", endpoint.rejections.lock().unwrap());
    assert!(confirmed(&endpoint)[0].starts_with("http://127.0.0.1:4566/?Action=ConfirmSubscription&"));
}

#[tokio::test]
async fn a_slow_confirmation_is_not_forgotten_by_who_waits_longer() {
    let fetches = confirming(|| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fake().get("https://x/?Action=ConfirmSubscription&x".parse().unwrap()).await
        })
    });
    let endpoint = Endpoint::with_fetcher(fetches, SnsBuilder::insecure_any_age).await;
    let message = confirmation();
    let first = tokio::time::timeout(Duration::from_millis(20), endpoint.server.send(request(&message)));
    let (first, second) = tokio::join!(first, endpoint.server.send(request(&message)));
    assert!(first.is_err());
    assert_eq!(second.status, 200);
    assert_eq!(confirmed(&endpoint).len(), 1);
}
