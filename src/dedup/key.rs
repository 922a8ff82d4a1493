//! The keys of deliveries in a store, and the tokens of claims.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use crate::delivery::{Delivery, Identity};

/// Separates these digests from all others. With another number, keys from before are not found again.
const DOMAIN: &[u8] = b"tower-webhook deduplication 1";

/// The key of a delivery in a [`Store`](super::Store): a SHA-256, so that it is short and discloses no id.
///
/// # Examples
///
/// ```
/// use tower_webhook::dedup::Key;
///
/// let key = Key::new("acme", "evt_1");
/// assert_ne!(key, Key::new("acme", "evt_2"));
/// assert_ne!(key, key.within("tenant 7"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub(super) [u8; 32]);

impl Key {
    /// Creates the key of an event that has this id within a scope, such as a provider's name.
    pub fn new(scope: impl AsRef<[u8]>, id: impl AsRef<[u8]>) -> Self {
        Self::digest(scope.as_ref(), b'k', id.as_ref())
    }

    /// Creates the key of a delivery from its provider and its [identity](Delivery::identity): the id that the sender signed, or
    /// else the body.
    ///
    /// An empty body identifies nothing. The key then depends on the time that the sender signed. If that is missing too, this
    /// returns `None`, and the layer passes the delivery on without deduplicating it.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let provider = delivery.provider().as_bytes();
        match delivery.identity() {
            Identity::Id(id) => Some(Self::digest(provider, b'i', id.as_bytes())),
            Identity::Body if !delivery.body().is_empty() => Some(Self::digest(provider, b'b', delivery.body())),
            Identity::Body => {
                let stamp = delivery.timestamp().filter(|_| delivery.signed().timestamp)?;
                let since_epoch = stamp.duration_since(UNIX_EPOCH).ok()?;
                Some(Self::digest(provider, b't', &since_epoch.as_nanos().to_be_bytes()))
            }
        }
    }

    /// Returns the key of the same event within a narrower scope, such as a tenant.
    #[must_use]
    pub fn within(self, scope: impl AsRef<[u8]>) -> Self {
        Self::digest(scope.as_ref(), b'w', &self.0)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes the length of the scope before the scope, so that no byte can move between scope and id.
    fn digest(scope: &[u8], kind: u8, id: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update((scope.len() as u64).to_be_bytes())
            .chain_update(scope)
            .chain_update([kind])
            .chain_update(id);
        Self(digest.finalize().into())
    }
}

/// Lower-case hexadecimal, 64 digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Prints only the start: enough to tell keys apart in a log, too little to find a guessable id by.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}..)", hex::encode(&self.0[..3]))
    }
}

/// The owner of a claim. Each call of a handler has its own, across all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimToken(u128);

impl ClaimToken {
    /// Creates a token that no other claim has: random for the process, counted within it.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a default value isn't expected to differ each time")]
    pub fn new() -> Self {
        // The hasher's keys come from the operating system's random source. Two processes share a token only if 64 random bits
        // collide and both have reached the same count.
        static PROCESS: LazyLock<u64> = LazyLock::new(|| {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u32(std::process::id());
            hasher.finish()
        });
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(u128::from(*PROCESS) << 64 | u128::from(COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Lower-case hexadecimal, 32 digits.
impl fmt::Display for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::delivery::{Signed, Verified};

    fn delivery(provider: &'static str, mut verified: Verified, body: &'static str) -> Delivery {
        Delivery::new(&provider.into(), &mut verified, Bytes::from_static(body.as_bytes()))
    }

    fn signed(id: bool, timestamp: bool) -> Verified {
        Verified::new(Signed { body: true, id, timestamp, ..Signed::default() })
    }

    #[test]
    fn the_signed_id_names_a_delivery_and_an_unsigned_one_does_not() {
        let of = |id: &'static str, is_signed, body| {
            Key::of(&delivery("acme", signed(is_signed, false).with_id(Some(id.into())), body)).unwrap()
        };
        assert_eq!(of("1", true, "a"), of("1", true, "b"));
        assert_ne!(of("1", true, "a"), of("2", true, "a"));
        assert_eq!(of("1", false, "a"), of("2", false, "a"));
        assert_ne!(of("1", false, "a"), of("1", false, "b"));
        assert_ne!(of("1", true, "1"), of("2", false, "1"), "an id is not a body");
    }

    #[test]
    fn providers_and_scopes_are_apart_wherever_the_border_lies() {
        assert_ne!(
            Key::of(&delivery("a", signed(false, false), "x")),
            Key::of(&delivery("b", signed(false, false), "x"))
        );
        assert_ne!(Key::new("ab", "c"), Key::new("a", "bc"));
        assert_ne!(Key::new("a", "b").within("c"), Key::new("a", "b").within("d"));
    }

    #[test]
    fn an_empty_body_is_told_apart_by_the_signed_time_or_not_at_all() {
        let at = |seconds, is_signed| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            Key::of(&delivery("acme", signed(false, is_signed).with_timestamp(Some(time)), ""))
        };
        assert_eq!(at(1, true), at(1, true));
        assert_ne!(at(1, true), at(2, true));
        assert_eq!(at(1, false), None);
    }

    #[test]
    fn a_key_stays_what_it_is_over_versions_and_debug_does_not_give_it_away() {
        let key = Key::new("acme", "evt_1");
        let text = key.to_string();
        assert_eq!(text, "f3d90cddd7f28ae8574a9ef9c1fa67682a4b58b6f565baa0296086133a719a3e");
        assert_eq!(format!("{key:?}"), format!("Key({}..)", &text[..6]));
    }

    #[test]
    fn every_token_is_another() {
        let tokens: std::collections::HashSet<_> = (0..1000).map(|_| ClaimToken::new().to_string()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 32));
    }
}
