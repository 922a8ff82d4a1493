//! The page of `tower-webhook serve`.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tower_webhook::{senders, testing};

use super::browser::Browser;
use crate::inbox::sqlite::Folder;
use crate::support::{Server, until};

const BEARER: &str = "Bearer the operators' token";
const BASIC: &str = "Basic b3BzOnRoZSBvcGVyYXRvcnMnIHRva2Vu";

#[tokio::test]
async fn the_gateway_has_the_page_over_all_endpoints_beside_its_json_and_ends_with_it_open() {
    let folder = Folder::new();
    let config = json!({
        "listen": "127.0.0.1:0",
        "inbox": format!("sqlite:{}", folder.file().display()),
        "admin": {"path": "/_inbox", "bearer": BEARER["Bearer ".len()..]},
        "endpoints": [
            {"path": "/a", "provider": "github", "secrets": ["Jefe"]},
            {"path": "/b", "provider": "github", "secrets": ["Jefe"]},
        ],
    });
    let file = folder.file().with_file_name("gateway.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tower-webhook"))
        .arg("serve")
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
    let server = Server { address: address.parse().unwrap(), task: tokio::spawn(async {}) };
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(format!("/_inbox{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.send(request.body(Full::default()).unwrap()).await
    };
    let token = [("authorization", BEARER)];
    let get = async |path: &str| {
        let reply = ask(Method::GET, path, &token).await;
        (reply.status.as_u16(), serde_json::from_slice::<Value>(&reply.body).unwrap_or_default())
    };

    let github = senders::github("Jefe").unwrap();
    for (path, id) in [("/a", "d1"), ("/b", "d2"), ("/a", "d3"), ("/b", "d4")] {
        let push = Request::post(path).header("x-github-delivery", id).header("x-github-event", "push");
        let push = push.header("content-type", "application/json").body(Bytes::from(format!("{{\"id\":\"{id}\"}}")));
        assert_eq!(server.send(testing::sign(&github, push.unwrap()).unwrap()).await.status, StatusCode::OK);
    }
    until("all are done", async || get("/stats").await.1["done"] == 4).await;

    // The page is for who has the token, by either scheme; the JSON is as it was.
    for path in ["/inspect", "/inspect/page.js", "/inspect/overview", "/inspect/deliveries/1/body", "/inspect/changes"]
    {
        for headers in
            [&[][..], &[("authorization", "Bearer the operators' tokeN")], &[("authorization", "Basic Og==")]]
        {
            let reply = ask(Method::GET, path, headers).await;
            assert_eq!(reply.status, 401, "{path} {headers:?}");
            assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        }
    }
    for value in [BEARER, BASIC] {
        let page = ask(Method::GET, "/inspect", &[("authorization", value)]).await;
        assert!(page.status == 200 && page.text().contains("<title>Webhooks</title>"), "{value}");
        assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    }
    for (headers, status) in [(&[][..], 401), (&[("authorization", BASIC)], 401), (&token, 200)] {
        let reply = ask(Method::GET, "/stats", headers).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert_eq!(reply.headers.get("www-authenticate").is_some_and(|value| value == "Bearer"), status == 401);
    }
    for unknown in ["/deliveries/99", "/inspect/deliveries/99"] {
        assert_eq!(get(unknown).await.0, 404, "{unknown}");
    }

    // All endpoints in one list, in the order of their numbers, by pages too.
    let ids = |answer: &Value| -> Vec<i64> {
        answer["rows"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    };
    let all = get("/inspect/deliveries").await.1;
    assert_eq!((ids(&all), &all["next"]), (vec![4, 3, 2, 1], &Value::Null));
    for filter in ["", "&q=push"] {
        let (mut from, mut found) = (5, Vec::new());
        while from > 1 && found.len() < 9 {
            let part = get(&format!("/inspect/deliveries?limit=1&before={from}{filter}")).await.1;
            found.extend(ids(&part));
            from = part["next"].as_i64().unwrap_or(0);
        }
        assert_eq!(found, [4, 3, 2, 1], "{filter}");
    }
    let overview = get("/inspect/overview").await.1;
    assert!(overview["states"].as_array().unwrap().contains(&json!(["done", 4])), "{overview}");
    for (id, event_id) in [(1, "d1"), (2, "d2")] {
        assert_eq!(get(&format!("/inspect/deliveries/{id}")).await.1["event_id"], event_id);
    }
    let own = [token[0], ("x-inspect", "1")];
    for (path, headers, status) in [
        ("/inspect/deliveries/2/replay?force=true", &token[..], 403),
        ("/inspect/deliveries/2/replay", &own, 409),
        ("/inspect/deliveries/99/replay", &own, 404),
        ("/inspect/deliveries/2/replay?force=true", &own, 202),
    ] {
        assert_eq!(ask(Method::POST, path, headers).await.status, status, "{path}");
    }

    let mut browser = Browser::start().await;
    browser.call("Network.setExtraHTTPHeaders", json!({ "headers": { "authorization": BEARER } })).await;
    browser.go(&format!("http://{}/_inbox", server.address)).await;
    browser.until("document.querySelectorAll('#rows tr').length === 4").await;
    browser.until("document.getElementById('live-text').textContent === 'Live'").await;
    browser.picture("gateway").await;

    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    let mut told = String::new();
    stderr.read_to_string(&mut told).await.unwrap();
    assert!(!told.contains("did not finish"), "{told}");
    browser.stop().await;
}
