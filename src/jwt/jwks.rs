//! Public keys of token issuers: fetched together by address, or one by one by their id.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Uri;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::fetch::{self, Cache, Fetch, Found, Fresh, Rules};
use crate::rejection::{BoxError, Reason, Rejection};

use super::{Algorithm, Backend, PublicKey};

/// How long keys are used before they are fetched again. Google's own answers say five to six hours; an hour bounds how
/// long a withdrawn key is believed.
const KEPT: Duration = Duration::from_secs(3600);

/// The most keys taken from one set. Issuers have two to five.
const MOST_KEYS: usize = 64;

/// The longest key id. Google's have 40 characters, Plaid's 36.
const LONGEST_KID: usize = 128;

/// The public keys of a token issuer. Clones share what was fetched.
///
/// What is fetched is bounded in size, time and number, followed nowhere, and fetched once for however many requests wait for
/// it. A key that cannot be read is left out and does not spoil the others. A key id that is unknown leads to
/// a new fetch at most once in 30 seconds. Where keys cannot be had the request is answered 503.
#[derive(Clone)]
pub struct Jwks {
    from: From,
    cache: Cache<KeySet>,
}

#[derive(Clone)]
enum From {
    Url { url: Uri, fetch: Arc<dyn Fetch> },
    Kid(Arc<dyn Fetch>),
}

impl Jwks {
    /// The set at this address (RFC 7517), fetched by the default client. Plain http is taken for loopback addresses alone.
    ///
    /// # Errors
    ///
    /// Where the address is not a URL of this kind, or the client cannot be set up.
    #[cfg(feature = "client")]
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        let local = url.parse::<Uri>().ok().is_some_and(|uri| is_loopback_http(&uri));
        let client = match local {
            true => fetch::HttpsClient::with_insecure_plain_http(),
            false => fetch::HttpsClient::new(),
        }?;
        Self::fetched_by(url, client)
    }

    /// The set at this address (RFC 7517), fetched by this client. Plain http is taken for loopback addresses alone.
    ///
    /// # Errors
    ///
    /// Where the address is not a URL of this kind.
    pub fn fetched_by(url: &str, fetch: impl Fetch) -> Result<Self, ConfigError> {
        let uri: Uri = url.parse().map_err(|_| ConfigError::invalid("the address of the keys is not a URL"))?;
        match uri.scheme_str() == Some("https") || is_loopback_http(&uri) {
            true => Ok(Self::new(From::Url { url: uri, fetch: Arc::new(fetch) })),
            false => Err(ConfigError::invalid("the address of the keys is not https")),
        }
    }

    /// Keys that are asked for one by one, by their id: the closure returns the key as a JWK, alone or as the member `key`
    /// of an object. The id comes from an unverified token: send it on in a body, and build no address from it.
    ///
    /// ```
    /// use tower_webhook::scheme::Jwks;
    ///
    /// async fn ask_plaid(key_id: String) -> Result<String, std::io::Error> {
    ///     // POST /webhook_verification_key/get with client_id, secret and key_id
    /// #   Ok(key_id)
    /// }
    ///
    /// let keys = Jwks::lookup(ask_plaid);
    /// ```
    pub fn lookup<F, Fut, T, E>(find: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Bytes>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // The id travels as an address without authority, so that one trait serves both ways.
        let fetch = move |uri: Uri| {
            let found = find(uri.path().trim_start_matches('/').to_owned());
            async move {
                found.await.map(|key| http::Response::new(key.into())).map_err(|error| -> BoxError { error.into() })
            }
        };
        Self::new(From::Kid(Arc::new(fetch)))
    }

    fn new(from: From) -> Self {
        Self { from, cache: Cache::new(Rules::DEFAULT) }
    }

    /// The key of this id.
    pub(crate) fn find(&self, kid: &str, algorithm: Algorithm, now: SystemTime) -> Result<KeyFound, Rejection> {
        let plain = kid.len() <= LONGEST_KID
            && !kid.is_empty()
            && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte));
        if !plain {
            return Err(Rejection::new(Reason::MalformedSignature).with_detail("the key id is not a plain text"));
        }
        let (uri, fetch, alone) = match &self.from {
            From::Url { url, fetch } => (url.clone(), fetch.clone(), false),
            From::Kid(fetch) => {
                (format!("/{kid}").parse().map_err(|_| Reason::MalformedSignature)?, fetch.clone(), true)
            }
        };
        let key = uri.to_string();
        let load = move || load(fetch, uri, alone, algorithm, now);
        let found = self.cache.find(&key, now, load.clone());
        if let Found::Now(Ok(set)) = &found {
            if let Some(key) = set.get(kid, now) {
                return Ok(KeyFound::Now(key));
            }
            if alone {
                return Err(Reason::SignatureMismatch.into());
            }
            return match self.cache.refetch(&key, now, load) {
                Some(found) => Ok(KeyFound::Later(found, kid.to_owned())),
                None => Err(Rejection::new(Reason::KeyUnavailable)
                    .with_detail("the key is unknown, and its set was fetched a moment ago")),
            };
        }
        Ok(KeyFound::Later(found, kid.to_owned()))
    }
}

/// A key, or the fetch that may bring it.
pub(crate) enum KeyFound {
    Now(PublicKey),
    Later(Found<KeySet>, String),
}

impl KeyFound {
    pub(crate) async fn key(self, now: SystemTime) -> Result<PublicKey, Rejection> {
        let (found, kid) = match self {
            Self::Now(key) => return Ok(key),
            Self::Later(found, kid) => (found, kid),
        };
        let set = match found {
            Found::Now(set) => set,
            Found::Later(flight) => flight.await,
        }?;
        set.get(&kid, now).ok_or_else(|| {
            Rejection::new(Reason::SignatureMismatch).with_detail("the issuer has no key of this id, or it has expired")
        })
    }
}

fn is_loopback_http(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("http") && loopback
}

async fn load(
    fetch: Arc<dyn Fetch>,
    uri: Uri,
    alone: bool,
    algorithm: Algorithm,
    now: SystemTime,
) -> Result<Fresh<KeySet>, Rejection> {
    let text = fetch::get(&*fetch, uri.clone(), Reason::KeyUnavailable).await?;
    let set = match alone {
        true => KeySet::one(&text, uri.path().trim_start_matches('/'), algorithm),
        false => KeySet::read(&text, algorithm),
    };
    let unusable = || Rejection::new(Reason::KeyUnavailable).with_detail("the answer holds no key that can be used");
    Ok(Fresh { value: set.ok_or_else(unusable)?, until: now + KEPT })
}

/// Keys by their ids.
pub(crate) struct KeySet(HashMap<String, Key>);

struct Key {
    key: PublicKey,
    expires: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Plaid: when the key was withdrawn, in seconds.
    expired_at: Option<u64>,
}

impl KeySet {
    fn read(text: &[u8], algorithm: Algorithm) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text).ok()?;
        let jwks = set.keys.into_iter().take(MOST_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: HashMap<_, _> = jwks.filter_map(|jwk| Some((jwk.kid.clone()?, jwk.key(algorithm)?))).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    fn one(text: &[u8], kid: &str, algorithm: Algorithm) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(text).ok()?;
        let value = value.get("key").cloned().unwrap_or(value);
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.kid.as_deref().is_some_and(|own| own != kid) {
            return None;
        }
        Some(Self(HashMap::from([(kid.to_owned(), jwk.key(algorithm)?)])))
    }

    fn get(&self, kid: &str, now: SystemTime) -> Option<PublicKey> {
        let key = self.0.get(kid)?;
        key.expires.is_none_or(|expires| now < expires).then(|| key.key.clone())
    }
}

impl Jwk {
    fn key(&self, algorithm: Algorithm) -> Option<Key> {
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let named = self.alg.as_deref().is_none_or(|alg| alg.parse() == Ok(algorithm));
        if !signs || !named {
            return None;
        }
        let backend = Backend::prove().ok()?;
        let key = match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::RS256, "RSA", _) => PublicKey::rs256(backend, self.n.as_deref()?, self.e.as_deref()?),
            (Algorithm::ES256, "EC", Some("P-256")) => {
                PublicKey::es256(backend, self.x.as_deref()?, self.y.as_deref()?)
            }
            _ => None,
        }?;
        let expires = self.expired_at.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        Some(Key { key, expires })
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            From::Url { url, .. } => write!(f, "Jwks({url})"),
            From::Kid(_) => f.write_str("Jwks(lookup)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = r#"{"kid":"a","kty":"RSA","alg":"RS256","use":"sig","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;

    #[test]
    fn a_key_that_cannot_be_read_spoils_no_other() {
        let junk = r#"{"kid":"b"},{"kid":"c","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},17,{"kid":"d","kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}"#;
        let set = KeySet::read(format!(r#"{{"keys":[{junk},{RSA}]}}"#).as_bytes(), Algorithm::RS256).unwrap();
        assert_eq!(set.0.keys().collect::<Vec<_>>(), ["a"]);
        assert!(KeySet::read(format!(r#"{{"keys":[{junk}]}}"#).as_bytes(), Algorithm::RS256).is_none());
        assert!(KeySet::read(b"<html>", Algorithm::RS256).is_none());
    }

    #[test]
    fn a_withdrawn_key_is_no_longer_used() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let jwk = |expired: &str| {
            format!(
                r#"{{"key":{{"kid":"c","kty":"EC","crv":"P-256","expired_at":{expired},"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}}}"#
            )
        };
        for (expired, usable) in [("null", true), ("1001", true), ("1000", false)] {
            let set = KeySet::one(jwk(expired).as_bytes(), "c", Algorithm::ES256).unwrap();
            assert_eq!(set.get("c", now).is_some(), usable, "{expired}");
        }
        assert!(KeySet::one(jwk("null").as_bytes(), "other", Algorithm::ES256).is_none());
    }

    #[test]
    fn only_https_and_loopback_are_asked() {
        let fetch = |_: Uri| async { Ok::<_, std::io::Error>(http::Response::new(Bytes::new())) };
        for (url, good) in [
            ("https://www.googleapis.com/oauth2/v3/certs", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://[::1]/keys", true),
            ("http://keys.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("/keys", false),
        ] {
            assert_eq!(Jwks::fetched_by(url, fetch).is_ok(), good, "{url}");
        }
    }
}
