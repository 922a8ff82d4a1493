//! The example gateway with an inbox.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_webhook::{WebhookLayer, senders, testing};

use super::nothing_lost::{Figures, Sending};
use super::sqlite::Folder;
use crate::support::{Server, serve, until};

struct Gateway {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    server: Server,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    fn start(folder: &Folder, config: &Value) -> Self {
        let tests = std::env::current_exe().unwrap();
        let name = format!("gateway{}", std::env::consts::EXE_SUFFIX);
        let example = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
        let file = folder.file().with_file_name("gateway.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut child = Command::new(example).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        let mut ready = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut ready).unwrap();
        let address = ready.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{ready}"));
        let server = Server { address: address.parse().unwrap(), task: tokio::spawn(async {}) };
        // Its end of stderr stays open.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(drop));
        Self { child, stdout, server }
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/_inbox{path}"));
        let request = request.header("authorization", "Bearer t0ken").body(Full::default()).unwrap();
        let reply = self.server.send(request).await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    /// Reads its output to the end, so that it can go on writing.
    fn ignore_lines(&mut self) {
        let stdout = self.stdout.take().unwrap();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(drop));
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn push(path: &str, id: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("x-github-delivery", id).header("x-github-event", "push");
    let request = request.header("content-type", "application/json").header("x-other", "1");
    testing::sign(&senders::github("Jefe").unwrap(), request.body(Bytes::from_static(body.as_bytes())).unwrap())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_stores_forwards_and_tries_again() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let seen = Arc::new(Mutex::new(Vec::<(HeaderMap, Bytes)>::new()));
    let (noted, verified) = (seen.clone(), seen.clone());
    let flaky = move |headers: HeaderMap, body: Bytes| async move {
        let attempt = headers["webhook-attempt"].to_str().unwrap().to_owned();
        let refuses = body == "[3]" || (body == "{\"ref\":1}" && ["1", "2"].contains(&&*attempt));
        noted.lock().unwrap().push((headers, body));
        if refuses { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
    };
    // The target verifies what the gateway signed, by this crate's own means.
    let standard = WebhookLayer::new(senders::standard_webhooks(SECRET).unwrap());
    let target = serve(Router::new().route_service("/in", standard.layer(post(flaky).with_state(())))).await;
    let folder = Folder::new();
    let mut gateway = Gateway::start(
        &folder,
        &json!({
            "listen": "127.0.0.1:0",
            "inbox": format!("sqlite:{}", folder.file().display()),
            "forward": format!("http://{}/in", target.address),
            "forward_secret": SECRET,
            "retry": {"first_seconds": 0.01, "longest_seconds": 0.05, "attempts": 4},
            "admin": {"path": "/_inbox", "bearer": "t0ken"},
            "endpoints": [
                {"path": "/a", "provider": "github", "secrets": ["Jefe"]},
                {"path": "/b", "provider": "github", "secrets": ["Jefe"], "concurrency": 1, "order": "/0"},
            ],
        }),
    );
    assert_eq!(gateway.server.send(push("/a", "d1", r#"{"ref":1}"#)).await.status, 200);
    let line = gateway.line();
    assert_eq!(line, json!({"provider": "github", "id": "d1", "event": "push", "bytes": 9, "attempt": 3}));
    {
        let seen = verified.lock().unwrap();
        assert_eq!(seen.len(), 3);
        let (headers, body) = &seen[2];
        assert_eq!((&body[..], &headers["x-github-delivery"]), (&br#"{"ref":1}"#[..], &"d1".parse().unwrap()));
        assert_eq!(
            (&headers["content-type"], &headers["webhook-attempt"]),
            (&"application/json".parse().unwrap(), &"3".parse().unwrap())
        );
        assert!(headers["webhook-received-at"].to_str().unwrap().ends_with('Z'));
        assert!(!headers.contains_key("x-other") && !headers.contains_key("x-hub-signature-256"));
        assert!(seen.iter().all(|(of, _)| of["webhook-id"] == headers["webhook-id"]));
    }

    // One that dies, at another endpoint.
    assert_eq!(gateway.server.send(push("/b", "d2", "[3]")).await.status, 200);
    until("it is dead", async || gateway.ask(Method::GET, "/stats").await.1["dead"] == 1).await;
    let (status, stats) = gateway.ask(Method::GET, "/stats").await;
    assert_eq!((status.as_u16(), &stats["done"], &stats["waiting"]), (200, &json!(1), &json!(0)));
    let (_, page) = gateway.ask(Method::GET, "/deliveries?limit=1").await;
    let dead = &page["deliveries"][0];
    assert_eq!((&dead["state"], &dead["attempts"]), (&json!("dead"), &json!(4)));
    assert!(dead["last_error"].as_str().unwrap().contains("the target answered 500"), "{dead}");
    let (_, rest) = gateway.ask(Method::GET, &format!("/deliveries?limit=1&cursor={}", page["cursor"])).await;
    assert_eq!(rest["deliveries"][0]["state"], "done");
    let id = &dead["id"];
    assert_eq!(gateway.ask(Method::GET, &format!("/deliveries/{id}")).await.1["body"], "WzNd");
    assert_eq!(gateway.ask(Method::POST, &format!("/deliveries/{id}/replay")).await.0, 202);
    until("it is dead again", async || {
        let seen = seen.lock().unwrap().iter().filter(|(_, body)| body == "[3]").count();
        seen == 8
    })
    .await;
    until("it is told", async || gateway.ask(Method::GET, "/stats").await.1["dead"] == 1).await;
    assert_eq!(gateway.ask(Method::POST, "/replay?state=dead").await.1["replayed"], 1);
    until("it is dead once more", async || gateway.ask(Method::GET, "/stats").await.1["dead"] == 1).await;
    assert_eq!(gateway.ask(Method::DELETE, &format!("/deliveries/{id}")).await.0, 204);
    assert_eq!(gateway.ask(Method::GET, &format!("/deliveries/{id}")).await.0, 404);

    // Not without the token.
    for authorization in ["", "Bearer other", "t0ken"] {
        let request = Request::get("/_inbox/stats").header("authorization", authorization).body(Full::default());
        assert_eq!(gateway.server.send(request.unwrap()).await.status, 401);
    }

    let began = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &gateway.child.id().to_string()]).status().unwrap().success());
    assert!(gateway.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_forwards_at_once_without_an_inbox_and_handles_by_itself_without_a_target() {
    let target = serve(Router::new().route("/in", post(|| async { (StatusCode::ACCEPTED, "taken") }))).await;
    let folder = Folder::new();
    let mut gateway = Gateway::start(
        &folder,
        &json!({
            "listen": "127.0.0.1:0",
            "endpoints": [
                {"path": "/a", "provider": "github", "secrets": ["Jefe"], "forward": format!("http://{}/in", target.address)},
                {"path": "/b", "provider": "github", "secrets": ["Jefe"],
                 "inbox": format!("sqlite:{}", folder.file().display())},
            ],
        }),
    );
    let reply = gateway.server.send(push("/a", "d1", "{}")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (202, "taken"));
    assert_eq!(gateway.line()["id"], "d1");
    assert_eq!(gateway.server.send(push("/b", "d2", "{}")).await.status, 200);
    assert_eq!(gateway.line(), json!({"provider": "github", "id": "d2", "event": "push", "bytes": 2, "attempt": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_terminated_under_load_loses_nothing_it_acknowledged() {
    let handled = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let noted = handled.clone();
    let handler = move |headers: HeaderMap| async move {
        tokio::time::sleep(Duration::from_millis(3)).await;
        *noted.lock().unwrap().entry(headers["x-github-delivery"].to_str().unwrap().to_owned()).or_default() += 1;
    };
    let target = serve(Router::new().route("/in", post(handler))).await;
    let folder = Folder::new();
    let config = json!({
        "listen": "127.0.0.1:0",
        "inbox": format!("sqlite:{}", folder.file().display()),
        "forward": format!("http://{}/in", target.address),
        "retry": {"first_seconds": 0.01, "longest_seconds": 0.05, "attempts": 40},
        "lease_seconds": 1,
        "admin": {"path": "/_inbox", "bearer": "t0ken"},
        "endpoints": [{"path": "/a", "provider": "github", "secrets": ["Jefe"]}],
    });
    let mut gateway = Gateway::start(&folder, &config);
    gateway.ignore_lines();
    let sending = Sending::start([gateway.server.address], |id| push("/a", id, "{}"));
    let rounds = std::env::var("ROUNDS").map_or(2, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let ending = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &gateway.child.id().to_string()]).status().unwrap().success());
        assert!(gateway.child.wait().unwrap().success());
        assert!(ending.elapsed() < Duration::from_secs(10));
        gateway = Gateway::start(&folder, &config);
        gateway.ignore_lines();
        sending.lead_to(0, gateway.server.address);
    }
    let (sent, acknowledged) = sending.stop().await;
    let mut stored = 0;
    until("everything is forwarded", async || {
        let stats = gateway.ask(Method::GET, "/stats").await.1;
        stored = stats["done"].as_u64().unwrap();
        stats["waiting"] == 0 && stats["in_flight"] == 0
    })
    .await;
    assert!(acknowledged.len() > 20 * rounds, "only {} were acknowledged", acknowledged.len());
    let handled = handled.lock().unwrap().clone();
    Figures { sent, acknowledged, stored, handled }.tell(&format!("gateway terminated under load x{rounds}"));
}
