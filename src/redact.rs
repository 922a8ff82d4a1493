//! What is left out of everything that is stored or shown: credentials in headers and URLs.

use http::Uri;
use http::header::{self, HeaderName};

/// What is never stored, even on request.
#[cfg_attr(not(feature = "inbox"), allow(dead_code))]
pub(crate) const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// Parameters whose names hold one of these are left out of URLs.
const SECRET_PARAMETERS: [&str; 9] = ["auth", "code", "hash", "hmac", "key", "pass", "secret", "sig", "token"];

/// Headers whose names hold one of these have a value that proves something by itself. A signature
/// doesn't: it fits one request.
#[cfg_attr(not(feature = "inspect"), allow(dead_code))]
const SECRET_HEADERS: [&str; 8] =
    ["apikey", "api-key", "authorization", "cookie", "credential", "password", "secret", "token"];
/// .. unless they hold one of these too, such as `token-signature`.
#[cfg_attr(not(feature = "inspect"), allow(dead_code))]
const PLAIN_HEADERS: [&str; 3] = ["event", "signature", "timestamp"];

/// Returns whether the value of a header is a credential, by its name.
#[cfg_attr(not(feature = "inspect"), allow(dead_code))]
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    let holds = |parts: &[&str]| parts.iter().any(|part| name.as_str().contains(part));
    (holds(&SECRET_HEADERS) && !holds(&PLAIN_HEADERS)) || name.as_str().ends_with("auth")
}

/// Returns the URL without those parameters that are secrets, by their names.
pub(crate) fn without_secrets(uri: &Uri) -> String {
    let url = uri.to_string();
    let Some((path, query)) = url.split_once('?') else { return url };
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        // An escaped name could be anything.
        name.contains('%') || SECRET_PARAMETERS.iter().any(|secret| name.contains(secret))
    };
    let kept: Vec<_> = query
        .split('&')
        .filter(|parameter| !is_secret(parameter.split_once('=').map_or(*parameter, |(name, _)| name)))
        .collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_secrets_are_left_out() {
        for (url, stored) in [
            ("/hook", "/hook"),
            ("/hook?tenant=7", "/hook?tenant=7"),
            ("/hook?tenant=7&token=abc&x=1", "/hook?tenant=7&x=1"),
            ("/hook?X-Api-Key=abc", "/hook"),
            ("/hook?%74oken=abc", "/hook"),
            ("/hook?Signature=a&sig", "/hook"),
        ] {
            assert_eq!(without_secrets(&url.parse().unwrap()), stored);
        }
    }

    #[test]
    fn a_token_is_a_credential_and_a_signature_is_not() {
        for name in [
            "authorization",
            "cookie",
            "proxy-authorization",
            "x-api-key",
            "x-gitlab-token",
            "x-hook-secret",
            "x-telegram-bot-api-secret-token",
            "x-webhook-auth",
        ] {
            assert!(is_credential(&name.parse().unwrap()), "{name}");
        }
        for name in [
            "content-type",
            "idempotency-key",
            "paypal-auth-algo",
            "stripe-signature",
            "token-event",
            "token-signature",
            "x-event-key",
            "x-hub-signature-256",
        ] {
            assert!(!is_credential(&name.parse().unwrap()), "{name}");
        }
    }
}
