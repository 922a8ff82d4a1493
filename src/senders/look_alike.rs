//! The built-in senders with settings that belong to nobody: for what is known of them, and for
//! what a request looks like.

use std::sync::LazyLock;

use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::provider::Provider as _;
use crate::provider::Recognition;
use crate::scheme::Scheme;
use crate::secrets::Secret;

use super::config::SenderConfig;
use super::{Sender, all};

static SENDERS: LazyLock<Vec<Scheme>> = LazyLock::new(|| all().filter_map(build).collect());

/// Builds a sender with as many settings as it takes.
fn build(sender: &Sender) -> Option<Scheme> {
    let empty = SenderConfig::default;
    let secret = || empty().with_secrets([Secret::from_bytes(*b"nobody's")]).with_public_url("https://nobody.invalid");
    // RFC 8032, section 7.1, test 1; and keys that only others parse.
    let ed25519 = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let candidates = [
        secret(),
        secret().with_public_key("nobody"),
        empty().with_public_keys([ed25519]),
        empty().with_public_keys([P256]),
        empty().with_public_keys([RSA]),
        empty().with_webhook_id("nobody"),
        empty().with_jwks_url("https://nobody.invalid"),
        empty().with_audience("nobody.invalid"),
        empty().with_audience("https://nobody.invalid").with_email("nobody@nobody.invalid"),
    ];
    candidates.into_iter().find_map(|config| sender.build(config).ok())
}

/// SendGrid's example.
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

/// The key that Kick publishes.
const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAq/+l1WnlRrGSolDMA+A86rAhMbQGmQ2SapVcGM3zq8ANXjnhDWocMqfWcTd95btDydITa10kDvHzw9WQOqp2MZI7ZyrfzJuz5nhTPCiJwTwnEtWft7nV14BYRDHvlfqPUaZ+1KR4OCaO/wWIk/rQL/TjY0M70gse8rlBkbo2a8rKhu69RQTRsoaf4DVhDPEeSeI5jVrRDGAMGL3cGuyY6CLKGdjVEM78g3JfYOvDU/RvfqD7L89TZ3iN94jrmWdGz34JNlEI5hqK8dd7C5EFBEbZ5jgB8s8ReQV8H+MkuffjdAj3ajDDX3DOJMIut1lBrUVD1AaSrGCKHooWoL2etwIDAQAB";

/// Returns the sender of this name.
#[cfg(feature = "testing")]
pub(crate) fn sample(name: &str) -> Option<Scheme> {
    SENDERS.iter().find(|scheme| *scheme.name() == *name).cloned()
}

/// Returns the names of the senders that have a header of their own in this head.
pub(crate) fn recognized(head: &Parts) -> impl Iterator<Item = &'static str> {
    let is_recognized = |scheme: &&Scheme| {
        // What many senders have is no sign of one.
        let is_own = |(name, _): &(HeaderName, _)| name != AUTHORIZATION && head.headers.contains_key(name);
        scheme.recognizes(head) == Recognition::Yes && scheme.clues().marks.first().is_some_and(is_own)
    };
    let found: Vec<_> = SENDERS.iter().filter(is_recognized).map(|scheme| scheme.name().clone()).collect();
    all().map(|sender| sender.name).filter(move |name| found.iter().any(|found| *found == **name))
}
