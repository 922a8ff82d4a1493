//! The layer around a bare hyper service: no framework, no axum.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceBuilder;
use tower_webhook::{CdrManager, Delivery, Rejection, WebhookLayer, testing};

use crate::support::{Server, serve_service};

fn cdr() -> tower_webhook::Scheme {
    CdrManager::new("Jefe").unwrap()
}

/// Answers the bytes that it was given, which are the delivery's.
async fn handle(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
    let delivered = Delivery::from_extensions(request.extensions())?.body().clone();
    let Ok(body) = request.into_body().collect().await.map(|body| body.to_bytes());
    assert_eq!(body, delivered);
    Ok(Response::new(Full::from(body)))
}

async fn server() -> Server {
    serve_service(ServiceBuilder::new().layer(WebhookLayer::new(cdr()).with_body_limit(1 << 20)).service_fn(handle))
        .await
}

#[tokio::test]
async fn any_bytes_reach_the_handler_as_they_were_sent_over_both_versions() {
    let server = server().await;
    for body in [Bytes::new(), Bytes::from_static(b"\xff\x00\r\n {}"), Bytes::from(vec![0xa5; 1 << 20])] {
        let signed = testing::sign(&cdr(), Request::post("/").body(body.clone()).unwrap()).unwrap();
        for reply in [server.send(signed.clone()).await, server.send_http2(signed).await] {
            assert_eq!(reply.status, 200);
            assert!(reply.body == body, "{} bytes became {}", body.len(), reply.body.len());
        }
    }
}

#[tokio::test]
async fn a_body_of_many_frames_and_no_announced_length_is_put_together() {
    let server = server().await;
    let body = Bytes::from_iter((0..100_000_u32).map(|number| number.to_le_bytes()[0]));
    let (head, _) = testing::sign(&cdr(), Request::post("/").body(body.clone()).unwrap()).unwrap().into_parts();
    for http2 in [false, true] {
        let frames: Vec<_> = body.chunks(777).map(Bytes::copy_from_slice).collect();
        let frames = stream::iter(frames).map(|frame| Ok::<_, std::io::Error>(Frame::data(frame)));
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let reply = server.send_by(client, Request::from_parts(head.clone(), StreamBody::new(frames))).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body == body);
    }
}

#[tokio::test]
async fn what_the_head_refuses_is_answered_before_any_body_is_sent() {
    let server = server().await;
    for (header, status) in
        [("x-none: 1", "401"), ("x-cdr-signature: short", "401"), ("content-length: 1048577", "413")]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let signature =
            testing::sign(&cdr(), Request::post("/").body("").unwrap()).unwrap().headers()["x-cdr-signature"].clone();
        let lines = match status {
            "413" => format!("{header}\r\nx-cdr-signature: {}", signature.to_str().unwrap()),
            _ => format!("{header}\r\ncontent-length: 10"),
        };
        stream.write_all(format!("POST / HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(std::str::from_utf8(&head).unwrap(), format!("HTTP/1.1 {status}"), "{header}");
    }
}
