//! Event types of other crates, and Lambda: the programs of two guides, each fed genuine requests.
//!
//! A file begins with the program as its guide shows it.

#![cfg(test)]

mod aws;
mod cloudevents;
mod discord;
mod github;
#[allow(dead_code, reason = "`main` is only compiled")]
mod lambda;
mod poem;
mod slack;
mod stripe;

use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

/// Sends a request, and returns what the handler said.
async fn send(app: &Router, request: Request<Full<Bytes>>) -> (u16, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

/// The same request with one bit of its body changed has to be refused.
async fn forge(app: &Router, request: Request<Full<Bytes>>) {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await.unwrap().to_bytes().to_vec();
    *body.last_mut().unwrap() ^= 1;
    let (status, _) = send(app, Request::from_parts(head, Full::from(body))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED.as_u16());
}

#[test]
fn the_guides_show_these_programs() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for (guide, files) in [
        ("payloads.md", &["github", "cloudevents", "stripe", "slack", "discord", "aws"][..]),
        ("lambda.md", &["lambda", "poem"]),
    ] {
        let guide = std::fs::read_to_string(format!("{root}/docs/{guide}")).unwrap();
        let blocks: Vec<_> =
            guide.split("```rust,ignore\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
        assert_eq!(blocks.len(), files.len());
        for (block, file) in blocks.iter().zip(files) {
            let source = std::fs::read_to_string(format!("{root}/tests/other_crates/src/{file}.rs")).unwrap();
            assert!(source.starts_with(block), "{file}.rs is not what the guide shows");
            assert!(
                source[block.len()..].starts_with("\n#[cfg(test)]\nmod tests {"),
                "{file}.rs has more than the guide"
            );
        }
    }
}
