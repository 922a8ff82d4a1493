//! A real server on a free port, and a real client.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that ends with its value.
pub struct Server {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves an axum app on loopback, over HTTP/1.1 and HTTP/2.
pub async fn serve(app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Server { address, task }
}

/// Waits for what has to come, at most ten seconds.
#[allow(dead_code)]
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap_or_else(|_| panic!("not in ten seconds: {what}"));
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    #[allow(dead_code)]
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Server {
    /// Sends a request, whose URI is a path, over HTTP/1.1.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        self.send_by(Client::builder(TokioExecutor::new()).build_http(), request).await
    }

    /// Sends a request, whose URI is a path, over HTTP/2.
    pub async fn send_http2(&self, request: Request<Full<Bytes>>) -> Reply {
        self.send_by(Client::builder(TokioExecutor::new()).http2_only(true).build_http(), request).await
    }

    /// Sends a request with a body of any kind.
    pub async fn send_by<B>(
        &self,
        client: Client<hyper_util::client::legacy::connect::HttpConnector, B>,
        mut request: Request<B>,
    ) -> Reply
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        let response = client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        Reply { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }
}
