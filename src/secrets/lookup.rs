//! Secrets that depend on the request.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;

use crate::config::ConfigError;
use crate::maybe_ready::MaybeReady;
use crate::rejection::{BoxError, Reason, Rejection};
use crate::text::Text;

use super::cache::{CachePolicy, KeyCache};
use super::{Keyring, Secret, SecretSource, Secrets};

/// The head of a request as a secret look-up sees it: method, URI, headers and extensions, by [`Deref`].
///
/// None of it is verified. Use it to choose which secret to try, and for nothing else.
#[derive(Clone, Debug)]
pub struct Head {
    parts: Arc<Parts>,
    hint: Option<Text>,
}

impl Head {
    pub(crate) fn new(parts: &Parts, hint: Option<Text>) -> Self {
        Self::from_parts(parts.clone(), hint)
    }

    pub(super) fn from_parts(parts: Parts, hint: Option<Text>) -> Self {
        Self { parts: Arc::new(parts), hint }
    }

    /// Returns what the message itself says about its signer, if the sender has such a thing: for CloudBlue Connect the
    /// `webhook_id` of the token. It is *unverified*.
    #[must_use]
    pub fn unverified_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Deref for Head {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

type FoundSecrets = Pin<Box<dyn Future<Output = Result<Vec<Secret>, BoxError>> + Send>>;
pub(super) type Lookup = Arc<dyn Fn(Head) -> FoundSecrets + Send + Sync>;

impl Secrets {
    /// Looks the secrets up by the head of each request: one database for many tenants.
    ///
    /// The closure returns any number of secrets up to [`MAX_SECRETS`](super::MAX_SECRETS): an `Option`, a `Vec`, an array.
    /// If it returns none, the request is rejected exactly like one with a bad signature, including its timing after the
    /// look-up. If it returns an error, or a secret that isn't a key for this sender, the request is answered 503, after
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

    /// Keeps what a [look-up](Self::lookup) finds, so that a request costs a look-up only now and then.
    ///
    /// Requests of a tenant that come at once wait for one look-up. Tenants without secrets are remembered too, for a
    /// shorter time, and apart, so that invented tenants push out no real one. If the look-up fails, the secrets of
    /// before are used for a while. Everything is bounded: see [`CachePolicy`].
    ///
    /// The look-up then sees only the part of the request that tells tenants apart: by default the method, the path, the
    /// `Host` header and the [hint](Head::unverified_hint). If yours needs another header or the query, name it with
    /// [`CachePolicy::with_header`] or [`CachePolicy::with_query`].
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
            SecretSource::Fixed(secrets) => match Keyring::new(secrets.iter().map(make))? {
                Some(keyring) => Ok(Keys::Fixed(Arc::new(keyring))),
                None => Err(ConfigError::missing("there is no secret")),
            },
            SecretSource::Lookup { find, policy } => {
                let cache = policy.map(|policy| Arc::new(KeyCache::new(policy)));
                Ok(Keys::Lookup { find, make: Arc::new(make), cache })
            }
        }
    }
}

/// A provider's keys: made once, or looked up.
#[derive(Clone)]
pub(crate) enum Keys<K> {
    Fixed(Arc<Keyring<K>>),
    Lookup { find: Lookup, make: Arc<MakeKey<K>>, cache: Option<Arc<KeyCache<K>>> },
}

type MakeKey<K> = dyn Fn(&Secret) -> Result<K, ConfigError> + Send + Sync;

/// The keys for one request.
#[derive(Clone)]
pub(crate) struct KeysFor<K> {
    pub(crate) ring: Arc<Keyring<K>>,
    /// False if the ring holds a decoy, so that an unknown tenant takes as long as a known one.
    pub(crate) known: bool,
}

/// The key tried for an unknown tenant. No signature made with it is ever accepted. It is as long as most keys are: one
/// that is longer than a hash function's block, 64 bytes, is hashed first, and would take longer than a tenant's.
pub(crate) const DECOY: &[u8] = b"a decoy: no tenant has this key.";

impl<K: Clone + Send + Sync + 'static> Keys<K> {
    /// Returns whether the keys have to be looked up for each request.
    #[cfg(feature = "jwt")]
    pub(crate) fn are_looked_up(&self) -> bool {
        matches!(self, Self::Lookup { .. })
    }

    /// Returns the keys if they are the same for every request.
    #[cfg(feature = "testing")]
    pub(crate) fn fixed(&self) -> Option<&Keyring<K>> {
        match self {
            Self::Fixed(keyring) => Some(keyring),
            Self::Lookup { .. } => None,
        }
    }

    /// Finds the keys for a request. `hint` may help a look-up: see [`Head::unverified_hint`].
    pub(crate) fn find(&self, parts: &Parts, hint: Option<Text>) -> MaybeReady<KeysFor<K>> {
        match self {
            Self::Fixed(keyring) => KeysFor { ring: keyring.clone(), known: true }.into(),
            Self::Lookup { find, make, cache } => {
                let look_up = |head| make_keys(find(head), make.clone());
                match cache {
                    Some(cache) => cache.find(parts, hint, look_up),
                    None => MaybeReady::pending(look_up(Head::new(parts, hint))),
                }
            }
        }
    }
}

async fn make_keys<K>(found: FoundSecrets, make: Arc<MakeKey<K>>) -> Result<KeysFor<K>, Rejection> {
    let unusable = |error: ConfigError| {
        Rejection::new(Reason::SecretUnavailable).with_detail("a looked-up secret isn't a key").with_source(error)
    };
    let mut secrets = found.await.map_err(|error| Rejection::new(Reason::SecretUnavailable).with_source(error))?;
    let known = !secrets.is_empty();
    if !known {
        secrets.push(Secret::from_bytes(DECOY));
    }
    let keyring = Keyring::new(secrets.iter().map(&*make)).map_err(unusable)?;
    keyring.map(|ring| KeysFor { ring: Arc::new(ring), known }).ok_or_else(|| Reason::SecretUnavailable.into())
}
