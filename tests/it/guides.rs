//! What the guides promise of senders and proxies, where no other test shows it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::routing::{post, post_service};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tower::ServiceExt as _;
use tower_webhook::{Delivery, Events, Form, Json, Reason, Rejection, Scheme, Webhook, WebhookLayer, senders, testing};

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn at(seconds: i64) -> SystemTime {
    let now = UNIX_EPOCH + NOW;
    if seconds < 0 {
        now - Duration::from_secs(seconds.unsigned_abs())
    } else {
        now + Duration::from_secs(seconds as u64)
    }
}

fn layer(scheme: &Scheme) -> WebhookLayer<Scheme> {
    WebhookLayer::new(scheme.clone()).with_clock(|| at(0))
}

async fn send(app: &Router, request: Request<Full<Bytes>>) -> (StatusCode, Option<Reason>) {
    let response = app.clone().oneshot(request.map(Body::new)).await.unwrap();
    (response.status(), response.extensions().get::<Rejection>().map(Rejection::reason))
}

/// What became of a request to a handler that takes anything.
async fn judge(scheme: &Scheme, request: Request<Full<Bytes>>) -> (StatusCode, Option<Reason>) {
    send(&Router::new().fallback_service(post(async |_: Delivery| {}).layer(layer(scheme))), request).await
}

fn request(uri: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Bytes> {
    headers.iter().fold(Request::post(uri), |head, (name, value)| head.header(*name, *value)).body(body.into()).unwrap()
}

const ACCEPTED: (StatusCode, Option<Reason>) = (StatusCode::OK, None);

fn refused(reason: Reason) -> (StatusCode, Option<Reason>) {
    (reason.status(), Some(reason))
}

#[tokio::test]
async fn five_minutes_is_how_old_a_request_may_be_where_the_sender_signs_a_time() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (name, scheme) in [
        ("stripe", senders::stripe(SECRET).unwrap()),
        ("slack", senders::slack(SECRET).unwrap()),
        ("clerk", senders::clerk(SECRET).unwrap()),
    ] {
        let signed = |seconds| testing::sign_at(&scheme, request("/", &[], "{}"), at(seconds)).unwrap();
        assert_eq!(judge(&scheme, signed(-299)).await, ACCEPTED, "{name}");
        assert_eq!(judge(&scheme, signed(-301)).await, refused(Reason::Stale), "{name}");
    }
    for (name, scheme) in [
        ("github", senders::github(SECRET).unwrap()),
        ("shopify", senders::shopify(SECRET).unwrap()),
        ("twilio", senders::twilio(SECRET, "https://hooks.example.com").unwrap()),
    ] {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let signed = testing::sign_at(&scheme, request("/", &form, "a=b"), at(-366 * 24 * 3600)).unwrap();
        assert_eq!(judge(&scheme, signed).await, ACCEPTED, "{name}: no time is signed");
    }
}

#[cfg(feature = "asymmetric")]
#[tokio::test]
async fn five_minutes_is_how_old_a_request_of_discord_and_sendgrid_may_be() {
    use tower_webhook::testing::SigningKey;

    let (ed25519, p256) = (SigningKey::ed25519().unwrap(), SigningKey::ecdsa_p256().unwrap());
    let discord = senders::discord(ed25519.public_key()).unwrap();
    let sendgrid = senders::sendgrid(p256.public_key()).unwrap();
    for (name, scheme, key) in [("discord", discord, ed25519), ("sendgrid", sendgrid, p256)] {
        let signed = |seconds| testing::sign_with_at(&scheme, &key, request("/", &[], "[{}]"), at(seconds)).unwrap();
        assert_eq!(judge(&scheme, signed(-299)).await, ACCEPTED, "{name}");
        let (status, reason) = judge(&scheme, signed(-301)).await;
        assert_eq!((status, reason), (StatusCode::UNAUTHORIZED, Some(Reason::Stale)), "{name}");
    }
}

#[tokio::test]
async fn while_stripe_signs_with_both_secrets_either_one_verifies() {
    let by = |secret: &'static str| senders::stripe(secret).unwrap();
    let signature = |scheme: &Scheme| {
        let signed = testing::sign_at(scheme, request("/", &[], "{}"), at(0)).unwrap();
        signed.headers()["stripe-signature"].to_str().unwrap().to_owned()
    };
    let (old, new) = (signature(&by("whsec_old")), signature(&by("whsec_new")));
    let both = format!("{old},{}", new.split_once(',').unwrap().1);
    for secret in ["whsec_old", "whsec_new"] {
        let request = request("/", &[("stripe-signature", &both)], "{}").map(Full::new);
        assert_eq!(judge(&by(secret), request).await, ACCEPTED, "{secret}");
    }
    let request = request("/", &[("stripe-signature", &both)], "{}").map(Full::new);
    assert_eq!(judge(&by("whsec_other"), request).await, refused(Reason::SignatureMismatch));
}

#[tokio::test]
async fn an_order_of_shopifys_under_another_topic_does_not_fit_its_handler() {
    #[derive(serde::Deserialize)]
    struct Order {
        #[allow(dead_code)]
        total_price: String,
    }
    let shopify = senders::shopify("the client secret").unwrap();
    let events = Events::new().by_unsigned_event_name().on("orders/create", async |_: Webhook<Json<Order>>| "an order");
    let app = Router::new().route("/", post_service(events).layer(layer(&shopify)));
    for (topic, body, expected) in [
        ("orders/create", r#"{"total_price":"1.00"}"#, ACCEPTED),
        ("orders/create", r#"{"title":"a product"}"#, refused(Reason::MalformedPayload)),
        ("products/create", r#"{"title":"a product"}"#, (StatusCode::NO_CONTENT, None)),
    ] {
        let signed = testing::sign(&shopify, request("/", &[("x-shopify-topic", topic)], body)).unwrap();
        assert_eq!(send(&app, signed).await, expected, "{topic} {body}");
    }
}

#[tokio::test]
async fn axums_form_works_behind_the_layer_as_before() {
    #[derive(serde::Deserialize)]
    struct Paid {
        amount: u32,
    }
    let scheme = senders::github("secret").unwrap();
    let handler = post(async |axum::Form(paid): axum::Form<Paid>| paid.amount.to_string());
    let app = Router::new().route("/", handler.layer(layer(&scheme)));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (body, expected) in [("amount=7", ACCEPTED), ("amount=many", (StatusCode::UNPROCESSABLE_ENTITY, None))] {
        let signed = testing::sign(&scheme, request("/", &form, body)).unwrap();
        assert_eq!(send(&app, signed).await, expected, "{body}");
    }
}

#[tokio::test]
async fn one_layer_serves_slacks_events_and_commands() {
    #[derive(serde::Deserialize)]
    struct Command {
        text: String,
    }
    let slack = senders::slack("the signing secret").unwrap();
    let app = Router::new()
        .route("/slack/events", post(async |Webhook(Json(event)): Webhook<Json<Value>>| event["type"].to_string()))
        .route("/slack/commands", post(async |Webhook(Form(command)): Webhook<Form<Command>>| command.text))
        .route_layer(layer(&slack));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (uri, headers, body, status) in [
        ("/slack/events", &[][..], r#"{"type":"event_callback"}"#, 200),
        ("/slack/events", &[], r#"{"type":"url_verification","challenge":"abc"}"#, 200),
        ("/slack/commands", &form, "command=%2Fweather&text=94070", 200),
        ("/slack/commands", &form, "command=%2Fweather", 422),
    ] {
        let signed = testing::sign_at(&slack, request(uri, headers, body), at(0)).unwrap();
        assert_eq!(send(&app, signed).await.0, status, "{uri} {body}");
    }
}

#[tokio::test]
async fn what_twilio_signs_by_a_rule_of_webhooks_is_refused() {
    let twilio = senders::twilio("the auth token", "https://hooks.example.com").unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let mut signed = testing::sign(&twilio, request("/", &[form], "From=%2B1&Body=hi")).unwrap();
    assert_eq!(judge(&twilio, signed.clone()).await, ACCEPTED);
    // 32 bytes, as of SHA-256.
    let signature = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    signed.headers_mut().insert("x-twilio-signature", signature.parse().unwrap());
    assert_eq!(judge(&twilio, signed).await, refused(Reason::MalformedSignature));
}

#[tokio::test]
async fn a_prefix_that_the_proxy_takes_off_belongs_to_the_public_address() {
    let by_sender = senders::twilio("the auth token", "https://hooks.example.com").unwrap();
    let behind_proxy = senders::twilio("the auth token", "https://hooks.example.com/v1").unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let mut signed = testing::sign(&by_sender, request("/v1/twilio?a=%2F", &[form], "From=%2B1")).unwrap();
    // The host that the proxy calls doesn't matter, and neither does what it says of the sender's.
    *signed.uri_mut() = "http://10.0.0.1:8080/twilio?a=%2F".parse().unwrap();
    signed.headers_mut().insert("x-forwarded-host", "other.example.com".parse().unwrap());
    assert_eq!(judge(&behind_proxy, signed.clone()).await, ACCEPTED);
    assert_eq!(judge(&by_sender, signed.clone()).await, refused(Reason::SignatureMismatch));
    // A proxy that decodes the address breaks the signature.
    *signed.uri_mut() = "/twilio?a=/".parse().unwrap();
    assert_eq!(judge(&behind_proxy, signed).await, refused(Reason::SignatureMismatch));
}

/// nginx and an ALB may drop others.
#[test]
fn the_names_of_all_senders_headers_but_walmarts_are_letters_digits_and_hyphens() {
    let mut checked = 0;
    for case in crate::senders::cases() {
        let sender = senders::all().find(|sender| sender.name == case.name).unwrap();
        let Ok(scheme) = sender.build(crate::senders::sample_config(sender.name)) else { continue };
        let Ok(signed) = testing::sign(&scheme, case.request.clone()) else { continue };
        for name in signed.headers().keys() {
            let is_plain = name.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            assert_eq!(is_plain, !name.as_str().starts_with("wm_sec."), "{}: {name}", case.name);
            checked += 1;
        }
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn the_senders_that_the_guide_on_proxies_names_sign_the_address() {
    let signs_address = |name| {
        let sender = senders::all().find(|sender| sender.name == name).unwrap();
        let scheme = sender.build(crate::senders::sample_config(name)).unwrap();
        testing::facts(&scheme).scheme.contains("{url}")
    };
    for name in ["twilio", "square", "trello", "hubspot_v3"] {
        assert!(signs_address(name), "{name}");
    }
    for name in ["github", "stripe", "shopify", "slack", "gitlab", "discord", "sendgrid", "clerk"] {
        assert!(!signs_address(name), "{name}");
    }
}

/// The simulator's events are signed for a webhook with this id.
#[cfg(all(feature = "paypal", feature = "client"))]
#[test]
fn a_webhook_of_paypals_may_have_the_id_of_the_simulator() {
    let certificates = senders::PayPalCertificates::default();
    assert!(senders::paypal("WEBHOOK_ID", certificates).is_ok());
}
