//! Whether a browser sends a request for a page of another site.

use http::header::{HOST, HeaderName, ORIGIN};
use http::request::Parts;
use http::{Method, StatusCode};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses requests that change something and that a browser sends for a page of another site,
/// with the browser's cookies and credentials. Other clients send neither of the two headers that
/// tell.
pub(super) fn check(head: &Parts) -> Result<(), (StatusCode, &'static str)> {
    if matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) || !is_cross_site(head) {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "a page of another site asked for this"))
}

fn is_cross_site(head: &Parts) -> bool {
    if let Some(site) = head.headers.get(SEC_FETCH_SITE) {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = head.headers.get(ORIGIN) else { return false };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_none_or(|host| !authority(head).is_some_and(|own| own.eq_ignore_ascii_case(host)))
}

/// Returns the host and port that were asked for.
pub(super) fn authority(head: &Parts) -> Option<&str> {
    match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(HOST)?.to_str().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_browser_sends_for_another_site_is_refused() {
        for (method, headers, is_refused) in [
            ("POST", &[][..], false),
            ("POST", &[("sec-fetch-site", "same-origin")], false),
            ("POST", &[("sec-fetch-site", "none")], false),
            ("POST", &[("sec-fetch-site", "cross-site")], true),
            ("POST", &[("sec-fetch-site", "same-site")], true),
            ("DELETE", &[("sec-fetch-site", "cross-site")], true),
            ("GET", &[("sec-fetch-site", "cross-site")], false),
            ("POST", &[("origin", "http://hooks.example.test:8080")], false),
            ("POST", &[("origin", "http://HOOKS.example.test:8080")], false),
            ("POST", &[("origin", "http://hooks.example.test")], true),
            ("POST", &[("origin", "http://evil.example.test")], true),
            ("POST", &[("origin", "null")], true),
            // Behind a proxy the host is another one, and the browser itself says what counts.
            ("POST", &[("origin", "https://hooks.example.com"), ("sec-fetch-site", "same-origin")], false),
        ] {
            let mut request = http::Request::builder().method(method).header("host", "hooks.example.test:8080");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(check(&head).is_err(), is_refused, "{method} {headers:?}");
        }
    }
}
