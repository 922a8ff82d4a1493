//! A gRPC server that also receives webhooks: one layer, one port.
//!
//! It starts the server, calls it as a gRPC client, sends it webhooks, genuine and forged, prints
//! what came back, and ends.
//!
//! ```sh
//! cargo run --example tonic --features tonic,testing
//! ```

use std::error::Error;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::service_fn;
use tower_webhook::cdr_manager::Report;
use tower_webhook::{CdrManager, EndpointLayer, Rejection, Webhook, WebhookLayer, testing};

use greeter::{Client, Greeter};
use table::Table;

mod greeter;
mod table;

/// The webhook's handler: only verified requests come here.
async fn on_report(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Rejection> {
    let Webhook(report) = Webhook::<Report>::from_extensions(request.extensions())?;
    let name = report.file_name.unwrap_or_default();
    Ok(Response::new(Full::from(format!("{name} will be fetched"))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cdr = CdrManager::new("the key from the portal")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let serving = Server::builder()
        .accept_http1(true)
        .layer(EndpointLayer::new("/webhooks/cdr", WebhookLayer::new(cdr.clone()), service_fn(on_report))?)
        .add_service(Greeter::default())
        .serve_with_incoming(TcpIncoming::from(listener));
    let server = tokio::spawn(serving);

    let mut client = Client::new(address);
    let chunks = stream::iter(std::iter::repeat_n(Bytes::from(vec![0; 64 * 1024]), 256));
    let report = || Request::post(format!("http://{address}/webhooks/cdr")).body(r#"{"fileName":"tx1.zip"}"#);
    let mut forged = testing::sign(&cdr, report()?)?;
    *forged.body_mut() = Full::from(r#"{"fileName":"tx2.zip"}"#);

    let rows = [
        ("gRPC unary", "Ok", of_grpc(client.greet("Alice").await)),
        ("gRPC server stream", "Ok", of_grpc(client.count(5).await.map(|numbers| format!("{numbers:?}")))),
        ("gRPC client stream", "Ok", of_grpc(client.upload(chunks).await.map(|bytes| format!("{bytes} bytes")))),
        // This method asks for a verified delivery, and no webhook layer stands before it.
        ("gRPC without proof", "Unavailable", of_grpc(client.deliver("hello").await)),
        ("webhook, genuine", "200 OK", send(testing::sign(&cdr, report()?)?).await?),
        ("webhook, unsigned", "401 Unauthorized", send(report()?.map(Full::from)).await?),
        ("webhook, forged", "401 Unauthorized", send(forged).await?),
    ];
    server.abort();

    let table = Table::new([("request", 18), ("answer", 16), ("reply", 0)]);
    for (name, expected, (accepted, status, reply)) in rows {
        table.row([name, &table.answer(accepted, &status), &reply]);
        if status != expected {
            return Err(format!("{name} was answered {status}, not {expected}").into());
        }
    }
    Ok(())
}

/// Whether a request was accepted, its status, and what was replied.
type Outcome = (bool, String, String);

fn of_grpc(reply: Result<String, Status>) -> Outcome {
    match reply {
        Ok(reply) => (true, "Ok".to_owned(), reply),
        Err(status) => (false, format!("{:?}", status.code()), status.message().to_owned()),
    }
}

/// Sends a webhook over HTTP/1.1.
async fn send(request: Request<Full<Bytes>>) -> Result<Outcome, Box<dyn Error>> {
    let response = HttpClient::builder(TokioExecutor::new()).build_http().request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status.is_success(), status.to_string(), String::from_utf8_lossy(&body).into_owned()))
}
