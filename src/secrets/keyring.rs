//! The keys of one sender: usually one, a few while secrets are rotated.

use std::any::Any;
use std::sync::Arc;

use hmac::block_api::HmacCore;
use sha2::Sha256;
use smallvec::{SmallVec, smallvec};

use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};

use super::print::KeyPrint;
use super::secret::{MAX_SECRETS, Secret};

/// One to [`MAX_SECRETS`] keys. Cloning a single key, the common case, doesn't allocate.
#[derive(Clone)]
pub(crate) struct Keyring<K> {
    keys: SmallVec<[K; 1]>,
    /// Of the secrets that the keys were made from, in their order.
    prints: SmallVec<[KeyPrint; 1]>,
}

impl<K> Keyring<K> {
    /// Makes a key from each secret, or returns `None` if there are none.
    pub(crate) fn from_secrets(
        secrets: &[Secret],
        make: impl Fn(&Secret) -> Result<K, ConfigError>,
    ) -> Result<Option<Self>, ConfigError> {
        let ring = Self::new(secrets.iter().map(make))?;
        Ok(ring.map(|ring| Self { prints: secrets.iter().map(KeyPrint::of).collect(), ..ring }))
    }

    /// Collects the keys, or returns `None` if there are none.
    pub(crate) fn new(keys: impl IntoIterator<Item = Result<K, ConfigError>>) -> Result<Option<Self>, ConfigError> {
        let keys = keys.into_iter().collect::<Result<SmallVec<_>, _>>()?;
        if keys.len() > MAX_SECRETS {
            return Err(ConfigError::key("there are more than 8 secrets"));
        }
        Ok((!keys.is_empty()).then_some(Self { keys, prints: SmallVec::new() }))
    }

    /// Returns what tells the key at this position from others, if it was made from a secret.
    pub(crate) fn print(&self, index: usize) -> Option<KeyPrint> {
        self.prints.get(index).copied()
    }

    /// Returns the key that new signatures are made with.
    pub(crate) fn first(&self) -> &K {
        // Never out of bounds: `new` makes no empty keyring.
        &self.keys[0]
    }

    /// Returns the key if there is only one.
    pub(crate) fn only(&self) -> Option<&K> {
        match &*self.keys {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns the position of the first key that fits. All are asked, so that the time doesn't
    /// tell which one did.
    pub(crate) fn first_that(&self, fits: impl Fn(&K) -> bool) -> Option<usize> {
        let positions = self.keys.iter().enumerate().filter(|(_, key)| fits(key)).map(|(position, _)| position);
        positions.fold(None, |first, position| first.or(Some(position)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
    }
}

/// A key of a sender, as it is made of a secret.
pub(crate) trait SenderKey: Clone + Send + Sync + 'static {
    /// Returns the states of HMAC-SHA256 that it is, if that is all.
    fn hmac_sha256(&self) -> Option<&HmacCore<Sha256>> {
        None
    }

    /// Returns the key of these states, if there is one.
    fn of_hmac_sha256(states: &HmacCore<Sha256>) -> Option<Self> {
        let _ = states;
        None
    }
}

/// A single key of the usual kind, in as little memory as it needs. It is wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct SmallKey {
    states: HmacCore<Sha256>,
    print: KeyPrint,
}

/// A keyring of a kind that what finds it doesn't know.
pub(crate) trait AnyKeyring: Any + Send + Sync {
    /// Returns the only key if it is a small one.
    fn small(&self) -> Option<SmallKey>;
}

impl<K: SenderKey> AnyKeyring for Keyring<K> {
    fn small(&self) -> Option<SmallKey> {
        Some(SmallKey { states: self.only()?.hmac_sha256()?.clone(), print: self.print(0)? })
    }
}

impl SmallKey {
    /// Returns the keyring that it was taken from.
    pub(super) fn ring<K: SenderKey>(&self) -> Option<Arc<dyn AnyKeyring>> {
        let key = K::of_hmac_sha256(&self.states)?;
        Some(Arc::new(Keyring { keys: smallvec![key], prints: smallvec![self.print] }))
    }
}

/// Which keys one request is verified with: see [`Keys::tried`](super::Keys::tried).
#[derive(Clone)]
pub(crate) enum KeysFor {
    /// The provider's own, which it holds anyway: no reference to them is counted.
    Own,
    /// Those that a look-up has found. They aren't `known` if they are a decoy, so that an unknown
    /// tenant takes as long as a known one.
    Found { ring: Arc<dyn AnyKeyring>, known: bool },
}

/// The keys that the signature of a request is tried with.
pub(crate) struct TriedKeys<'a, K> {
    pub(crate) ring: &'a Keyring<K>,
    pub(crate) known: bool,
}

impl KeysFor {
    /// Returns the keys that were looked up, if they were and are of this kind.
    #[inline]
    pub(super) fn looked_up<K: 'static>(&self) -> Option<TriedKeys<'_, K>> {
        let Self::Found { ring, known } = self else { return None };
        let ring: &dyn Any = &**ring;
        ring.downcast_ref().map(|ring| TriedKeys { ring, known: *known })
    }
}

impl<'a, K> TriedKeys<'a, K> {
    /// Those of a known sender.
    #[inline]
    pub(super) fn known(ring: &'a Keyring<K>) -> Self {
        Self { ring, known: true }
    }

    /// Refuses a request that no key has signed. The decoy that stands for an unknown tenant's key
    /// proves nothing.
    #[inline]
    pub(crate) fn verdict(&self, matched: Option<usize>) -> Result<MatchedKey, Rejection> {
        match matched {
            _ if !self.known => Err(Reason::UnknownTenant.into()),
            Some(index) => Ok(MatchedKey { index, print: self.ring.print(index) }),
            None => Err(Reason::SignatureMismatch.into()),
        }
    }
}

/// The key that has signed a request. The default is one that was fetched: it is its sender's,
/// whichever it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct MatchedKey {
    /// Its position among the sender's keys.
    pub(crate) index: usize,
    pub(crate) print: Option<KeyPrint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_none_and_nine_are_too_many() {
        assert!(Keyring::<u8>::new([]).unwrap().is_none());
        for len in 1..=8_u8 {
            let keyring = Keyring::new((0..len).map(Ok)).unwrap().unwrap();
            assert!(keyring.iter().copied().eq(0..len));
        }
        assert!(Keyring::new((0..9).map(Ok)).is_err());
    }

    #[derive(Clone)]
    struct States(HmacCore<Sha256>);

    impl SenderKey for States {
        fn hmac_sha256(&self) -> Option<&HmacCore<Sha256>> {
            Some(&self.0)
        }

        fn of_hmac_sha256(states: &HmacCore<Sha256>) -> Option<Self> {
            Some(Self(states.clone()))
        }
    }

    fn code(key: &States) -> [u8; 32] {
        use hmac::digest::block_api::{Buffer, CoreProxy as _};
        use hmac::{Hmac, Mac as _};
        let mut mac = Hmac::<Sha256>::compose(key.0.clone(), Buffer::<HmacCore<Sha256>>::default());
        mac.update(b"text");
        mac.finalize().into_bytes().into()
    }

    #[test]
    fn a_single_key_of_the_usual_kind_is_small_and_becomes_the_same_ring() {
        use hmac::KeyInit as _;
        let ring = |texts: &[&str]| {
            let secrets: Vec<_> = texts.iter().map(|text| Secret::new(*text)).collect();
            let states =
                |secret: &Secret| Ok(States(HmacCore::new_from_slice(secret.plain_key()?.as_slice()).unwrap()));
            Keyring::from_secrets(&secrets, states).unwrap().unwrap()
        };
        let (one, other) = (ring(&["one"]), ring(&["other"]));
        let found = KeysFor::Found { ring: one.small().unwrap().ring::<States>().unwrap(), known: true };
        let tried = found.looked_up::<States>().unwrap();
        assert_eq!(code(tried.ring.only().unwrap()), code(one.first()));
        assert_ne!(code(tried.ring.only().unwrap()), code(other.first()));
        assert!(tried.verdict(Some(0)).is_ok_and(|key| key.print.is_some() && key.print == one.print(0)));
        // Several, those that no secret was behind, and those of another kind are kept as they are.
        assert!(ring(&["one", "other"]).small().is_none());
        assert!(Keyring::new([Ok(one.first().clone())]).unwrap().unwrap().small().is_none());
        assert!(Keyring::from_secrets(&[Secret::new("one")], |_| Ok(1_u8)).unwrap().unwrap().small().is_none());
        assert!(one.small().unwrap().ring::<u8>().is_none());
    }

    /// What a table drops is wiped.
    #[test]
    fn a_small_key_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        // Both states are one of these.
        is_wiped::<sha2::block_api::Sha256VarCore>();
        assert!(std::mem::needs_drop::<SmallKey>());
    }
}
