//! A real gRPC server beside, and behind, the layers.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::tonic::Code;
use ::tonic::transport::Error;
use ::tonic::transport::Server as TonicServer;
use ::tonic::transport::server::TcpIncoming;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::Full;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower::service_fn;
use tower_webhook::cdr_manager::Report;
use tower_webhook::{CdrManager, EndpointLayer, Reason, Rejection, Webhook, WebhookLayer, testing};

use self::greeter::{Client, Greeter, Text};
use crate::support::{Reply, Server};

#[path = "../../examples/greeter/mod.rs"]
mod greeter;

/// Starts a tonic server on a free port.
async fn start<F>(serve: impl FnOnce(TcpIncoming) -> F) -> (Server, Client)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve(listener.into());
    let task = tokio::spawn(async move { serving.await.unwrap() });
    (Server { address, task }, Client::new(address))
}

fn cdr() -> tower_webhook::Scheme {
    CdrManager::new("Jefe").unwrap()
}

async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
    let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions())?;
    Ok(Response::new(Full::from(report.file_name.unwrap_or_default())))
}

/// A greeter with a webhook endpoint beside it.
async fn start_with_endpoint(greeter: Greeter) -> (Server, Client) {
    let endpoint = EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr()), service_fn(on_report)).unwrap();
    start(|incoming| {
        TonicServer::builder().accept_http1(true).layer(endpoint).add_service(greeter).serve_with_incoming(incoming)
    })
    .await
}

#[tokio::test]
async fn a_grpc_server_gains_a_webhook_endpoint_and_its_calls_go_on() {
    let (server, mut client) = start_with_endpoint(Greeter::default()).await;
    let signed =
        || testing::sign(&cdr(), Request::post("/webhooks/cdr").body(r#"{"fileName":"tx1.zip"}"#).unwrap()).unwrap();
    assert_eq!(server.send(signed()).await.text(), "tx1.zip");
    assert_eq!(client.greet("Alice").await.unwrap(), "Hello, Alice!");
    assert_eq!(server.send_http2(signed()).await.text(), "tx1.zip");
    assert_eq!(client.count(1000).await.unwrap(), Vec::from_iter(1..=1000));
    let mut forged = signed();
    *forged.body_mut() = Full::from(r#"{"fileName":"tx2.zip"}"#);
    let refused = server.send(forged).await;
    assert_eq!(refused.status, 401);
    assert!(!refused.headers.contains_key("grpc-status"), "it is no gRPC request");
}

#[tokio::test]
async fn a_large_client_stream_passes_the_endpoint_without_being_buffered() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 1024;
    /// How far the client may be ahead of the server.
    const AHEAD: usize = 16;

    let greeter = Greeter::default();
    let uploaded = greeter.uploaded.subscribe();
    let (_server, mut client) = start_with_endpoint(greeter).await;
    let data = Bytes::from(vec![7; CHUNK]);
    // Each chunk is only sent once the server has handled the one that was sent 16 before it, so an
    // upload that anybody collects before he hands it on never ends.
    let chunks = stream::unfold((0, uploaded), move |(sent, mut uploaded)| {
        let data = data.clone();
        async move {
            if sent == CHUNKS {
                return None;
            }
            let handled = (sent.saturating_sub(AHEAD) * CHUNK) as u64;
            uploaded.wait_for(|bytes| *bytes >= handled).await.unwrap();
            Some((data, (sent + 1, uploaded)))
        }
    });
    let sum = timeout(Duration::from_secs(60), client.upload(chunks)).await.expect("the upload is held up").unwrap();
    assert_eq!(sum, 64 * 1024 * 1024);
}

/// A gRPC call as its sender would sign it: over the body as it is on the wire.
fn call(text: &str) -> Request<Bytes> {
    let message = Text { text: text.to_owned() }.encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.len().try_into().unwrap());
    body.put_slice(&message);
    Request::post("/greeter.Greeter/Deliver")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body.freeze())
        .unwrap()
}

fn message(reply: &Reply) -> String {
    Text::decode(reply.body.slice(5..)).unwrap().text
}

#[tokio::test]
async fn a_grpc_handler_behind_the_layer_gets_its_delivery() {
    let rejected = Arc::new(Mutex::new(Vec::new()));
    let hook = rejected.clone();
    let layer = WebhookLayer::new(cdr()).on_reject(move |rejection| hook.lock().unwrap().push(rejection.reason()));
    let (server, _) = start(|incoming| {
        TonicServer::builder().layer(layer).add_service(Greeter::default()).serve_with_incoming(incoming)
    })
    .await;
    let reply = server.send_http2(testing::sign(&cdr(), call("A call")).unwrap()).await;
    assert_eq!(message(&reply), "A call from cdr_manager in 13 bytes");
    assert_eq!(rejected.lock().unwrap().len(), 0);

    // What the handler's `?` refuses is a status, and the layer's hook sees why.
    let reply = server.send_http2(testing::sign(&cdr(), call("json")).unwrap()).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["grpc-status"]), (200, &"3".parse().unwrap()));
    assert_eq!(*rejected.lock().unwrap(), [Reason::MalformedPayload]);
}

#[tokio::test]
async fn a_refused_grpc_call_gets_a_grpc_status_with_the_right_code() {
    let layer = WebhookLayer::new(cdr()).with_body_limit(1000);
    let (server, mut client) = start(|incoming| {
        TonicServer::builder().layer(layer).add_service(Greeter::default()).serve_with_incoming(incoming)
    })
    .await;
    let status = client.deliver("unsigned").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the request could not be authenticated"));

    let mut forged = testing::sign(&cdr(), call("signed")).unwrap();
    *forged.body_mut() = Full::from(call("forged").into_body());
    let mut twice = testing::sign(&cdr(), call("twice")).unwrap();
    let signature = twice.headers()["x-cdr-signature"].clone();
    twice.headers_mut().append("x-cdr-signature", signature);
    let large = testing::sign(&cdr(), call(&"x".repeat(1001))).unwrap();
    for (request, code) in
        [(forged, Code::Unauthenticated), (twice, Code::InvalidArgument), (large, Code::ResourceExhausted)]
    {
        let reply = server.send_http2(request).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.headers["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        assert_eq!(reply.headers["grpc-status"], (code as i32).to_string());
        assert!(reply.body.is_empty());
    }
    // The same request as no gRPC request gets an HTTP status.
    let plain = Request::post("/greeter.Greeter/Deliver").body(Full::default()).unwrap();
    assert_eq!(server.send_http2(plain).await.status, 401);
}

#[tokio::test]
async fn a_handler_without_a_layer_is_unavailable_and_not_open() {
    let (_server, mut client) =
        start(|incoming| TonicServer::builder().add_service(Greeter::default()).serve_with_incoming(incoming)).await;
    assert_eq!(client.deliver("hello").await.unwrap_err().code(), Code::Unavailable);
}

#[cfg(feature = "memory-store")]
#[tokio::test]
async fn a_grpc_handler_that_failed_is_called_again_and_one_that_succeeded_is_not() {
    use tower::ServiceBuilder;
    use tower_webhook::{DedupLayer, MemoryStore};

    let failures = Arc::new(Mutex::new(0));
    let hook = failures.clone();
    let webhook = WebhookLayer::new(cdr()).on_reject(move |_| *hook.lock().unwrap() += 1);
    let layer =
        ServiceBuilder::new().layer(webhook).layer(DedupLayer::new(MemoryStore::new(100)).with_replay_protection());
    let (server, _) = start(|incoming| {
        TonicServer::builder().layer(layer).add_service(Greeter::default()).serve_with_incoming(incoming)
    })
    .await;
    let failing = testing::sign(&cdr(), call("json")).unwrap();
    for attempt in 1..=3 {
        let reply = server.send_http2(failing.clone()).await;
        // gRPC's failures are HTTP's successes.
        assert_eq!((reply.status.as_u16(), &reply.headers["grpc-status"]), (200, &"3".parse().unwrap()));
        assert_eq!(*failures.lock().unwrap(), attempt);
    }
    let succeeding = testing::sign(&cdr(), call("once")).unwrap();
    assert_eq!(message(&server.send_http2(succeeding.clone()).await), "once from cdr_manager in 11 bytes");
    assert!(server.send_http2(succeeding).await.headers.contains_key("webhook-duplicate"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_grpc_server_stores_its_webhooks_in_an_inbox_and_its_calls_go_on() {
    use tower_webhook::inbox::sqlite::SqliteStore;
    use tower_webhook::inbox::{Backoff, Inbox, InboxAttempt};

    let folder = crate::inbox::sqlite::Folder::new();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let noted = handled.clone();
    let handler = service_fn(move |request: Request<Full<Bytes>>| {
        let noted = noted.clone();
        async move {
            let attempt = request.extensions().get::<InboxAttempt>().unwrap().number;
            let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions())?;
            noted.lock().unwrap().push((report.file_name.unwrap_or_default(), attempt));
            // What `?` returns is no answer to the sender, but a reason to try again.
            if attempt == 1 {
                Err(Rejection::new(Reason::HandlerFailed))
            } else {
                Ok(Response::<Full<Bytes>>::default())
            }
        }
    });
    let (inbox, worker) = Inbox::new(SqliteStore::open(folder.file()).unwrap())
        .with_retry(Backoff::exponential(Duration::ZERO..Duration::ZERO))
        .wrap(handler);
    let endpoint = EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr()), inbox.clone()).unwrap();
    let (server, mut client) = start(|incoming| {
        let mut server = TonicServer::builder().accept_http1(true).layer(endpoint);
        server.add_service(Greeter::default()).serve_with_incoming(incoming)
    })
    .await;
    let worker = tokio::spawn(worker.run(std::future::pending()));
    let report = Request::post("/webhooks/cdr").body(r#"{"fileName":"tx1.zip"}"#).unwrap();
    let reply = server.send(testing::sign(&cdr(), report).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    assert_eq!(client.greet("Alice").await.unwrap(), "Hello, Alice!");
    crate::support::until("it is done", async || inbox.stats().await.unwrap().done == 1).await;
    assert_eq!(*handled.lock().unwrap(), [("tx1.zip".to_owned(), 1), ("tx1.zip".to_owned(), 2)]);
    worker.abort();
}
