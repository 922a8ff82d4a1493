//! Who may see the page, and what browsers may do with it.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::ConfigError;
use crate::headers::{basic, bearer};
use crate::inspect::same_origin::{self, authority};

/// The shortest token, in bytes: shorter ones can be guessed.
pub const MIN_INSPECTOR_TOKEN: usize = 16;

/// What the page sets on requests that change something. Other sites can't set it.
const OWN_HEADER: HeaderName = HeaderName::from_static("x-inspect");

#[derive(Clone)]
pub(super) enum Access {
    /// Who asks for a loopback address or `localhost`, with this port.
    Loopback {
        port: Option<u16>,
    },
    /// Who knows the token, of which this is the digest.
    Token([u8; 32]),
    Anyone,
}

impl Access {
    pub(super) fn token(token: &str) -> Result<Self, ConfigError> {
        if token.len() < MIN_INSPECTOR_TOKEN {
            return Err(ConfigError::key("the inspector's token must have at least 16 bytes"));
        }
        Ok(Self::Token(Sha256::digest(token).into()))
    }

    fn check(&self, head: &Parts) -> Result<(), Refusal> {
        match self {
            Self::Anyone => Ok(()),
            Self::Loopback { port } => match authority(head) {
                Some(authority) if is_loopback(authority, *port) => Ok(()),
                _ => Err((StatusCode::FORBIDDEN, LOOPBACK_ONLY)),
            },
            Self::Token(digest) => {
                let given = head.headers.get(header::AUTHORIZATION).and_then(|value| {
                    let password = |pair: Vec<u8>| Some(pair.splitn(2, |byte| *byte == b':').nth(1)?.to_vec());
                    bearer(value).map(<[u8]>::to_vec).or_else(|| password(basic(value)?))
                });
                let fits = |given: Vec<u8>| bool::from(<[u8; 32]>::from(Sha256::digest(given)).ct_eq(digest));
                if given.is_some_and(fits) {
                    return Ok(());
                }
                Err((StatusCode::UNAUTHORIZED, "The password is the inspector's token."))
            }
        }
    }
}

/// A status and a text.
type Refusal = (StatusCode, &'static str);

const LOOPBACK_ONLY: &str = "The inspector answers on 127.0.0.1, [::1] and localhost. \
    To have it elsewhere, mount `Inspector::router_with_token`, or `Inspector::router_without_authentication` behind \
    your own authentication.";

/// Returns whether a `Host` is this machine's.
fn is_loopback(authority: &str, port: Option<u16>) -> bool {
    let (host, given) = match authority.rsplit_once(':') {
        Some((host, given)) if !given.ends_with(']') => (host, given.parse().ok()),
        _ => (authority, Some(80)),
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    let is_loopback =
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address: IpAddr| address.is_loopback());
    is_loopback && given.is_some() && (port.is_none() || given == port)
}

/// Lets through who may see the page, and has the browser keep it apart from all others.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut response = match access.check(&head).and_then(|()| check_change(&head)) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(refusal) => refusal.into_response(),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What makes a browser ask for the token.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"webhooks\", charset=\"UTF-8\"");

fn check_change(head: &Parts) -> Result<(), Refusal> {
    same_origin::check(head)?;
    if matches!(head.method, Method::GET | Method::HEAD) || head.headers.contains_key(OWN_HEADER) {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "set the header x-inspect"))
}

/// What payloads may do in the page: nothing. With `require-trusted-types-for`, the browser refuses
/// to make markup of text even if the page's script tried to.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for (host, is_own) in [
            ("127.0.0.1:4040", true),
            ("127.1.2.3:4040", true),
            ("localhost:4040", true),
            ("LOCALHOST:4040", true),
            ("[::1]:4040", true),
            ("localhost:4041", false),
            ("localhost", false),
            ("[::1]", false),
            ("localhost.example.test:4040", false),
            ("127.0.0.1.example.test:4040", false),
            ("192.0.2.1:4040", false),
            ("[::2]:4040", false),
            ("localhost:x", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host, Some(4040)), is_own, "{host}");
        }
        for (host, is_own) in [("localhost", true), ("[::1]", true), ("127.0.0.1:1", true), ("example.test:1", false)] {
            assert_eq!(is_loopback(host, None), is_own, "{host}");
        }
        assert!(is_loopback("localhost", Some(80)), "browsers leave out the usual port");
    }

    #[test]
    fn a_token_is_a_bearer_or_a_password_and_a_short_one_is_refused() {
        assert!(Access::token("fifteen bytes..").is_err());
        let access = Access::token("a token of many: bytes").unwrap();
        let basic = |pair: &str| {
            use base64::Engine as _;
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        };
        for (value, is_granted) in [
            ("Bearer a token of many: bytes".to_owned(), true),
            (basic(":a token of many: bytes"), true),
            (basic("anyone:a token of many: bytes"), true),
            (basic("a token of many: bytes"), false),
            (basic("anyone:a token of many: byteS"), false),
            ("Bearer".to_owned(), false),
            (String::new(), false),
        ] {
            let request = http::Request::get("/inspect").header("authorization", &value).body(()).unwrap();
            assert_eq!(access.check(&request.into_parts().0).is_ok(), is_granted, "{value}");
        }
    }
}
