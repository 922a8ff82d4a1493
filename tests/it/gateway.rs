//! The example gateway, as a process with a configuration file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tower_webhook::{CdrManager, Clock as _, Connect, SystemClock, senders, testing};

use crate::support::{Server, until};

struct Gateway {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    server: Server,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo builds the examples before it runs the tests; they are beside the folder of the tests.
fn command() -> Command {
    let tests = std::env::current_exe().unwrap();
    let name = format!("gateway{}", std::env::consts::EXE_SUFFIX);
    let example = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(example.exists(), "the example has not been built: run `cargo build --all-features --example gateway`");
    Command::new(example)
}

fn start(config: &str) -> Gateway {
    start_by(command(), config)
}

fn start_by(mut command: Command, config: &str) -> Gateway {
    let mut child = command.arg(tempfile(config)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut ready = String::new();
    stderr.read_line(&mut ready).unwrap();
    let address = ready.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{ready}"));
    let server = Server { address: address.parse().unwrap(), task: tokio::spawn(async {}) };
    Gateway { child, stdout, stderr, server }
}

fn refused(config: &str) -> String {
    let Output { status, stderr, .. } = command().arg(tempfile(config)).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

fn tempfile(config: &str) -> std::path::PathBuf {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("gateway-{}-{}.json", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, config).unwrap();
    path
}

const ALL: &str = r#"{"listen": "127.0.0.1:0", "public_url": "https://hooks.example.test", "endpoints": [
  {"path": "/cdr_manager", "provider": "cdr_manager", "secrets": ["Jefe"], "deduplicate": "memory"},
  {"path": "/cloudblue_connect", "provider": "cloudblue_connect", "secrets": ["Jefe"], "webhook_id": "WH-1"},
  {"path": "/sns", "provider": "aws_sns", "topics": ["arn:aws:sns:us-west-2:123456789012:MyTopic"], "confirm": "automatic",
   "max_age_seconds": 3600, "basic_auth": {"user": "u", "password": "p"},
   "certificate": {"origin": "http://127.0.0.1:14566", "path_prefix": "/", "name": "sns.amazonaws.com", "check_validity": true,
                   "min_key_bits": 2048, "allow_self_signed": true}},
  {"path": "/any", "provider": "aws_sns", "any_topic": true, "max_age_seconds": null, "certificate":
   {"origin": "http://127.0.0.1:14566", "name": null, "check_validity": false}},
  {"path": "/discord", "provider": "discord", "public_keys": ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]},
  {"path": "/sendgrid", "provider": "sendgrid", "public_keys": ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="]},
  {"path": "/standard", "provider": "standard_webhooks", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
   "public_keys": ["whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]},
  {"path": "/google_oidc", "provider": "google_oidc", "jwks_url": "http://127.0.0.1:1/keys", "issuer": "i", "audience": "a", "email": "e"},
  {"path": "/plaid", "provider": "plaid", "jwks_url": "http://127.0.0.1:1/keys"},
  {"path": "/paypal", "provider": "paypal", "webhook_id": "WH-2", "certificate": {"origin": "http://127.0.0.1:1"}},
  {"path": "/braintree", "provider": "braintree", "public_key": "pub", "secrets": ["priv"]},
  {"path": "/okta", "provider": "okta", "header": "Authorization", "secrets": ["s"]},
  {"path": "/square", "provider": "square", "secrets": ["Jefe"]},
  {"path": "/github", "provider": "github", "secrets": ["Jefe"], "body_limit_bytes": 100},
  {"path": "/stripe", "provider": "stripe", "secrets": ["Jefe"], "tolerance_seconds": 60},
  {"path": "/asana", "provider": "asana", "accept_offered_secret": true},
  {"path": "/events", "provider": "cloudevents", "secrets": ["Jefe"], "allow_origins": ["eventgrid.azure.net"]},
  {"path": "/meta", "provider": "meta", "secrets": ["Jefe"], "verify_token": "tok"}]}"#;

#[tokio::test]
async fn one_file_configures_every_sender() {
    let mut gateway = start(ALL);
    let server = &gateway.server;
    let request =
        |path: &str, body: &'static str| Request::post(path).body(Bytes::from_static(body.as_bytes())).unwrap();

    let github = senders::github("Jefe").unwrap();
    let mut push = request("/github", r#"{"ref":"main"}"#);
    push.headers_mut().insert("x-github-event", "push".parse().unwrap());
    push.headers_mut().insert("x-github-delivery", "d1".parse().unwrap());
    let reply = server.send(testing::sign(&github, push).unwrap()).await;
    assert_eq!(reply.status, 200);
    let expected = serde_json::json!({"provider": "github", "id": "d1", "event": "push", "bytes": 14});
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap(), expected);
    let mut line = String::new();
    gateway.stdout.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), expected);

    // Its own limit, a wrong signature, and what the operator is told.
    let large = Request::post("/github").body(Bytes::from("x".repeat(101))).unwrap();
    assert_eq!(server.send(testing::sign(&github, large).unwrap()).await.status, 413);
    let other = senders::github("other").unwrap();
    assert_eq!(server.send(testing::sign(&other, request("/github", "{}")).unwrap()).await.status, 401);
    let mut told = String::new();
    gateway.stderr.read_line(&mut told).unwrap();
    gateway.stderr.read_line(&mut told).unwrap();
    assert!(told.contains("github: the signature belongs to none of the keys"), "{told}");

    // The address that is signed is the public one.
    let square = senders::square("Jefe", "https://hooks.example.test").unwrap();
    assert_eq!(server.send(testing::sign(&square, request("/square", "{}")).unwrap()).await.status, 200);

    // First-class providers, and a repetition that is answered without the handler.
    let cdr = testing::sign(&CdrManager::new("Jefe").unwrap(), request("/cdr_manager", r#"{"taskId":1}"#)).unwrap();
    for _ in 0..2 {
        assert_eq!(server.send(cdr.clone()).await.status, 200);
    }
    let connect = Connect::new("Jefe").unwrap().with_webhook_id("WH-1");
    let trigger = testing::sign(&connect, request("/cloudblue_connect", "{}")).unwrap();
    assert_eq!(server.send(trigger).await.status, 200);
    assert_eq!(server.send(request("/sns", "{}").map(Into::into)).await.status, 401);

    // A subscription, and a challenge of Okta.
    let get = |uri: &str| Request::get(uri).body(Bytes::new().into()).unwrap();
    let reply = server.send(get("/meta?hub.mode=subscribe&hub.verify_token=tok&hub.challenge=42")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "42"));
    let mut challenge = get("/okta");
    challenge.headers_mut().insert("x-okta-verification-challenge", "abc".parse().unwrap());
    let reply = server.send(challenge).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, r#"{"verification":"abc"}"#));

    // Set-up: a secret that is offered, and leave to send.
    let offered = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";
    for (path, secret, status) in [("/asana", offered, 200), ("/asana", "short", 401), ("/github", offered, 401)] {
        let mut offer = request(path, "");
        offer.headers_mut().insert("x-hook-secret", secret.parse().unwrap());
        let reply = server.send(offer.map(Into::into)).await;
        assert_eq!(reply.status, status, "{path} {secret}");
        assert_eq!(reply.headers.contains_key("x-hook-secret"), status == 200);
    }
    assert_eq!(server.send(request("/asana", "{}").map(Into::into)).await.status, 401);
    for (origin, status) in [("eventgrid.azure.net", 200), ("example.com", 403)] {
        let options = Request::options("/events").header("webhook-request-origin", origin);
        let reply = server.send(options.body(Bytes::new().into()).unwrap()).await;
        assert_eq!(reply.status, status, "{origin}");
    }

    assert_eq!(server.send(get("/nowhere")).await.status, 404);
}

#[test]
fn what_a_provider_does_not_know_is_an_error_with_its_place() {
    let endpoint = |keys: &str| format!("{{\"listen\": \"127.0.0.1:0\", \"endpoints\": [\n{{{keys}}}]}}");
    for (config, expected) in [
        (endpoint(r#""path": "/a", "provider": "github", "secrets": ["s"], "sekrets": []"#), "unknown field `sekrets`"),
        (endpoint(r#""path": "/a", "provider": "github", "secrets": ["s"], "sekrets": []"#), "line 2 column"),
        (endpoint(r#""path": "/a", "provider": "github", "secrets": []"#), "endpoint /a: `secrets` is missing"),
        (
            endpoint(r#""path": "/a", "provider": "github", "secrets": ["s"], "topics": ["t"]"#),
            "`topics` means nothing",
        ),
        (endpoint(r#""path": "/a", "provider": "github", "secrets": ["s"], "email": "e""#), "`email` means nothing"),
        (
            endpoint(r#""path": "/a", "provider": "github", "secrets": ["s"], "accept_offered_secret": true"#),
            "`accept_offered_secret` means nothing",
        ),
        (
            endpoint(r#""path": "/a", "provider": "asana", "secrets": ["s"], "allow_origins": ["o"]"#),
            "`allow_origins` means nothing",
        ),
        (
            endpoint(r#""path": "/a", "provider": "cdr_manager", "secrets": ["s"], "email": "e""#),
            "`email` means nothing",
        ),
        (endpoint(r#""path": "/a", "provider": "nobody", "secrets": ["s"]"#), "there is no sender of this name"),
        (endpoint(r#""path": "/a", "provider": "aws_sns""#), "endpoint /a: "),
        (endpoint(r#""path": "/a", "provider": "square", "secrets": ["s"]"#), "set `public_url`"),
        (endpoint(r#""path": "/a", "provider": "paypal", "webhook_id": "w", "certificate": {"orign": 1}"#), "`orign`"),
        (endpoint(r#""path": "a", "provider": "github", "secrets": ["s"]"#), "does not start with /"),
        // What is found after parsing has its place too.
        (
            endpoint(r#""path": "/a", "provider": "github", "secrets": ["s"], "header": "x""#),
            "github at line 2 column 66",
        ),
        (endpoint(r#""path": "/a", "provider": "github", "secrets": [""]"#), "at line 2 column 49"),
        (
            endpoint(
                "\"path\": \"/a\", \"provider\": \"scheme\", \"secrets\": [\"s\"], \"scheme\": {\"name\": \"a\",\n\
                 \"algorithm\": \"hmac_sha256\", \"signature\": {\"header\": \"a b\", \"encoding\": \"hex\"}}",
            ),
            "endpoint /a: a header name is not valid at line 3 column 53",
        ),
    ] {
        let told = refused(&config);
        assert!(told.contains(expected), "{config}\n{told}");
    }
}

/// Senders that are not built in, as data alone.
const SCHEMES: &str = r#"{"listen": "127.0.0.1:0", "endpoints": [
  {"path": "/buildkite", "provider": "scheme", "secrets": ["Jefe"], "scheme": {
    "name": "buildkite_pipelines", "algorithm": "hmac_sha256",
    "signature": {"header": "x-buildkite-signature", "list": ",", "prefix": "signature=", "encoding": "hex"},
    "timestamp": {"header": "x-buildkite-signature", "list": ",", "prefix": "timestamp=", "format": "unix_seconds"},
    "signed": "{timestamp}.{body}", "event": {"header": "x-buildkite-event"}}},
  {"path": "/front", "provider": "scheme", "secrets": ["Jefe"], "scheme": {
    "name": "front", "algorithm": "hmac_sha256",
    "signature": {"header": "x-front-signature", "encoding": "base64"},
    "timestamp": {"header": "x-front-request-timestamp", "format": "unix_millis", "tolerance_seconds": 60},
    "signed": "{timestamp}:{body}", "event": {"json": "/type"}, "id": {"json": "/id"},
    "handshakes": [{"query_echo": "challenge"}]}},
  {"path": "/kick", "provider": "scheme", "public_keys": ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"],
   "scheme": {"name": "signed_by_key", "algorithm": "ed25519",
    "signature": {"header": "x-signature", "encoding": "base64"},
    "timestamp": {"header": "x-time", "format": "rfc3339"},
    "signed": "{id}.{timestamp}.{body}", "id": {"header": "x-id"}}},
  {"path": "/mercado_pago", "provider": "scheme", "secrets": ["Jefe"], "scheme": {
    "name": "mercado_pago", "algorithm": "hmac_sha256",
    "signature": {"header": "x-signature", "list": ",", "prefix": "v1=", "encoding": "hex"},
    "timestamp": {"header": "x-signature", "list": ",", "prefix": "ts=", "format": "unix_seconds"},
    "signed": "id:{query:data.id};request-id:{header:x-request-id};ts:{timestamp};", "body_is_not_signed": true,
    "id": {"header": "x-request-id"}, "event": {"json": "/type"}}},
  {"path": "/tebex", "provider": "scheme", "secrets": ["Jefe"], "scheme": {
    "name": "tebex", "algorithm": "hmac_sha256", "signature": {"header": "x-signature", "encoding": "hex"},
    "signed": "{body_sha256}", "id": {"json": "/id"}, "event": {"json": "/type"}}},
  {"path": "/chargebee", "provider": "scheme", "secrets": ["user:password"], "scheme": {
    "name": "chargebee_basic", "algorithm": "token", "signature": {"basic": true}, "id": {"json": "/id"}}},
  {"path": "/messages", "provider": "scheme", "secrets": ["Jefe"], "scheme": {
    "name": "messages", "algorithm": "message_signature",
    "message_signature": {"algorithm": "hmac_sha256", "covering": ["content-digest", "@method", "@path"]}}}]}"#;

#[tokio::test]
async fn a_sender_that_is_not_built_in_is_described_in_the_file() {
    use tower_webhook::Scheme;
    use tower_webhook::scheme::{MessageRules, header, json};

    let mut gateway = start(SCHEMES);
    let request =
        |path: &str, body: &'static str| Request::post(path).body(Bytes::from_static(body.as_bytes())).unwrap();

    // The same in code signs what the data accepts.
    let place = || header("x-buildkite-signature").list(',');
    let buildkite = Scheme::hmac_sha256()
        .signature(place().prefix("signature=").hex())
        .timestamp(place().prefix("timestamp=").unix_seconds())
        .signed("{timestamp}.{body}")
        .secret("Jefe")
        .build("buildkite")
        .unwrap();
    let front = Scheme::hmac_sha256()
        .signature(header("x-front-signature").base64())
        .timestamp(header("x-front-request-timestamp").unix_millis())
        .signed("{timestamp}:{body}")
        .id(json("/id"))
        .secret("Jefe")
        .build("front")
        .unwrap();
    for (sender, path, body, id, event) in [
        (&buildkite, "/buildkite", "{}", None, Some("build.finished")),
        (&front, "/front", r#"{"id": "e1", "type": "inbound"}"#, Some("e1"), Some("inbound")),
    ] {
        let mut request = request(path, body);
        request.headers_mut().insert("x-buildkite-event", "build.finished".parse().unwrap());
        let signed = testing::sign(sender, request).unwrap();
        let mut forged = signed.clone();
        *forged.body_mut() = Bytes::from_static(br#"{"id": "e2", "type": "inbound"}"#).into();
        assert_eq!(gateway.server.send(forged).await.status, 401, "{path}");
        assert_eq!(gateway.server.send(signed).await.status, 200, "{path}");
        let mut line = String::new();
        gateway.stdout.read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let name = if path == "/front" { "front" } else { "buildkite_pipelines" };
        assert_eq!(told["provider"], name);
        assert_eq!((told["id"].as_str(), told["event"].as_str()), (id, event));
    }
    let mut signed = request("/chargebee", r#"{"id": "e3"}"#);
    assert_eq!(gateway.server.send(signed.clone().map(Into::into)).await.status, 401);
    signed.headers_mut().insert("authorization", "Basic dXNlcjpwYXNzd29yZA==".parse().unwrap());
    assert_eq!(gateway.server.send(signed.map(Into::into)).await.status, 200);

    // What is signed of the address, of a header and of the body is compared.
    let mac = |text: &str| {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    let now = SystemClock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let code = mac(&format!("id:123;request-id:r1;ts:{now};"));
    for (query, request_id, status) in
        [("data.id=123", "r1", 200), ("data.id=124", "r1", 401), ("data.id=123", "r2", 401), ("other=123", "r1", 400)]
    {
        let mut paid = request(&format!("/mercado_pago?{query}"), r#"{"type": "payment"}"#);
        paid.headers_mut().insert("x-request-id", request_id.parse().unwrap());
        paid.headers_mut().insert("x-signature", format!("ts={now},v1={code}").parse().unwrap());
        assert_eq!(gateway.server.send(paid.map(Into::into)).await.status, status, "{query} {request_id}");
    }
    // The SHA-256 of `{}`.
    let code = mac("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    for (body, status) in [("{}", 200), ("{} ", 401)] {
        let mut bought = request("/tebex", body);
        bought.headers_mut().insert("x-signature", code.parse().unwrap());
        assert_eq!(gateway.server.send(bought.map(Into::into)).await.status, status, "{body:?}");
    }
    let rules = MessageRules::hmac_sha256().covering(["content-digest", "@method", "@path"]);
    let messages = Scheme::message_signature(rules).secret("Jefe").build("messages").unwrap();
    let signed = testing::sign(&messages, request("/messages", "{}")).unwrap();
    let mut forged = signed.clone();
    *forged.body_mut() = Bytes::from_static(b"[]").into();
    for (request, status) in [(forged, 401), (signed, 200)] {
        assert_eq!(gateway.server.send(request).await.status, status);
    }
    let asked = Request::get("/front?challenge=42").body(Bytes::new().into()).unwrap();
    assert_eq!(gateway.server.send(asked).await.text(), "42");
}

const GITHUB: &str = r#"{"listen": "127.0.0.1:0", "endpoints": [
  {"path": "/github", "provider": "github", "secrets": ["Jefe"]}]}"#;

fn push(body: &'static str) -> Request<http_body_util::Full<Bytes>> {
    let request = Request::post("/github").body(Bytes::from_static(body.as_bytes())).unwrap();
    testing::sign(&senders::github("Jefe").unwrap(), request).unwrap()
}

/// The head of a genuine request, without its body.
fn head_of(request: &Request<http_body_util::Full<Bytes>>, length: usize) -> String {
    let signature = request.headers()["x-hub-signature-256"].to_str().unwrap();
    format!(
        "POST /github HTTP/1.1\r\nhost: gateway\r\ncontent-length: {length}\r\nx-hub-signature-256: {signature}\r\n\r\n"
    )
}

fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "how long it listens on is what is tested")]
async fn sigterm_lets_a_request_in_flight_finish_and_ends_although_others_stall() {
    let mut gateway = start(GITHUB);
    let address = gateway.server.address;
    let request = push("{}");
    let mut in_flight = TcpStream::connect(address).unwrap();
    in_flight.write_all(head_of(&request, 2).as_bytes()).unwrap();
    let mut stalled = TcpStream::connect(address).unwrap();
    stalled.write_all(b"POST /github HT").unwrap();
    // An answer over a third connection: the others were accepted before it.
    assert_eq!(gateway.server.send(push("{ }")).await.status, 200);
    terminate(&gateway.child);
    // It listens no more, and still reads what is under way.
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "it goes on listening");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    in_flight.write_all(b"{}").unwrap();
    let mut reply = String::new();
    in_flight.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let ended = tokio::task::spawn_blocking(move || gateway.child.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    assert!(Instant::now() < deadline + Duration::from_secs(5));
}

#[tokio::test]
async fn connections_that_send_nothing_or_half_a_head_are_closed_in_time() {
    let mut limited = Command::new("sh");
    // More connections than the process can hold at once.
    limited.args(["-c", "ulimit -n 128; exec \"$0\" \"$1\""]).arg(command().get_program());
    let gateway = start_by(limited, GITHUB);
    let address = gateway.server.address;
    let silent: Vec<_> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(address).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"POST /github HTTP/1.1\r\nhost: ").unwrap();
            }
            stream
        })
        .collect();
    let request = push("{}");
    let mut genuine = TcpStream::connect(address).unwrap();
    genuine.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    genuine.write_all(format!("{}{{}}", head_of(&request, 2)).as_bytes()).unwrap();
    let read = move || {
        let mut reply = [0; 12];
        genuine.read_exact(&mut reply).map(|()| reply)
    };
    let reply = tokio::task::spawn_blocking(read).await.unwrap().unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200");
    drop(silent);
}

#[tokio::test]
async fn a_reader_of_stderr_that_stalls_holds_up_no_request() {
    let gateway = start(GITHUB);
    // Nobody reads stderr: the pipe takes 64 KiB, some 900 refusals.
    for _ in 0..3000 {
        let forged = Request::post("/github").body(http_body_util::Full::from("{}")).unwrap();
        assert_eq!(gateway.server.send(forged).await.status, 401);
    }
    assert_eq!(gateway.server.send(push("{}")).await.status, 200);
}

/// The ids of the processes that have this file open.
fn holders(file: &Path) -> Vec<String> {
    let mut holders = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        // Not a process, one of another user, or one that has just ended.
        let Ok(open) = std::fs::read_dir(process.path().join("fd")) else { continue };
        if open.flatten().any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|it| it == file)) {
            holders.extend(process.file_name().into_string());
        }
    }
    holders
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux has /proc, which tells the processes that hold a pipe")]
async fn a_delivery_that_nobody_can_be_told_of_is_asked_for_again() {
    let mut gateway = start(GITHUB);
    let pipe = std::fs::read_link(format!("/proc/self/fd/{}", gateway.stdout.get_ref().as_raw_fd())).unwrap();
    // The reader of stdout is gone.
    gateway.stdout = BufReader::new(command().arg("nowhere").stdout(Stdio::piped()).spawn().unwrap().stdout.unwrap());
    // A process that another test has just forked reads it too, until it executes its program.
    until("nobody but the gateway has the pipe", async || {
        holders(&pipe).iter().all(|process| *process == gateway.child.id().to_string())
    })
    .await;
    assert_eq!(gateway.server.send(push("{}")).await.status, 503);
}

#[tokio::test]
async fn a_refusal_is_explained_in_a_line_of_its_own() {
    let config = r#"{"listen": "127.0.0.1:0", "endpoints": [
        {"path": "/github", "provider": "github", "secrets": ["s3cret\n"]},
        {"path": "/stripe", "provider": "stripe", "secrets": ["whsec_another"]}]}"#;
    let mut gateway = start(config);
    let post = || Request::post("/github").body(Bytes::from_static(b"{}")).unwrap();
    let github = testing::sign(&senders::github("s3cret").unwrap(), post()).unwrap();
    let stripe = testing::sign(&senders::stripe("whsec_another").unwrap(), post()).unwrap();
    for (request, refused, explained) in [
        (
            github,
            "github: the signature belongs to none of the keys",
            "github: the secret has white space or quotes around it",
        ),
        (
            stripe,
            "github: there is no signature",
            "github: the request is one for /stripe, and came to the route of github: ",
        ),
    ] {
        assert_eq!(gateway.server.send(request).await.status, 401);
        for start in [refused, explained] {
            let mut told = String::new();
            gateway.stderr.read_line(&mut told).unwrap();
            assert!(told.starts_with(start) && told.ends_with('\n'), "{told}");
        }
    }
}
