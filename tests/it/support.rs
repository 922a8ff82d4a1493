//! A real server on a free port, and a real client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::{Layer as _, Service};
use tower_webhook::WebhookLayer;
use tower_webhook::layer::WebhookService;

/// A server that ends with its value.
pub struct Server {
    pub address: SocketAddr,
    pub task: JoinHandle<()>,
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
#[cfg_attr(not(feature = "memory-store"), allow(dead_code))]
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

/// As [`serve`], with each peer's address in the extensions of its requests.
pub async fn serve_with_peers(app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Server { address, task }
}

/// A service that is no axum app: the layer around a function.
pub fn service<P, F, Fut>(layer: WebhookLayer<P>, handler: F) -> WebhookService<impl Handler, P>
where
    F: Fn(Request<Full<Bytes>>) -> Fut + Clone,
    Fut: Future<Output = Bytes> + Send,
{
    layer.layer(tower::service_fn(move |request| {
        let handled = handler(request);
        async { Ok(Response::new(Full::new(handled.await))) }
    }))
}

/// A service that cannot fail.
pub trait Handler:
    Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone
{
}

impl<S> Handler for S where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone
{
}

/// Serves any tower service with hyper on loopback, over HTTP/1.1 and HTTP/2.
pub async fn serve_service<S, B>(service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(async move {
                // How a connection ends is the business of its client.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Server { address, task }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
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

    /// Writes bytes to a connection and reads until it ends.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(bytes).await.unwrap();
        let mut reply = Vec::new();
        let reading = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut reply)).await;
        // A refusal before the whole body was read may end in a reset; what came before it is the reply.
        let _ = reading.expect("the connection stays open");
        String::from_utf8(reply).unwrap()
    }

    /// Writes bytes to a connection and closes it.
    pub async fn cut(&self, bytes: &[u8]) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(bytes).await.unwrap();
        connection.shutdown().await.unwrap();
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
