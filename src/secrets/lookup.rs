//! The secrets of a sender: fixed, or looked up by request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use smallvec::SmallVec;

use crate::config::ConfigError;
use crate::maybe_ready::MaybeReady;
use crate::rejection::{BoxError, Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;
use crate::text::Text;

use super::cache::{CachePolicy, KeyCache};
use super::head::Head;
use super::keyring::{Keyring, KeysFor, MakeKey, TriedKeys};
use super::secret::Secret;

type FoundSecrets = Pin<Box<dyn Future<Output = Result<SmallVec<[Secret; 1]>, BoxError>> + Send>>;
type Lookup = Arc<dyn Fn(Head) -> FoundSecrets + Send + Sync>;

/// The secrets that a sender may sign with: one, several during rotation, or looked up by request.
///
/// Providers take anything that converts into it: `"text"`, a [`Secret`], an array or a `Vec` of
/// them, or `Secrets`.
///
/// # Examples
///
/// ```
/// use tower_webhook::{Head, Secret, Secrets};
///
/// // While secrets rotate, any of them verifies. The delivery says which one did.
/// let rotating = Secrets::new(["the new one", "the old one"]);
///
/// // One secret per tenant, found by the request's head. `None` is an unknown tenant, which is refused like a bad signature.
/// // An error is answered 503.
/// let tenants = Secrets::lookup(|head: Head| async move {
///     let secret = match head.uri.path() {
///         "/webhooks/acme" => Some(Secret::new("the secret of acme")),
///         _ => None,
///     };
///     Ok::<_, std::io::Error>(secret)
/// });
/// ```
#[derive(Clone)]
pub struct Secrets(SecretSource);

#[derive(Clone)]
enum SecretSource {
    Fixed(Vec<Secret>),
    Lookup { find: Lookup, policy: Option<CachePolicy> },
}

impl Secrets {
    /// Creates a set of secrets that are all valid at the same time, the likeliest first. Building
    /// a provider fails if there is none, or more than [`MAX_SECRETS`](crate::MAX_SECRETS).
    #[must_use]
    pub fn new<T: Into<Secret>>(secrets: impl IntoIterator<Item = T>) -> Self {
        Self(SecretSource::Fixed(secrets.into_iter().map(Into::into).collect()))
    }
}

impl Secrets {
    /// Divides secrets into those that are texts of a kind, and the others. A look-up becomes two,
    /// each of which leaves out what the other one finds.
    pub(crate) fn partition(self, is_of_kind: fn(&str) -> bool) -> (Option<Self>, Option<Self>) {
        let [kind, others] = [true, false].map(|wanted| {
            let fits = move |secret: &Secret| secret.text().is_some_and(is_of_kind) == wanted;
            match &self.0 {
                SecretSource::Fixed(secrets) => {
                    let secrets: Vec<_> = secrets.iter().filter(|secret| fits(secret)).cloned().collect();
                    (!secrets.is_empty()).then(|| Self::new(secrets))
                }
                SecretSource::Lookup { find, policy } => {
                    let find = find.clone();
                    let find = move |head: Head| -> FoundSecrets {
                        let found = find(head);
                        Box::pin(async move { Ok(found.await?.into_iter().filter(fits).collect()) })
                    };
                    Some(Self(SecretSource::Lookup { find: Arc::new(find), policy: policy.clone() }))
                }
            }
        });
        (kind, others)
    }
}

#[cfg(feature = "inspect")]
impl Secrets {
    /// Returns the secrets that are known without a request.
    pub(crate) fn fixed(&self) -> &[Secret] {
        match &self.0 {
            SecretSource::Fixed(secrets) => secrets,
            SecretSource::Lookup { .. } => &[],
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SecretSource::Fixed(secrets) => write!(f, "Secrets({})", secrets.len()),
            SecretSource::Lookup { .. } => f.write_str("Secrets(lookup)"),
        }
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self::new([secret])
    }
}

impl From<&Secret> for Secrets {
    fn from(secret: &Secret) -> Self {
        Self::new([secret.clone()])
    }
}

impl From<&str> for Secrets {
    fn from(secret: &str) -> Self {
        Self::new([secret])
    }
}

impl From<String> for Secrets {
    fn from(secret: String) -> Self {
        Self::new([secret])
    }
}

impl From<&String> for Secrets {
    fn from(secret: &String) -> Self {
        Self::new([secret])
    }
}

/// Creates a set of secrets that are all valid at the same time.
impl<T: Into<Secret>, const N: usize> From<[T; N]> for Secrets {
    fn from(secrets: [T; N]) -> Self {
        Self::new(secrets)
    }
}

/// Creates a set of secrets that are all valid at the same time.
impl<T: Into<Secret>> From<Vec<T>> for Secrets {
    fn from(secrets: Vec<T>) -> Self {
        Self::new(secrets)
    }
}

/// Creates a set of secrets that are all valid at the same time.
impl<T: Clone + Into<Secret>> From<&[T]> for Secrets {
    fn from(secrets: &[T]) -> Self {
        Self::new(secrets.iter().cloned())
    }
}

impl Secrets {
    /// Looks the secrets up by the head of each request: one database for many tenants.
    ///
    /// The closure returns any number of secrets up to [`MAX_SECRETS`](crate::MAX_SECRETS): an
    /// `Option`, a `Vec`, an array. If it returns none, the request is rejected exactly like
    /// one with a bad signature, including its timing after the look-up. If it returns an
    /// error, or a secret that isn't a key for this sender, the request is answered 503, after
    /// which most senders try again.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::{Head, Secret, Secrets, senders};
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let github = senders::github(Secrets::lookup(|head: Head| async move {
    ///     Ok::<_, std::io::Error>(match head.uri.path() {
    ///         "/webhooks/acme" => Some(Secret::new("the secret of acme")),
    ///         _ => None,
    ///     })
    /// }))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lookup<F, Fut, T, E>(find: F) -> Self
    where
        F: Fn(Head) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: IntoIterator<Item: Into<Secret>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let find = move |head: Head| -> FoundSecrets {
            let found = find(head);
            Box::pin(async move {
                let secrets = found.await.map_err(Into::into)?;
                Ok(secrets.into_iter().map(Into::into).collect())
            })
        };
        Self(SecretSource::Lookup { find: Arc::new(find), policy: None })
    }

    /// Keeps what a [look-up](Self::lookup) finds, so that a request costs a look-up only now and
    /// then.
    ///
    /// Requests of a tenant that come at once wait for one look-up. Tenants without secrets are
    /// remembered too, for a shorter time, and apart, so that invented tenants push out no real
    /// one. If the look-up fails, the secrets of before are used for a while. Everything is
    /// bounded: see [`CachePolicy`].
    ///
    /// The look-up then sees only the part of the request that tells tenants apart: by default the
    /// method, the path, the `Host` header and the [hint](Head::unverified_hint). If yours
    /// needs another header or the query, name it with [`CachePolicy::with_header`] or
    /// [`CachePolicy::with_query`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::{CachePolicy, Head, Secret, Secrets, senders};
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let secrets = Secrets::lookup(|head: Head| async move { secret_of(head.uri.path()).await });
    /// let github = senders::github(secrets.cached(CachePolicy::default()))?;
    /// # Ok(())
    /// # }
    /// # async fn secret_of(_: &str) -> Result<Option<Secret>, std::io::Error> { Ok(None) }
    /// ```
    #[must_use]
    pub fn cached(mut self, cache: CachePolicy) -> Self {
        if let SecretSource::Lookup { policy, .. } = &mut self.0 {
            *policy = Some(cache);
        }
        self
    }

    /// Turns secrets into a provider's keys, now or, for a look-up, with each request.
    pub(crate) fn into_keys<K: Clone + Send + Sync + 'static>(
        self,
        make: impl Fn(&Secret) -> Result<K, ConfigError> + Send + Sync + 'static,
    ) -> Result<Keys<K>, ConfigError> {
        match self.0 {
            SecretSource::Fixed(secrets) => match Keyring::from_secrets(&secrets, make)? {
                Some(keyring) => Ok(Keys::Fixed(Arc::new(keyring))),
                None => Err(ConfigError::missing("there is no secret")),
            },
            SecretSource::Lookup { find, policy } => {
                let cache = policy.map(|policy| Arc::new(KeyCache::new(policy)));
                Ok(Keys::Lookup { find, make: Arc::new(make), decoy: Arc::new(Decoy::new()), cache })
            }
        }
    }
}

/// A provider's keys: made once, or looked up.
#[derive(Clone)]
pub(crate) enum Keys<K> {
    Fixed(Arc<Keyring<K>>),
    Lookup { find: Lookup, make: Arc<MakeKey<K>>, decoy: Arc<Decoy>, cache: Option<Arc<KeyCache<K>>> },
}

/// The key tried for an unknown tenant. No signature made with it is ever accepted. It is as long
/// as most keys are: one that is longer than a hash function's block, 64 bytes, is hashed first,
/// and would take longer than a tenant's.
pub(crate) const DECOY: &[u8] = b"a decoy: no tenant has this key.";

impl<K: Clone + Send + Sync + 'static> Keys<K> {
    /// Returns whether the keys have to be looked up for each request.
    #[cfg(feature = "jwt")]
    pub(crate) fn are_looked_up(&self) -> bool {
        matches!(self, Self::Lookup { .. })
    }

    /// Returns the key that tests sign with.
    #[cfg(feature = "testing")]
    pub(crate) fn signing_key(&self) -> Result<&K, SignError> {
        match self {
            Self::Fixed(keyring) => Ok(keyring.first()),
            Self::Lookup { .. } => Err(SignError::new("its secrets are looked up")),
        }
    }

    /// Finds which keys a request is verified with. `hint` may help a look-up: see
    /// [`Head::unverified_hint`].
    pub(crate) fn find(&self, parts: &Parts, hint: Option<Text>) -> MaybeReady<KeysFor<K>> {
        match self {
            Self::Fixed(_) => KeysFor::Own.into(),
            Self::Lookup { find, make, decoy, cache } => {
                let look_up = |head| make_keys(find(head), make.clone(), decoy.clone());
                match cache {
                    Some(cache) => cache.find(parts, hint, look_up),
                    None => MaybeReady::pending(look_up(Head::new(parts, hint))),
                }
            }
        }
    }
}

impl<K> Keys<K> {
    /// Returns the keys that [`find`](Self::find) has found for a request, to try its signature
    /// with.
    #[inline]
    pub(crate) fn tried<'a>(&'a self, found: &'a KeysFor<K>) -> Result<TriedKeys<'a, K>, Rejection> {
        match (self, found) {
            (Self::Fixed(keyring), KeysFor::Own) => Ok(TriedKeys::known(keyring)),
            // Not reached, as keys of one kind are only found by keys of that kind.
            (Self::Fixed(_), _) => Err(Reason::SecretUnavailable.into()),
            (Self::Lookup { .. }, found) => found.looked_up().ok_or_else(|| Reason::SecretUnavailable.into()),
        }
    }
}

/// The secret that stands for that of an unknown tenant. Its key is made anew wherever the keys of
/// tenants are, and kept where theirs are kept, so that one takes as long as the other.
pub(crate) struct Decoy {
    kept: Secret,
    is_new: AtomicBool,
}

impl Decoy {
    fn new() -> Self {
        Self { kept: Secret::from_bytes(DECOY), is_new: AtomicBool::new(true) }
    }

    fn secret(&self) -> Secret {
        if self.is_new.load(Ordering::Relaxed) { Secret::from_bytes(DECOY) } else { self.kept.clone() }
    }
}

async fn make_keys<K: Send + Sync + 'static>(
    found: FoundSecrets,
    make: Arc<MakeKey<K>>,
    decoy: Arc<Decoy>,
) -> Result<KeysFor<K>, Rejection> {
    let unusable = |error: ConfigError| {
        Rejection::new(Reason::SecretUnavailable).with_detail("a looked-up secret isn't a key").with_source(error)
    };
    let mut secrets = found.await.map_err(|error| Rejection::new(Reason::SecretUnavailable).with_source(error))?;
    let known = !secrets.is_empty();
    if !known {
        secrets.push(decoy.secret());
    }
    if let [only] = &secrets[..] {
        let (ring, was_kept) = Keyring::of(only, &make).map_err(unusable)?;
        if known {
            decoy.is_new.store(!was_kept, Ordering::Relaxed);
        }
        return Ok(KeysFor::Found { ring, known });
    }
    let keyring = Keyring::from_secrets(&secrets, &*make).map_err(unusable)?;
    keyring.map(|ring| KeysFor::Found { ring: Arc::new(ring), known }).ok_or_else(|| Reason::SecretUnavailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_part_of_a_secret() {
        assert_eq!(format!("{:?}", Secrets::new(["hunter2", "hunter3"])), "Secrets(2)");
    }
}
