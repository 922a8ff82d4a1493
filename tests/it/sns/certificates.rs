//! Certificates that cannot be had, that are not what they should be, and that change.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Response, Uri};
use http_body_util::Full;
use rcgen::{
    CertificateParams, DnType, Issuer, KeyPair, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use tokio::sync::Semaphore;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::senders::CertificateConfig;
use tower_webhook::sns::SnsBuilder;
use tower_webhook::testing::{FakeMessage, FakeSns, ManualClock};
use tower_webhook::{Fetch as _, Reason, Sns, WebhookLayer};

use super::{Counting, Endpoint, fake, now};
use crate::support::until;

fn certificates() -> CertificateConfig {
    CertificateConfig::default()
}

fn notification() -> FakeMessage {
    fake().notification("hello").at(now())
}

/// A certificate with one property changed.
fn certificate(alg: &'static SignatureAlgorithm, change: impl FnOnce(&mut CertificateParams)) -> String {
    certificate_for(&KeyPair::generate_for(alg).unwrap(), change)
}

fn certificate_for(key: &impl PublicKeyData, change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "Another Root");
    let root = Issuer::new(root, KeyPair::generate().unwrap());
    let mut leaf = CertificateParams::new(["sns.amazonaws.com".to_owned()]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, "sns.amazonaws.com");
    change(&mut leaf);
    leaf.signed_by(key, &root).unwrap().pem()
}

async fn outcome(fetches: Counting, configure: impl FnOnce(SnsBuilder) -> SnsBuilder) -> (u16, Option<Reason>) {
    let endpoint = Endpoint::with_fetcher(fetches, configure).await;
    let reply = endpoint.server.send(notification().post("/sns")).await;
    assert_eq!(reply.headers.contains_key("retry-after"), reply.status == 503);
    assert!(endpoint.fetches.count() <= 1);
    (reply.status.as_u16(), endpoint.reason())
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_or_taken_is_503_and_never_a_permanent_rejection() {
    let transient = (503, Some(Reason::KeyUnavailable));
    let down = Counting::answering(|_| Box::pin(async { Err("connection refused".into()) }));
    assert_eq!(outcome(down, |it| it).await, transient);
    for status in [204, 301, 302, 304, 307, 403, 404, 429, 500, 503] {
        assert_eq!(
            outcome(Counting::fixed(status, fake().certificate_pem().to_owned()), |it| it).await,
            transient,
            "{status}"
        );
    }
    let fake = fake();
    let pem = fake.certificate_pem();
    for garbage in [
        String::new(),
        "<html>".into(),
        format!("garbage\n{pem}"),
        pem.replace("BEGIN", "BEGINN"),
        pem.replace("-----END CERTIFICATE-----", ""),
        pem[..pem.len() / 2].to_owned(),
        pem.replacen("MII", "MIJ", 1),
        pem.replacen('M', "\u{0}", 1),
        pem.replace("CERTIFICATE", "PUBLIC KEY"),
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".into(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
        format!("{pem}{}", " ".repeat(64 * 1024)),
        "x".repeat(10 * 1024 * 1024),
    ] {
        assert_eq!(outcome(Counting::fixed(200, garbage.clone()), |it| it).await, transient, "{garbage:.80}");
    }
}

#[tokio::test]
async fn a_certificate_with_another_name_time_or_key_is_503() {
    let rsa = &PKCS_RSA_SHA256;
    // The same with nothing changed is taken, and then the signature is not by its key: the changes are
    // what is refused.
    let taken = (401, Some(Reason::SignatureMismatch));
    assert_eq!(outcome(Counting::fixed(200, certificate(rsa, |_| {})), |it| it).await, taken);
    let bad = [
        certificate(rsa, |it| it.not_after = date_time_ymd(2026, 12, 1)),
        certificate(rsa, |it| it.not_before = date_time_ymd(2027, 3, 1)),
        certificate(rsa, |it| *it = CertificateParams::new(["sns.amazonaws.com.evil.test".to_owned()]).unwrap()),
        certificate(rsa, |it| {
            *it = CertificateParams::new(["evil.test".to_owned()]).unwrap();
            it.distinguished_name.push(DnType::CommonName, "sns.amazonaws.com");
        }),
        certificate(rsa, |it| *it = CertificateParams::default()),
        certificate(&rcgen::PKCS_ECDSA_P256_SHA256, |_| {}),
        include_str!("rsa_1024.pem").to_owned(),
        self_signed(),
    ];
    for (number, pem) in bad.into_iter().enumerate() {
        let refused = (503, Some(Reason::KeyUnavailable));
        assert_eq!(outcome(Counting::fixed(200, pem), |it| it).await, refused, "number {number}");
    }
}

fn self_signed() -> String {
    let mut params = CertificateParams::new(["sns.amazonaws.com".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "sns.amazonaws.com");
    params.self_signed(&KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()).unwrap().pem()
}

/// A region that came after this version may sign under either name.
#[tokio::test]
async fn a_new_region_signs_under_either_name() {
    let url = "https://sns.xx-new-9.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    for (name, reason) in [
        ("sns.amazonaws.com", Reason::SignatureMismatch),
        ("sns-signing.xx-new-9.amazonaws.com", Reason::SignatureMismatch),
        ("sns-signing.xx-new-8.amazonaws.com", Reason::KeyUnavailable),
    ] {
        let pem = certificate(&PKCS_RSA_SHA256, |it| *it = CertificateParams::new([name.to_owned()]).unwrap());
        let topic = "arn:aws:sns:xx-new-9:123456789012:MyTopic";
        let endpoint = Endpoint::with_fetcher(Counting::fixed(200, pem), |it| it.topic(topic)).await;
        endpoint.server.send(notification().topic(topic).signing_cert_url(url).post("/sns")).await;
        assert_eq!(endpoint.reason(), Some(reason), "{name}");
    }
}

#[tokio::test]
async fn what_is_refused_for_its_form_is_taken_by_the_risk_named_switches() {
    let taken = (401, Some(Reason::SignatureMismatch));
    let short = Counting::fixed(200, include_str!("rsa_1024.pem"));
    assert_eq!(outcome(short, |it| it.certificates(certificates().with_insecure_min_key_bits(1024))).await, taken);
    let own = Counting::fixed(200, self_signed());
    assert_eq!(outcome(own, |it| it.certificates(certificates().with_insecure_self_signed())).await, taken);
}

#[tokio::test]
async fn where_roots_are_given_the_chain_has_to_end_there() {
    let delivered = (200, None);
    assert_eq!(
        outcome(Counting::new(), |it| it.certificates(certificates().with_roots(fake().root_pem()))).await,
        delivered
    );
    let other = FakeSns::new();
    let refused = (503, Some(Reason::KeyUnavailable));
    assert_eq!(
        outcome(Counting::new(), |it| it.certificates(certificates().with_roots(other.root_pem()))).await,
        refused
    );
    let both = format!("{}{}", other.root_pem(), fake().root_pem());
    assert_eq!(outcome(Counting::new(), |it| it.certificates(certificates().with_roots(both))).await, delivered);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_costs_five_seconds_and_is_503() {
    let stuck = Counting::answering(|_| Box::pin(pending()));
    let sns = Sns::builder().topic(fake().topic_arn()).fetch(stuck).build().unwrap();
    let handler = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default())));
    let service = WebhookLayer::new(sns).with_clock(ManualClock::new(now())).layer(handler);
    let started = tokio::time::Instant::now();
    let response = service.oneshot(notification().post("/")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_thousand_first_requests_cause_one_fetch() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let fetches = Counting::answering(move |uri| {
        let held = held.clone();
        Box::pin(async move {
            let _permit = held.acquire().await?;
            fake().get(uri).await
        })
    });
    let sns = Sns::builder().topic(fake().topic_arn()).fetch(fetches.clone()).build().unwrap();
    let handler = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default())));
    let service = WebhookLayer::new(sns).with_clock(ManualClock::new(now())).layer(handler);
    let request = notification();
    let requests = (0..1000).map(|_| service.clone().oneshot(request.post("/")));
    let opened = async {
        // Every request has come as far as it gets by now, as all are polled in turn.
        tokio::task::yield_now().await;
        gate.add_permits(1);
    };
    let (responses, ()) = tokio::join!(join_all(requests), opened);
    assert!(responses.into_iter().all(|response| response.unwrap().status() == 200));
    assert_eq!(fetches.count(), 1);
}

#[tokio::test]
async fn a_failed_fetch_stands_for_seconds_and_a_certificate_to_its_end_while_its_host_is_down() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = up.clone();
    let fetches =
        Counting::answering(
            move |uri| {
                if is_up.load(Relaxed) { fake().get(uri) } else { Box::pin(async { Err("down".into()) }) }
            },
        );
    let endpoint = Endpoint::with_fetcher(fetches, SnsBuilder::insecure_any_age).await;
    let renewed = async |count| until("it is renewed", async || endpoint.fetches.count() >= count).await;
    let send = async || endpoint.server.send(notification().post("/sns")).await.status.as_u16();
    assert_eq!((send().await, send().await, endpoint.fetches.count()), (503, 503, 1));
    up.store(true, Relaxed);
    endpoint.clock.advance(Duration::from_secs(10));
    assert_eq!((send().await, send().await, endpoint.fetches.count()), (200, 200, 2));
    endpoint.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!((send().await, endpoint.fetches.count()), (200, 2));
    endpoint.clock.advance(Duration::from_secs(1));
    assert_eq!(send().await, 200);
    renewed(3).await;
    up.store(false, Relaxed);
    for day in 1..=365 {
        endpoint.clock.advance(Duration::from_secs(24 * 60 * 60));
        assert_eq!(send().await, 200, "day {day}");
        renewed(3 + day).await;
    }
}

/// A certificate for the key that signs, which ends at this day's first second.
fn certificate_until(year: i32, month: u8, day: u8) -> String {
    struct SigningKey(Vec<u8>);

    impl PublicKeyData for SigningKey {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }

        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &PKCS_RSA_SHA256
        }
    }

    let (_, pem) = x509_parser::pem::parse_x509_pem(fake().certificate_pem().as_bytes()).unwrap();
    let key = SigningKey(pem.parse_x509().unwrap().public_key().subject_public_key.data.to_vec());
    certificate_for(&key, |leaf| leaf.not_after = date_time_ymd(year, month, day))
}

#[tokio::test]
async fn a_certificate_is_renewed_ahead_of_its_end_and_not_used_after_it() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const SECOND: Duration = Duration::from_secs(1);

    // It ends 40 hours from now.
    let answer = Arc::new(Mutex::new(Some(certificate_until(2027, 1, 17))));
    let given = answer.clone();
    let fetches = Counting::answering(move |_| {
        let answer = given.lock().unwrap().clone().map(|pem| Response::new(Bytes::from(pem)));
        Box::pin(async move { answer.ok_or_else(|| "down".into()) })
    });
    let endpoint = Endpoint::with_fetcher(fetches, SnsBuilder::insecure_any_age).await;
    let send = async || endpoint.server.send(notification().post("/sns")).await.status.as_u16();
    let fetched = async |count| {
        until("it is fetched", async || endpoint.fetches.count() >= count).await;
        assert_eq!(endpoint.fetches.count(), count);
    };
    assert_eq!(send().await, 200);
    endpoint.clock.advance(20 * HOUR - SECOND);
    assert_eq!(send().await, 200);
    fetched(1).await;
    endpoint.clock.advance(SECOND);
    assert_eq!(send().await, 200);
    // Half of its time is over, and it is renewed: 20 hours ahead of its end.
    fetched(2).await;

    *answer.lock().unwrap() = None;
    endpoint.clock.advance(10 * HOUR);
    assert_eq!(send().await, 200, "its host is down, and it serves");
    fetched(3).await;
    endpoint.clock.advance(10 * HOUR - SECOND);
    assert_eq!(send().await, 200, "its last second");
    fetched(4).await;
    endpoint.clock.advance(20 * SECOND);
    assert_eq!((send().await, endpoint.reason()), (503, Some(Reason::KeyUnavailable)));
    assert!(endpoint.text().ends_with("the fetch failed"), "{}", endpoint.text());

    // A 503 is repeated, and by then the host may have the next one.
    *answer.lock().unwrap() = Some(certificate_until(2028, 1, 17));
    endpoint.clock.advance(20 * SECOND);
    assert_eq!(send().await, 200);
}

#[tokio::test]
async fn a_pinned_address_is_fetched_whatever_an_attacker_invents() {
    let url = |id: u32| format!("https://sns.us-west-2.amazonaws.com/SimpleNotificationService-{id:032x}.pem");
    let genuine = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    for (config, status) in [(certificates(), 503), (certificates().with_pinned_url(genuine), 200)] {
        let endpoint = Endpoint::new(|it| it.certificates(config)).await;
        for id in 0..100 {
            endpoint.server.send(notification().signing_cert_url(url(id)).post("/sns")).await;
        }
        assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, status);
        assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200, "asked for the second time");
    }
    let sns = Sns::builder().topic(fake().topic_arn()).fetch(fake());
    assert!(sns.certificates(certificates().with_pinned_url("x.pem")).build().is_err());
}

#[tokio::test]
async fn junk_addresses_are_rate_limited_and_do_not_starve_the_genuine_one() {
    let endpoint = Endpoint::new(|it| it).await;
    let url = |id: u32| format!("https://sns.us-west-2.amazonaws.com/SimpleNotificationService-{id:032x}.pem");
    let junk = |id| notification().signing_cert_url(url(id)).post("/sns");
    assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200);
    for id in 0..300 {
        assert_eq!(endpoint.server.send(junk(id)).await.status, 503);
    }
    let after = endpoint.fetches.count();
    assert!(after <= 64, "{after}");
    assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200);
    assert_eq!(endpoint.fetches.count(), after);
}

#[tokio::test]
async fn a_key_changed_under_the_same_address_is_found_by_one_fetch() {
    let other = FakeSns::new();
    let restarted = Arc::new(AtomicBool::new(false));
    let (new, is_restarted) = (other.clone(), restarted.clone());
    let fetches =
        Counting::answering(move |uri| if is_restarted.load(Relaxed) { new.get(uri) } else { fake().get(uri) });
    let endpoint = Endpoint::with_fetcher(fetches, |it| it).await;
    assert_eq!(endpoint.server.send(notification().post("/sns")).await.status, 200);
    restarted.store(true, Relaxed);
    for _ in 0..3 {
        let reply = endpoint.server.send(other.notification("hello").at(now()).post("/sns")).await;
        assert_eq!(reply.status, 200, "{:?}", endpoint.reason());
    }
    assert_eq!(endpoint.fetches.count(), 2);
    for _ in 0..10 {
        let reply = endpoint.server.send(notification().post("/sns")).await;
        endpoint.refused(&reply, Reason::SignatureMismatch);
    }
    assert_eq!(endpoint.fetches.count(), 2, "forgeries do not cause a fetch each");
}

#[tokio::test]
async fn a_local_sns_is_taken_at_its_origin_alone() {
    let id = "0123456789abcdef0123456789abcdef";
    let origin = "http://127.0.0.1:4566";
    let local = || certificates().with_insecure_origin(origin).with_path_prefix("/_aws/sns/");
    let fetches = Counting::answering(|uri: Uri| {
        assert_eq!(uri.authority().unwrap(), "127.0.0.1:4566");
        let response = Response::new(Bytes::from(fake().certificate_pem().to_owned()));
        Box::pin(async move { Ok(response) })
    });
    let endpoint = Endpoint::with_fetcher(fetches, |it| it.certificates(local())).await;
    let send = async |url: String| endpoint.server.send(notification().signing_cert_url(url).post("/sns")).await;
    for bad in [
        format!("ftp://127.0.0.1:4566/_aws/sns/SimpleNotificationService-{id}.pem"),
        format!("/_aws/sns/SimpleNotificationService-{id}.pem"),
        format!("http://a@127.0.0.1:4566/_aws/sns/SimpleNotificationService-{id}.pem"),
        format!("{origin}/SimpleNotificationService-{id}.pem"),
        format!("{origin}/_aws/sns/SimpleNotificationService-{id}.pem?x"),
        format!("https://sns.us-west-2.amazonaws.com/SimpleNotificationService-{id}.pem"),
    ] {
        endpoint.refused(&send(bad).await, Reason::MalformedSignature);
    }
    assert_eq!(endpoint.fetches.count(), 0);
    // Whatever it calls itself, it is asked at its origin, as the fetcher asserts.
    for origin in [origin, "http://localhost.localstack.cloud:4566", "http://localstack:4566", "https://127.0.0.1:4567"]
    {
        assert_eq!(send(format!("{origin}/_aws/sns/SimpleNotificationService-{id}.pem")).await.status, 200, "{origin}");
    }
    assert_eq!(endpoint.fetches.count(), 1);

    for (local, status) in [
        (local().with_name("other.test"), 503),
        (local().with_name("sns.amazonaws.com"), 200),
        (local(), 200),
        (local().with_insecure_any_name(), 200),
        (local().with_insecure_any_validity(), 200),
    ] {
        let fetches = Counting::fixed(200, fake().certificate_pem().to_owned());
        let endpoint = Endpoint::with_fetcher(fetches, |it| it.certificates(local)).await;
        let message = notification().signing_cert_url(format!("{origin}/_aws/sns/SimpleNotificationService-{id}.pem"));
        assert_eq!(endpoint.server.send(message.post("/sns")).await.status, status);
    }
    for bad in ["", "127.0.0.1:4566", "ftp://127.0.0.1", "http://a@b", "http://a/b", "http://a?b"] {
        let local = certificates().with_insecure_origin(bad);
        let sns = Sns::builder().topic(fake().topic_arn()).certificates(local).fetch(fake());
        assert!(sns.build().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_local_certificate_of_another_name_or_time_needs_a_switch() {
    let url = "http://127.0.0.1:4566/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let local = || certificates().with_insecure_origin("http://127.0.0.1:4566");
    let of_another_name =
        certificate(&PKCS_RSA_SHA256, |it| *it = CertificateParams::new(["localhost".to_owned()]).unwrap());
    let expired = certificate(&PKCS_RSA_SHA256, |it| it.not_after = date_time_ymd(2026, 12, 1));
    // What is taken is taken for its form: the message is signed by another key.
    let (taken, refused) = (Some(Reason::SignatureMismatch), Some(Reason::KeyUnavailable));
    for (pem, config, reason) in [
        (&of_another_name, local(), refused),
        (&of_another_name, local().with_insecure_any_name(), taken),
        (&of_another_name, local().with_name("localhost"), taken),
        (&expired, local(), refused),
        (&expired, local().with_insecure_any_validity(), taken),
    ] {
        let endpoint =
            Endpoint::with_fetcher(Counting::fixed(200, pem.clone()), |it| it.certificates(config.clone())).await;
        endpoint.server.send(notification().signing_cert_url(url).post("/sns")).await;
        assert_eq!(endpoint.reason(), reason, "{config:?}");
    }
}

/// These would weaken the check of Amazon's own certificate.
#[test]
fn another_name_and_no_validity_need_an_origin() {
    for config in [
        certificates().with_insecure_any_name(),
        certificates().with_name("sns.amazonaws.com"),
        certificates().with_insecure_any_validity(),
        certificates().with_path_prefix("/x/"),
    ] {
        let sns = Sns::builder().topic(fake().topic_arn()).certificates(config.clone()).fetch(fake());
        assert!(sns.build().unwrap_err().to_string().contains("origin"), "{config:?}");
    }
}
