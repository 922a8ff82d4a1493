//! A webhook endpoint without a web framework: hyper alone, HTTP/1.1 and HTTP/2 on one port.
//!
//! It starts the server, sends it webhooks, genuine and forged, over both versions, prints what
//! came back, and ends.
//!
//! ```sh
//! cargo run --example hyper --no-default-features --features tokio,testing
//! ```

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_webhook::cdr_manager::Report;
use tower_webhook::{CdrManager, EndpointLayer, Rejection, Webhook, WebhookLayer, testing};

use table::Table;

mod table;

/// The webhook's handler: only verified requests come here. What it refuses is answered by the
/// layer.
async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
    let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions())?;
    let name = report.file_name.unwrap_or_default();
    Ok(Response::new(Full::from(format!("{name} will be fetched"))))
}

/// Everything else that the server does.
async fn everything_else(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("this is {}", request.uri().path()))))
}

async fn serve(listener: TcpListener, cdr: tower_webhook::Scheme) -> Result<(), Box<dyn Error + Send + Sync>> {
    let service = ServiceBuilder::new()
        .layer(EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr), service_fn(on_report))?)
        .service_fn(everything_else);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cdr = CdrManager::new("the key from the portal")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, cdr.clone()));

    let table = Table::new([("version", 8), ("request", 12), ("answer", 16), ("reply", 0)]);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client = Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http();
        let report = || Request::post(format!("http://{address}/webhooks/cdr")).body(r#"{"fileName":"tx1.zip"}"#);
        let genuine = testing::sign(&cdr, report()?)?;
        let unsigned = report()?.map(Full::from);
        let mut forged = genuine.clone();
        *forged.body_mut() = Full::from(r#"{"fileName":"tx2.zip"}"#);
        let other = Request::get(format!("http://{address}/elsewhere")).body(Full::default())?;
        for (name, request, expected) in [
            ("genuine", genuine, StatusCode::OK),
            ("unsigned", unsigned, StatusCode::UNAUTHORIZED),
            ("forged", forged, StatusCode::UNAUTHORIZED),
            ("another path", other, StatusCode::OK),
        ] {
            let response = client.request(request).await?;
            let (answered_by, status) = (response.version(), response.status());
            let body = response.into_body().collect().await?.to_bytes();
            let answer = table.answer(status.is_success(), &status.to_string());
            table.row([&format!("{version:?}"), name, &answer, &String::from_utf8_lossy(&body)]);
            if (answered_by, status) != (version, expected) {
                return Err(format!("{name} was answered {status}, not {expected}").into());
            }
        }
    }
    server.abort();
    Ok(())
}
