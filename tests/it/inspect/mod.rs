//! The page over what arrives, in a real browser and by hand.

mod browser;
#[cfg(feature = "cli")]
mod listen;
#[cfg(feature = "cli")]
mod serve;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::{Layer as _, ServiceExt as _};
use tower_webhook::inbox::sqlite::SqliteStore;
use tower_webhook::inbox::{Backoff, Inbox};
use tower_webhook::inspect::{ExchangeState, Inspector, Recorder};
use tower_webhook::scheme::{header, json as json_at};
use tower_webhook::{Delivery, Scheme, WebhookLayer, testing};

use crate::inbox::sqlite::Folder;
use crate::support::{Server, serve, until};
use browser::Browser;

fn acme() -> Scheme {
    Scheme::hmac_sha256()
        .signature(header("acme-signature").hex())
        .signed("{id}.{body}")
        .id(header("acme-id"))
        .event(json_at("/type"))
        .secret("whatever Acme's portal shows")
        .build("acme")
        .unwrap()
}

fn signed(path: &str, id: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("acme-id", id).header("content-type", "application/json");
    testing::sign(&acme(), request.body(body.into()).unwrap()).unwrap()
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

/// A recorder, the route that it records, and its page.
async fn recorded(recorder: Recorder) -> (Recorder, Server) {
    let handler = async |delivery: Delivery| match delivery.event() {
        Some("bad") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    let hook = Router::new().route("/hook", post(handler).layer(recorder.around(WebhookLayer::new(acme()))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = hook.nest("/page", Inspector::from(&recorder).router_on_loopback(address).unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (recorder, Server { address, task })
}

#[tokio::test]
async fn a_recorder_keeps_what_arrived_what_was_proven_and_why_not() {
    let (recorder, server) = recorded(Recorder::new()).await;
    server.send(signed("/hook?token=hunter2&a=b", "1", r#"{"type":"paid"}"#)).await;
    server.send(signed("/hook", "2", r#"{"type":"bad"}"#)).await;
    let mut forged = signed("/hook", "3", r#"{"type":"paid"}"#);
    *forged.body_mut() = Full::from(r#"{"type":"PAID"}"#);
    server.send(forged).await;
    let signature = "ab".repeat(32);
    let head = format!(
        "POST /hook HTTP/1.1\r\nhost: a\r\nacme-signature: {signature}\r\nacme-id: 4\r\ncontent-length: 9\r\n\r\n"
    );
    server.cut(format!("{head}half").as_bytes()).await;
    until("the last one is kept", async || recorder.exchanges().len() == 4).await;
    let states: Vec<_> = recorder.exchanges().iter().rev().map(|exchange| exchange.state).collect();
    assert_eq!(states[..3], [ExchangeState::Handled, ExchangeState::Failed, ExchangeState::Refused]);
    let [first, refused, cut] = [0, 2, 3].map(|id| recorder.get(id).unwrap());
    assert_eq!((&*first.url, &first.body[..]), ("/hook?a=b", &br#"{"type":"paid"}"#[..]));
    assert_eq!((first.event.as_deref(), first.event_id.as_deref()), (Some("paid"), Some("1")));
    assert!(first.signed.unwrap().body && first.signed.unwrap().id && !first.signed.unwrap().url);
    assert_eq!(
        (refused.status.unwrap(), refused.reason.unwrap().as_str()),
        (StatusCode::UNAUTHORIZED, "signature_mismatch")
    );
    assert_eq!((&refused.body[..], refused.signed), (&br#"{"type":"PAID"}"#[..], None), "what arrived, and no proof");
    assert_eq!((&cut.body[..], cut.body_bytes), (&b"half"[..], 4));
}

#[tokio::test]
async fn a_client_that_goes_away_and_a_body_that_is_too_long_are_seen_too() {
    let recorder = Recorder::new();
    let slow = post(async || std::future::pending::<StatusCode>().await);
    let app = Router::new().route("/hook", slow.layer(recorder.around(WebhookLayer::new(acme()))));
    let request = signed("/hook", "1", "{}");
    let call = tokio::time::timeout(Duration::from_millis(1), app.oneshot(request)).await;
    assert!(call.is_err());
    assert_eq!(recorder.get(0).unwrap().state, ExchangeState::Aborted);

    let long = vec![b'x'; tower_webhook::inspect::MAX_RECORDED_BODY + 1];
    let handler = post(async |body: Bytes| body.len().to_string());
    let layer = WebhookLayer::new(acme()).with_body_limit(long.len());
    let app = Router::new().route("/hook", handler.layer(recorder.around(layer)));
    let response = app.oneshot(signed("/hook", "2", long.clone())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let kept = recorder.get(1).unwrap();
    assert_eq!((kept.body.len() + 1, kept.body_bytes), (long.len(), long.len() as u64), "its start is kept");
    let shown = format!("{recorder:?} {kept:?}");
    assert!(!shown.contains("xxxx"), "{shown}");
    // A request whose end is missing is no test of anything.
    let page = Inspector::from(&recorder).router_without_authentication::<()>();
    let ask = async |path: &str| page.clone().oneshot(get(path)).await.unwrap().status().as_u16();
    assert_eq!(ask("/inspect/deliveries/1/request.http").await, 409);
    assert_eq!(ask("/inspect/deliveries/0/request.http").await, 200);
}

#[tokio::test]
async fn the_page_is_for_this_machine_or_for_who_has_the_token_and_other_sites_change_nothing() {
    let (recorder, server) = recorded(Recorder::new().with_replay(async |_| Ok(StatusCode::OK))).await;
    server.send(signed("/hook", "1", r#"{"type":"paid"}"#)).await;
    let own = server.address.to_string();
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(format!("/page{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.send(request.body(Full::default()).unwrap()).await
    };
    // A name that leads here, as a site on the network could have one.
    for path in
        ["/inspect", "/inspect/deliveries", "/inspect/deliveries/0/body", "/inspect/changes", "/inspect/page.js"]
    {
        assert_eq!(ask(Method::GET, path, &[("host", "evil.example.test")]).await.status, 403, "{path}");
    }
    let page = ask(Method::GET, "/inspect", &[]).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(page.headers["cache-control"], "no-store");
    let body = ask(Method::GET, "/inspect/deliveries/0/body", &[]).await;
    assert_eq!(body.text(), r#"{"type":"paid"}"#);
    assert_eq!(body.headers["content-type"], "application/octet-stream");
    assert!(body.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(body.headers["content-security-policy"].to_str().unwrap().ends_with("sandbox"));
    let root = ask(Method::GET, "", &[]).await;
    assert_eq!(root.status, 303);
    assert_eq!(root.headers["location"], "./page/inspect");

    let replay = "/inspect/deliveries/0/replay?force=true";
    let origin = format!("http://{own}");
    for (headers, status) in [
        (&[][..], 403),
        (&[("x-inspect", "1"), ("sec-fetch-site", "cross-site")], 403),
        (&[("x-inspect", "1"), ("origin", "http://evil.example.test")], 403),
        (&[("x-inspect", "1"), ("origin", &*origin)], 202),
        (&[("x-inspect", "1")], 202),
    ] {
        assert_eq!(ask(Method::POST, replay, headers).await.status, status, "{headers:?}");
    }
    assert_eq!(recorder.get(0).unwrap().attempts, 3, "once, and two replays");
    assert_eq!(ask(Method::POST, "/inspect/deliveries/0/replay", &[("x-inspect", "1")]).await.status, 409);
    assert_eq!(ask(Method::POST, "/inspect/deliveries/7/replay", &[("x-inspect", "1")]).await.status, 404);
    assert_eq!(ask(Method::GET, "/inspect/deliveries/7", &[]).await.status, 404);

    let inspector = Inspector::from(&recorder);
    assert!(inspector.router_on_loopback(([192, 0, 2, 1], 80).into()).is_err());
    assert!(inspector.router_with_token::<()>("too short").is_err());
    let app = inspector.router_with_token::<()>("a token that is long enough").unwrap();
    for (value, status) in [
        ("", 401),
        ("Bearer a token that is long enougH", 401),
        ("Bearer a token that is long enough", 200),
        ("Basic YW55b25lOmEgdG9rZW4gdGhhdCBpcyBsb25nIGVub3VnaA==", 200),
    ] {
        let request = Request::get("/inspect/overview").header("authorization", value).body(Full::<Bytes>::default());
        let response = app.clone().oneshot(request.unwrap().map(axum::body::Body::new)).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{value}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test]
async fn a_test_event_is_sent_for_who_may_see_the_page_and_never_for_another_site() {
    const PATH: &str = "/inspect/test-event?event=";
    const TOKEN: &str = "Bearer a token that is long enough";
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = sent.clone();
    let without = Inspector::from(&Recorder::new());
    let with = without.clone().with_test_events(move |event| {
        noted.lock().unwrap().push(event.clone());
        async move {
            match event.as_deref() {
                Some("down") => Err("nobody listens".to_owned()),
                Some("bad") => Ok(StatusCode::UNAUTHORIZED),
                _ => Ok(StatusCode::OK),
            }
        }
    });
    let ask = async |inspector: &Inspector, request: http::request::Builder, headers: &[(&str, &str)]| {
        let mut request = request.header("host", "hooks.example.test").header("authorization", TOKEN);
        for (name, value) in headers {
            request.headers_mut().unwrap().insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let app = inspector.router_with_token::<()>(&TOKEN["Bearer ".len()..]).unwrap();
        let response = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    for (headers, status) in [
        (&[][..], 403),
        (&[("x-inspect", "1"), ("sec-fetch-site", "cross-site")], 403),
        (&[("x-inspect", "1"), ("sec-fetch-site", "same-site")], 403),
        (&[("x-inspect", "1"), ("origin", "http://evil.example.test")], 403),
        (&[("x-inspect", "1"), ("origin", "null")], 403),
        (&[("x-inspect", "1"), ("authorization", "Bearer another that is long enough")], 401),
    ] {
        assert_eq!(ask(&with, Request::post(PATH), headers).await.0, status, "{headers:?}");
    }
    let own = [("x-inspect", "1")];
    assert_eq!(ask(&with, Request::get(PATH), &own).await.0, 405);
    assert_eq!(ask(&without, Request::post(PATH), &own).await.0, 404);
    assert!(sent.lock().unwrap().is_empty(), "nothing was sent so far");
    for (event, answer) in [
        ("", (202, json!({ "sent": "answered 200" }))),
        ("issues%20%26%20more", (202, json!({ "sent": "answered 200" }))),
        ("bad", (202, json!({ "sent": "answered 401" }))),
        ("down", (502, json!({ "error": "nobody listens" }))),
    ] {
        let request = Request::post(format!("{PATH}{event}"));
        let from_the_page = [("x-inspect", "1"), ("origin", "http://hooks.example.test")];
        assert_eq!(ask(&with, request, &from_the_page).await, answer, "{event}");
    }
    assert_eq!(
        *sent.lock().unwrap(),
        [None, Some("issues & more"), Some("bad"), Some("down")].map(|event| event.map(str::to_owned))
    );
    for (inspector, has) in [(&with, true), (&without, false)] {
        let overview = ask(inspector, Request::get("/inspect/overview"), &[]).await.1;
        assert_eq!((&overview["sends_test_events"], &overview["source"]), (&json!(has), &json!("recorder")));
    }
}

/// What is copied and saved is what arrived: a shell and a parser of their own say so.
#[tokio::test]
async fn a_copied_command_and_a_saved_file_send_the_same_bytes_again() {
    let (recorder, server) = recorded(Recorder::new()).await;
    let (twin, copied) = recorded(Recorder::new()).await;
    let bodies: [&[u8]; 8] = [
        br#"{"type":"it's $HOME `id` \"quoted\" \\ %s !x"}"#,
        b"@/etc/passwd",
        b"line\nline\r\n\ttab\0nul",
        b"\xff\xfe not UTF-8",
        "\u{202e}gnp.exe \u{200b}".as_bytes(),
        b"\x1b[201~\nrm -rf",
        b"-X DELETE",
        b"",
    ];
    for (id, body) in bodies.into_iter().enumerate() {
        let mut request = signed("/hook?a=[1]&b={x}", &format!("it's {id}"), Bytes::from_static(body));
        let odd = http::HeaderValue::from_bytes(b"caf\xe9 '\"$(id)").unwrap();
        request.headers_mut().insert("x-odd", odd);
        request.headers_mut().insert("x-empty", "".parse().unwrap());
        assert_eq!(server.send(request).await.status, 200);
        let reply = server.send(get(&format!("/page/inspect/deliveries/{id}"))).await;
        let shown: Value = serde_json::from_slice(&reply.body).unwrap();
        let command = shown["curl"].as_str().unwrap().replace(&server.address.to_string(), &copied.address.to_string());
        let script = command.replacen("curl ", "curl --silent --show-error --fail ", 1);
        let output = tokio::process::Command::new("sh").args(["-c", &script]).output().await.unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));

        let file = server.send(get(&format!("/page/inspect/deliveries/{id}/request.http"))).await.body;
        let read = tower_webhook::inspect::read_request(&file).unwrap();
        assert_eq!((&read.body()[..], read.headers()["acme-id"].as_bytes()), (body, format!("it's {id}").as_bytes()));
        let with_end =
            [&file[..file.iter().position(|byte| *byte == b'\n').unwrap() + 1], b"connection: close\r\n"].concat();
        let raw = [&with_end[..], &file[with_end.len() - b"connection: close\r\n".len()..]].concat();
        assert!(copied.raw(&raw).await.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(&raw));

        let sent = recorder.get(id as u64).unwrap();
        for copy in [2 * id, 2 * id + 1].map(|id| twin.get(id as u64).unwrap()) {
            assert_eq!(
                (&copy.body, &copy.url, copy.state),
                (&sent.body, &sent.url, ExchangeState::Handled),
                "{script}"
            );
            for name in ["acme-id", "acme-signature", "content-type", "x-odd", "x-empty"] {
                assert_eq!(copy.headers[name], sent.headers[name], "{name} {script}");
            }
        }
    }
}

/// Where the table shows what, by column.
const ROW: &str =
    "[...document.querySelectorAll('#rows tr')].map((row) => [...row.cells].map((cell) => cell.innerText))";

#[tokio::test]
async fn a_browser_lists_shows_filters_and_replays_what_is_stored() {
    let folder = Folder::new();
    let (inbox, worker) = Inbox::new(SqliteStore::open(folder.file()).unwrap())
        .with_retry(Backoff::exponential(Duration::from_millis(5)..Duration::from_millis(50)).attempts(3))
        .with_headers(["acme-id".parse().unwrap()])
        .wrap(post(async |delivery: Delivery| match delivery.event() {
            Some("invoice.void") => StatusCode::BAD_GATEWAY,
            _ => StatusCode::OK,
        }));
    let app = Router::new()
        .route_service("/hook", WebhookLayer::new(acme()).layer(inbox.clone()))
        .nest("/admin/webhooks", inbox.router());
    let server = serve(app).await;
    let worker = tokio::spawn(worker.run(std::future::pending()));
    let body = |event: &str, number: u64| {
        json!({ "type": event, "data": { "object": { "amount": 9_007_199_254_740_993_u64, "number": number, "lines": [] } } }).to_string()
    };
    for (number, event) in ["invoice.paid", "invoice.void", "customer.created"].into_iter().enumerate() {
        server.send(signed("/hook", &format!("evt_{number}"), body(event, number as u64))).await;
    }
    until("all are handled", async || {
        let stats = inbox.stats().await.unwrap();
        (stats.done, stats.dead) == (2, 1)
    })
    .await;

    let mut browser = Browser::start().await;
    browser.prefer("light").await;
    browser.go(&format!("http://{}/admin/webhooks", server.address)).await;
    browser.until("document.querySelectorAll('#rows tr').length === 3").await;
    browser.until("document.getElementById('live-text').textContent === 'Live'").await;
    assert_eq!(browser.text("#counts").await, "3 deliveries: 2 done, 1 dead");
    let rows = browser.eval(ROW).await;
    let dead: Vec<&str> = rows[1].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(dead[1..4], ["dead", "acme", "invoice.void"], "{rows}");
    assert_eq!(dead[6..], ["3", "the handler answered 502"], "{rows}");
    assert!(rows[0][5].as_str().unwrap().ends_with(" B"), "{rows}");
    browser.picture("list-light").await;

    // With the keyboard alone: to the second row's link, into the delivery, and back.
    browser.eval("document.querySelector('#rows tr a').focus()").await;
    browser.press("Tab", 9).await;
    browser.press("Enter", 13).await;
    browser.until("document.getElementById('payload').innerText.includes('invoice.void')").await;
    assert_eq!(browser.eval("document.activeElement.id").await, "detail-title", "a reader is told of it");
    let detail = browser.text("#detail").await;
    for part in [
        "Delivery 2 dead",
        "the handler answered 502",
        "evt_1",
        "POST /hook",
        "body: signed",
        "id: signed",
        "timestamp: not signed",
        "application/json",
        "Failed attempts",
        "\"amount\": 9007199254740993,\n",
        "\"lines\": []",
    ] {
        assert!(detail.contains(part), "{part} is not in {detail}");
    }
    browser.picture("delivery-light").await;
    browser.prefer("dark").await;
    browser.picture("delivery-dark").await;
    browser.click("[data-view=hex]").await;
    assert!(browser.text("#payload").await.starts_with("00000000  7b 22 64 61 74 61 22 3a 7b"), "sorted by name");
    browser.press("Escape", 27).await;
    browser.until("document.getElementById('detail').hidden").await;
    assert_eq!(browser.eval("document.activeElement.innerText").await, "2", "the focus is where it was");
    browser.picture("list-dark").await;

    // Filtered by an event, and found by what is in a payload.
    browser.eval("document.querySelector('[name=event]').focus()").await;
    browser.type_text("customer.created").await;
    browser.press("Enter", 13).await;
    browser.until("document.querySelectorAll('#rows tr').length === 1").await;
    browser.click("button[type=reset]").await;
    browser.until("document.querySelectorAll('#rows tr').length === 3").await;
    browser.eval("document.querySelector('[name=q]').focus()").await;
    browser.type_text("\"number\":1").await;
    browser.press("Enter", 13).await;
    browser.until("document.querySelectorAll('#rows tr').length === 1").await;
    assert_eq!(browser.text("#status").await, "1 delivery.");
    browser.click("button[type=reset]").await;
    browser.until("document.querySelectorAll('#rows tr').length === 3").await;

    // A replay: of a dead one at once, of one that is done when asked again.
    browser.click("#rows tr:nth-child(2) a").await;
    browser.until("document.getElementById('replay') !== null").await;
    browser.click("#replay").await;
    browser.until("document.getElementById('told').innerText.startsWith('It is handled again')").await;
    browser.click("#rows tr:nth-child(3) a").await;
    browser.until("document.getElementById('detail-title').innerText.startsWith('Delivery 1')").await;
    browser.click("#replay").await;
    browser.until("document.getElementById('force') !== null").await;
    browser.click("#force").await;
    browser.until("document.getElementById('told').innerText.startsWith('It is handled again')").await;

    // What comes is there without a hand on the page.
    server.send(signed("/hook", "evt_9", body("invoice.sent", 9))).await;
    browser.until("document.querySelector('#rows tr td:nth-child(4)').innerText === 'invoice.sent'").await;
    browser.until("document.getElementById('status').innerText === 'There are new deliveries.'").await;

    browser.eval("location.hash = ''").await;
    browser.until("document.getElementById('detail').hidden").await;
    accessible(&mut browser).await;
    let own = format!("http://{}/", server.address);
    assert!(
        browser.requested().iter().all(|url| url.starts_with(&own) || url.starts_with("about:")),
        "{:?}",
        browser.requested()
    );
    assert!(!browser.requested().is_empty());
    // The 409 that was asked for is the one thing that the browser calls an error.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|complaint| complaint.to_string().contains("409")), "{complaints:?}");
    browser.stop().await;
    worker.abort();
}

/// What a screen reader gets: names, roles, headings.
async fn accessible(browser: &mut Browser) {
    let tree = browser.call("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().unwrap();
    let of = |role: &str| -> Vec<&str> {
        let of_role = nodes.iter().filter(|node| node["role"]["value"] == role && node["ignored"] != true);
        of_role.map(|node| node["name"]["value"].as_str().unwrap_or_default()).collect()
    };
    assert_eq!(of("table"), ["Deliveries, the newest first"]);
    assert_eq!(of("columnheader").len(), 8);
    assert!(of("rowheader").len() == 4 && of("status").len() == 1);
    assert!(of("search").contains(&"Filter the deliveries") && of("navigation").contains(&"Pages"));
    for role in ["button", "link", "textbox", "searchbox", "combobox", "heading"] {
        let names = of(role);
        assert!(!names.is_empty() && names.iter().all(|name| !name.is_empty()), "{role}: {names:?}");
    }
}

#[tokio::test]
async fn hostile_payloads_are_text_and_ten_thousand_deliveries_stay_usable() {
    let (recorder, server) = recorded(Recorder::new()).await;
    // Straight at the service: ten thousand connections are not what is tested.
    let handler = post(async || StatusCode::OK);
    let layer = WebhookLayer::new(acme()).with_body_limit(4 << 20);
    let app = Router::new().route("/hook", handler.layer(recorder.around(layer)));
    let mut sending = JoinSet::new();
    for sender in 0..4 {
        let app = app.clone();
        sending.spawn(async move {
            for number in 0..2500 {
                let body = format!(r#"{{"type":"order.{}","number":{number}}}"#, number % 7);
                app.clone().oneshot(signed("/hook", &format!("{sender}-{number}"), body)).await.unwrap();
            }
        });
    }
    sending.join_all().await;
    assert_eq!(recorder.exchanges().len(), 10_000);

    let markup = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'><svg onload=window.pwned=1>";
    let hostile: [(&str, Vec<u8>); 5] = [
        ("script", json!({ "type": markup, "text": markup }).to_string().into()),
        ("direction", "{\"type\":\"\u{202e}diap.eciovni\",\"text\":\"\u{202e}\u{2066}abc\u{200b}\"}".into()),
        ("line", format!("{{\"type\":\"long\",\"text\":\"{}\"}}", "x".repeat(1 << 20)).into()),
        ("bytes", b"{\"type\":\"\xff\xfe\x00\x1b[31m\"}".to_vec()),
        ("deep", ["[".repeat(100_000), "]".repeat(100_000)].concat().into()),
    ];
    for (id, body) in &hostile {
        app.clone().oneshot(signed("/hook?q='%3Cscript%3E", id, body.clone())).await.unwrap();
    }

    let mut browser = Browser::start().await;
    browser.prefer("light").await;
    browser.go(&format!("http://{}/page/inspect", server.address)).await;
    browser.until("document.querySelectorAll('#rows tr').length === 50").await;
    let first = recorder.exchanges().last().unwrap().id;
    let newest = recorder.exchanges()[0].id;
    assert!(browser.text("#counts").await.starts_with("10,000 deliveries: 10,000 handled"));
    for (at, (id, body)) in hostile.iter().enumerate() {
        let number = newest - (hostile.len() - 1 - at) as u64;
        browser.eval(&format!("location.hash = {number}")).await;
        browser
            .until(&format!("document.getElementById('detail-title').innerText.startsWith('Delivery {number} ')"))
            .await;
        browser.until("document.querySelector('#payload pre') !== null").await;
        let shown = browser.text("#payload").await;
        match *id {
            "script" => assert!(shown.contains("<script>window.pwned=1</script>"), "{shown}"),
            "direction" => {
                assert!(shown.contains("\u{27e8}U+202E\u{27e9}diap") && !shown.contains('\u{202e}'), "{shown}")
            }
            "line" => assert!((40_000..60_000).contains(&shown.len()), "{}", shown.len()),
            "bytes" => assert!(shown.contains("\u{27e8}U+0000\u{27e9}\u{27e8}U+001B\u{27e9}[31m"), "{shown}"),
            _ => assert!(shown.starts_with("[\n  [\n    ["), "{}", &shown[..100]),
        }
        if matches!(*id, "script" | "direction" | "bytes") {
            browser.picture(&format!("hostile-{id}")).await;
        }
        for view in ["text", "hex"] {
            browser.click(&format!("[data-view={view}]")).await;
            browser.until("document.querySelector('#payload pre') !== null").await;
        }
        if *id == "bytes" {
            assert!(browser.text("#payload").await.contains("ff fe 00 1b"));
        }
        browser.click("[data-view=pretty]").await;
        let wide = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(wide, 0, "{id} of {} bytes makes the page wider", body.len());
    }
    assert_eq!(browser.eval("typeof window.pwned").await, "undefined");
    assert_eq!(
        browser.eval("document.querySelectorAll('img, svg, iframe, #detail script, table script').length").await,
        0
    );

    // To the end by pages, and to one in the middle by a search.
    browser.eval("location.hash = ''").await;
    browser.click("#older").await;
    browser.until(&format!("document.querySelector('#rows tr').dataset.id === '{}'", newest - 50)).await;
    browser.eval("document.querySelector('[name=q]').value = '0-0'").await;
    browser.eval(r#"document.querySelector('[name=q]').value = '"number":7}'; document.getElementById('filter').requestSubmit()"#).await;
    browser.until("document.querySelectorAll('#rows tr').length === 4").await;
    browser.picture("found").await;
    browser.click("button[type=reset]").await;
    browser.until("document.querySelectorAll('#rows tr').length === 50").await;
    assert!(first > 0 && browser.eval("document.querySelectorAll('*').length").await.as_u64().unwrap() < 2000);

    // A burst: the page keeps up, and shows the last one.
    for number in 0..200 {
        server.send(signed("/hook", &format!("burst-{number}"), r#"{"type":"burst"}"#)).await;
    }
    let last = recorder.exchanges()[0].id;
    browser.until(&format!("document.querySelector('#rows tr').dataset.id === '{last}'")).await;
    browser.resize(420, 800).await;
    browser.picture("narrow").await;
    let wide = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    assert_eq!(wide, 0, "on a telephone, the table scrolls and not the page");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    let own = format!("http://{}/", server.address);
    assert!(
        browser.requested().iter().all(|url| url.starts_with(&own) || url.starts_with("about:")),
        "{:?}",
        browser.requested()
    );
    browser.stop().await;
}

async fn store(hook: Router, id: String, body: String) {
    let status = hook.oneshot(signed("/hook", &id, body)).await.unwrap().status();
    assert!(status.is_success(), "{status}");
}

#[tokio::test]
async fn ten_thousand_stored_deliveries_stay_usable() {
    let folder = Folder::new();
    let (inbox, _worker) =
        Inbox::new(SqliteStore::open(folder.file()).unwrap()).wrap(post(async || StatusCode::OK).with_state(()));
    let hook = Router::new().route_service("/hook", WebhookLayer::new(acme()).layer(inbox.clone()));
    let server = serve(Router::new().nest("/admin/webhooks", inbox.router())).await;
    store(hook.clone(), "the first".to_owned(), r#"{"type":"order.first","mark":"a needle"}"#.to_owned()).await;
    // Many at once share commits.
    let mut sending = JoinSet::new();
    for sender in 0..50 {
        let hook = hook.clone();
        sending.spawn(async move {
            for number in usize::from(sender == 0)..200 {
                let body = format!(r#"{{"type":"order.{}","number":{number}}}"#, number % 7);
                store(hook.clone(), format!("{sender}-{number}"), body).await;
            }
        });
    }
    sending.join_all().await;
    assert_eq!(inbox.stats().await.unwrap().waiting, 10_000);

    let mut browser = Browser::start().await;
    browser.go(&format!("http://{}/admin/webhooks/inspect", server.address)).await;
    browser.until("document.querySelectorAll('#rows tr').length === 50").await;
    assert_eq!(browser.text("#counts").await, "10,000 deliveries: 10,000 waiting");
    browser.picture("stored").await;
    for newest in [9950, 9900, 9850] {
        browser.click("#older").await;
        browser.until(&format!("document.querySelector('#rows tr').dataset.id === '{newest}'")).await;
        assert_eq!(browser.eval("document.querySelectorAll('#rows tr').length").await, 50);
    }
    browser.click("#newest").await;
    browser.until("document.querySelector('#rows tr').dataset.id === '10000'").await;

    browser.eval("location.hash = 5000").await;
    browser.until("document.getElementById('detail-title').innerText.startsWith('Delivery 5000 waiting')").await;
    browser.until("document.getElementById('payload').innerText.includes('\"number\": ')").await;
    browser.eval("location.hash = ''").await;
    browser.until("document.getElementById('detail').hidden").await;

    // The oldest of all, by what is in its payload.
    browser.eval("document.querySelector('[name=q]').focus()").await;
    browser.type_text("a needle").await;
    browser.press("Enter", 13).await;
    browser.until("document.querySelectorAll('#rows tr').length === 1").await;
    assert_eq!(browser.eval("document.querySelector('#rows tr').dataset.id").await, "1");
    browser.click("button[type=reset]").await;
    browser.until("document.querySelectorAll('#rows tr').length === 50").await;
    browser.eval("document.querySelector('[name=event]').focus()").await;
    browser.type_text("order.3").await;
    browser.press("Enter", 13).await;
    browser.until("document.getElementById('status').innerText === '50 deliveries. There may be older ones.'").await;
    let rows = browser.eval(ROW).await;
    assert!(rows.as_array().unwrap().iter().all(|row| row[3] == "order.3"), "{rows}");
    assert!(browser.eval("document.querySelectorAll('*').length").await.as_u64().unwrap() < 2000);
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    browser.stop().await;
}
