//! The address allow-list in a real server.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use http::Request;
use http_body_util::Full;
use tower_webhook::ip_allow::IpAllowList;
use tower_webhook::{CdrManager, WebhookLayer, testing};

use crate::support::{serve, serve_with_peers};

fn app(list: IpAllowList) -> Router {
    let layer = WebhookLayer::new(CdrManager::new("Jefe").unwrap());
    Router::new().route("/", post(async || "handled").layer(layer)).layer(list)
}

fn signed() -> Request<Full<bytes::Bytes>> {
    testing::sign(&CdrManager::new("Jefe").unwrap(), Request::post("/").body("hello").unwrap()).unwrap()
}

#[tokio::test]
async fn only_listed_peers_pass_and_they_still_have_to_sign() {
    let listed = serve_with_peers(app(IpAllowList::new(["127.0.0.0/8"]).unwrap())).await;
    assert_eq!(listed.send(signed()).await.status, 200);
    assert_eq!(listed.send(Request::post("/").body("hello".into()).unwrap()).await.status, 401);
    let foreign = serve_with_peers(app(IpAllowList::new(["192.0.2.0/24"]).unwrap())).await;
    let reply = foreign.send(signed()).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["content-type"]),
        (403, &"application/problem+json".parse().unwrap())
    );
}

#[tokio::test]
async fn a_server_that_does_not_tell_the_peer_lets_nobody_in() {
    let server = serve(app(IpAllowList::new(["0.0.0.0/0", "::/0"]).unwrap())).await;
    assert_eq!(server.send(signed()).await.status, 403);
}

#[tokio::test]
async fn forwarded_addresses_count_from_the_named_proxy_only() {
    let list = || IpAllowList::new(["192.0.2.10"]).unwrap();
    let behind_proxy = serve_with_peers(app(list().with_trusted_proxies(["127.0.0.1"]).unwrap())).await;
    let direct = serve_with_peers(app(list())).await;
    let mut request = signed();
    request.headers_mut().insert("x-forwarded-for", "203.0.113.7, 192.0.2.10".parse().unwrap());
    assert_eq!(behind_proxy.send(request.clone()).await.status, 200);
    assert_eq!(direct.send(request).await.status, 403);
    assert_eq!(behind_proxy.send(signed()).await.status, 403);
}

#[tokio::test]
async fn a_closure_finds_the_peer_elsewhere() {
    let list = IpAllowList::new(["192.0.2.10"])
        .unwrap()
        .with_peer(|head| head.headers.get("x-peer")?.to_str().ok()?.parse::<SocketAddr>().ok().map(|peer| peer.ip()));
    let server = serve(app(list)).await;
    let mut request = signed();
    request.headers_mut().insert("x-peer", "192.0.2.10:9".parse().unwrap());
    assert_eq!(server.send(request).await.status, 200);
}
