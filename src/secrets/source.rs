//! Where secrets are looked up, and the keys that are made of what is found.
//!
//! Nothing here knows the kind of the keys, and what looks up and what caches is named by
//! [`Secrets::lookup`](super::Secrets::lookup) and [`Secrets::cached`](super::Secrets::cached)
//! alone. So a program whose secrets are fixed has neither in it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use crate::config::ConfigError;
use crate::maybe_ready::{BoxFuture, MaybeReady};
use crate::rejection::{BoxError, Reason, Rejection};
use crate::text::Text;

use super::head::{Head, HeadRef};
use super::keyring::{AnyKeyring, KeysFor, SmallKey};
use super::secret::Secret;

/// Keys that depend on the request.
pub(crate) trait FindKeys: Any + Send + Sync {
    /// Finds the keys for a request. `hint` may help a look-up: see [`Head::unverified_hint`].
    fn find(&self, head: HeadRef<'_>, hint: Option<Text>) -> MaybeReady<KeysFor>;

    /// Returns whether they are looked up by the whole head, which is cloned unless it is shared.
    fn sees_whole_head(&self) -> bool;
}

/// Looks the secrets for a head up, and has keys made of them.
pub(super) type LookUp = dyn Fn(Head, Arc<KeyMaker>) -> BoxFuture<Result<KeysFor, Rejection>> + Send + Sync;

/// Makes the keys of one sender of a look-up.
type Open = dyn Fn(Arc<LookUp>, Arc<KeyMaker>) -> Arc<dyn FindKeys> + Send + Sync;

/// Makes a sender's keys of secrets.
pub(super) type MakeKeyring = dyn Fn(&[Secret]) -> Result<Arc<dyn AnyKeyring>, ConfigError> + Send + Sync;

/// Makes a sender's keys of the small key that one of them has given.
pub(super) type FromSmall = fn(&SmallKey) -> Option<Arc<dyn AnyKeyring>>;

/// A look-up that is not yet of one sender.
#[derive(Clone)]
pub(super) struct LookupSource {
    look_up: Arc<LookUp>,
    open: Arc<Open>,
    wanted: Option<Wanted>,
}

/// The secrets that are texts of a kind, or all others.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) is_of_kind: fn(&str) -> bool,
    pub(super) is_kind_wanted: bool,
}

impl Wanted {
    pub(super) fn fits(&self, secret: &Secret) -> bool {
        secret.text().is_some_and(self.is_of_kind) == self.is_kind_wanted
    }
}

impl LookupSource {
    /// Creates a look-up for each request.
    #[inline]
    pub(super) fn new(look_up: Arc<LookUp>) -> Self {
        Self { look_up, open: Arc::new(|look_up, maker| Arc::new(EachTime { look_up, maker })), wanted: None }
    }

    /// Sets what the keys of one sender are.
    pub(super) fn opened_by(self, open: Arc<Open>) -> Self {
        Self { open, ..self }
    }

    /// Leaves out what is not wanted of what is found.
    pub(super) fn only(self, wanted: Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// Returns the keys of a sender for whom `make` and `from_small` make them.
    pub(super) fn keys(self, make: Arc<MakeKeyring>, from_small: FromSmall) -> Arc<dyn FindKeys> {
        (self.open)(self.look_up, Arc::new(KeyMaker::new(make, from_small, self.wanted)))
    }
}

/// Keys that are looked up for each request.
struct EachTime {
    look_up: Arc<LookUp>,
    maker: Arc<KeyMaker>,
}

impl FindKeys for EachTime {
    #[inline]
    fn find(&self, head: HeadRef<'_>, hint: Option<Text>) -> MaybeReady<KeysFor> {
        MaybeReady::Pending((self.look_up)(Head::new(head.to_shared(), hint), self.maker.clone()))
    }

    #[inline]
    fn sees_whole_head(&self) -> bool {
        true
    }
}

/// The key tried for an unknown tenant. No signature made with it is ever accepted. It is as long
/// as most keys are: one that is longer than a hash function's block, 64 bytes, is hashed first,
/// and would take longer than a tenant's.
pub(crate) const DECOY: &[u8] = b"a decoy: no tenant has this key.";

/// Makes a sender's keys of the secrets that were found.
pub(super) struct KeyMaker {
    make: Arc<MakeKeyring>,
    pub(super) from_small: FromSmall,
    wanted: Option<Wanted>,
    /// The secret that stands for that of an unknown tenant. Its key is made anew wherever the keys
    /// of tenants are, and kept where theirs are kept, so that one takes as long as the other.
    decoy: Secret,
    is_decoy_new: AtomicBool,
}

/// The keys of a secret, and what made them. It is held, so that no other has its address.
struct KeysMade {
    make: Arc<MakeKeyring>,
    ring: Arc<dyn AnyKeyring>,
}

impl KeyMaker {
    fn new(make: Arc<MakeKeyring>, from_small: FromSmall, wanted: Option<Wanted>) -> Self {
        Self { make, from_small, wanted, decoy: Secret::from_bytes(DECOY), is_decoy_new: AtomicBool::new(true) }
    }

    /// Returns the keys that a request is verified with if these secrets were found for it: the
    /// decoy's if there are none.
    #[inline]
    pub(super) fn keys(&self, mut secrets: SmallVec<[Secret; 1]>) -> Result<KeysFor, Rejection> {
        if let Some(wanted) = &self.wanted {
            secrets.retain(|secret| wanted.fits(secret));
        }
        let known = !secrets.is_empty();
        if !known {
            let is_new = self.is_decoy_new.load(Ordering::Relaxed);
            secrets.push(if is_new { Secret::from_bytes(DECOY) } else { self.decoy.clone() });
        }
        let ring = match &secrets[..] {
            [only] => self.keys_of(only).map(|(ring, was_made)| {
                if known {
                    self.is_decoy_new.store(!was_made, Ordering::Relaxed);
                }
                ring
            }),
            several => (self.make)(several),
        };
        ring.map(|ring| KeysFor::Found { ring, known })
            .map_err(|error| unavailable(error.into()).with_detail("a looked-up secret isn't a key"))
    }

    /// Returns the keys of one secret alone, and whether they were made before.
    #[inline]
    fn keys_of(&self, secret: &Secret) -> Result<(Arc<dyn AnyKeyring>, bool), ConfigError> {
        let made = secret.made().get().and_then(|made| made.downcast_ref::<KeysMade>());
        if let Some(made) = made.filter(|made| Arc::ptr_eq(&made.make, &self.make)) {
            return Ok((made.ring.clone(), true));
        }
        let ring = (self.make)(std::slice::from_ref(secret))?;
        // If the keys of another provider are kept, they stay.
        let _ = secret.made().set(Box::new(KeysMade { make: self.make.clone(), ring: ring.clone() }));
        Ok((ring, false))
    }
}

#[inline]
pub(super) fn unavailable(error: BoxError) -> Rejection {
    Rejection::new(Reason::SecretUnavailable).with_source(error)
}
