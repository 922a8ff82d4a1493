//! Clients that break HTTP or bend it, on raw connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower_webhook::{CdrManager, MemoryBudget, Reason, WebhookLayer, testing};

use crate::support::{Server, serve, service};

/// Longer than anything here takes, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

fn signature(body: &'static str) -> String {
    let request = Request::post("/").body(body).unwrap();
    let signed = testing::sign(&CdrManager::new("Jefe").unwrap(), request).unwrap();
    signed.headers()["x-cdr-signature"].to_str().unwrap().to_owned()
}

/// A signed request as text.
fn signed(body: &'static str, more: &str) -> String {
    let (signature, length) = (signature(body), body.len());
    format!(
        "POST / HTTP/1.1\r\nhost: x\r\n{more}x-cdr-signature: {signature}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A server, how often its handler was called, and why requests were refused.
struct Target {
    server: Server,
    calls: Arc<AtomicUsize>,
    refusals: UnboundedReceiver<Reason>,
    budget: MemoryBudget,
}

impl Target {
    async fn new() -> Self {
        let (calls, budget) = (Arc::new(AtomicUsize::new(0)), MemoryBudget::new(1 << 20));
        let (sender, refusals) = unbounded_channel();
        let counter = calls.clone();
        let layer = WebhookLayer::new(CdrManager::new("Jefe").unwrap())
            .with_body_timeout(Duration::from_millis(200))
            .with_memory_budget(&budget)
            .on_reject(move |rejection| {
                let _ = sender.send(rejection.reason());
            });
        let handler = async move |body: Bytes| {
            counter.fetch_add(1, Ordering::SeqCst);
            body
        };
        let server = serve(Router::new().route("/", post(handler).layer(layer))).await;
        Self { server, calls, refusals, budget }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn refusal(&mut self) -> Reason {
        tokio::time::timeout(PATIENCE, self.refusals.recv()).await.expect("nothing is refused").unwrap()
    }

    /// The server still works, and nothing that came before holds memory.
    async fn is_well(&self) {
        let reply = self.server.raw(signed("still here", "connection: close\r\n").as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("still here"), "{reply}");
        let freed = async {
            while self.budget.used() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, freed).await.expect("memory is not given back");
    }
}

/// The statuses in a connection's reply, in order.
fn statuses(reply: &str) -> Vec<&str> {
    reply.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

#[tokio::test]
async fn a_body_of_one_byte_at_a_time_ends_by_the_timeout_of_the_whole_body() {
    let mut target = Target::new().await;
    let mut connection = TcpStream::connect(target.server.address).await.unwrap();
    let request = signed("0123456789", "");
    let (head, body) = request.split_at(request.len() - 10);
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut written = 0;
    let mut reply = [0; 12];
    // Each byte comes long before a timeout between bytes would end; the whole body would take twice
    // its own.
    for byte in body.bytes() {
        tokio::select! {
            biased;
            read = connection.read_exact(&mut reply) => {
                read.unwrap();
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(40)) => {}
        }
        connection.write_all(&[byte]).await.unwrap();
        written += 1;
    }
    assert_eq!((&reply, target.refusal().await), (b"HTTP/1.1 503", Reason::BodyTimeout));
    assert!((1..10).contains(&written), "{written} bytes");
    assert_eq!(target.calls(), 0);
    target.is_well().await;
}

/// The time for a head is the server's; this is how hyper is told of it.
#[tokio::test]
async fn a_head_of_one_byte_at_a_time_is_ended_by_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let layer = WebhookLayer::new(CdrManager::new("Jefe").unwrap());
    let service = TowerToHyperService::new(service(layer, async |_| panic!("handled")));
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(100));
        server.serve_connection(TokioIo::new(stream), service).await
    });
    let mut connection = TcpStream::connect(address).await.unwrap();
    for byte in signed("hello", "").bytes() {
        // It fails once the server has closed.
        if task.is_finished() || connection.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_connection_that_is_reset_in_the_middle_of_a_body_never_reaches_the_handler() {
    let mut target = Target::new().await;
    for cut in [1, 5, 9] {
        let mut connection = TcpStream::connect(target.server.address).await.unwrap();
        let request = signed("0123456789", "");
        connection.write_all(&request.as_bytes()[..request.len() - cut]).await.unwrap();
        connection.set_zero_linger().unwrap();
        // What was sent has to be read before the reset overtakes it; the refusal, not the time, ends the
        // wait.
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(connection);
        assert_eq!(target.refusal().await, Reason::BodyBroken);
    }
    assert_eq!(target.calls(), 0);
    target.is_well().await;
}

#[tokio::test]
async fn chunks_that_lie_about_their_size_never_reach_the_handler() {
    let target = Target::new().await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-cdr-signature: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        signature("hello")
    );
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(64 * 1024));
    for (what, chunks) in [
        ("a size beyond 64 bits", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("the largest size", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("an extension of 64 KiB", extension.as_str()),
        ("a size too small", "4\r\nhello\r\n0\r\n\r\n"),
        ("a size too large", "6\r\nhello\r\n0\r\n\r\n"),
        ("no last chunk", "5\r\nhello\r\n"),
    ] {
        let reply = target.server.raw(format!("{head}{chunks}").as_bytes()).await;
        assert!(matches!(statuses(&reply)[..], ["400" | "413" | "503"]), "{what}: {reply}");
        assert_eq!(target.calls(), 0, "{what}");
    }
    let reply = target.server.raw(format!("{head}0000000005\r\nhello\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&reply), ["200"]);
    target.is_well().await;
}

#[tokio::test]
async fn pipelined_requests_are_judged_each_for_itself() {
    let target = Target::new().await;
    let (one, two) = (signed("one", ""), signed("two", ""));
    let forged = signed("three", "").replace("three", "throe");
    let last = signed("last", "connection: close\r\n");
    let reply = target.server.raw([one, forged, two, last].concat().as_bytes()).await;
    assert_eq!(statuses(&reply), ["200", "401", "200", "200"], "{reply}");
    assert_eq!(target.calls(), 3);
    target.is_well().await;
}

#[tokio::test]
async fn a_request_inside_a_refused_body_is_not_a_request() {
    let target = Target::new().await;
    let inner = signed("smuggled", "");
    for head in ["", "x-cdr-signature: AAAA\r\n", "expect: 100-continue\r\n"] {
        let outer = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}content-length: {}\r\n\r\n{inner}", inner.len());
        let reply = target.server.raw(format!("{outer}{}", signed("last", "connection: close\r\n")).as_bytes()).await;
        let statuses = statuses(&reply);
        assert!(statuses == ["401", "200"] || statuses == ["401"], "{reply}");
        assert!(!reply.contains("smuggled"), "{reply}");
    }
    target.is_well().await;
}

#[tokio::test]
async fn a_content_length_that_is_wrong_never_reaches_the_handler() {
    let target = Target::new().await;
    let head =
        format!("POST / HTTP/1.1\r\nhost: x\r\nx-cdr-signature: {}\r\nconnection: close\r\n", signature("hello"));
    for (what, length, status) in [
        ("too short", "content-length: 4\r\n", "401"),
        ("too long", "content-length: 6\r\n", "503"),
        ("nothing", "content-length: 0\r\n", "401"),
        ("none at all", "", "401"),
        ("two that differ", "content-length: 5\r\ncontent-length: 6\r\n", "400"),
        ("a list that differs", "content-length: 5, 6\r\n", "400"),
        ("negative", "content-length: -5\r\n", "400"),
        ("with a sign", "content-length: +5\r\n", "400"),
        ("no number", "content-length: five\r\n", "400"),
        ("beyond 64 bits", "content-length: 99999999999999999999\r\n", "400"),
        ("the largest", "content-length: 18446744073709551615\r\n", "4"),
        ("chunked and not", "content-length: 5\r\ntransfer-encoding: chunked\r\n", "503"),
        ("chunked twice", "transfer-encoding: chunked, chunked\r\n", "503"),
        ("an unknown transfer coding", "transfer-encoding: gzip\r\n", "4"),
    ] {
        let reply = target.server.raw(format!("{head}{length}\r\nhello").as_bytes()).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {reply}");
        assert_eq!(target.calls(), 0, "{what}");
    }
    target.is_well().await;
}

#[tokio::test]
async fn a_request_refused_by_its_head_is_never_told_to_continue() {
    let target = Target::new().await;
    let expect = "connection: close\r\nexpect: 100-continue\r\n";
    let good = signed("hello", expect);
    for (refused, status) in [
        (good.replace("x-cdr-signature", "x-other"), "401"),
        (good.replace("content-length: 5", "content-length: 99999999"), "413"),
        (good.replace("POST", "PUT"), "405"),
    ] {
        let head = refused.strip_suffix("hello").unwrap();
        let reply = target.server.raw(head.as_bytes()).await;
        assert_eq!(statuses(&reply), [status], "{reply}");
    }
    let mut connection = TcpStream::connect(target.server.address).await.unwrap();
    connection.write_all(good.strip_suffix("hello").unwrap().as_bytes()).await.unwrap();
    let mut told = [0; 25];
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(b"hello").await.unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).await.unwrap();
    assert_eq!((statuses(&reply), target.calls()), (vec!["200"], 1));
    target.is_well().await;
}

#[tokio::test]
async fn headers_that_are_too_long_or_too_many_are_refused() {
    let target = Target::new().await;
    let good = signature("hello");
    let request = |headers: String| {
        format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 5\r\n\r\nhello")
    };
    let fields = |separator: &str| vec![good.as_str(); 10_000].join(separator);
    for (what, headers) in [
        ("a signature of 64 KiB", format!("x-cdr-signature: {}\r\n", "A".repeat(65_536))),
        ("a signature and 64 KiB behind it", format!("x-cdr-signature: {good}{}\r\n", "=".repeat(65_536))),
        ("99 signatures", format!("x-cdr-signature: {good}\r\n").repeat(96)),
        ("10,000 short fields", format!("x-cdr-signature: {good}{}\r\n", ",a=b".repeat(10_000))),
        ("10,000 signatures in one header", format!("x-cdr-signature: {}\r\n", fields(","))),
    ] {
        let reply = target.server.raw(request(headers).as_bytes()).await;
        assert!(matches!(statuses(&reply)[..], ["400" | "431"]), "{what}: {reply}");
        assert_eq!(target.calls(), 0, "{what}");
    }
    // Another header of that length is the server's affair; hyper's limit is beyond it.
    let padded = format!("x-cdr-signature: {good}\r\nx-padding: {}\r\n", "x".repeat(65_536));
    assert_eq!(statuses(&target.server.raw(request(padded).as_bytes()).await), ["200"]);
    target.is_well().await;
}

type Frames = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, std::convert::Infallible>>>;

async fn http2(target: &Target) -> SendRequest<Frames> {
    let stream = TokioIo::new(TcpStream::connect(target.server.address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A signed request over HTTP/2 with these frames for a body.
fn framed(target: &Target, body: &'static str, frames: Vec<Frame<Bytes>>, then_stalls: bool) -> Request<Frames> {
    let frames = stream::iter(frames.into_iter().map(Ok));
    let frames = if then_stalls { frames.chain(stream::pending()).boxed() } else { frames.boxed() };
    let request = Request::post(format!("http://{}/", target.server.address));
    request.header("x-cdr-signature", signature(body)).body(StreamBody::new(frames)).unwrap()
}

#[tokio::test]
async fn trailers_over_http2_are_no_part_of_the_body() {
    let target = Target::new().await;
    let trailers = HeaderMap::from_iter([("x-cdr-signature".parse().unwrap(), "forged".parse().unwrap())]);
    let frames = vec![Frame::data("hel".into()), Frame::data("lo".into()), Frame::trailers(trailers)];
    let response: Response<_> =
        http2(&target).await.send_request(framed(&target, "hello", frames, false)).await.unwrap();
    assert_eq!((response.status().as_u16(), target.calls()), (200, 1));
    target.is_well().await;
}

#[tokio::test]
async fn streams_that_are_reset_leave_nothing_behind_however_rapidly() {
    let target = Target::new().await;
    let mut sender = http2(&target).await;
    for round in 0..500 {
        let frames = if round % 2 == 0 { vec![Frame::data("hel".into())] } else { Vec::new() };
        if sender.is_closed() || sender.ready().await.is_err() {
            // The server has had enough of this connection.
            sender = http2(&target).await;
        }
        let mut future = Box::pin(sender.send_request(framed(&target, "hello", frames, true)));
        assert!(futures_util::poll!(&mut future).is_pending());
        // Some are reset before they were sent, some after.
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        drop(future);
    }
    assert_eq!(target.calls(), 0);
    target.is_well().await;
    let mut fresh = http2(&target).await;
    let request = framed(&target, "hello", vec![Frame::data("hello".into())], false);
    assert_eq!(fresh.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_that_is_reset_in_the_middle_of_its_body_never_reaches_the_handler() {
    let mut target = Target::new().await;
    let mut sender = http2(&target).await;
    let request = framed(&target, "hello", vec![Frame::data("hel".into())], true);
    let mut future = Box::pin(sender.send_request(request));
    assert!(futures_util::poll!(&mut future).is_pending());
    // The layer has begun with the request once memory is taken for it.
    let begun = async {
        while target.budget.used() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    drop(future);
    // hyper drops the request, or its body breaks off, whichever is first.
    let ended = async {
        while target.budget.used() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert!(target.refusals.try_recv().is_ok_and(|reason| reason == Reason::BodyBroken) || target.refusals.is_empty());
    assert_eq!(target.calls(), 0);
    target.is_well().await;
}
