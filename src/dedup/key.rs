//! The keys of deliveries in a store, and the tokens of claims.

use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use crate::delivery::{Delivery, Identity};
use crate::secrets::KeyPrint;

/// Separates these digests from all others; another number means that keys of before are not found
/// again.
const DOMAIN: &[u8] = b"tower-webhook deduplication 3";

/// The state of the hash behind the domain, which fills a block of its own. So it is hashed once
/// for all keys, and what is left of one with a short id, as most are, is a single block.
static AFTER_DOMAIN: LazyLock<Sha256> = LazyLock::new(|| {
    let mut block = [0; 64];
    block[..DOMAIN.len()].copy_from_slice(DOMAIN);
    Sha256::new_with_prefix(block)
});

/// The name of a delivery in a [`Store`](super::Store): a SHA-256, so that ids of any length and
/// confidence become short and say nothing.
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
    /// Creates the key of an event that goes by this id within a scope such as a provider's name.
    pub fn new(scope: impl AsRef<[u8]>, id: impl AsRef<[u8]>) -> Self {
        Self::digest(scope.as_ref(), b'k', id.as_ref())
    }

    /// Returns the key of a delivery by [`Delivery::identity`], within its sender and the secret
    /// that verified it. `None` if nothing tells the delivery from others: the layer hands it on
    /// without deduplicating it.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let scope = Scope::of(delivery);
        match delivery.identity() {
            Identity::Id(id) => Some(scope.digest(b'i', &[id.as_bytes()])),
            Identity::Number(id) => Some(scope.digest(b'n', &[id.as_bytes()])),
            Identity::Content => scope.content(delivery, Unsigned::of(delivery)),
            Identity::None => None,
        }
    }

    /// Returns whether deliveries with different bodies have different keys. An id may stand for
    /// several bodies, and so may an address that is signed without the body.
    #[cfg(feature = "inbox")]
    pub(crate) fn names_body(delivery: &Delivery) -> bool {
        match delivery.identity() {
            Identity::Id(_) | Identity::Number(_) => false,
            Identity::Content => delivery.signed_text().is_none_or(|text| text.has_body),
            Identity::None => true,
        }
    }

    /// Returns the key of a delivery by what nobody but the sender could have made: the id that it
    /// signs, or else all that it signs. Two events with the same content and no signed id have
    /// one key.
    #[must_use]
    pub fn of_signed(delivery: &Delivery) -> Option<Self> {
        match delivery.identity() {
            Identity::Id(_) | Identity::Number(_) => Self::of(delivery),
            Identity::Content | Identity::None => Scope::of(delivery).content(delivery, Unsigned::default()),
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

    fn digest(scope: &[u8], kind: u8, id: &[u8]) -> Self {
        Scope(scope, None).digest(kind, &[id])
    }
}

/// What came along without a signature.
#[derive(Default)]
struct Unsigned<'a> {
    id: Option<&'a str>,
    event: Option<&'a str>,
}

impl<'a> Unsigned<'a> {
    /// Without an id, the event's name tells nothing apart.
    fn of(delivery: &'a Delivery) -> Self {
        let id = delivery.unsigned_id();
        Self { id, event: delivery.event().filter(|_| id.is_some() && !delivery.signed().event) }
    }
}

/// A provider's name or what else an id belongs to, and the print of the key that verified it.
struct Scope<'a>(&'a [u8], Option<KeyPrint>);

impl<'a> Scope<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        Self(delivery.provider_text().as_bytes(), delivery.key_print())
    }

    /// All that is signed except the time, and perhaps an id and the event's name that aren't: one
    /// id may stand for events of two names. What is empty names nothing: it then depends on
    /// the time that the sender signed.
    fn content(self, delivery: &Delivery, unsigned: Unsigned<'_>) -> Option<Key> {
        let [(id_len, id), (event_len, event)] = [unsigned.id, unsigned.event].map(|text| {
            (text.map_or([0xff; 8], |text| (text.len() as u64).to_be_bytes()), text.unwrap_or_default().as_bytes())
        });
        let body = &delivery.body()[..];
        let named = [&id_len[..], id, &event_len, event];
        let of = |kind, content: &[&[u8]]| Some(self.digest(kind, &[&named[..], content].concat()));
        match delivery.signed_text() {
            Some(text) => of(b's', &[&text.before, if text.has_body { body } else { b"" }, &text.after]),
            None if !body.is_empty() || !id.is_empty() => match delivery.body_code() {
                // The verification has read the body already, under the key that is part of the scope.
                Some(code) => of(b'c', &[code]),
                None => of(b'b', &[body]),
            },
            None => {
                let stamp = delivery.timestamp().filter(|_| delivery.signed().timestamp)?;
                let since_epoch = stamp.duration_since(UNIX_EPOCH).ok()?;
                of(b't', &[&since_epoch.as_nanos().to_be_bytes()])
            }
        }
    }

    /// The scope's length goes before it, so that no byte can move between scope and id. Within the
    /// id, the parts are one text.
    fn digest(self, kind: u8, id: &[&[u8]]) -> Key {
        let Self(scope, print) = self;
        let mut digest = AFTER_DOMAIN.clone();
        // One byte for the lengths that names have.
        match u8::try_from(scope.len()) {
            Ok(len) if len < u8::MAX => digest.update([len]),
            _ => digest.update([&[u8::MAX][..], &(scope.len() as u64).to_be_bytes()].concat()),
        }
        digest.update([kind, print.is_some().into()]);
        digest.update(scope);
        if let Some(print) = print {
            digest.update(print.as_bytes());
        }
        id.iter().for_each(|part| digest.update(part));
        Key(digest.finalize().into())
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
pub struct ClaimToken {
    process: u64,
    count: u64,
}

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
        // Each thread counts in ranges of its own, so that none waits for another one.
        const RANGE: u64 = 1 << 20;
        static RANGES: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        let next = match NEXT.get() {
            next if next % RANGE == 0 => RANGES.fetch_add(RANGE, Ordering::Relaxed),
            next => next,
        };
        NEXT.set(next + 1);
        Self { process: *PROCESS, count: next }
    }
}

/// Lower-case hexadecimal, 32 digits.
impl fmt::Display for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.process, self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::behavior::Traits;
    use crate::body_fields::BodyFields;
    use crate::delivery::{Sender, Signed, SignedText, Verified};

    const UNIQUE: Traits = Traits { never_repeats: false, has_unique_bodies: true, is_interactive: false };

    fn delivery(provider: &'static str, mut verified: Verified, body: &'static str) -> Delivery {
        of_traits(provider, Traits::default(), &mut verified, body)
    }

    fn of_traits(provider: &'static str, traits: Traits, verified: &mut Verified, body: &'static str) -> Delivery {
        Delivery::new(&Sender::new(&provider.into(), traits), verified, Bytes::from_static(body.as_bytes()))
    }

    fn signed(id: bool, timestamp: bool) -> Verified {
        Verified::new(Signed { body: true, id, timestamp, ..Signed::default() })
    }

    #[test]
    fn a_signed_id_names_a_delivery_alone_and_an_unsigned_one_together_with_the_body() {
        let of = |id: &'static str, is_signed, body| {
            Key::of(&delivery("acme", signed(is_signed, false).with_id(Some(id.into())), body)).unwrap()
        };
        assert_eq!(of("1", true, "a"), of("1", true, "b"));
        assert_ne!(of("1", true, "a"), of("2", true, "a"));
        assert_eq!(of("1", false, "a"), of("1", false, "a"));
        assert_ne!(of("1", false, "a"), of("2", false, "a"));
        assert_ne!(of("1", false, "a"), of("1", false, "b"));
        assert_ne!(of("1", true, "1"), of("2", false, "1"), "an id is not a body");
        assert_ne!(of("1", false, "2"), of("12", false, ""), "no byte moves between id and body");
    }

    #[test]
    fn equal_bodies_are_one_delivery_only_where_the_sender_s_are_unique_or_where_it_is_asked_for() {
        let plain = || delivery("acme", signed(false, false), "x");
        assert_eq!(Key::of(&plain()), None);
        assert!(Key::of_signed(&plain()).is_some());
        assert_eq!(Key::of_signed(&plain()), Key::of(&of_traits("acme", UNIQUE, &mut signed(false, false), "x")));
        let with_id = |id: &'static str| delivery("acme", signed(false, false).with_id(Some(id.into())), "x");
        assert_eq!(Key::of_signed(&with_id("1")), Key::of_signed(&with_id("2")), "anyone may change an unsigned id");
        assert_eq!(Key::of(&with_id("")), None, "an empty id is none");
    }

    #[test]
    fn where_the_proof_covers_nothing_an_id_is_as_good_as_the_body() {
        let of = |id: &'static str, body| {
            Key::of(&delivery("acme", Verified::new(Signed::default()).with_id(Some(id.into())), body))
        };
        assert_eq!(of("1", "a"), of("1", "b"));
        assert_ne!(of("1", "a"), of("2", "a"));
        assert_eq!(of("", "a"), None);
    }

    #[test]
    fn numbers_and_texts_are_two_ids_and_an_empty_text_is_none() {
        let of = |body: &'static str| {
            let fields = BodyFields::new().with_id_at("/id").shared();
            let delivery = delivery("acme", signed(true, false).with_body_fields(fields), body);
            (delivery.id().map(str::to_owned), Key::of(&delivery))
        };
        let (number, text) = (of(r#"{"id":1}"#), of(r#"{"id":"1"}"#));
        assert_eq!(number.0, text.0);
        assert!(number.1.is_some() && number.1 != text.1);
        assert_eq!(of(r#"{"id":""}"#), (None, None));
        assert_eq!(of(r#"{"id":null}"#), (None, None));
    }

    #[test]
    fn bytes_that_move_within_the_signed_text_leave_the_key_as_it_is() {
        let of = |before: &str, body| {
            let text = SignedText { before: before.into(), has_body: true, after: b"!".to_vec() };
            Key::of_signed(&delivery("acme", signed(false, false).with_signed_text(text), body)).unwrap()
        };
        assert_eq!(of("https://h/?a=1", "b"), of("https://h/?a=", "1b"));
        assert_ne!(of("https://h/?a=1", "b"), of("https://h/?a=2", "b"));
    }

    #[test]
    fn providers_and_scopes_are_apart_wherever_the_border_lies() {
        let of = |provider| Key::of_signed(&delivery(provider, signed(false, false), "x"));
        assert_ne!(of("a"), of("b"));
        assert_ne!(Key::new("ab", "c"), Key::new("a", "bc"));
        assert_ne!(Key::new("a", "b").within("c"), Key::new("a", "b").within("d"));
    }

    #[test]
    fn an_empty_body_is_told_apart_by_the_signed_time_or_not_at_all() {
        let at = |seconds, is_signed| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            Key::of_signed(&delivery("acme", signed(false, is_signed).with_timestamp(Some(time)), ""))
        };
        assert_eq!(at(1, true), at(1, true));
        assert_ne!(at(1, true), at(2, true));
        assert_eq!(at(1, false), None);
    }

    #[test]
    fn a_key_stays_what_it_is_over_versions_and_debug_does_not_give_it_away() {
        let key = Key::new("acme", "evt_1");
        let text = key.to_string();
        assert_eq!(text, "19c5f6e240c14c34aaa95d9ccd9bda21f7e0206ba22f6cd22067fe989966b3d6");
        assert_eq!(format!("{key:?}"), format!("Key({}..)", &text[..6]));
    }

    #[test]
    fn every_token_is_another() {
        let tokens: std::collections::HashSet<_> = (0..1000).map(|_| ClaimToken::new().to_string()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 32));
    }
}
