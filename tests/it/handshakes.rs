//! What senders ask beside their deliveries, and what else must not be answered.

use std::convert::Infallible;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;
use tower_webhook::scheme::Handshake;
use tower_webhook::testing;
use tower_webhook::{Head, Scheme, Secret, Secrets, WebhookLayer, senders};

const NOW: u64 = 1_700_000_000;

/// The status, the body and whether the handler was called.
async fn ask(scheme: &Scheme, request: Request<Full<Bytes>>) -> (u16, String) {
    let handler = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"the handler"))))
    });
    let clock = || UNIX_EPOCH + Duration::from_secs(NOW);
    let layer = WebhookLayer::new(scheme.clone()).with_clock(clock);
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain")) {
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.into()).unwrap();
    (status, if status < 400 { text } else { String::new() })
}

fn empty(method: Method, uri: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

fn signed(scheme: &Scheme, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = headers.iter().fold(Request::post("/"), |head, (name, value)| head.header(*name, *value));
    testing::sign_at(scheme, request.body(body).unwrap(), UNIX_EPOCH + Duration::from_secs(NOW)).unwrap()
}

fn answer(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn a_get_with_a_challenge_is_echoed_as_plain_text() {
    let dropbox = senders::dropbox("s").unwrap();
    assert_eq!(ask(&dropbox, empty(Method::GET, "/?challenge=abc%20d")).await, answer(200, "abc d"));
    assert_eq!(ask(&dropbox, empty(Method::GET, "/?challenge=%3Cscript%3E%0A")).await.0, 400);
    assert_eq!(ask(&dropbox, empty(Method::GET, "/")).await.0, 405);
    assert_eq!(ask(&senders::nylas("s").unwrap(), empty(Method::GET, "/?challenge=ab")).await, answer(200, "ab"));
    // Only who has the family answers.
    assert_eq!(ask(&senders::github("s").unwrap(), empty(Method::GET, "/?challenge=abc")).await.0, 405);

    let meta = senders::meta("s").unwrap();
    let subscribe = "/?hub.mode=subscribe&hub.challenge=42&hub.verify_token=";
    assert_eq!(ask(&meta, empty(Method::GET, &format!("{subscribe}tok"))).await.0, 405);
    let meta = meta.with_handshake(Handshake::subscribe("tok").unwrap());
    assert_eq!(ask(&meta, empty(Method::GET, &format!("{subscribe}tok"))).await, answer(200, "42"));
    assert_eq!(ask(&meta, empty(Method::GET, &format!("{subscribe}tok2"))).await.0, 403);
    assert_eq!(ask(&meta, signed(&meta, &[], "{}")).await, answer(200, "the handler"));
}

#[tokio::test]
async fn braintrees_challenge_is_answered_with_a_mac_also_by_a_secret_that_is_looked_up() {
    let get = || empty(Method::GET, "/?bt_challenge=20f9f8ed05f77439fe955c977e4c8a53");
    let fixed = senders::braintree("integration_public_key", "integration_private_key").unwrap();
    let (status, text) = ask(&fixed, get()).await;
    assert_eq!(status, 200);
    // The challenge, keys and answer of the sender's own libraries' tests.
    assert_eq!(text, "integration_public_key|d9b899556c966b3f06945ec21311865d35df3ce4");
    let secrets =
        Secrets::lookup(|_: Head| async { Ok::<_, std::io::Error>([Secret::new("integration_private_key")]) });
    let looked_up = senders::braintree("integration_public_key", secrets).unwrap();
    assert_eq!(ask(&looked_up, get()).await, answer(200, &text));
    for bad in ["abc", "20f9f8ed05f77439fe955c977e4c8a5g", "20f9f8ed05f77439fe955c977e4c8a530"] {
        assert_eq!(ask(&fixed, empty(Method::GET, &format!("/?bt_challenge={bad}"))).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn challenges_are_answered_with_macs_in_json() {
    // HMAC-SHA256 of `abc`, and of the code, by `s`, by another tool.
    let base64 = "R9kg7ZB4TcXq5jW/0IJPYS0F8J+aR/YDkN6HOtN+VGs=";
    let hex = "472b6467da4eabdee9425a8f4ebf2ce6daf84684b00fe805209b22d663de7bae";
    let twitter = senders::twitter("s").unwrap();
    let expected = format!(r#"{{"response_token":"sha256={base64}"}}"#);
    assert_eq!(ask(&twitter, empty(Method::GET, "/?crc_token=abc")).await, answer(200, &expected));
    let linkedin = senders::linkedin("s").unwrap();
    let code = "890e4665-4dfe-4ab1-b689-ed553bceeed0";
    let expected = format!(r#"{{"challengeCode":"{code}","challengeResponse":"{hex}"}}"#);
    assert_eq!(ask(&linkedin, empty(Method::GET, &format!("/?challengeCode={code}"))).await, answer(200, &expected));
}

#[tokio::test]
async fn a_challenge_that_could_be_a_body_gets_no_mac() {
    let twitter = senders::twitter("s").unwrap();
    let linkedin = senders::linkedin("s").unwrap();
    for forged in ["%7B%7D", "%7B%22for_user_id%22%3A1%7D", "%5B%5D", "a%20b", "%22a%22", "a.b", ""] {
        assert_eq!(ask(&twitter, empty(Method::GET, &format!("/?crc_token={forged}"))).await.0, 400, "{forged}");
        assert_eq!(ask(&linkedin, empty(Method::GET, &format!("/?challengeCode={forged}"))).await.0, 400, "{forged}");
    }
    let token = "MzA4-_+/QQ==";
    let uri = format!("/?crc_token={}", token.replace('+', "%2B"));
    assert_eq!(ask(&twitter, empty(Method::GET, &uri)).await.0, 200);
    let code = "/?challengeCode=890e4665-4dfe-4ab1-b689-ed553bceeed0";
    assert_eq!(ask(&linkedin, empty(Method::GET, code)).await.0, 200);
}

/// Whatever a stranger asks for, what a sender is answered is the signature of no delivery: not of
/// a body, a header or an address that holds the text.
#[tokio::test]
async fn no_answer_to_a_challenge_is_a_signature() {
    let texts = [
        "{}",
        r#"{"id":"evt_1"}"#,
        "[]",
        "1",
        "0123456789abcdef",
        "20f9f8ed05f77439fe955c977e4c8a53",
        "abc",
        "a b",
        "a=b",
        "890e4665-4dfe-4ab1-b689-ed553bceeed0",
        "hmacsha256={}",
        "v0:1700000000:{}",
        "v0:1700000000:",
        "1700000000.{}",
        "1700000000{}",
        "PHhtbD4+",
        "PHhtbD48L3htbD48YT48L2E+",
        "null",
        "true",
        "MzA4-_+/QQ==",
        "/hooks/in",
        "POST",
        "https://hooks.example.com/hooks/in",
        "msg_1.1700000000.{}",
        "Empty",
    ];
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let clock = UNIX_EPOCH + Duration::from_secs(NOW);
    let mut answered = std::collections::BTreeSet::new();
    for case in crate::senders::cases() {
        let sender = senders::all().find(|sender| sender.name == case.name).unwrap();
        let bench = crate::senders::Bench::new(sender, &case);
        let genuine = bench.sign(&case);
        for text in texts {
            let mut questions: Vec<Request<Full<Bytes>>> =
                ["crc_token", "challengeCode", "bt_challenge", "challenge", "validationToken"]
                    .iter()
                    .flat_map(|name| {
                        [Method::GET, Method::POST].map(|method| empty(method, &format!("/?{name}={}", escape(text))))
                    })
                    .collect();
            let body = match sender.name {
                "zoom" => serde_json::json!({"event": "endpoint.url_validation", "payload": {"plainToken": text}}),
                "smartcar" => serde_json::json!({"eventType": "VERIFY", "data": {"challenge": text}}),
                _ => serde_json::Value::Null,
            };
            if !body.is_null() {
                let request = Request::post("/").body(Bytes::from(body.to_string())).unwrap();
                questions.push(testing::sign_at(&bench.scheme, request, clock).unwrap());
            }
            for question in questions {
                let (status, answer) = ask(&bench.scheme, question).await;
                if status != 200 {
                    continue;
                }
                for code in answer.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)) {
                    let code = code.strip_prefix("sha256=").unwrap_or(code);
                    // What is merely repeated is no code.
                    if text.contains(code) {
                        continue;
                    }
                    let digest = hex::decode(code).ok().filter(|digest| digest.len() >= 20);
                    let digest = digest.or_else(|| decode_base64(code).filter(|digest| digest.len() >= 20));
                    let Some(digest) = digest else { continue };
                    answered.insert(sender.name);
                    for forged in forgeries(&genuine, case.signed_fields.is_empty(), text, &digest) {
                        let verdict = bench.send(&forged).await;
                        assert!(verdict.is_err(), "{}: {text} signs a delivery", sender.name);
                    }
                }
            }
        }
    }
    assert_eq!(answered.into_iter().collect::<Vec<_>>(), ["braintree", "linkedin", "smartcar", "twitter", "zoom"]);
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// The genuine request with this digest as its signature and the text in every place. Its body is
/// kept unless that holds its signature.
fn forgeries(genuine: &Request<Bytes>, keep_body: bool, text: &str, digest: &[u8]) -> Vec<Request<Bytes>> {
    use base64::Engine as _;
    let codes = [hex::encode(digest), base64::engine::general_purpose::STANDARD.encode(digest)];
    let form = "application/x-www-form-urlencoded";
    let mut bodies = vec![Bytes::from(text.to_owned()), Bytes::from(text.trim_start_matches("hmacsha256=").to_owned())];
    bodies.push(Bytes::from(text.rsplit(':').next().unwrap().to_owned()));
    bodies.extend(keep_body.then(|| genuine.body().clone()));
    let mut all = Vec::new();
    for code in codes {
        let pair = [("bt_signature", format!("a_public_key|{code}")), ("bt_payload", text.to_owned())];
        let fields = pair.map(|(name, value)| format!("{name}={}", value.replace('+', "%2B").replace('|', "%7C")));
        for body in bodies.iter().cloned().chain([Bytes::from(fields.join("&"))]) {
            for uri in ["/", text].iter().filter_map(|uri| uri.parse::<http::Uri>().ok()) {
                let (mut head, _) = genuine.clone().into_parts();
                head.uri = uri;
                for value in head.headers.values_mut() {
                    let Ok(whole) = value.to_str() else { continue };
                    // The signature: the last run of a code's letters that is long enough.
                    let is_code = |c: char| c.is_ascii_alphanumeric() || "+/".contains(c);
                    let trimmed = whole.trim_end_matches('=');
                    let start = trimmed.rfind(|c| !is_code(c)).map_or(0, |at| at + 1);
                    if trimmed.len() - start >= 27 {
                        *value = format!("{}{code}", &whole[..start]).parse().unwrap();
                    }
                }
                for kind in ["application/json", form] {
                    let mut head = head.clone();
                    head.headers.insert("content-type", kind.parse().unwrap());
                    all.push(Request::from_parts(head, body.clone()));
                }
            }
        }
    }
    all
}

/// A secret changes at the sender at a time of its own: before, then and after, challenges are
/// answered and deliveries taken.
#[tokio::test]
async fn a_whole_rotation_answers_every_challenge_by_the_key_that_the_sender_holds() {
    let code = "890e4665-4dfe-4ab1-b689-ed553bceeed0";
    type Build = fn(Secrets) -> Scheme;
    let x: Build = |secrets| senders::twitter(secrets).unwrap();
    let linkedin: Build = |secrets| senders::linkedin(secrets).unwrap();
    let braintree: Build = |secrets| senders::braintree("a_public_key", secrets).unwrap();
    let looked_up = || Secrets::lookup(|_: Head| async { Ok::<_, std::io::Error>(["new", "old"]) });
    for (build, uri, body) in [
        (x, "/?crc_token=abc".to_owned(), "{}"),
        (linkedin, format!("/?challengeCode={code}"), "{}"),
        (braintree, "/?bt_challenge=20f9f8ed05f77439fe955c977e4c8a53".to_owned(), "bt_payload=PHhtbD4%2B"),
    ] {
        let question = || empty(Method::GET, &uri);
        let (old, new) = (build("old".into()), build("new".into()));
        let (by_old, by_new) = (ask(&old, question()).await, ask(&new, question()).await);
        assert!(by_old.0 == 200 && by_old != by_new);
        let both = || build(Secrets::new(["new", "old"]));
        for (scheme, expected) in [
            (both(), &by_new),
            (both().with_challenge_key(1), &by_old),
            (both().with_challenge_key(7), &by_old),
            (both().with_challenge_key(1).with_challenge_key(0), &by_new),
            (build(Secrets::new(["old", "new"])), &by_old),
            (build(looked_up()), &by_new),
            (build(looked_up()).with_challenge_key(1), &by_old),
        ] {
            assert_eq!(ask(&scheme, question()).await, *expected);
            for sender in [&old, &new] {
                let form = [("content-type", "application/x-www-form-urlencoded")];
                assert_eq!(ask(&scheme, signed(sender, &form, body)).await, answer(200, "the handler"));
            }
        }
    }
    // Zoom signs its question, and is answered by the secret that signed it.
    let zoom = senders::zoom(Secrets::new(["new", "old"])).unwrap();
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    for secret in ["old", "new"] {
        let alone = senders::zoom(secret).unwrap();
        let expected = ask(&alone, signed(&alone, &[], body)).await;
        assert_eq!((expected.0, ask(&zoom, signed(&alone, &[], body)).await), (200, expected));
    }
}

#[tokio::test]
async fn what_tries_an_address_before_it_is_used_is_answered_and_nothing_like_it() {
    let intercom = senders::intercom("s").unwrap();
    assert_eq!(ask(&intercom, empty(Method::HEAD, "/")).await, answer(200, ""));
    assert_eq!(ask(&intercom, empty(Method::GET, "/")).await.0, 405);
    let mandrill = senders::mandrill("s", "https://hooks.example.com").unwrap();
    assert_eq!(ask(&mandrill, empty(Method::HEAD, "/")).await, answer(200, ""));
    assert_eq!(ask(&mandrill, empty(Method::GET, "/")).await, answer(200, ""));

    let slack = senders::slack("s").unwrap();
    let form = |body: &'static str| {
        let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        request.body(Full::from(body)).unwrap()
    };
    for good in ["ssl_check=1&token=xyzz0WbapA4vBCDEFasx0q6G", "token=xyzz0WbapA4vBCDEFasx0q6G&ssl_check=1"] {
        assert_eq!(ask(&slack, form(good)).await, answer(200, ""), "{good}");
    }
    for bad in [
        "ssl_check=1",
        "ssl_check=1&token=",
        "ssl_check=0&token=a",
        "ssl_check=1&token=a&command=%2Frm",
        "token=a",
        "ssl_check=1&token=a%26b",
        "",
        "command=%2Frm&ssl_check=1&token=a",
    ] {
        assert_eq!(ask(&slack, form(bad)).await.0, 401, "{bad}");
    }
    let mut json = form("ssl_check=1&token=a");
    json.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(ask(&slack, json).await.0, 401);
}

#[tokio::test]
async fn a_body_of_x_that_a_challenge_could_be_is_no_delivery() {
    let x = senders::twitter("s").unwrap();
    for body in ["abc", "1", "null", "[]", "\"a\"", ""] {
        assert_eq!(ask(&x, signed(&x, &[], body)).await.0, 400, "{body}");
    }
    assert_eq!(ask(&x, signed(&x, &[], " {}")).await, answer(200, "the handler"));
}

#[tokio::test]
async fn a_scheme_that_takes_over_another_keeps_its_handshakes_its_keys_and_its_limit() {
    let plain = || Scheme::hmac_sha256().signature(tower_webhook::scheme::header("x-sig").hex()).secret("s");
    let old = || plain().build("acme").unwrap();
    let new = || senders::twitter("t").unwrap().with_body_limit(10 << 20);
    let alone = ask(&new(), empty(Method::GET, "/?crc_token=abc")).await;
    assert_eq!(alone.0, 200);
    for both in [old().or(new()), new().or(old())] {
        // The MAC is by the secret of the form that asks.
        assert_eq!(ask(&both, empty(Method::GET, "/?crc_token=abc")).await, alone);
        assert_eq!(tower_webhook::provider::Provider::body_limit(&both), 10 << 20);
        assert_eq!(ask(&both, signed(&old(), &[], "{}")).await, answer(200, "the handler"));
        assert_eq!(ask(&both, signed(&new(), &[], "{}")).await, answer(200, "the handler"));
    }
    let dropbox = senders::dropbox("s").unwrap();
    let both = old().or(dropbox);
    assert_eq!(ask(&both, empty(Method::GET, "/?challenge=abc")).await, answer(200, "abc"));
}

#[tokio::test]
async fn the_name_of_an_authorization_scheme_is_known_in_any_case() {
    let cloudevents = senders::cloudevents("tok").unwrap();
    let basic = Scheme::token(tower_webhook::scheme::basic()).secret("u:p").build("acme").unwrap();
    for (scheme, value, status) in [
        (&cloudevents, "Bearer tok", 200),
        (&cloudevents, "bearer tok", 200),
        (&cloudevents, "BEARER  tok", 200),
        (&cloudevents, "bearer tok2", 401),
        (&cloudevents, "bearertok", 401),
        (&cloudevents, "Basic tok", 401),
        (&basic, "Basic dTpw", 200),
        (&basic, "basic dTpw", 200),
        (&basic, "basic dTpx", 401),
        (&basic, "basic dTpw=", 401),
    ] {
        let mut request = empty(Method::POST, "/");
        request.headers_mut().insert("authorization", value.parse().unwrap());
        assert_eq!(ask(scheme, request).await.0, status, "{value}");
    }
}

#[tokio::test]
async fn a_scheme_of_a_database_row_needs_no_static_strings() {
    use tower_webhook::scheme::{header, json, numbered_headers, query};

    /// What a database returns: every text is owned.
    struct Row {
        header: String,
        prefix: String,
        pointer: String,
        parameter: String,
        template: String,
        name: String,
    }
    let acme = |row: Row| {
        Scheme::hmac_sha256()
            .signature(header(&row.header).prefix(row.prefix).hex().or(numbered_headers(format!("{}-", row.header))))
            .signed(row.template)
            .event(json(row.pointer))
            .with_required_header(row.name.clone(), row.name.clone())
            .with_handshake(Handshake::query_echo(Method::GET, row.parameter))
            .with_handshake(Handshake::header_to_json(row.name.clone(), row.name.clone()))
            .with_handshake(Handshake::offered_secret(format!("{}-offer", row.name), |_, _| false))
            .secret("s")
            .build(row.name)
            .unwrap()
    };
    let scheme = acme(Row {
        header: "x-sig".to_owned(),
        prefix: "v1=".to_owned(),
        pointer: "/type".to_owned(),
        parameter: "ask".to_owned(),
        template: "{method}.{body}".to_owned(),
        name: "acme".to_owned(),
    });
    let token = Scheme::token(query("token".to_owned())).secret("s").build("by_token".to_owned()).unwrap();
    assert_eq!(ask(&scheme, empty(Method::GET, "/?ask=a")).await, answer(200, "a"));
    assert_eq!(ask(&scheme, signed(&scheme, &[], r#"{"type":"a"}"#)).await, answer(200, "the handler"));
    assert_eq!(ask(&token, empty(Method::POST, "/?token=s")).await, answer(200, "the handler"));
}

#[tokio::test]
async fn microsofts_validations_are_answered_and_event_grids_needs_its_token() {
    let graph = senders::microsoft_graph("s").unwrap();
    let validation = empty(Method::POST, "/?validationToken=Validation%3A+ok");
    assert_eq!(ask(&graph, validation).await, answer(200, "Validation: ok"));
    let grid = senders::azure_event_grid("s").unwrap();
    let validation = |uri: &str| {
        let body = r#"[{"data":{"validationCode":"512d38b6"}}]"#;
        let request = Request::post(uri).header("aeg-event-type", "SubscriptionValidation");
        request.body(Full::from(body)).unwrap()
    };
    assert_eq!(ask(&grid, validation("/?token=s")).await, answer(200, r#"{"validationResponse":"512d38b6"}"#));
    assert_eq!(ask(&grid, validation("/?token=t")).await.0, 401);
    assert_eq!(ask(&grid, validation("/")).await.0, 401);
}

#[tokio::test]
async fn oktas_header_is_answered_in_json() {
    let okta = senders::okta("s").unwrap();
    let mut get = empty(Method::GET, "/");
    get.headers_mut().insert("x-okta-verification-challenge", r#"a"b"#.parse().unwrap());
    assert_eq!(ask(&okta, get).await, answer(200, r#"{"verification":"a\"b"}"#));
    assert_eq!(ask(&okta, empty(Method::GET, "/")).await.0, 405);
}

#[tokio::test]
async fn a_challenge_in_a_body_is_answered_once_it_is_verified() {
    let slack = senders::slack("s").unwrap();
    let body = r#"{"type":"url_verification","challenge":"3eZbrw1aB"}"#;
    assert_eq!(ask(&slack, signed(&slack, &[], body)).await, answer(200, "3eZbrw1aB"));
    assert_eq!(ask(&slack, signed(&senders::slack("t").unwrap(), &[], body)).await.0, 401);
    assert_eq!(ask(&slack, signed(&slack, &[], r#"{"type":"url_verification"}"#)).await.0, 400);
    assert_eq!(ask(&slack, signed(&slack, &[], r#"{"type":"event_callback"}"#)).await, answer(200, "the handler"));
    // Slack's document has a question of 129 bytes; one of more than 512 is none.
    for (len, answered) in [(512, "3eZbrw1aB"), (513, "the handler")] {
        let more = "x".repeat(len - body.len() - r#","more":"""#.len());
        let long = body.replace('}', &format!(r#","more":"{more}"}}"#));
        assert_eq!(long.len(), len);
        assert_eq!(ask(&slack, signed(&slack, &[], long)).await, answer(200, answered));
    }

    let zoom = senders::zoom(Secrets::new(["old", "new"])).unwrap();
    let by_new = senders::zoom("new").unwrap();
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    // HMAC-SHA256 of the token, by the one secret of the two that signed.
    let mac = "38c55cb9e1fc21b4158da896aeea4b8b23eebfab3851933c96b09f8170111fbf";
    let expected = format!(r#"{{"encryptedToken":"{mac}","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#);
    assert_eq!(ask(&zoom, signed(&by_new, &[], body)).await, answer(200, &expected));

    // The same MAC is Smartcar's answer, to a challenge that one of its secrets signed.
    let smartcar = senders::smartcar(Secrets::new(["old", "new"])).unwrap();
    let by_new = senders::smartcar("new").unwrap();
    let body = r#"{"eventType":"VERIFY","data":{"challenge":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    let expected = format!(r#"{{"challenge":"{mac}"}}"#);
    assert_eq!(ask(&smartcar, signed(&by_new, &[], body)).await, answer(200, &expected));
    assert_eq!(ask(&smartcar, signed(&senders::smartcar("other").unwrap(), &[], body)).await.0, 401);
    assert_eq!(ask(&smartcar, signed(&by_new, &[], "qgg8vlvZRS6UYooatFL8Aw")).await.0, 400);
    assert_eq!(ask(&smartcar, signed(&by_new, &[], r#"{"eventType":"VERIFY"}"#)).await.0, 400);

    let front = senders::front("s").unwrap();
    let sync = r#"{"type":"sync","authorization":{"id":"cmp_abc"}}"#;
    let challenge = [("x-front-challenge", "a1b2")];
    assert_eq!(ask(&front, signed(&front, &challenge, sync)).await, answer(200, "a1b2"));
    assert_eq!(ask(&front, signed(&senders::front("t").unwrap(), &challenge, sync)).await.0, 401);
    assert_eq!(ask(&front, signed(&front, &[], sync)).await, answer(200, "the handler"));

    let twitch = senders::twitch("0123456789").unwrap();
    let kind = |kind| [("twitch-eventsub-message-type", kind)];
    let verification = kind("webhook_callback_verification");
    let reply = ask(&twitch, signed(&twitch, &verification, r#"{"challenge":"pogchamp-kappa-360noscope"}"#)).await;
    assert_eq!(reply, answer(200, "pogchamp-kappa-360noscope"));
    assert_eq!(ask(&twitch, signed(&twitch, &verification, "{}")).await.0, 400);
    assert_eq!(ask(&twitch, signed(&twitch, &kind("revocation"), "{}")).await, answer(200, "the handler"));
}

#[cfg(feature = "asymmetric")]
#[tokio::test]
async fn discords_two_pings_are_told_from_its_events_and_its_probes_get_401() {
    let key = testing::SigningKey::ed25519().unwrap();
    let discord = senders::discord(key.public_key()).unwrap();
    let signed = |body: &'static str| {
        let request = Request::post("/").body(body).unwrap();
        testing::sign_with_at(&discord, &key, request, UNIX_EPOCH + Duration::from_secs(NOW)).unwrap()
    };
    assert_eq!(ask(&discord, signed(r#"{"type":1,"id":"1","token":"t"}"#)).await, answer(200, r#"{"type":1}"#));
    assert_eq!(ask(&discord, signed(r#"{"version":1,"type":0}"#)).await, answer(204, ""));
    let event = r#"{"version":1,"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}"#;
    assert_eq!(ask(&discord, signed(event)).await, answer(200, "the handler"));
    assert_eq!(ask(&discord, signed(r#"{"type":2}"#)).await, answer(200, "the handler"));
    // Whatever is wrong with the signature, its answer is 401.
    for (name, value) in [("x-signature-ed25519", "00"), ("x-signature-timestamp", "yesterday")] {
        let mut probe = signed("{}");
        probe.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(ask(&discord, probe).await.0, 401, "{name}");
        let mut probe = signed("{}");
        probe.headers_mut().remove(name);
        assert_eq!(ask(&discord, probe).await.0, 401, "no {name}");
        let mut probe = signed("{}");
        probe.headers_mut().append(name, value.parse().unwrap());
        assert_eq!(ask(&discord, probe).await.0, 401, "two {name}");
    }
}

#[tokio::test]
async fn xeros_probe_gets_401() {
    let xero = senders::xero("s").unwrap();
    for value in ["", "AAAA", "wrong"] {
        let mut probe = empty(Method::POST, "/");
        probe.headers_mut().insert("x-xero-signature", value.parse().unwrap());
        assert_eq!(ask(&xero, probe).await.0, 401, "{value}");
    }
    assert_eq!(ask(&xero, empty(Method::POST, "/")).await.0, 401);
}

#[tokio::test]
async fn an_offered_secret_is_repeated_only_when_it_is_awaited() {
    let offer = || {
        let mut offer = empty(Method::POST, "/");
        offer.headers_mut().insert("x-hook-secret", "b537207f20cbfa02357cf448134da559".parse().unwrap());
        offer
    };
    let asana = senders::asana("s").unwrap();
    assert_eq!(ask(&asana, offer()).await.0, 401);
    let awaiting = |awaited: bool| {
        asana.clone().with_handshake(Handshake::offered_secret("x-hook-secret", move |head, _| {
            awaited && head.uri.path() == "/"
        }))
    };
    assert_eq!(ask(&awaiting(false), offer()).await.0, 401);
    assert_eq!(ask(&awaiting(true), offer()).await, answer(200, ""));
}

#[tokio::test]
async fn the_address_is_tried_by_head_and_woocommerce_by_a_number() {
    let trello = senders::trello("s", "https://h").unwrap();
    assert_eq!(ask(&trello, empty(Method::HEAD, "/")).await, answer(200, ""));
    assert_eq!(ask(&trello, empty(Method::GET, "/")).await.0, 405);
    let woocommerce = senders::woocommerce("s").unwrap();
    let form = |body: &'static str| {
        Request::post("/").header("content-type", "application/x-www-form-urlencoded").body(Full::from(body)).unwrap()
    };
    assert_eq!(ask(&woocommerce, form("webhook_id=17")).await, answer(200, ""));
    for bad in ["webhook_id=", "webhook_id=17&x=1", "x=1", "webhook_id=a", "", "webhook_id=111111111111111111111"] {
        assert_eq!(ask(&woocommerce, form(bad)).await.0, 401, "{bad}");
    }
}

#[tokio::test]
async fn a_post_echo_and_an_options_answer_can_be_described() {
    let scheme = Scheme::hmac_sha256()
        .signature(tower_webhook::scheme::header("x-sig").hex())
        .with_handshake(Handshake::query_echo(Method::POST, "validationToken"))
        .with_handshake(Handshake::allow_origin("events.example.com", None))
        .secret("s")
        .build("acme")
        .unwrap();
    assert_eq!(ask(&scheme, empty(Method::POST, "/?validationToken=a%3Ab")).await, answer(200, "a:b"));
    let mut options = empty(Method::OPTIONS, "/");
    assert_eq!(ask(&scheme, options.clone()).await.0, 405);
    options.headers_mut().insert("webhook-request-origin", "events.example.com".parse().unwrap());
    assert_eq!(ask(&scheme, options).await, answer(200, ""));
}
