//! A small gRPC service and its client, written by hand so that no `protoc` is needed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::uri::PathAndQuery;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::client::Grpc as GrpcClient;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tower_webhook::{Delivery, Json, Webhook};

/// A name, or a greeting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    /// It.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// A piece of an upload.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// Its bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// A number of things.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Number {
    /// It.
    #[prost(uint64, tag = "1")]
    pub number: u64,
}

/// The server's side.
#[derive(Clone, Debug, Default)]
pub struct Greeter {
    /// How many bytes of uploads have been handled, as it happens.
    pub uploaded: watch::Sender<u64>,
}

impl NamedService for Greeter {
    const NAME: &'static str = "greeter.Greeter";
}

impl<B> Service<http::Request<B>> for Greeter
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let uploaded = self.uploaded.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/greeter.Greeter/Greet" => Grpc::new(ProstCodec::default()).unary(service_fn(greet), request).await,
                "/greeter.Greeter/Count" => {
                    Grpc::new(ProstCodec::default()).server_streaming(service_fn(count), request).await
                }
                "/greeter.Greeter/Upload" => {
                    let upload = service_fn(move |chunks| upload(chunks, uploaded.clone()));
                    Grpc::new(ProstCodec::default()).client_streaming(upload, request).await
                }
                "/greeter.Greeter/Deliver" => {
                    Grpc::new(ProstCodec::default()).unary(service_fn(deliver), request).await
                }
                _ => Status::unimplemented("there is no such method").into_http(),
            })
        })
    }
}

async fn greet(request: Request<Text>) -> Result<Response<Text>, Status> {
    Ok(Response::new(Text { text: format!("Hello, {}!", request.get_ref().text) }))
}

/// Counts up to a number.
async fn count(
    request: Request<Number>,
) -> Result<Response<impl Stream<Item = Result<Number, Status>> + Send + 'static>, Status> {
    Ok(Response::new(stream::iter(1..=request.get_ref().number).map(|number| Ok(Number { number }))))
}

/// Adds up the bytes of an upload.
async fn upload(request: Request<Streaming<Chunk>>, uploaded: watch::Sender<u64>) -> Result<Response<Number>, Status> {
    let mut chunks = request.into_inner();
    let mut number = 0;
    while let Some(chunk) = chunks.message().await? {
        number += chunk.data.len() as u64;
        uploaded.send_replace(number);
    }
    Ok(Response::new(Number { number }))
}

/// A handler behind a webhook layer: the delivery and the payload come from the request's
/// extensions, and `?` turns a rejection into a status. The payload here is what was signed: the
/// gRPC body itself.
async fn deliver(request: Request<Text>) -> Result<Response<Text>, Status> {
    let Webhook(delivery) = Webhook::<Delivery>::from_extensions(request.extensions())?;
    let Webhook(body) = Webhook::<Bytes>::from_extensions(request.extensions())?;
    let text = match request.get_ref().text.as_str() {
        // It is not JSON, so the sender is told so.
        "json" => Webhook::<Json<String>>::from_extensions(request.extensions()).map(|Webhook(Json(text))| text)?,
        text => format!("{text} from {} in {} bytes", delivery.provider(), body.len()),
    };
    Ok(Response::new(Text { text }))
}

/// The client's side.
#[derive(Clone, Debug)]
pub struct Client(GrpcClient<Channel>);

impl Client {
    /// A client of the server at this address, which is connected to when it is first needed.
    pub fn new(address: SocketAddr) -> Self {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address makes a URI");
        Self(GrpcClient::new(endpoint.connect_lazy()))
    }

    pub async fn greet(&mut self, name: &str) -> Result<String, Status> {
        self.unary("/greeter.Greeter/Greet", name).await
    }

    pub async fn deliver(&mut self, text: &str) -> Result<String, Status> {
        self.unary("/greeter.Greeter/Deliver", text).await
    }

    pub async fn count(&mut self, number: u64) -> Result<Vec<u64>, Status> {
        let path = PathAndQuery::from_static("/greeter.Greeter/Count");
        let codec = ProstCodec::<Number, Number>::default();
        self.ready().await?;
        let numbers = self.0.server_streaming(Request::new(Number { number }), path, codec).await?.into_inner();
        numbers.map_ok(|number| number.number).try_collect().await
    }

    pub async fn upload(&mut self, chunks: impl Stream<Item = Bytes> + Send + 'static) -> Result<u64, Status> {
        let path = PathAndQuery::from_static("/greeter.Greeter/Upload");
        let chunks = Request::new(chunks.map(|data| Chunk { data }));
        self.ready().await?;
        let sum = self.0.client_streaming(chunks, path, ProstCodec::<Chunk, Number>::default()).await?;
        Ok(sum.get_ref().number)
    }

    async fn unary(&mut self, path: &'static str, text: &str) -> Result<String, Status> {
        let request = Request::new(Text { text: text.to_owned() });
        self.ready().await?;
        let reply = self.0.unary(request, PathAndQuery::from_static(path), ProstCodec::<Text, Text>::default()).await?;
        Ok(reply.into_inner().text)
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}
