//! What is refused before anything is fetched, and after.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tower_webhook::senders::CertificateConfig;
use tower_webhook::sns::{SignatureVersion, SnsBuilder};
use tower_webhook::testing::FakeMessage;
use tower_webhook::{Reason, Sns};

use super::{Counting, Endpoint, fake, now};

fn notification() -> FakeMessage {
    fake().notification(r#"{"usage":1}"#).subject("a subject").at(now())
}

/// The request of a message whose JSON was changed after it was signed.
fn changed(message: &FakeMessage, change: impl FnOnce(String) -> String) -> Request<Full<Bytes>> {
    let (mut head, _) = message.post("/sns").into_parts();
    head.headers.remove("content-length");
    Request::from_parts(head, Bytes::from(change(message.json())).into())
}

#[tokio::test]
async fn a_genuine_message_of_either_version_is_delivered_and_the_certificate_fetched_once() {
    let endpoint = Endpoint::new(|builder| builder).await;
    for version in [SignatureVersion::V1, SignatureVersion::V2] {
        for message in [notification(), fake().unsubscribe_confirmation().at(now())] {
            let reply = endpoint.server.send(message.version(version).post("/sns")).await;
            assert_eq!(reply.status, 200, "{version:?}: {:?}", endpoint.reason());
        }
    }
    assert_eq!(
        endpoint.fetches.urls(),
        ["https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"]
    );
}

#[tokio::test]
async fn what_an_honest_sns_never_sends_is_refused_before_anything_is_fetched() {
    use Reason as R;
    let endpoint = Endpoint::new(|builder| builder).await;
    let good = "sns.us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let url = |url: &str| notification().signing_cert_url(url).post("/sns");
    let mut cases = vec![
        (notification().topic("arn:aws:sns:us-west-2:210987654321:MyTopic").post("/sns"), R::NotForUs),
        (changed(&notification(), |json| json.replace("123456789012", "210987654321")), R::BodyMismatch),
        (changed(&notification(), |json| json.replace("22b80b92", "32b80b92")), R::BodyMismatch),
        (changed(&notification(), |json| format!("\u{feff}{json}")), R::MalformedBody),
        (changed(&notification(), |json| format!("[{json}]")), R::MalformedBody),
        (changed(&notification(), |json| json.replace("{\n", "{\"Message\":\"other\",")), R::MalformedBody),
        (changed(&notification(), |json| json.replace("\"Message\"", "\"Massage\"")), R::MalformedBody),
        (
            changed(&notification(), |json| json.replace("\"SignatureVersion\": \"2\"", "\"SignatureVersion\": \"3\"")),
            R::UnacceptableAlgorithm,
        ),
        (changed(&notification(), |json| json.replace("\"Signature\"", "\"Sig\"")), R::MissingSignature),
        (
            changed(&notification(), |json| json.replace("\"Signature\": \"", "\"Signature\": \" ")),
            R::MalformedSignature,
        ),
        (changed(&notification(), |_| String::new()), R::MalformedBody),
        (notification().subject("x\nMessageId\ny").post("/sns"), R::MalformedBody),
        (notification().at(now() - Duration::from_secs(8 * 3600 + 1)).post("/sns"), R::Stale),
        (notification().at(now() + Duration::from_secs(5 * 60 + 1)).post("/sns"), R::Premature),
    ];
    for bad in [
        format!("http://{good}"),
        format!("HTTPS://{good}"),
        format!("https://user@{good}"),
        format!("https://{good}?x"),
        format!("https://{good}#x"),
        format!("https://{good}/x"),
        format!("https://{}", good.replace(".com/", ".com:443/")),
        format!("https://{}", good.replace(".com/", ".com./")),
        format!("https://{}", good.replace(".com/", ".com/x/")),
        format!("https://{}", good.replace(".com/", ".com//")),
        format!("https://{}", good.replace("sns.us", "sns.s3-us")),
        format!("https://{}", good.replace("us-west-2", "us-east-1")),
        format!("https://{}", good.replace("amazonaws.com", "amazonaws.com.evil.test")),
        format!("https://{}", good.replace("sns.", "SNS.")),
        format!("https://{}", good.replace("cdef.pem", "cdeF.pem")),
        format!("https://{}", good.replace("cdef.pem", "cde.pem")),
        format!("https://{}", good.replace("cdef.pem", "cdef.pem.exe")),
        format!("https://{}", good.replace("-0123", "-%30123")),
        "https://169.254.169.254/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem".to_owned(),
        String::new(),
    ] {
        cases.push((url(&bad), R::MalformedSignature));
    }
    let mut twice = notification().post("/sns");
    twice.headers_mut().append("x-amz-sns-topic-arn", HeaderValue::from_static(fake().topic_arn()));
    cases.push((twice, R::DuplicateHeader));
    for (name, value, reason) in [
        ("x-amz-sns-message-type", "SubscriptionConfirmation", R::BodyMismatch),
        ("x-amz-sns-message-type", "Other", R::MalformedHeader),
        ("x-amz-sns-message-id", "22b80b92-fdea-4c2c-8f9d-000000000000", R::BodyMismatch),
        ("x-amz-sns-topic-arn", "arn:aws:sns:us-west-2:210987654321:MyTopic", R::NotForUs),
        ("x-amz-sns-topic-arn", "MyTopic", R::MalformedHeader),
        ("x-amz-sns-rawdelivery", "true", R::MissingSignature),
        ("x-amz-sns-rawdelivery", "yes", R::MalformedHeader),
    ] {
        let mut request = notification().post("/sns");
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        cases.push((request, reason));
    }
    let mut get = notification().post("/sns");
    *get.method_mut() = http::Method::PUT;
    cases.push((get, R::MethodNotAllowed));
    let large = changed(&notification(), |json| json + &" ".repeat(2 * 1024 * 1024));
    cases.push((large, R::BodyTooLarge));
    for (request, reason) in cases {
        let shown = format!("{request:?}");
        let reply = endpoint.server.send(request).await;
        assert_eq!(endpoint.reason(), Some(reason), "{shown}");
        assert_eq!(reply.status, reason.status());
        assert!(!reason.is_transient());
    }
    assert_eq!(endpoint.fetches.count(), 0);
}

#[tokio::test]
async fn a_header_that_is_absent_contradicts_nothing_and_the_content_type_means_nothing() {
    let endpoint = Endpoint::new(|builder| builder).await;
    let request = Request::post("/sns").body(notification().json().into()).unwrap();
    assert_eq!(endpoint.server.send(request).await.text(), "Notification");
    let mut request = notification().post("/sns");
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    assert_eq!(endpoint.server.send(request).await.text(), "Notification");
}

#[tokio::test]
async fn a_message_changed_after_it_was_signed_is_refused() {
    let endpoint = Endpoint::new(|builder| builder).await;
    for (from, to) in
        [("usage", "abuse"), ("a subject", "another subject"), ("\"Subject\"", "\"Sujet\""), (".000Z", ".001Z")]
    {
        let request = changed(&notification(), |json| json.replace(from, to));
        let reply = endpoint.server.send(request).await;
        endpoint.refused(&reply, Reason::SignatureMismatch);
    }
    let confirmation = fake().unsubscribe_confirmation().at(now());
    let request = changed(&confirmation, |json| json.replace("\"Token\": \"0", "\"Token\": \"1"));
    endpoint.refused(&endpoint.server.send(request).await, Reason::SignatureMismatch);
    assert_eq!(endpoint.fetches.count(), 2, "once, and once more as the key might have changed");
}

#[tokio::test]
async fn version_1_is_refused_where_2_is_required() {
    let endpoint = Endpoint::new(SnsBuilder::require_signature_version_2).await;
    let reply = endpoint.server.send(notification().version(SignatureVersion::V1).post("/sns")).await;
    endpoint.refused(&reply, Reason::UnacceptableAlgorithm);
    assert_eq!(endpoint.fetches.count(), 0);
    assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200);
}

#[tokio::test]
async fn the_age_is_bounded_unless_it_is_switched_off() {
    for age in [8 * 3600, 66 * 60, 60] {
        let endpoint = Endpoint::new(|builder| builder).await;
        let message = notification().at(now() - Duration::from_secs(age));
        assert_eq!(endpoint.server.send(message.post("/sns")).await.status, 200);
    }
    let endpoint = Endpoint::new(|builder| builder).await;
    let message = notification().at(now() - Duration::from_secs(9 * 3600));
    endpoint.refused(&endpoint.server.send(message.post("/sns")).await, Reason::Stale);
    assert!(endpoint.text().ends_with("is 540 min in the past, and 480 min are allowed"), "{}", endpoint.text());
    let endpoint = Endpoint::new(SnsBuilder::insecure_any_age).await;
    let message = notification().at(now() - Duration::from_secs(10 * 365 * 86_400));
    assert_eq!(endpoint.server.send(message.post("/sns")).await.status, 200);
}

#[tokio::test]
async fn a_clock_that_is_not_set_loses_no_message() {
    let endpoint = Endpoint::new(|builder| builder).await;
    for clock in [UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1_700_000_000)] {
        endpoint.clock.set(clock);
        endpoint.refused(&endpoint.server.send(notification().post("/sns")).await, Reason::ClockUnset);
    }
    endpoint.clock.set(now());
    assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200);
}

#[tokio::test]
async fn a_message_that_lambda_handed_on_is_delivered() {
    let endpoint = Endpoint::new(|builder| builder).await;
    let message = fake().notification("hello").at(now());
    let lambda = |json: String| {
        json.replace("SigningCertURL", "SigningCertUrl")
            .replace("UnsubscribeURL", "UnsubscribeUrl")
            .replace("{\n", "{\"Subject\": null,")
    };
    let reply = endpoint.server.send(changed(&message, lambda)).await;
    assert_eq!(reply.text(), "Notification", "{}", endpoint.text());
}

#[tokio::test]
async fn a_foreign_topic_and_a_foreign_certificate_say_which_setting_or_member_is_at_fault() {
    let endpoint = Endpoint::new(|builder| builder).await;
    let topic = "arn:aws:sns:us-west-2:210987654321:MyTopic";
    endpoint.server.send(notification().topic(topic).post("/sns")).await;
    assert!(endpoint.text().ends_with(&format!("{topic} is none of the allowed `topics` or `accounts`")));
    endpoint.server.send(notification().signing_cert_url("https://evil.test/x.pem").post("/sns")).await;
    let text = endpoint.text();
    assert!(text.contains("SigningCertURL") && text.contains("sns.us-west-2.amazonaws.com"), "{text}");
    assert!(!text.contains("evil"), "{text}");
}

#[tokio::test]
async fn an_account_or_any_topic_can_be_allowed() {
    let foreign = || notification().topic("arn:aws:sns:us-west-2:210987654321:Theirs").post("/sns");
    for configure in [
        (|builder| builder.account("210987654321")) as fn(SnsBuilder) -> SnsBuilder,
        SnsBuilder::insecure_any_topic,
        |builder| builder.topics(["arn:aws:sns:us-west-2:210987654321:Theirs"]),
    ] {
        let endpoint = Endpoint::new(configure).await;
        assert_eq!(endpoint.server.send(foreign()).await.status, 200);
    }
}

#[test]
fn a_configuration_without_a_topic_or_with_a_fault_is_refused() {
    let topic = || Sns::builder().topic(fake().topic_arn()).fetch(Counting::new());
    assert!(topic().build().is_ok());
    for (builder, fault) in [
        (Sns::builder().fetch(Counting::new()), "no topic"),
        (topic().topic("MyTopic"), "ARN"),
        (topic().account("1"), "12 digits"),
        (topic().basic_auth("", ""), "empty user"),
        (topic().realm("\""), "realm"),
        (topic().certificates(CertificateConfig::default().with_insecure_min_key_bits(512)), "1024"),
        (topic().certificates(CertificateConfig::default().with_roots("no certificate")), "PEM"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
    }
}
