//! The address that the sender was given, for senders that sign it.

use std::fmt;

use http::Uri;
use http::header::{HOST, HeaderName};
use http::request::Parts;
use http::uri::Scheme as UriScheme;

use crate::config::ConfigError;
use crate::headers::{LONGEST_HEADER, single};
use crate::rejection::{Reason, Rejection};
use crate::uri::requested_uri;

/// How the address that the sender requested is known. What a service behind a proxy sees of it may
/// differ.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PublicUrl {
    /// Scheme, authority and perhaps a path prefix, as written, without a slash at the end.
    Base(Box<str>),
    /// What the proxy in front of us says in `X-Forwarded-Proto` and `X-Forwarded-Host`.
    Forwarded,
}

/// Prints no address, which may hold a password.
impl fmt::Debug for PublicUrl {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base(_) => "Base(..)",
            Self::Forwarded => "Forwarded",
        })
    }
}

impl PublicUrl {
    #[inline]
    pub(crate) fn base(text: &str) -> Result<Self, ConfigError> {
        let faulty =
            || ConfigError::invalid("the public URL is not http(s)://host, perhaps with a path, and nothing behind it");
        let uri: Uri = text.parse().map_err(|_| faulty())?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.host().is_empty())
            && uri.query().is_none()
            && !text.contains('#');
        if !plain {
            return Err(faulty());
        }
        Ok(Self::Base(text.trim_end_matches('/').into()))
    }

    /// Returns the path that requested paths are appended to, without a slash at the end.
    #[inline]
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Base(base) => {
                let host = base.find("://").map_or(0, |at| at + 3);
                base[host..].find('/').map_or("", |at| &base[host + at..])
            }
            Self::Forwarded => "",
        }
    }

    /// Returns the address, if it is configured.
    #[cfg(feature = "inspect")]
    #[inline]
    pub(crate) fn as_base(&self) -> Option<String> {
        match self {
            Self::Base(base) => Some(base.to_string()),
            Self::Forwarded => None,
        }
    }

    /// Returns the other spellings of a configured address: with and without the port, with and
    /// without a user.
    #[inline]
    pub(crate) fn other_spellings(&self) -> Vec<Self> {
        let Self::Base(base) = self else { return Vec::new() };
        let Some((scheme, rest)) = base.split_once("://") else { return Vec::new() };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let other = match host.rsplit_once(':').filter(|(_, port)| is_port(port)) {
            Some((host, _)) => host.to_owned(),
            None => format!("{host}:{}", if scheme == UriScheme::HTTP.as_str() { 80 } else { 443 }),
        };
        let mut spellings = vec![format!("{scheme}://{other}{path}")];
        if !user.is_empty() {
            spellings.push(format!("{scheme}://{host}{path}"));
            spellings.push(format!("{scheme}://{user}@{other}{path}"));
        }
        spellings.into_iter().map(|text| Self::Base(text.into())).collect()
    }

    /// Feeds the whole address, with path and query byte for byte as they were received.
    pub(crate) fn feed(&self, head: &Parts, mut sink: impl FnMut(&[u8])) -> Result<(), Rejection> {
        match self {
            Self::Base(base) => sink(base.as_bytes()),
            Self::Forwarded => {
                let scheme = forwarded(head, PROTO)?.ok_or_else(missing)?;
                if scheme != UriScheme::HTTP.as_str() && scheme != UriScheme::HTTPS.as_str() {
                    return Err(Rejection::new(Reason::MalformedHeader)
                        .with_detail("`x-forwarded-proto` is neither http nor https"));
                }
                let host = match forwarded(head, FORWARDED_HOST)? {
                    Some(host) => host,
                    None => single(head, &HOST, LONGEST_HEADER)?
                        .and_then(|host| host.to_str().ok())
                        .or_else(|| head.uri.authority().map(|authority| authority.as_str()))
                        .ok_or_else(missing)?,
                };
                sink(scheme.as_bytes());
                sink(b"://");
                sink(host.as_bytes());
            }
        }
        sink(requested_uri(head).path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        Ok(())
    }
}

impl PublicUrl {
    /// Returns the whole address for the operator, without user, password and the values of the
    /// query.
    #[inline]
    pub(crate) fn shown(&self, head: &Parts) -> Option<String> {
        let mut text = Vec::new();
        self.feed(head, |bytes| text.extend_from_slice(bytes)).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = match authority.rsplit_once('@') {
            Some((_, host)) => format!("..@{host}"),
            None => authority.to_owned(),
        };
        let Some((path, query)) = path.split_once('?') else { return Some(format!("{scheme}://{authority}{path}")) };
        let names = query
            .split('&')
            .map(|field| field.split_once('=').map_or_else(|| "..".to_owned(), |(name, _)| format!("{name}=..")));
        Some(format!("{scheme}://{authority}{path}?{}", names.collect::<Vec<_>>().join("&")))
    }
}

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// One value: a list would be several proxies, of which only the nearest is known to us.
#[inline]
fn forwarded(head: &Parts, name: HeaderName) -> Result<Option<&str>, Rejection> {
    let Some(value) = single(head, &name, LONGEST_HEADER)? else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() && !text.contains([',', ' ', '/']) => Ok(Some(text)),
        _ => Err(Rejection::new(Reason::MalformedHeader).with_detail(format!("`{name}` is not one plain value"))),
    }
}

#[inline]
fn missing() -> Rejection {
    Rejection::new(Reason::MissingHeader)
        .with_detail("the proxy sends no `x-forwarded-proto`, or neither `x-forwarded-host` nor `host` names us")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(public: &PublicUrl, request: http::request::Builder) -> Result<String, Reason> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut url = Vec::new();
        public.feed(&head, |bytes| url.extend_from_slice(bytes)).map_err(|rejection| rejection.reason())?;
        Ok(String::from_utf8(url).unwrap())
    }

    #[test]
    fn the_configured_base_goes_before_what_was_received() {
        let request =
            || http::Request::post("/hook?a=%2f&b").header("host", "10.0.0.1").header("x-forwarded-host", "evil");
        for (base, expected) in [
            ("https://Example.com", "https://Example.com/hook?a=%2f&b"),
            ("https://example.com/", "https://example.com/hook?a=%2f&b"),
            ("https://example.com:8443/in", "https://example.com:8443/in/hook?a=%2f&b"),
        ] {
            assert_eq!(url(&PublicUrl::base(base).unwrap(), request()).as_deref(), Ok(expected));
        }
        for bad in
            ["", "example.com", "ftp://example.com", "https://", "https://a?b", "https://a#b", "https://u@", "/x"]
        {
            assert!(PublicUrl::base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_path_and_other_spellings() {
        let spellings = |base: &str| {
            let others = PublicUrl::base(base).unwrap().other_spellings();
            others
                .into_iter()
                .map(|url| if let PublicUrl::Base(text) = url { text.into() } else { String::new() })
                .collect::<Vec<_>>()
        };
        assert_eq!(spellings("https://h.example/in"), ["https://h.example:443/in"]);
        assert_eq!(spellings("http://h.example"), ["http://h.example:80"]);
        assert_eq!(spellings("https://[::1]"), ["https://[::1]:443"]);
        assert_eq!(spellings("https://h:8443/"), ["https://h"]);
        assert_eq!(spellings("https://u:p@h/in"), ["https://h:443/in", "https://h/in", "https://u:p@h:443/in"]);
        let path = |base: &str| PublicUrl::base(base).unwrap().path().to_owned();
        assert_eq!([path("https://h"), path("https://h/"), path("https://h/a/b/")], ["", "", "/a/b"]);
    }

    #[test]
    fn forwarded_headers_are_plain_and_single() {
        let request = || http::Request::post("/hook").header("host", "inner:80").header("x-forwarded-proto", "https");
        let forwarded = |request| url(&PublicUrl::Forwarded, request);
        assert_eq!(forwarded(request()).as_deref(), Ok("https://inner:80/hook"));
        assert_eq!(
            forwarded(request().header("x-forwarded-host", "hooks.example.com")).as_deref(),
            Ok("https://hooks.example.com/hook")
        );
        let twice = request().header("x-forwarded-host", "a").header("x-forwarded-host", "b");
        assert_eq!(forwarded(twice), Err(Reason::DuplicateHeader));
        assert_eq!(forwarded(request().header("x-forwarded-host", "a, b")), Err(Reason::MalformedHeader));
        assert_eq!(forwarded(http::Request::post("/hook").header("host", "a")), Err(Reason::MissingHeader));
        let other = http::Request::post("/").header("host", "a").header("x-forwarded-proto", "gopher");
        assert_eq!(forwarded(other), Err(Reason::MalformedHeader));
    }

    #[cfg(feature = "axum")]
    #[test]
    fn a_nested_router_does_not_change_what_was_requested() {
        let mut request = http::Request::post("/rest");
        let original = axum::extract::OriginalUri(Uri::from_static("/api/rest?x=1"));
        request.extensions_mut().unwrap().insert(original);
        assert_eq!(url(&PublicUrl::base("https://h").unwrap(), request).as_deref(), Ok("https://h/api/rest?x=1"));
    }
}
