//! The keys of deliveries in a store, and the tokens of claims.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use crate::delivery::{Delivery, Identity};

/// Separates these digests from all others; another number means that keys of before are not found again.
const DOMAIN: &[u8] = b"tower-webhook deduplication 1";

/// The name of a delivery in a [`Store`](super::Store): a SHA-256, so that ids of any length and confidence become short and
/// say nothing.
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
    /// The key of an event that goes by this id within a scope such as a provider's name.
    pub fn new(scope: impl AsRef<[u8]>, id: impl AsRef<[u8]>) -> Self {
        Self::digest(scope.as_ref(), b'k', id.as_ref())
    }

    /// The key of a delivery by [`Delivery::identity`]: its provider, and the id that the sender signed, or else the body.
    ///
    /// An empty body names nothing. It then depends on the time that the sender signed; where that is missing too, there is
    /// no key, and the layer hands the delivery on without deduplicating it.
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

    /// The same event within a narrower scope, such as a tenant.
    #[must_use]
    pub fn within(self, scope: impl AsRef<[u8]>) -> Self {
        Self::digest(scope.as_ref(), b'w', &self.0)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The scope's length goes before it, so that no byte can move between scope and id.
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

/// Only the start: enough to tell keys apart in a log, too little to find a guessable id by.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}..)", hex::encode(&self.0[..3]))
    }
}

/// The owner of one claim. Every call of a handler has its own, in all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimToken(u128);

impl ClaimToken {
    /// Returns a token that nobody else has: random for the process, counted within it.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a default value would not be expected to differ each time")]
    pub fn new() -> Self {
        // Two processes share a token only if 64 random bits collide and both have reached the same count.
        static PROCESS: LazyLock<u64> = LazyLock::new(|| {
            // Without random numbers two replicas could own one claim, so nothing may go on.
            getrandom::u64().unwrap_or_else(|error| panic!("the system has no random numbers: {error}"))
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
