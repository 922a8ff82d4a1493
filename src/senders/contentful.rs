//! Contentful: the method, the path and a list of headers are signed with the body.

use http::HeaderName;
use http::Method;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::headers::{LONGEST_HEADER, required};
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Scheme, header};
use crate::secrets::Secrets;
use crate::uri::requested_uri;

use super::address::PublicAddress;
use super::config::SenderConfig;
use super::knowledge;

/// The header that lists the signed ones.
const LIST: HeaderName = HeaderName::from_static("x-contentful-signed-headers");

/// The header of the time.
const TIME: &str = "x-contentful-timestamp";

/// Contentful signs its own headers and those that a user sets; this is more than a webhook can
/// have.
const MAX_HEADERS: usize = 64;

/// [Contentful](https://www.contentful.com/developers/docs/webhooks/request-verification/).
///
/// Signs the method, the path and the headers that `x-contentful-signed-headers` lists, which must
/// name itself, the time, and the topic if there is one. Times are milliseconds.
///
/// The path is taken as this service sees it: see [`contentful_at`] for a service behind a proxy
/// that cuts it short.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn contentful(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    behind(String::new(), secrets.into())
}

/// As [`contentful`], for a service whose paths begin behind that of `public_url`.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the URL is not valid.
pub fn contentful_at(secrets: impl Into<Secrets>, public_url: impl Into<PublicAddress>) -> Result<Scheme, ConfigError> {
    behind(public_url.into().resolve()?.path().to_owned(), secrets.into())
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    match config.public_url.take() {
        Some(url) => contentful_at(config.take_secrets()?, url),
        None => contentful(config.take_secrets()?),
    }
}

#[inline]
fn behind(prefix: String, secrets: Secrets) -> Result<Scheme, ConfigError> {
    let (signed, shown) = (Signed::default(), prefix.clone());
    Scheme::hmac_sha256()
        .signature(header("x-contentful-signature").hex())
        .signed("{method}\n{path}\n{signed headers}\n{body}")
        .with_piece("path", signed.with_url(true), move |values| Ok(path(&prefix, values.head).into_bytes()))
        .with_piece("signed headers", signed.with_timestamp(true).with_event(true), |values| {
            headers(values.head, values.timestamp.is_some())
        })
        // The query may be secret.
        .with_shown_address(move |head| Some([&*shown, requested_uri(head).path()].concat()))
        .timestamp(header(TIME).unix_millis().within(std::time::Duration::from_secs(30)))
        .with_methods([Method::POST, Method::PUT, Method::PATCH, Method::GET, Method::DELETE])
        .event(header("x-contentful-topic"))
        .secret(secrets)
        .with_behavior(knowledge::contentful)
        .build("contentful")
}

/// The path, and the query escaped as one text; then the whole escaped as JavaScript's `encodeURI`
/// does.
#[inline]
fn path(prefix: &str, head: &Parts) -> String {
    let uri = requested_uri(head);
    let mut text = [prefix, uri.path()].concat();
    if let Some(query) = uri.query() {
        text.push('?');
        escape(query, b"-_.!~*'()", &mut text);
    }
    let mut encoded = String::new();
    escape(&text, b"-_.!~*'();/?:@&=+$,#", &mut encoded);
    encoded
}

#[inline]
fn escape(text: &str, kept: &[u8], out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The headers that the list names, sorted, with or without the time.
#[inline]
fn headers(head: &Parts, with_time: bool) -> Result<Vec<u8>, Rejection> {
    let malformed = |detail| Rejection::new(Reason::MalformedHeader).with_detail(detail);
    let list = required(head, &LIST, LONGEST_HEADER)?;
    let list = list.to_str().map_err(|_| malformed("the list of signed headers is not ASCII"))?;
    let mut names: Vec<_> = list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    if names.len() > MAX_HEADERS {
        return Err(malformed("the list of signed headers is too long"));
    }
    let listed = |name: &str| names.iter().any(|own| own == name);
    let topic = !head.headers.contains_key("x-contentful-topic") || listed("x-contentful-topic");
    if !(topic && listed(TIME) && listed(LIST.as_str())) {
        return Err(malformed("a header that is read is not among the signed ones"));
    }
    names.sort_unstable();
    let mut text = Vec::new();
    for name in &names {
        let header = name.parse().map_err(|_| malformed("the list of signed headers has an impossible name"))?;
        let value = required(head, &header, LONGEST_HEADER)?;
        if name == TIME && !with_time {
            continue;
        }
        if !text.is_empty() {
            text.push(b';');
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes().trim_ascii());
    }
    Ok(text)
}
