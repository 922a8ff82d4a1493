//! The secrets of a sender: fixed, or looked up by request.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::config::ConfigError;
use crate::maybe_ready::{BoxFuture, MaybeReady};
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;
use crate::text::Text;

use super::cache::{CachePolicy, KeyCache};
use super::head::{Head, HeadRef};
use super::keyring::{AnyKeyring, Keyring, KeysFor, SenderKey, SmallKey, TriedKeys};
use super::secret::Secret;
use super::source::{self, FindKeys, KeyMaker, LookupSource, Wanted};

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
    Lookup(LookupSource),
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
    #[inline]
    pub(crate) fn partition(self, is_of_kind: fn(&str) -> bool) -> (Option<Self>, Option<Self>) {
        let [kind, others] = [true, false].map(|is_kind_wanted| {
            let wanted = Wanted { is_of_kind, is_kind_wanted };
            match &self.0 {
                SecretSource::Fixed(secrets) => {
                    let secrets: Vec<_> = secrets.iter().filter(|secret| wanted.fits(secret)).cloned().collect();
                    (!secrets.is_empty()).then(|| Self::new(secrets))
                }
                SecretSource::Lookup(source) => Some(Self(SecretSource::Lookup(source.clone().only(wanted)))),
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
            SecretSource::Lookup(_) => &[],
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SecretSource::Fixed(secrets) => write!(f, "Secrets({})", secrets.len()),
            SecretSource::Lookup(_) => f.write_str("Secrets(lookup)"),
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
        let look_up = move |head: Head, maker: Arc<KeyMaker>| -> BoxFuture<Result<KeysFor, Rejection>> {
            let found = find(head);
            Box::pin(async move {
                let secrets = found.await.map_err(|error| source::unavailable(error.into()))?;
                maker.keys(secrets.into_iter().map(Into::into).collect())
            })
        };
        Self(SecretSource::Lookup(LookupSource::new(Arc::new(look_up))))
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
    #[inline]
    pub fn cached(self, cache: CachePolicy) -> Self {
        match self.0 {
            SecretSource::Lookup(source) => {
                let open = move |look_up, maker| -> Arc<dyn FindKeys> {
                    Arc::new(KeyCache::new(cache.clone(), look_up, maker))
                };
                Self(SecretSource::Lookup(source.opened_by(Arc::new(open))))
            }
            SecretSource::Fixed(_) => self,
        }
    }

    /// Turns secrets into a provider's keys, now or, for a look-up, with each request.
    pub(crate) fn into_keys<K: SenderKey>(
        self,
        make: impl Fn(&Secret) -> Result<K, ConfigError> + Send + Sync + 'static,
    ) -> Result<Keys<K>, ConfigError> {
        let make = move |secrets: &[Secret]| {
            let keyring = Keyring::from_secrets(secrets, &make)?;
            keyring.map(Arc::new).ok_or_else(|| ConfigError::missing("there is no secret"))
        };
        match self.0 {
            SecretSource::Fixed(secrets) => make(&secrets).map(Keys::Fixed),
            SecretSource::Lookup(source) => {
                let make = move |secrets: &[Secret]| make(secrets).map(|ring| -> Arc<dyn AnyKeyring> { ring });
                Ok(Keys::Lookup(source.keys(Arc::new(make), SmallKey::ring::<K>)))
            }
        }
    }
}

/// A provider's keys: made once, or looked up.
#[derive(Clone)]
pub(crate) enum Keys<K> {
    Fixed(Arc<Keyring<K>>),
    Lookup(Arc<dyn FindKeys>),
}

impl<K> Keys<K> {
    /// Returns whether the keys have to be looked up for each request.
    #[cfg(feature = "jwt")]
    pub(crate) fn are_looked_up(&self) -> bool {
        matches!(self, Self::Lookup(_))
    }

    /// Returns whether they are looked up by the whole head, which [`find`](Self::find) clones
    /// unless it is shared.
    pub(crate) fn see_whole_head(&self) -> bool {
        matches!(self, Self::Lookup(keys) if keys.sees_whole_head())
    }

    /// Returns the key that tests sign with.
    #[cfg(feature = "testing")]
    pub(crate) fn signing_key(&self) -> Result<&K, SignError> {
        match self {
            Self::Fixed(keyring) => Ok(keyring.first()),
            Self::Lookup(_) => Err(SignError::new("its secrets are looked up")),
        }
    }

    /// Finds which keys a request is verified with. `hint` may help a look-up: see
    /// [`Head::unverified_hint`].
    #[inline]
    pub(crate) fn find<'a>(&self, head: impl Into<HeadRef<'a>>, hint: Option<Text>) -> MaybeReady<KeysFor> {
        match self {
            Self::Fixed(_) => KeysFor::Own.into(),
            Self::Lookup(keys) => keys.find(head.into(), hint),
        }
    }
}

impl<K: 'static> Keys<K> {
    /// Returns the keys that [`find`](Self::find) has found for a request, to try its signature
    /// with.
    #[inline]
    pub(crate) fn tried<'a>(&'a self, found: &'a KeysFor) -> Result<TriedKeys<'a, K>, Rejection> {
        match (self, found) {
            (Self::Fixed(keyring), KeysFor::Own) => Ok(TriedKeys::known(keyring)),
            // Not reached, as keys of one kind are only found by keys of that kind.
            (Self::Fixed(_), _) => Err(Reason::SecretUnavailable.into()),
            (Self::Lookup(_), found) => found.looked_up().ok_or_else(|| Reason::SecretUnavailable.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::BoxError;

    impl SenderKey for u8 {}

    #[test]
    fn keys_that_were_found_elsewhere_are_tried_by_nobody() {
        let keys = |secrets: Secrets| secrets.into_keys(|_| Ok(1_u8)).unwrap();
        let fixed = keys(Secrets::new(["secret"]));
        let looked_up = keys(Secrets::lookup(|_| async { Ok::<_, BoxError>(Some(Secret::new("secret"))) }));
        let ring = Arc::new(Keyring::new([Ok(2_u8)]).unwrap().unwrap());
        let found = |known| KeysFor::Found { ring: ring.clone(), known };
        assert!(fixed.tried(&KeysFor::Own).is_ok_and(|keys| keys.known && keys.ring.only() == Some(&1)));
        assert!(fixed.tried(&found(true)).is_err());
        assert!(looked_up.tried(&KeysFor::Own).is_err());
        for known in [true, false] {
            assert!(
                looked_up.tried(&found(known)).is_ok_and(|keys| keys.known == known && keys.ring.only() == Some(&2))
            );
        }
    }

    #[test]
    fn debug_prints_no_part_of_a_secret() {
        assert_eq!(format!("{:?}", Secrets::new(["hunter2", "hunter3"])), "Secrets(2)");
    }
}
