//! Public keys that are looked up by the id that a request names. Features `asymmetric` and
//! `fetch`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::request::Parts;

use crate::algorithm::Algorithm;
use crate::fetch::{Cache, CacheLimits, Fresh};
use crate::maybe_ready::{BoxFuture, MaybeReady};
use crate::place::Place;
use crate::public_key::{PublicKey, Verifies};
use crate::rejection::{BoxError, Reason, Rejection};
use crate::secrets::Secret;
use crate::text::Text;

/// How long a key is used before it is looked up again, which bounds how long a withdrawn one is
/// trusted while its sender can be reached.
const REFRESH: Duration = Duration::from_secs(3600);

/// How long a key serves that can't be looked up again.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The longest id. Those of the senders that are built in have up to 40 characters.
const MAX_ID_LEN: usize = 128;

/// Public keys that are looked up by the id that a request names. Clones share what was found.
///
/// A key is looked up once for however many requests wait for it. It is looked up again after an
/// hour, and serves for up to 24 hours while that fails. Ids that were never found are looked up at
/// a limited rate, and a failure stands for ten seconds: then requests are answered with 503.
///
/// # Examples
///
/// ```
/// use tower_webhook::Scheme;
/// use tower_webhook::scheme::{KeyLookup, header};
///
/// async fn ask_acme(key_id: String) -> Result<String, std::io::Error> {
///     // GET https://api.acme.example/keys/{key_id}
/// #   Ok(key_id)
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let acme = Scheme::ecdsa_p256()
///     .signature(header("x-acme-signature").base64())
///     .with_key_lookup(header("x-acme-key-id"), KeyLookup::new(ask_acme))
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyLookup {
    find: Arc<Find>,
    cache: Cache<PublicKey>,
}

type Find = dyn Fn(String) -> BoxFuture<Result<Secret, BoxError>> + Send + Sync;

impl KeyLookup {
    /// Creates a look-up by this closure, which gets an id and returns the key in any of the forms
    /// that [`with_public_key`](crate::scheme::SchemeBuilder::with_public_key) takes.
    ///
    /// The id comes from an unverified request. It has 1 to 128 letters, digits and `-_.=+:`, and
    /// is never `.` or `..`: even so, encode it if you build a URL from it.
    pub fn new<F, Fut, T, E>(find: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Secret>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let find = move |id| -> BoxFuture<Result<Secret, BoxError>> {
            let found = find(id);
            Box::pin(async move { found.await.map(Into::into).map_err(Into::into) })
        };
        Self { find: Arc::new(find), cache: Cache::new(CacheLimits::DEFAULT) }
    }

    /// Checks that an id is one that may be looked up.
    pub(crate) fn check(id: &str, place: &impl fmt::Display) -> Result<(), Rejection> {
        let is_plain = (1..=MAX_ID_LEN).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+:".contains(&byte))
            && !matches!(id, "." | "..");
        if is_plain {
            return Ok(());
        }
        Err(Rejection::new(Reason::MalformedSignature)
            .with_detail(format!("the key's id in {place} is not plain text")))
    }

    /// Returns the key of this id, which was [checked](Self::check).
    pub(crate) fn find(
        &self,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
    ) -> Result<MaybeReady<Arc<PublicKey>>, Rejection> {
        let (find, own) = (self.find.clone(), id.to_owned());
        let load = move || async move {
            let unavailable = |detail: &'static str| Rejection::new(Reason::KeyUnavailable).with_detail(detail);
            let key = find(own).await.map_err(|fault| unavailable("the look-up failed").with_source(fault))?;
            let value = PublicKey::new(algorithm, &key);
            let value = value.map_err(|fault| unavailable("the key cannot be read").with_source(fault))?;
            Ok(Fresh { value, refresh: now + REFRESH, until: now + MAX_AGE })
        };
        // Clones may serve schemes of several algorithms.
        self.cache.find(&format!("{algorithm:?} {id}"), now, load)
    }
}

impl fmt::Debug for KeyLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLookup(..)")
    }
}

/// Keys that a request says where to fetch.
pub(crate) trait FetchKey: Send + Sync + 'static {
    /// Checks where the key is said to be, before anything else is done.
    fn check(&self, head: &Parts) -> Result<(), Rejection>;

    /// Fetches the key, once every offline check has passed.
    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Arc<dyn Verifies>, Rejection>>;

    /// Says how the key is found, for tables.
    #[cfg(feature = "testing")]
    fn describe(&self) -> String;
}

/// Keys that are looked up by the id at this place.
pub(crate) struct KeysById {
    pub(crate) id: Place,
    pub(crate) algorithm: Algorithm,
    pub(crate) keys: KeyLookup,
}

impl KeysById {
    fn id(&self, head: &Parts) -> Result<Text, Rejection> {
        let missing = || Rejection::new(Reason::MissingHeader).with_detail(format!("no key's id in {}", self.id));
        let id = self.id.text(head, b"", Reason::MalformedSignature)?.ok_or_else(missing)?;
        KeyLookup::check(&id, &self.id).map(|()| id)
    }
}

impl FetchKey for KeysById {
    fn check(&self, head: &Parts) -> Result<(), Rejection> {
        self.id(head).map(drop)
    }

    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Arc<dyn Verifies>, Rejection>> {
        let found = self.id(head).and_then(|id| self.keys.find(&id, self.algorithm, now));
        Box::pin(async move { Ok(found?.wait().await? as Arc<dyn Verifies>) })
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        format!(", by the key whose id is in {}", self.id)
    }
}
