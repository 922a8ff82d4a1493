//! Public keys of token issuers, fetched as a set or looked up one by one.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Uri;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::fetch::{self, Cache, CacheLimits, Fetch, Fresh};
use crate::maybe_ready::MaybeReady;
use crate::rejection::{BoxError, Reason, Rejection};

use super::{Algorithm, Backend, PublicKey};

/// How long keys are used before they are fetched again. Google's own responses say five to six
/// hours; an hour bounds how long a withdrawn key is trusted, while its issuer can be reached.
const REFRESH: Duration = Duration::from_secs(3600);

/// How long keys serve whose issuer can't be reached.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The most keys taken from one set. Issuers have two to five.
const MAX_KEYS: usize = 64;

/// The longest key id. Google's have 40 characters, Plaid's 36.
const MAX_KID_LEN: usize = 128;

/// The public keys of a token issuer. Clones share what was fetched.
///
/// Fetches are bounded in size, time and number, follow no redirect, and happen once for however
/// many requests wait for one. A key that cannot be read is left out and doesn't spoil the others.
/// An unknown key id causes a new fetch at most once in 30 seconds. Keys are fetched again after an
/// hour; while their issuer can't be reached, they serve for up to 24 hours, and then requests are
/// answered with 503.
///
/// # Examples
///
/// ```
/// use tower_webhook::scheme::Jwks;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let keys = Jwks::builder("https://www.googleapis.com/oauth2/v3/certs").fetch(fetch).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Jwks {
    source: JwksSource,
    cache: Cache<KeySet>,
}

#[derive(Clone)]
enum JwksSource {
    /// The whole set is at a URL.
    Url { url: Uri, fetch: Arc<dyn Fetch> },
    /// Each key is looked up by its id.
    Lookup(Arc<dyn Fetch>),
}

/// A builder for [`Jwks`].
#[derive(Clone)]
#[must_use]
pub struct JwksBuilder {
    url: String,
    fetch: Option<Arc<dyn Fetch>>,
}

impl JwksBuilder {
    /// Sets the client that fetches the keys. With the feature `client`, the default is
    /// `HttpsClient`.
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Builds the key set. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is malformed or neither https nor http of a loopback address, or
    /// if there is no client to fetch with.
    pub fn build(self) -> Result<Jwks, ConfigError> {
        let url: Uri = self.url.parse().map_err(|_| ConfigError::invalid("the keys' URL is malformed"))?;
        let is_local = is_loopback_http(&url);
        if !is_local && url.scheme_str() != Some("https") {
            return Err(ConfigError::invalid("the keys' URL is not https"));
        }
        let fetch = self.fetch.map_or_else(|| fetch::default_client(is_local), Ok)?;
        Ok(Jwks::new(JwksSource::Url { url, fetch }))
    }
}

impl Jwks {
    /// Returns a builder for the set at this URL (RFC 7517). Plain http is accepted for loopback
    /// addresses only.
    pub fn builder(url: impl Into<String>) -> JwksBuilder {
        JwksBuilder { url: url.into(), fetch: None }
    }

    /// Looks up keys one by one, by their id. The closure returns the key as a JWK, alone or as the
    /// member `key` of an object. The id comes from an unverified token: send it in a body, and
    /// build no URL from it.
    ///
    /// # Examples
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
        // The id travels as a URI without authority, so that one trait serves both ways.
        let fetch = move |uri: Uri| {
            let found = find(uri.path().trim_start_matches('/').to_owned());
            async move {
                found.await.map(|key| http::Response::new(key.into())).map_err(|error| -> BoxError { error.into() })
            }
        };
        Self::new(JwksSource::Lookup(Arc::new(fetch)))
    }

    fn new(source: JwksSource) -> Self {
        Self { source, cache: Cache::new(CacheLimits::DEFAULT) }
    }

    /// Returns the key of this id.
    pub(crate) fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: SystemTime,
    ) -> Result<MaybeReady<PublicKey>, Rejection> {
        let plain = kid.len() <= MAX_KID_LEN
            && !kid.is_empty()
            && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte));
        if !plain {
            return Err(Rejection::new(Reason::MalformedSignature).with_detail("the token's kid is not plain text"));
        }
        let (uri, fetch, is_single) = match &self.source {
            JwksSource::Url { url, fetch } => (url.clone(), fetch.clone(), false),
            JwksSource::Lookup(fetch) => {
                (format!("/{kid}").parse().map_err(|_| Reason::MalformedSignature)?, fetch.clone(), true)
            }
        };
        let url = uri.to_string();
        let load = move || load(fetch, uri, is_single, algorithm, now);
        let set = match self.cache.find(&url, now, load.clone())? {
            MaybeReady::Ready(set) => match set.get(kid, now) {
                Some(key) => return Ok(key.into()),
                None if is_single => return Err(Reason::SignatureMismatch.into()),
                None => self.cache.refetch(&url, now, load)?.ok_or_else(|| {
                    Rejection::new(Reason::KeyUnavailable)
                        .with_detail("the token's kid is unknown, and the issuer's keys were fetched a moment ago")
                })?,
            },
            pending => pending,
        };
        let kid = kid.to_owned();
        set.and_then(move |set| {
            set.get(&kid, now).ok_or_else(|| {
                Rejection::new(Reason::SignatureMismatch)
                    .with_detail("the issuer has no key of the token's kid, or it has expired")
            })
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
    is_single: bool,
    algorithm: Algorithm,
    now: SystemTime,
) -> Result<Fresh<KeySet>, Rejection> {
    let text = fetch::get(&*fetch, uri.clone(), Reason::KeyUnavailable).await?;
    let set = if is_single {
        KeySet::one(&text, uri.path().trim_start_matches('/'), algorithm)
    } else {
        KeySet::read(&text, algorithm)
    };
    let unusable = || Rejection::new(Reason::KeyUnavailable).with_detail("the response contains no usable key");
    Ok(Fresh { value: set.ok_or_else(unusable)?, refresh: now + REFRESH, until: now + MAX_AGE })
}

/// Keys by their ids.
pub(crate) struct KeySet(HashMap<String, IssuerKey>);

struct IssuerKey {
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
        let jwks = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
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
    fn key(&self, algorithm: Algorithm) -> Option<IssuerKey> {
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let named = self.alg.as_deref().is_none_or(|alg| alg.parse() == Ok(algorithm));
        if !signs || !named {
            return None;
        }
        let backend = Backend::prove().ok()?;
        let key = match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::ES256, "EC", Some("P-256")) | (Algorithm::ES384, "EC", Some("P-384")) => {
                PublicKey::ec(backend, algorithm, self.x.as_deref()?, self.y.as_deref()?)
            }
            (Algorithm::EdDSA, "OKP", Some("Ed25519")) => PublicKey::ed25519(backend, self.x.as_deref()?),
            // Of the others, only RSA has public keys.
            (_, "RSA", _) => PublicKey::rsa(backend, algorithm, self.n.as_deref()?, self.e.as_deref()?),
            _ => None,
        }?;
        let expires = self.expired_at.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        Some(IssuerKey { key, expires })
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            JwksSource::Url { url, .. } => write!(f, "Jwks({})", url.host().unwrap_or_default()),
            JwksSource::Lookup(_) => f.write_str("Jwks(lookup)"),
        }
    }
}

impl fmt::Debug for JwksBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksBuilder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

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

    #[tokio::test]
    async fn keys_are_renewed_after_an_hour_and_serve_for_a_day_while_their_issuer_is_down() {
        let (up, fetches) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let (is_up, counted) = (up.clone(), fetches.clone());
        let fetch = move |_: Uri| {
            counted.fetch_add(1, Relaxed);
            let set = http::Response::new(Bytes::from(format!(r#"{{"keys":[{RSA}]}}"#)));
            let answer = is_up.load(Relaxed).then_some(set);
            async move { answer.ok_or("down") }
        };
        let keys = Jwks::builder("https://issuer.test/keys").fetch(fetch).build().unwrap();
        let find = async |seconds: u64| {
            let found = keys.find("a", Algorithm::RS256, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let found = match found {
                Ok(found) => found.wait().await.map(drop),
                Err(rejection) => Err(rejection),
            };
            // A renewal is a task.
            tokio::task::yield_now().await;
            found.map_err(|rejection| rejection.reason())
        };
        assert_eq!((find(0).await, find(3599).await, fetches.load(Relaxed)), (Ok(()), Ok(()), 1));
        assert_eq!((find(3600).await, fetches.load(Relaxed)), (Ok(()), 2));
        up.store(false, Relaxed);
        for hour in 2..=24 {
            assert_eq!(find(3600 * hour).await, Ok(()), "{hour}");
        }
        assert_eq!(find(25 * 3600 - 1).await, Ok(()));
        assert_eq!(find(25 * 3600).await, Err(Reason::KeyUnavailable), "24 hours after they were fetched");
        up.store(true, Relaxed);
        assert_eq!(find(25 * 3600 + 10).await, Ok(()));
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
            assert_eq!(Jwks::builder(url).fetch(fetch).build().is_ok(), good, "{url}");
        }
    }
}
