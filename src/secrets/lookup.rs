//! Secrets that depend on the request.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;

use crate::config::ConfigError;
use crate::rejection::{BoxError, Reason, Rejection};
use crate::text::Text;

use super::{Ring, Secret, Secrets, Source};

/// The head of a request as a secret look-up sees it: method, URI, headers and extensions, by [`Deref`].
///
/// Nothing of it is verified yet. It is for choosing whose secret to try, and for nothing else.
#[derive(Clone, Debug)]
pub struct Head {
    parts: Arc<Parts>,
    hint: Option<Text>,
}

impl Head {
    pub(crate) fn new(parts: &Parts, hint: Option<Text>) -> Self {
        Self { parts: Arc::new(parts.clone()), hint }
    }

    /// What the message itself says about who signed it, where the sender has such a thing: for CloudBlue Connect the
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

type Found = Pin<Box<dyn Future<Output = Result<Vec<Secret>, BoxError>> + Send>>;
pub(crate) type Lookup = Arc<dyn Fn(Head) -> Found + Send + Sync>;

impl Secrets {
    /// Secrets found by the head of each request: one database for many tenants.
    ///
    /// The closure returns any number of secrets up to [`MAX_SECRETS`](super::MAX_SECRETS): an `Option`, a `Vec`, an array.
    /// None at all means that the tenant is unknown, which the sender cannot tell from a wrong signature, neither by
    /// the answer nor by the time it takes after the look-up. An error, or a secret that is no key for this sender, is
    /// answered 503, so that the sender tries again.
    pub fn lookup<F, Fut, T, E>(find: F) -> Self
    where
        F: Fn(Head) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: IntoIterator<Item: Into<Secret>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let find = move |head: Head| -> Found {
            let found = find(head);
            Box::pin(async move {
                let secrets = found.await.map_err(Into::into)?;
                Ok(secrets.into_iter().map(Into::into).collect())
            })
        };
        Self(Source::Lookup(Arc::new(find)))
    }

    /// Turns secrets into a provider's keys, now or, for a look-up, with each request.
    pub(crate) fn into_keys<K>(
        self,
        make: impl Fn(&Secret) -> Result<K, ConfigError> + Send + Sync + 'static,
    ) -> Result<Keys<K>, ConfigError> {
        match self.0 {
            Source::Fixed(secrets) => match Ring::new(secrets.iter().map(make))? {
                Some(ring) => Ok(Keys::Fixed(Arc::new(ring))),
                None => Err(ConfigError::missing("there is no secret")),
            },
            Source::Lookup(lookup) => Ok(Keys::Lookup { lookup, make: Arc::new(make) }),
        }
    }
}

/// A provider's keys: made once, or looked up.
#[derive(Clone)]
pub(crate) enum Keys<K> {
    Fixed(Arc<Ring<K>>),
    Lookup { lookup: Lookup, make: Arc<Make<K>> },
}

type Make<K> = dyn Fn(&Secret) -> Result<K, ConfigError> + Send + Sync;

/// What a look-up found for one request.
pub(crate) struct KeysFor<K> {
    pub(crate) ring: Arc<Ring<K>>,
    /// False where the ring holds a decoy, so that an unknown tenant costs what a known one does.
    pub(crate) known: bool,
}

/// The key tried for an unknown tenant. No signature made with it is ever accepted. It is as long as most keys are: one
/// that is longer than a hash function's block, 64 bytes, is hashed first, and would cost more than a tenant's.
pub(crate) const DECOY: &[u8] = b"a decoy: no tenant has this key.";

/// The keys for one request, or the look-up of them.
pub(crate) enum Find<K> {
    Now(KeysFor<K>),
    #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "Connect alone reads the head again"))]
    Later {
        head: Head,
        keys: Pin<Box<dyn Future<Output = Result<KeysFor<K>, Rejection>> + Send>>,
    },
}

impl<K: Clone + Send + 'static> Keys<K> {
    /// Whether each request's keys have to be looked up.
    #[cfg(feature = "jwt")]
    pub(crate) fn are_looked_up(&self) -> bool {
        matches!(self, Self::Lookup { .. })
    }

    /// The keys, where they are the same for every request.
    #[cfg(feature = "testing")]
    pub(crate) fn fixed(&self) -> Option<&Ring<K>> {
        match self {
            Self::Fixed(ring) => Some(ring),
            Self::Lookup { .. } => None,
        }
    }

    /// The keys for a request, which `hint` may help to look up: see [`Head::unverified_hint`].
    pub(crate) fn find(&self, parts: &Parts, hint: Option<Text>) -> Find<K> {
        match self {
            Self::Fixed(ring) => Find::Now(KeysFor { ring: ring.clone(), known: true }),
            Self::Lookup { lookup, make } => {
                let head = Head::new(parts, hint);
                let keys = Box::pin(keys_of(lookup(head.clone()), make.clone()));
                Find::Later { head, keys }
            }
        }
    }
}

async fn keys_of<K>(found: Found, make: Arc<Make<K>>) -> Result<KeysFor<K>, Rejection> {
    let unusable = |error: ConfigError| {
        Rejection::new(Reason::SecretUnavailable).with_detail("a secret that was found is no key").with_source(error)
    };
    let mut secrets = found.await.map_err(|error| Rejection::new(Reason::SecretUnavailable).with_source(error))?;
    let known = !secrets.is_empty();
    if !known {
        secrets.push(Secret::from_bytes(DECOY));
    }
    let ring = Ring::new(secrets.iter().map(&*make)).map_err(unusable)?;
    ring.map(|ring| KeysFor { ring: Arc::new(ring), known }).ok_or_else(|| Reason::SecretUnavailable.into())
}
