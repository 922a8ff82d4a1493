//! The command `tower-webhook`, as a process.

use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::Value;
use tokio::sync::mpsc;
use tower_webhook::testing::Sign as _;
use tower_webhook::{Clock as _, SystemClock, WebhookLayer, senders};

use crate::support::serve;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tower-webhook"));
    command.args(args).env_remove("WEBHOOK_SECRET").env_remove("WEBHOOK_OLD_SECRET").stdin(Stdio::null());
    command
}

/// Runs the command to its end, and returns its status, stdout and stderr.
fn run(args: &[&str]) -> (i32, String, String) {
    ended(&command(args).output().unwrap())
}

fn run_with(secret: &str, args: &[&str]) -> (i32, String, String) {
    ended(&command(args).env("WEBHOOK_SECRET", secret).output().unwrap())
}

fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn file(name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("command-{}-{}-{name}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// `tower-webhook listen`, until it is dropped.
struct Listening {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    url: String,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Listening {
    fn start(secret: &str, args: &[&str]) -> Self {
        let mut command = command(&["listen", "--listen", "127.0.0.1:0"]);
        command.args(args).env("WEBHOOK_SECRET", secret).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // As JSON, all that is told is on stdout.
        let ready = if args.contains(&"--json") { line(&mut stdout) } else { line(&mut stderr) };
        let url = match serde_json::from_str::<Value>(&ready) {
            Ok(ready) => ready["url"].as_str().map(str::to_owned),
            Err(_) => ready.split(' ').find(|word| word.starts_with("http://")).map(str::to_owned),
        };
        let url = url.unwrap_or_else(|| panic!("{ready}"));
        Self { child, stdout, stderr, url }
    }
}

fn line(output: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_first_failure_is_solved_with_listen() {
    // The secret was saved with the line break of `echo`.
    let saved = file("secret", "s3cret\n\n");
    let mut listening = Listening::start("unused", &["-p", "github", "--secret-file", saved.to_str().unwrap()]);
    let target = format!("{}/hooks", listening.url);
    let (code, sent, _) = run_with("s3cret", &["send", "github", &target, "--event", "push"]);
    assert_eq!(code, 1, "{sent}");
    assert!(sent.starts_with("github: 2 bytes → 401"), "{sent}");
    assert_eq!(line(&mut listening.stderr), "✗ github: the signature belongs to none of the keys");
    let explained = line(&mut listening.stderr);
    assert!(explained.starts_with("  github: the secret has white space or quotes around it"), "{explained}");
    drop(listening);

    let mut listening = Listening::start("s3cret", &["-p", "github"]);
    let target = format!("{}/hooks", listening.url);
    let (code, sent, _) = run_with("s3cret", &["send", "github", &target, "--event", "push", "--id", "d-1"]);
    assert_eq!(code, 0, "{sent}");
    assert_eq!(line(&mut listening.stdout), "✓ github: push d-1 2 B");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_verifies_is_forwarded_with_its_headers_and_bytes_unchanged() {
    let (tell, mut told) = mpsc::unbounded_channel::<(String, HeaderMap, Bytes)>();
    let target = any(move |request: axum::extract::Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        tell.send((head.uri.to_string(), head.headers, body)).unwrap();
        (http::StatusCode::ACCEPTED, "later")
    });
    let layer = WebhookLayer::new(senders::stripe("whsec_s3cret").unwrap());
    // The target verifies as well, by the bytes and the headers that were sent.
    let app = Router::new().route("/stripe", target.layer(layer));
    let server = serve(app).await;
    let forward = format!("http://{}/stripe", server.address);
    let (body, sent) = tokio::task::spawn_blocking(move || {
        let mut listening = Listening::start("whsec_s3cret", &["-p", "stripe", "--forward", &forward, "--json"]);
        let body = "{ \"type\":\"invoice.paid\",\n\"id\": \"evt_1\" }\n";
        let saved = file("body.json", body);
        let target = format!("{}/any/path?a=b", listening.url);
        let args = ["send", "stripe", &target, "--body", saved.to_str().unwrap(), "-H", "x-own: 7", "--json"];
        let (code, sent, _) = run_with("whsec_s3cret", &args);
        assert_eq!(code, 0, "{sent}");
        let told: Value = serde_json::from_str(&line(&mut listening.stdout)).unwrap();
        assert_eq!((&told["event"], &told["id"]), (&"invoice.paid".into(), &"evt_1".into()));
        assert_eq!(told["forwarded"]["status"], 202);
        (body, serde_json::from_str::<Value>(&sent).unwrap())
    })
    .await
    .unwrap();
    assert_eq!(sent["status"], 202);
    let (uri, headers, forwarded) = told.recv().await.unwrap();
    assert_eq!(
        (uri.as_str(), &headers["x-own"], &forwarded[..]),
        ("/stripe?a=b", &"7".parse().unwrap(), body.as_bytes())
    );
    assert!(headers.contains_key("stripe-signature"));
}

#[test]
fn a_saved_request_is_explained() {
    let github = senders::github("s3cret").unwrap();
    let request = Request::post("/hooks").body(Bytes::from_static(b"{\"ref\":\"main\"}")).unwrap();
    let request = github.sign_at(request, SystemClock.now()).unwrap();
    let signature = request.headers()["x-hub-signature-256"].to_str().unwrap();
    let saved = |body: &str| {
        file(
            "request.http",
            format!(
                "POST /hooks HTTP/1.1\r\nx-hub-signature-256: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    };
    let genuine = saved("{\"ref\":\"main\"}");
    let args = ["explain", "--provider", "github", genuine.to_str().unwrap()];
    assert_eq!(run_with("s3cret", &args), (0, "✓ github: the request verifies\n".to_owned(), String::new()));

    let rewritten = saved("{\"ref\": \"main\"}");
    let args = ["explain", "--provider", "github", rewritten.to_str().unwrap()];
    let (code, told, _) = run_with("s3cret", &args);
    let expected = "✗ github: the signature belongs to none of the keys\n  cause: the JSON of the body was written anew, with \
                    other spaces; it was signed without spaces\n  cure:  verify the bytes as they arrived: nothing in front of \
                    the layer may parse the body and write it anew\n";
    assert_eq!((code, &*told), (1, expected));

    // Where a secret was replaced too, and as JSON.
    let old = file("old", "s3cret\n");
    let args =
        ["explain", "-p", "github", "--json", "--old-secret-file", old.to_str().unwrap(), rewritten.to_str().unwrap()];
    let (code, told, _) = run_with("the new one", &args);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["verified"], &told["reason"]), (1, &false.into(), &"signature_mismatch".into()));
    let findings = told["explanation"]["findings"].as_array().unwrap();
    let mistakes: Vec<_> = findings.iter().map(|finding| finding["mistake"].as_str().unwrap()).collect();
    assert_eq!((mistakes, &told["explanation"]["proven"]), (vec!["body_reserialized", "other_secret"], &true.into()));

    // From stdin, and at another time.
    let stripe = senders::stripe("s3cret").unwrap();
    let then = SystemClock.now() - std::time::Duration::from_secs(7200);
    let request = Request::post("/").body(Bytes::from_static(b"{}")).unwrap();
    let request = stripe.sign_at(request, then).unwrap();
    let text = format!(
        "POST / HTTP/1.1\nstripe-signature: {}\n\n{{}}",
        request.headers()["stripe-signature"].to_str().unwrap()
    );
    let explain = |args: &[&str]| {
        let mut child = command(&["explain", "-p", "stripe", "-"])
            .args(args)
            .env("WEBHOOK_SECRET", "s3cret")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        ended(&child.wait_with_output().unwrap())
    };
    let (code, told, _) = explain(&[]);
    assert!(code == 1 && told.contains("the time of the request is 2 h"), "{told}");
    let at = time::OffsetDateTime::from(then).format(&time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!(explain(&["--at", &at]).0, 0);
}

#[test]
fn senders_are_listed_and_told() {
    let (code, all, _) = run(&["senders"]);
    assert_eq!((code, all.lines().count()), (0, senders::all().count() + 2));
    let (code, stripe, _) = run(&["senders", "stripe", "--json"]);
    let stripe: Value = serde_json::from_str(&stripe).unwrap();
    assert_eq!((code, &stripe["title"], &stripe["tolerance"]), (0, &"Stripe".into(), &"5 min".into()));
    assert_eq!(stripe["scheme"], "HMAC-SHA256 in `stripe-signature` `v1=` (hex) over `{timestamp}.{body}`");
    // Every one has its facts.
    let unknown =
        senders::all().map(|sender| sender.name).filter(|name| tower_webhook::testing::sample_scheme(name).is_none());
    assert_eq!(unknown.collect::<Vec<_>>(), [""; 0]);
    assert!(run(&["senders", "bucket"]).1.contains("bitbucket"));
}

#[test]
fn mistakes_of_the_command_have_their_exit_status_and_show_no_secret() {
    let closed = "http://127.0.0.1:1/hooks?token=hunter2";
    for (args, status, message) in [
        (&["send", "github", closed][..], 3, "Connection refused"),
        (&["send", "nobody", closed], 2, "there is no sender of this name"),
        (&["send", "discord", closed], 2, "`public_keys` is missing"),
        (&["send", "aws_sns", closed], 2, "Amazon's own"),
        (&["send", "github", closed, "--rate", "0"], 2, "--rate"),
        (&["send", "github", closed, "-H", "no colon"], 2, "NAME: VALUE"),
        (&["explain", "-p", "github", "/nowhere"], 3, "/nowhere"),
        (&["explain", "/nowhere"], 2, "--provider"),
        (&["explain", "-p", "github", "--set", "sekret=1", "/nowhere"], 2, "unknown field `sekret`"),
        (&["listen", "-p", "github", "--listen", "0.0.0.0:0"], 2, "--allow-remote"),
        (&["serve", "/nowhere"], 2, "/nowhere"),
        (&["senders", "nobody"], 2, "no sender `nobody`"),
        (&["unknown"], 2, "unrecognized subcommand"),
    ] {
        let (code, stdout, stderr) = run_with("hunter1", args);
        assert_eq!(code, status, "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
        assert!(stdout.is_empty() && !stderr.contains("hunter"), "{args:?}: {stdout}{stderr}");
    }
    let (code, _, stderr) = run(&["listen", "-p", "github"]);
    assert!(code == 2 && stderr.contains("set it in the environment as WEBHOOK_SECRET"), "{stderr}");
    let (code, stdout, _) = run_with("hunter1", &["send", "github", closed, "--json"]);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert!(code == 3 && told["error"].as_str().unwrap().contains("Connection refused"), "{told}");
    let (_, help, _) = run_with("hunter1", &["listen", "--help"]);
    assert!(help.contains("--forward <URL>") && !help.contains("hunter1"));
}

#[test]
fn a_private_key_plays_the_sender_whose_public_key_is_told() {
    // RFC 8032, section 7.1, test 1, in the form that openssl writes.
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    let key = file("key.pem", key);
    let public = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let mut listening = Listening::start("unused", &["-p", "discord", "--secret-env", "NONE", "--public-key", public]);
    let (code, sent, told) = run(&["send", "discord", &listening.url, "--private-key-file", key.to_str().unwrap()]);
    assert_eq!(code, 0, "{sent}{told}");
    assert_eq!(told, format!("the receiver needs the public key {public}\n"));
    assert!(line(&mut listening.stdout).starts_with("✓ discord: "));
}

#[test]
fn completions_and_colors() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert!(code == 0 && script.contains("tower-webhook") && script.contains("listen"), "{shell}");
    }
    let colored = |args: &[&str]| run(args).1.contains("\x1b[");
    assert!(colored(&["senders", "stripe", "--color", "always"]));
    assert!(!colored(&["senders", "stripe"]), "stdout is no terminal");
}
