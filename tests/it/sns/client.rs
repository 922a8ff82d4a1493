//! The default client, against servers on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, Uri};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tower_webhook::senders::CertificateConfig;
use tower_webhook::{Fetch as _, HttpsClient, MAX_FETCHED, Sns, WebhookLayer};

use crate::support::{Server, serve};

use super::fake;

fn uri(address: SocketAddr, path: &str) -> Uri {
    format!("http://{address}{path}").parse().unwrap()
}

/// A host that does everything wrong that can be done wrong.
async fn host() -> Server {
    let endless = || async {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 16_384])));
        Body::from_stream(chunks)
    };
    let app = Router::new()
        .route("/exact", get(|| async { "x".repeat(MAX_FETCHED) }))
        .route("/more", get(|| async { "x".repeat(MAX_FETCHED + 1) }))
        .route("/large", get(|| async { "x".repeat(10 * 1024 * 1024) }))
        .route("/endless", get(endless))
        .route("/redirect", get(|| async { Redirect::temporary("/exact") }))
        .route("/error", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "oops") }))
        .route("/slow", get(std::future::pending::<()>));
    serve(app).await
}

#[tokio::test]
async fn what_is_too_long_is_not_read_and_redirects_are_not_followed() {
    let host = host().await;
    let client = HttpsClient::builder().insecure_plain_http().build().unwrap();
    let fetch = async |path| client.get(uri(host.address, path)).await;
    assert_eq!(fetch("/exact").await.unwrap().body().len(), MAX_FETCHED);
    for path in ["/more", "/large", "/endless"] {
        assert_eq!(fetch(path).await.unwrap_err().to_string(), "the response is too large", "{path}");
    }
    assert_eq!(fetch("/redirect").await.unwrap().status(), 307);
    assert_eq!(fetch("/error").await.unwrap().status(), 500);
}

#[tokio::test]
async fn a_slow_host_costs_five_seconds_and_no_error_names_the_query() {
    let host = host().await;
    let client = HttpsClient::builder().insecure_plain_http().build().unwrap();
    #[allow(clippy::disallowed_methods, reason = "the time that it takes is what is tested")]
    let started = Instant::now();
    let error = client.get(uri(host.address, "/slow?Token=s3cret")).await.unwrap_err();
    assert!((4..8).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(!format!("{error:?} {error}").contains("s3cret"), "{error:?}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client.get(uri(closed, "/?Token=s3cret")).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("s3cret"), "{error:?}");
}

#[tokio::test]
async fn plain_http_needs_its_switch() {
    let host = host().await;
    let client = HttpsClient::new().unwrap();
    assert!(client.get(uri(host.address, "/exact")).await.is_err());
}

/// A TLS server that answers each connection with `hello`.
async fn tls_host() -> (SocketAddr, String) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let pem = root.self_signed(&root_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await;
            let _ = stream.shutdown().await;
        }
    });
    (address, pem)
}

#[tokio::test]
async fn the_hosts_certificate_is_verified() {
    let (address, root) = tls_host().await;
    let uri = |host: &str| format!("https://{host}:{}/", address.port()).parse::<Uri>().unwrap();
    assert!(HttpsClient::new().unwrap().get(uri("127.0.0.1")).await.is_err(), "nobody knows that root");
    let client = HttpsClient::builder().roots(root).build().unwrap();
    assert_eq!(client.get(uri("127.0.0.1")).await.unwrap().body(), "hello");
    assert!(client.get(uri("localhost")).await.is_err(), "the certificate is for another name");
    assert!(HttpsClient::builder().roots("no root").build().is_err());
}

/// Without a fetcher of its own, a provider uses this client; a local SNS over plain http works by
/// its one switch.
#[tokio::test]
async fn a_whole_subscription_runs_through_the_default_client() {
    let sns = fake();
    let (certificates, confirmations) = (sns.clone(), sns.clone());
    let confirm = move |uri: Uri| async move { confirmations.get(uri).await.unwrap().map(Body::from) };
    let certificate = move || async move { certificates.certificate_pem().to_owned() };
    let path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let host = serve(Router::new().route(path, get(certificate)).route("/", get(confirm))).await;
    let origin = format!("http://{}", host.address);
    let local = CertificateConfig::default().with_insecure_origin(&origin);
    let provider = Sns::builder().topic(sns.topic_arn()).certificates(local).build().unwrap();
    let app = Router::new().route("/sns", axum::routing::post(|| async {}).layer(WebhookLayer::new(provider)));
    let server = serve(app).await;
    let url = format!("{origin}{path}");
    for message in [sns.subscription_confirmation(), sns.notification("hello")] {
        assert_eq!(server.send(message.signing_cert_url(&url).post("/sns")).await.status, 200);
    }
    let production = Sns::builder().topic(sns.topic_arn()).build();
    assert!(production.is_ok());
}
