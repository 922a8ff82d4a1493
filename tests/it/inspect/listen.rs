//! The page of `tower-webhook listen`.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tower_webhook::{senders, testing};

use super::browser::Browser;
use crate::support::{Server, serve};

/// The command, which ends with its value, and its addresses.
struct Listening {
    _child: Child,
    server: Server,
    page: String,
}

async fn listen(target: &Server) -> Listening {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tower-webhook"))
        .args(["listen", "--provider", "github", "--listen", "127.0.0.1:0", "--forward"])
        .arg(format!("http://{}/target", target.address))
        .env("WEBHOOK_SECRET", "the secret of the webhook")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).await.unwrap();
    // What it says later is not waited for.
    tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
    let rest = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
    let (address, page) = rest.split_once(" for github, page on ").unwrap_or_else(|| panic!("{line}"));
    let server = Server { address: address.parse().unwrap(), task: tokio::spawn(async {}) };
    Listening { _child: child, server, page: page.to_owned() }
}

#[tokio::test]
async fn listen_shows_what_arrives_why_it_was_refused_and_what_would_fix_it() {
    let (calls, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let target = post(async move |body: Bytes| {
        counted.fetch_add(1, Ordering::SeqCst);
        seen.store(body.len(), Ordering::SeqCst);
        StatusCode::ACCEPTED
    });
    let target = serve(Router::new().route("/target", target)).await;
    let listening = listen(&target).await;
    let github = senders::github("the secret of the webhook").unwrap();
    let push = Request::post("/hook").header("x-github-event", "push").header("x-github-delivery", "d1");
    let genuine = testing::sign(&github, push.body(r#"{"ref":"main","size":1}"#).unwrap()).unwrap();
    // A proxy parses the body and writes it anew.
    let mut written_anew = genuine.clone();
    *written_anew.body_mut() = Full::from(r#"{"ref": "main", "size": 1}"#);
    assert_eq!(listening.server.send(genuine).await.status, StatusCode::ACCEPTED);
    assert_eq!(listening.server.send(written_anew).await.status, StatusCode::UNAUTHORIZED);

    let mut browser = Browser::start().await;
    browser.prefer("dark").await;
    browser.go(&listening.page).await;
    browser.until("document.querySelectorAll('#rows tr').length === 2").await;
    browser.click("#rows tr:nth-child(1) a").await;
    browser.until("document.querySelector('.cure li') !== null").await;
    let (reason, cure) = (browser.text(".reason").await, browser.text(".cure").await);
    assert!(reason.starts_with("Refused: the signature belongs to none of the keys"), "{reason}");
    assert!(cure.starts_with("What would fix it") && cure.contains("body"), "{cure}");
    browser.until("document.getElementById('payload').innerText.includes('\"ref\": \"main\"')").await;
    browser.picture("listen-refused").await;
    // What was not verified is not forwarded, whoever asks for it.
    assert_eq!(browser.eval("document.getElementById('replay') === null").await, true);
    let ask = "fetch('inspect/deliveries/1/replay?force=true', { method: 'POST', headers: { 'x-inspect': '1' } })";
    assert_eq!(browser.eval(&format!("{ask}.then((answer) => answer.status)")).await, 502);
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    browser.click("#rows tr:nth-child(2) a").await;
    browser.until("document.getElementById('detail-title').innerText.startsWith('Delivery 0 handled')").await;
    browser.click("#replay").await;
    browser.until("document.getElementById('force') !== null").await;
    browser.click("#force").await;
    browser.until("document.getElementById('told').innerText === 'Replayed: answered 202.'").await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    // A test event, with the keyboard alone. It goes the way of what arrives.
    browser.eval("document.querySelector('#test [name=event]').focus()").await;
    browser.type_text("issues").await;
    browser.press("Tab", 9).await;
    assert_eq!(browser.eval("document.activeElement.innerText").await, "Send a test event");
    browser.press("Enter", 13).await;
    browser.until("document.querySelector('#test output').innerText === 'Sent: answered 202.'").await;
    browser.until("document.querySelector('#rows tr').dataset.id === '2'").await;
    let row = browser.text("#rows tr").await;
    assert!(row.contains("handled") && row.contains("github") && row.contains("issues"), "{row}");
    assert_eq!(calls.load(Ordering::SeqCst), 3, "it is forwarded");
    browser.picture("listen-test-event").await;
    let unnamed = "{ const field = document.querySelector('#test [name=event]'); field.value = ''; field.focus() }";
    browser.eval(unnamed).await;
    browser.press("Enter", 13).await;
    browser.until("document.querySelector('#rows tr').dataset.id === '3'").await;
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    // The address that senders reach has no page.
    let reply = listening.server.send(Request::get("/inspect").body(Full::default()).unwrap()).await;
    assert!(reply.status.is_client_error() && !String::from_utf8_lossy(&reply.body).contains("<html"), "{reply:?}");
    browser.stop().await;
}
