//! What senders document, byte for byte.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use tower_webhook::{Reason, Scheme, senders};

use crate::senders::send;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

struct Vector {
    scheme: Scheme,
    at: u64,
    uri: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

impl Vector {
    async fn verifies(&self) {
        let send = async |body: &'static str| {
            let request =
                self.headers.iter().fold(Request::post(self.uri), |head, (name, value)| head.header(*name, *value));
            send(&self.scheme, at(self.at), request.body(Bytes::from_static(body.as_bytes())).unwrap()).await
        };
        let name = tower_webhook::provider::Provider::name(&self.scheme).clone();
        assert!(send(self.body).await.is_ok(), "{name}: {:?}", send(self.body).await.err());
        assert!(send("another body").await.is_err(), "{name}");
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const TWILIO: &str = "/myapp.php?foo=1&bar=2";
const TWILIO_BODY: &str =
    "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";

#[tokio::test]
async fn every_documented_vector_verifies() {
    let vectors = [
        Vector {
            scheme: senders::github("It's a Secret to Everybody").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
            body: "Hello, World!",
        },
        Vector {
            scheme: senders::standard_webhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            at: 1_614_265_330,
            uri: "/",
            headers: &[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ],
            body: r#"{"test": 2432232314}"#,
        },
        Vector {
            scheme: senders::svix("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            at: 1_614_265_330,
            uri: "/",
            headers: &[
                ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("svix-timestamp", "1614265330"),
                ("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ],
            body: r#"{"test": 2432232314}"#,
        },
        Vector {
            scheme: senders::square("asdf1234", "https://example.com").unwrap(),
            at: 0,
            uri: "/webhook",
            headers: &[("x-square-hmacsha256-signature", "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og=")],
            body: r#"{"hello":"world"}"#,
        },
        Vector {
            scheme: senders::twilio("12345", "https://mycompany.com").unwrap(),
            at: 0,
            uri: TWILIO,
            headers: &[FORM, ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
            body: TWILIO_BODY,
        },
        Vector {
            scheme: senders::twilio("12345", "https://MyCompany.com").unwrap(),
            at: 0,
            uri: TWILIO,
            headers: &[FORM, ("x-twilio-signature", "g9IN/x4Cft2g517EjYvEvM/W7LU=")],
            body: TWILIO_BODY,
        },
        Vector {
            scheme: senders::twilio("12345", "https://mycompany.com").unwrap(),
            at: 0,
            uri: TWILIO,
            headers: &[FORM, ("x-twilio-signature", "IK+Dwps556ElfBT0I3Rgjkr1wJU=")],
            body: "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
        },
        // Signed with the port, which the configured address does not have, and the other way round.
        Vector {
            scheme: senders::twilio("12345", "https://mycompany.com").unwrap(),
            at: 0,
            uri: TWILIO,
            headers: &[FORM, ("x-twilio-signature", "kvajT1Ptam85bY51eRf/AJRuM3w=")],
            body: TWILIO_BODY,
        },
        Vector {
            scheme: senders::twilio("12345", "https://user:pass@mycompany.com:443").unwrap(),
            at: 0,
            uri: TWILIO,
            headers: &[FORM, ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
            body: TWILIO_BODY,
        },
        Vector {
            scheme: senders::circleci("secret").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("circleci-signature", "v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a")],
            body: "hello world",
        },
        Vector {
            scheme: senders::circleci("another-secret").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("circleci-signature", "v1=daa220016c8f29a8b214fbfc3671aeec2145cfb1e6790184ffb38b6d0425fa00")],
            body: "lalala",
        },
        Vector {
            scheme: senders::circleci("hunter123").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("circleci-signature", "v1=9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa")],
            body: "an-important-request-payload",
        },
        Vector {
            scheme: senders::standard_webhooks("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            at: 1_614_265_330,
            uri: "/",
            headers: &[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ],
            body: r#"{"test": 2432232314}"#,
        },
        Vector {
            scheme: senders::hubspot_v1("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy").unwrap(),
            at: 0,
            uri: "/",
            headers: &[
                ("x-hubspot-signature", "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"),
                ("x-hubspot-signature-version", "v1"),
            ],
            body: r#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#,
        },
        Vector {
            scheme: senders::hubspot_v3("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", "https://www.example.com").unwrap(),
            at: 1_693_657_560,
            uri: "/webhook_uri",
            headers: &[
                ("x-hubspot-signature-v3", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
                ("x-hubspot-request-timestamp", "1693657560000"),
            ],
            body: "{'example_field':'example_value'}",
        },
        Vector {
            scheme: senders::slack("8f742231b10e8888abcd99yyyzzz85a5").unwrap(),
            at: 1_531_420_618,
            uri: "/",
            headers: &[
                ("x-slack-request-timestamp", "1531420618"),
                ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
            ],
            body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        },
        Vector {
            scheme: senders::stripe("Jefe").unwrap(),
            at: 1_492_774_577,
            uri: "/",
            headers: &[(
                "stripe-signature",
                "t=1492774577,v1=5a5fa441f0d238ec85b8d303b3a7ad93c3f81bc0d1e6bf8958b13886223a331c,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39",
            )],
            body: r#"{"id":"evt_1"}"#,
        },
        Vector {
            scheme: senders::sanity("test").unwrap(),
            at: 1_633_519_811,
            uri: "/",
            headers: &[(
                "sanity-webhook-signature",
                "t=1633519811129,v1=tLa470fx7qkLLEcMOcEUFuBbRSkGujyskxrNXcoh0N0",
            )],
            body: r#"{"_id":"resume"}"#,
        },
        Vector {
            scheme: senders::sanity("try-me").unwrap(),
            at: 1_633_518_820,
            uri: "/",
            headers: &[(
                "sanity-webhook-signature",
                "t=1633518820676, v1=e7C9h2sfbFfc4V7TEz7PSOp4IoNzl0UdVsBV-1wgdeA",
            )],
            body: r#"{"title":"GROQ-Hooks are neat"}"#,
        },
        Vector {
            scheme: senders::modern_treasury("foo").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("x-signature", "57e14f6f354543f0101fb06ea24df7731d90087b76651e3497345e22a3622940")],
            body: r#"{"foo":"bar"}"#,
        },
        Vector {
            scheme: senders::modern_treasury("foo").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("x-signature", "08ba357e274f528065766c770a639abf6809b39ccfd37c2a3157c7f51954da0a")],
            body: "foo",
        },
        Vector {
            scheme: senders::modern_treasury("hello, world").unwrap(),
            at: 0,
            uri: "/",
            headers: &[("x-signature", "07e118b4a9818c9242baf9009e76a78c29aeb015da93f600d514b77185247069")],
            body: r#"{"foo":"bar"}"#,
        },
        Vector {
            scheme: senders::coinify("my-shared-secret").unwrap(),
            at: 0,
            uri: "/",
            headers: &[(
                "x-coinify-webhook-signature",
                "bcdbb89e3031905f3cc1a20d16b5f969a17a7d8fa0c26e4a807c2193402d66f4",
            )],
            body: r#"{"examplePayload":true}"#,
        },
        Vector {
            scheme: senders::adyen_payments("44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056").unwrap(),
            at: 0,
            uri: "/",
            headers: &[],
            body: r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"7914073381342284","originalReference":null,
                "merchantAccountCode":"TestMerchant","merchantReference":"TestPayment-1407325143704",
                "amount":{"currency":"EUR","value":1130},"eventCode":"AUTHORISATION","success":"true",
                "additionalData":{"hmacSignature":"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="}}}]}"#,
        },
        #[cfg(feature = "asymmetric")]
        Vector {
            scheme: senders::sendgrid("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==").unwrap(),
            at: 1_600_112_502,
            uri: "/",
            headers: &[
                ("x-twilio-email-event-webhook-timestamp", "1600112502"),
                ("x-twilio-email-event-webhook-signature", "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="),
            ],
            body: "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n",
        },
    ];
    for vector in vectors {
        vector.verifies().await;
    }
}

/// The digest is documented; that it is compared with the body shows in what else is refused.
#[tokio::test]
async fn twilios_body_digest_is_the_documented_one_and_is_compared() {
    let digest = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    let scheme = senders::twilio("12345", "https://example.com").unwrap();
    let body = r#"{"property": "value", "boolean": true}"#;
    let signed = tower_webhook::testing::sign(&scheme, Request::post("/hook").body(body).unwrap()).unwrap();
    assert_eq!(signed.uri().query(), Some(&*format!("bodySHA256={digest}")));
    let again = |uri: &str, body: &'static str| {
        let (mut head, _) = signed.clone().into_parts();
        head.uri = uri.parse().unwrap();
        Request::from_parts(head, Bytes::from_static(body.as_bytes()))
    };
    let uri = signed.uri().to_string();
    assert!(send(&scheme, at(0), again(&uri, body)).await.is_ok());
    assert_eq!(send(&scheme, at(0), again(&uri, "{}")).await.err(), Some(Reason::BodyMismatch));
    // Without the digest nothing would sign the body.
    assert!(send(&scheme, at(0), again("/hook", body)).await.is_err());
}

/// Rules of the wire that a good signature must not talk away.
#[tokio::test]
async fn what_others_take_for_valid_is_refused() {
    let slack = senders::slack("s").unwrap();
    let sign = |scheme: &Scheme, body: &'static str| {
        let request = Request::post("/").body(Bytes::from_static(body.as_bytes())).unwrap();
        let (head, _) = tower_webhook::testing::sign_at(scheme, request, at(1_700_000_000)).unwrap().into_parts();
        Request::from_parts(head, Bytes::from_static(body.as_bytes()))
    };
    let with = |mut request: Request<Bytes>, name: &'static str, value: String| {
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let now = at(1_700_000_000);
    // A timestamp in another unit, with a sign, a fraction, an exponent.
    for stamp in ["1700000000000", "+1700000000", "1700000000.0", "17e8", " 1700000000", "", "-1"] {
        let request = with(sign(&slack, "{}"), "x-slack-request-timestamp", stamp.to_owned());
        assert!(send(&slack, now, request).await.is_err(), "{stamp:?}");
    }
    // Only the legacy signature, a bare value, another algorithm's prefix.
    let github = senders::github("s").unwrap();
    let signature = sign(&github, "{}").headers()["x-hub-signature-256"].to_str().unwrap().to_owned();
    for (name, value, reason) in [
        ("x-hub-signature", signature.clone(), Reason::MissingSignature),
        ("x-hub-signature-256", signature["sha256=".len()..].to_owned(), Reason::MalformedSignature),
        ("x-hub-signature-256", signature.replace("sha256", "sha1"), Reason::MalformedSignature),
        ("x-hub-signature-256", signature.to_uppercase(), Reason::MalformedSignature),
        ("x-hub-signature-256", format!("{signature} "), Reason::MalformedSignature),
        ("x-hub-signature-256", format!("{signature}00"), Reason::MalformedSignature),
    ] {
        let mut request = sign(&github, "{}");
        request.headers_mut().remove("x-hub-signature-256");
        let request = with(request, name, value.clone());
        let verdict = send(&github, now, request).await;
        // Header values are trimmed by servers, not by the layer.
        assert_eq!(verdict.err(), Some(reason), "{name}: {value}");
    }
    // No v1 entry, too many, the time twice.
    let stripe = senders::stripe("s").unwrap();
    let list = sign(&stripe, "{}").headers()["stripe-signature"].to_str().unwrap().to_owned();
    let v1 = list.split(',').next_back().unwrap().to_owned();
    for (value, reason) in [
        (list.replace("v1=", "v0="), Reason::MissingSignature),
        (format!("{list},t=1700000000"), Reason::MalformedTimestamp),
        (format!("{list}{}", format!(",{v1}").repeat(16)), Reason::TooManySignatures),
    ] {
        let verdict = send(&stripe, now, with(sign(&stripe, "{}"), "stripe-signature", value)).await;
        assert_eq!(verdict.err(), Some(reason));
    }
    let two = format!("v9=x, {list},v1={}", "0".repeat(64));
    assert!(send(&stripe, now, with(sign(&stripe, "{}"), "stripe-signature", two)).await.is_ok());
    // Data after the padding.
    let shopify = senders::shopify("s").unwrap();
    let value = sign(&shopify, "{}").headers()["x-shopify-hmac-sha256"].to_str().unwrap().to_owned();
    for value in [format!("{value}AAAA"), value.trim_end_matches('=').to_owned(), value.replace('=', "")] {
        let verdict = send(&shopify, now, with(sign(&shopify, "{}"), "x-shopify-hmac-sha256", value)).await;
        assert_eq!(verdict.err(), Some(Reason::MalformedSignature));
    }
    // HubSpot's hash can be extended: nothing may follow the JSON value.
    let hubspot = senders::hubspot_v1("s").unwrap();
    assert_eq!(send(&hubspot, now, sign(&hubspot, "[] []")).await.err(), Some(Reason::MalformedBody));
    // The two families of headers do not mix.
    let svix = senders::svix("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mut request = sign(&svix, "{}");
    let id = request.headers_mut().remove("svix-id").unwrap();
    request.headers_mut().insert("webhook-id", id);
    assert_eq!(send(&svix, now, request).await.err(), Some(Reason::MissingHeader));
    // A body that is not UTF-8, or empty, is a body.
    for body in ["", "\u{feff}{}\r\n"] {
        assert!(send(&github, now, sign(&github, body)).await.is_ok());
    }
}

/// What a sender's documents allow beside the usual form.
#[tokio::test]
async fn other_forms_of_a_sender_are_accepted_and_what_only_looks_like_them_is_not() {
    let now = at(1_700_000_000);
    let sign = |scheme: &Scheme, request: Request<Bytes>| {
        let (head, body) = tower_webhook::testing::sign_at(scheme, request.clone(), now).unwrap().into_parts();
        drop(body);
        Request::from_parts(head, request.into_body())
    };
    let post = |uri: &str, body: &'static str| Request::post(uri).body(Bytes::from_static(body.as_bytes())).unwrap();

    // Linear signs bodies without a time too. A time that is there is judged.
    let linear = senders::linear("s").unwrap();
    for (body, expected) in [
        (r#"{"action":"create"}"#, None),
        (r#"{"webhookTimestamp":1700000000000}"#, None),
        (r#"{"webhookTimestamp":1600000000000}"#, Some(Reason::Stale)),
        (r#"{"webhookTimestamp":"now"}"#, Some(Reason::MalformedTimestamp)),
        (r#"{"webhookTimestamp":1700000000000,"webhookTimestamp":1}"#, Some(Reason::MalformedBody)),
        ("text", Some(Reason::MalformedBody)),
    ] {
        let plain = Scheme::hmac_sha256()
            .signature(tower_webhook::scheme::header("linear-signature").hex())
            .secret("s")
            .build("plain")
            .unwrap();
        let verdict = send(&linear, now, sign(&plain, post("/", body))).await;
        assert_eq!(verdict.err(), expected, "{body}");
    }

    // Contentful signs the path that it was given, which a proxy may cut short.
    let outside = senders::contentful("s").unwrap();
    let behind = senders::contentful_at("s", "https://hooks.example.com/in/").unwrap();
    let mut request = post("/in/contentful?a=b", "{}");
    let list = "x-contentful-timestamp,x-contentful-signed-headers";
    request.headers_mut().insert("x-contentful-signed-headers", list.parse().unwrap());
    let mut signed = sign(&outside, request);
    assert_eq!(send(&behind, now, signed.clone()).await.err(), Some(Reason::SignatureMismatch));
    *signed.uri_mut() = "/contentful?a=b".parse().unwrap();
    assert!(send(&behind, now, signed.clone()).await.is_ok());
    assert_eq!(send(&outside, now, signed).await.err(), Some(Reason::SignatureMismatch));

    // HubSpot signs an address of which some escapes are undone, so it proves no more than that.
    let hubspot = senders::hubspot_v3("s", "https://hooks.example.com").unwrap();
    let mut signed = sign(&hubspot, post("/t/a%2Fb?c=%20", "[]"));
    for (uri, is_signed) in [
        ("/t/a%2Fb?c=%20", true),
        ("/t/a/b?c=%20", true),
        ("/t/a%252Fb?c=%20", false),
        ("/t/a%2Fb?c=+", false),
        ("/t/a%2Fc?c=%20", false),
        ("/t/a%2Fb", false),
    ] {
        *signed.uri_mut() = uri.parse().unwrap();
        let verdict = send(&hubspot, now, signed.clone()).await;
        assert_eq!(verdict.is_ok(), is_signed, "{uri}");
        assert!(verdict.is_err() || !verdict.unwrap().signed().url, "{uri}");
    }

    // GitLab: what is signed is judged by that, and a secret token is not one to sign by.
    let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let both = senders::gitlab([whsec, "a token"]).unwrap();
    let only_token = senders::gitlab("a token").unwrap();
    let with_token = |mut request: Request<Bytes>, token: &str| {
        request.headers_mut().insert("x-gitlab-token", token.parse().unwrap());
        request
    };
    let signed = sign(&both, post("/", "{}"));
    let mut forged = signed.clone();
    *forged.body_mut() = Bytes::from_static(b"{ }");
    for (scheme, request, is_good) in [
        (&both, signed.clone(), true),
        (&both, with_token(post("/", "{}"), "a token"), true),
        (&both, with_token(post("/", "{}"), whsec), false),
        (&both, with_token(forged.clone(), "a token"), false),
        (&only_token, with_token(signed.clone(), "a token"), true),
        (&only_token, signed, false),
        (&senders::gitlab(whsec).unwrap(), with_token(post("/", "{}"), whsec), false),
    ] {
        assert_eq!(send(scheme, now, request.clone()).await.is_ok(), is_good, "{request:?}");
    }
    assert!(senders::gitlab("whsec_short").is_err());
}

#[test]
fn a_secret_that_is_none_for_its_sender_is_refused_when_it_is_built() {
    for (what, refused) in [
        ("empty", senders::github("").is_err()),
        ("not hexadecimal", senders::adyen_banking("xyz").is_err()),
        ("without its prefix", senders::standard_webhooks("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_err()),
        ("too short", senders::standard_webhooks("whsec_c2hvcnQ=").is_err()),
        ("no URL", senders::square("s", "example.com").is_err()),
        ("no header", senders::okta_in("a b", "s").is_err()),
        ("no public key", senders::braintree("", "s").is_err()),
    ] {
        assert!(refused, "{what}");
    }
    // Looks like an encoding, and is text.
    assert!(senders::docusign("bm90IGRlY29kZWQ=").is_ok() && senders::stripe("whsec_x").is_ok());
}
