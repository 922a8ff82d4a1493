//! The detail of a rejection names the header, member or setting at fault, and never a value.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::scheme::{SchemeBuilder, header};
use tower_webhook::{Rejection, Scheme, WebhookLayer, senders, testing};

async fn reason(scheme: &Scheme, request: Request<Full<Bytes>>) -> String {
    let handler =
        service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let service = WebhookLayer::new(scheme.clone()).with_clock(testing::ManualClock::new(now())).layer(handler);
    let response = service.oneshot(request).await.unwrap();
    response.extensions().get::<Rejection>().map_or_else(|| "delivered".to_owned(), ToString::to_string)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn acme() -> SchemeBuilder {
    Scheme::hmac_sha256()
        .signature(header("x-acme-signature").prefix("v1=").hex())
        .timestamp(header("x-acme-timestamp").unix_seconds())
        .signed("{timestamp}.{url}.{body}")
        .with_public_url("https://hooks.example.com")
        .secret("s3cret")
}

#[tokio::test]
async fn a_detail_names_what_is_wrong_and_no_value() -> Result<(), Box<dyn std::error::Error>> {
    let scheme = acme().with_required_header("x-acme-method", "sha256").build("acme")?;
    let signed = |age: u64| {
        let request = Request::post("/in?token=hunter2&a").body(Bytes::from("{}"))?;
        testing::sign_at(&scheme, request, now() - Duration::from_secs(age)).map_err(Box::<dyn std::error::Error>::from)
    };
    let changed = |name: &'static str, value: Option<&str>| {
        let mut request = signed(0)?;
        match value {
            Some(value) => request.headers_mut().insert(name, value.parse()?),
            None => request.headers_mut().remove(name),
        };
        Ok::<_, Box<dyn std::error::Error>>(request)
    };
    assert_eq!(reason(&scheme, signed(0)?).await, "delivered");
    let old = reason(&scheme, signed(412)?).await;
    assert!(
        old.ends_with(": the timestamp in `x-acme-timestamp` is 412 s in the past, and 300 s are allowed"),
        "{old}"
    );
    let junk = "v1=".to_owned() + &"0".repeat(64);
    for (name, value, detail) in [
        ("x-acme-signature", None, "none in `x-acme-signature` `v1=`"),
        ("x-acme-signature", Some("v0=abc"), "what `x-acme-signature` has does not start with `v1=`"),
        ("x-acme-signature", Some("v1=abc"), "`x-acme-signature` `v1=` does not hold 32 bytes in hex"),
        (
            "x-acme-signature",
            Some(junk.as_str()),
            "the address signed over is https://hooks.example.com/in?token=..&..",
        ),
        ("x-acme-timestamp", None, "there is no timestamp in `x-acme-timestamp`"),
        ("x-acme-timestamp", Some("soon"), "`x-acme-timestamp` is not a time in UnixSeconds"),
        ("x-acme-method", None, "`x-acme-method`"),
        ("x-acme-method", Some("md5"), "`x-acme-method` is not \"sha256\""),
    ] {
        let text = reason(&scheme, changed(name, value)?).await;
        assert!(text.ends_with(&format!(": {detail}")), "{text}");
    }
    Ok(())
}

/// A token for another recipient is signed as well as ours.
#[cfg(all(feature = "jwt", feature = "testing-certificates"))]
#[tokio::test]
async fn a_token_for_somebody_else_is_told_by_the_claim_that_says_so() -> Result<(), Box<dyn std::error::Error>> {
    let key = testing::SigningKey::rsa()?;
    let sender = |audience: &str, email: &str| {
        let set = key.jwks().unwrap();
        let fetch = move |_| std::future::ready(Ok::<_, Infallible>(Response::new(Bytes::from(set.clone()))));
        let keys = tower_webhook::scheme::Jwks::builder("https://keys.example.com").fetch(fetch).build().unwrap();
        senders::google_oidc(keys, audience, email).unwrap()
    };
    let ours = sender("https://hooks.example.com", "pusher@example.com");
    for (audience, email, detail) in [
        ("https://hooks.example.com", "pusher@example.com", "delivered"),
        ("https://other.example.com", "pusher@example.com", ": the token's aud is not the configured one"),
        ("https://hooks.example.com", "other@example.com", ": the token's email is not the configured one"),
    ] {
        let request = Request::post("/").body(Bytes::from("{}"))?;
        let signed = testing::sign_with_at(&sender(audience, email), &key, request, now())?;
        let text = reason(&ours, signed).await;
        assert!(text.ends_with(detail), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_nothing_signs_and_an_address_with_a_password_are_named() -> Result<(), Box<dyn std::error::Error>>
{
    let twilio = senders::twilio("t0ken", "https://user:hunter2@hooks.example.com")?;
    let json = || Request::post("/in?a=1").header("content-type", "application/json").body(Bytes::from("{}"));
    let signed = testing::sign_at(&twilio, json()?, now())?;
    assert_eq!(reason(&twilio, signed).await, "delivered");
    // The address alone is signed, as Twilio's own libraries accept it.
    let address_alone = header("x-twilio-signature").base64();
    let address_alone = Scheme::hmac_sha1_for_legacy_senders_only()
        .signature(address_alone)
        .signed_without_the_body("{url}")
        .with_public_url("https://user:hunter2@hooks.example.com")
        .secret("t0ken")
        .build("twilio")?;
    let signed = testing::sign_at(&address_alone, json()?, now())?;
    let text = reason(&twilio, signed).await;
    assert!(text.ends_with(": nothing signs it, as its SHA-256 is not in query `bodySHA256`"), "{text}");
    let url = "https://user:hunter2@hooks.example.com/app";
    for (scheme, address) in [
        (twilio, "https://..@hooks.example.com/in?a=..&bodySHA256=.."),
        (senders::square("t0ken", url)?, "https://..@hooks.example.com/app/in?a=.."),
        (senders::trello("t0ken", url)?, "https://..@hooks.example.com/app/in?a=.."),
        (senders::hubspot_v3("t0ken", url)?, "https://..@hooks.example.com/app/in?a=.."),
        (senders::contentful_at("t0ken", url)?, "/app/in"),
    ] {
        let mut forged = json()?;
        let list = "x-contentful-timestamp,x-contentful-signed-headers".parse()?;
        forged.headers_mut().insert("x-contentful-signed-headers", list);
        let forged = testing::sign_at(&scheme, forged, now())?;
        let elsewhere = forged.uri().to_string().replace("a=1", "a=2").parse()?;
        let (mut head, body) = forged.into_parts();
        head.uri = elsewhere;
        let text = reason(&scheme, Request::from_parts(head, body)).await;
        assert!(text.contains(&format!("the address signed over is {address}")), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    Ok(())
}
