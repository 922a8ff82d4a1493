//! Message authentication codes: keyed once, cloned for each request, fed as the bytes arrive.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;

use hmac::EagerHash;
use hmac::block_api::HmacCore;
use hmac::digest::block_api::{Buffer, FixedOutputCore as _, UpdateCore as _};
use hmac::digest::{Digest as _, KeyInit, Output};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use smallvec::{SmallVec, smallvec};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::ConfigError;
use crate::pointer;
use crate::secrets::{Keyring, SenderKey};

/// The longest digest, that of SHA-512.
pub(crate) const MAX_DIGEST: usize = 64;

/// How a code is made of a key and a text. It brings what makes it, so that a program has those
/// hash functions alone that its senders use.
#[derive(Clone, Copy)]
pub(crate) struct MacKind {
    pub(crate) name: &'static str,
    pub(crate) digest_len: usize,
    /// Whether nobody knows two texts of one code.
    pub(crate) is_strong: bool,
    /// What a body has to be, so that nobody can make another one of the same code.
    pub(crate) takes: Option<fn(&[u8]) -> bool>,
    key: fn(&[u8]) -> Option<Mac>,
}

impl MacKind {
    pub(crate) const SHA1: Self = Self::hmac("HMAC-SHA1", 20, false, other_key::<Sha1>);
    pub(crate) const SHA256: Self =
        Self::hmac("HMAC-SHA256", 32, true, |key| HmacCore::new_from_slice(key).map(Mac::Sha256).ok());
    pub(crate) const SHA384: Self = Self::hmac("HMAC-SHA384", 48, false, other_key::<Sha384>);
    pub(crate) const SHA512: Self = Self::hmac("HMAC-SHA512", 64, true, other_key::<Sha512>);
    /// No HMAC at all: SHA-256 of the secret and then the text. It can be continued by anyone who
    /// has seen one: nothing may follow the JSON value.
    pub(crate) const SECRET_THEN_TEXT_SHA256: Self = Self {
        takes: Some(pointer::is_one_value),
        ..Self::hmac("SHA-256 of secret and text", 32, false, |key| {
            Some(Mac::Other(Arc::new(SecretThenText(Sha256::new_with_prefix(key)))))
        })
    };

    const fn hmac(name: &'static str, digest_len: usize, is_strong: bool, key: fn(&[u8]) -> Option<Mac>) -> Self {
        Self { name, digest_len, is_strong, takes: None, key }
    }
}

impl fmt::Debug for MacKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A key, already absorbed by the hash function: the states that each text starts from, and no
/// block beside them, so that the keys of many tenants take little memory.
#[derive(Clone)]
pub(crate) enum Mac {
    /// That of nearly every sender, by the shortest way.
    Sha256(HmacCore<Sha256>),
    Other(Arc<dyn OtherMac>),
}

impl SenderKey for Mac {
    fn hmac_sha256(&self) -> Option<&HmacCore<Sha256>> {
        match self {
            Self::Sha256(states) => Some(states),
            Self::Other(_) => None,
        }
    }

    fn of_hmac_sha256(states: &HmacCore<Sha256>) -> Option<Self> {
        Some(Self::Sha256(states.clone()))
    }
}

/// A key of another kind.
pub(crate) trait OtherMac: Any + Send + Sync {
    /// Returns the code of what is fed.
    fn over(&self, feed: &mut dyn FnMut(&mut dyn FnMut(&[u8]))) -> Digest;

    /// Begins the codes by all these keys, which are of this kind too.
    fn begin(&self, all: &mut dyn Iterator<Item = &dyn OtherMac>) -> Box<dyn OtherMacs>;
}

/// The codes of one text by keys of another kind.
pub(crate) trait OtherMacs: Send {
    fn update(&mut self, bytes: &[u8]);

    fn finish(self: Box<Self>) -> SmallVec<[Digest; 1]>;
}

impl Mac {
    pub(crate) fn new(kind: MacKind, key: &[u8]) -> Result<Self, ConfigError> {
        (kind.key)(key).ok_or_else(|| ConfigError::key("a secret is no HMAC key"))
    }

    /// The code of a text that is there as a whole. Only the state that is needed is copied, and it
    /// never leaves the stack.
    pub(crate) fn of(&self, text: &[u8]) -> Digest {
        let Ok(code) = self.over::<Infallible>(|sink| {
            sink(text);
            Ok(())
        });
        code
    }

    /// As [`of`](Self::of), for a text that is fed in parts.
    #[inline]
    pub(crate) fn over<E>(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>) -> Result<Digest, E> {
        match self {
            Self::Sha256(key) => hmac_over(key, feed),
            Self::Other(key) => {
                let (mut feed, mut fed) = (Some(feed), Ok(()));
                let code = key.over(&mut |sink| fed = feed.take().map_or(Ok(()), |feed| feed(sink)));
                fed.map(|()| code)
            }
        }
    }
}

fn other_key<D: EagerHash + 'static>(key: &[u8]) -> Option<Mac>
where
    HmacCore<D>: Send + Sync,
    Hmacs<D>: Send,
{
    Some(Mac::Other(Arc::new(HmacCore::<D>::new_from_slice(key).ok()?)))
}

impl<D: EagerHash + 'static> OtherMac for HmacCore<D>
where
    Self: Send + Sync,
    Hmacs<D>: Send,
{
    fn over(&self, feed: &mut dyn FnMut(&mut dyn FnMut(&[u8]))) -> Digest {
        let Ok(code) = hmac_over::<D, Infallible>(self, |sink| {
            feed(sink);
            Ok(())
        });
        code
    }

    fn begin(&self, all: &mut dyn Iterator<Item = &dyn OtherMac>) -> Box<dyn OtherMacs> {
        Box::new(Hmacs::<D>::new(of_kind(all)))
    }
}

/// The keys of this kind, which are all.
fn of_kind<K: OtherMac + Clone>(all: &mut dyn Iterator<Item = &dyn OtherMac>) -> SmallVec<[K; 1]> {
    all.filter_map(|key| (key as &dyn Any).downcast_ref::<K>()).cloned().collect()
}

#[derive(Clone)]
struct SecretThenText(Sha256);

/// The secrets are as long as they are, so that each is in a block of its own length.
struct SecretsThenText(SmallVec<[SecretThenText; 1]>);

impl OtherMac for SecretThenText {
    #[inline]
    fn over(&self, feed: &mut dyn FnMut(&mut dyn FnMut(&[u8]))) -> Digest {
        let mut hash = self.0.clone();
        feed(&mut |bytes| hash.update(bytes));
        Digest::new(&hash.finalize())
    }

    #[inline]
    fn begin(&self, all: &mut dyn Iterator<Item = &dyn OtherMac>) -> Box<dyn OtherMacs> {
        Box::new(SecretsThenText(of_kind(all)))
    }
}

impl OtherMacs for SecretsThenText {
    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|hash| hash.0.update(bytes));
    }

    #[inline]
    fn finish(self: Box<Self>) -> SmallVec<[Digest; 1]> {
        self.0.into_iter().map(|hash| Digest::new(&hash.0.finalize())).collect()
    }
}

fn hmac_over<D: EagerHash, E>(
    key: &HmacCore<D>,
    feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
) -> Result<Digest, E> {
    // By its parts, as an `Hmac` would be copied once more to be finished.
    let (mut mac, mut waiting) = (key.clone(), Buffer::<HmacCore<D>>::default());
    feed(&mut |bytes| waiting.digest_blocks(bytes, |blocks| mac.update_blocks(blocks)))?;
    let mut code = Output::<HmacCore<D>>::default();
    mac.finalize_fixed_core(&mut waiting, &mut code);
    Ok(Digest::new(&code))
}

/// A digest of up to 64 bytes, without an allocation, compared in constant time.
#[derive(Clone, Copy)]
pub(crate) struct Digest {
    bytes: [u8; MAX_DIGEST],
    len: usize,
}

impl Digest {
    /// Takes the first 64 bytes at most.
    #[inline]
    pub(crate) fn new(digest: &[u8]) -> Self {
        let mut own = Self::zero(digest.len());
        let len = own.len;
        own.as_mut_bytes().copy_from_slice(&digest[..len]);
        own
    }

    /// A digest of this length, 64 bytes at most, to be written.
    pub(crate) const fn zero(len: usize) -> Self {
        Self { bytes: [0; MAX_DIGEST], len: if len < MAX_DIGEST { len } else { MAX_DIGEST } }
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether it is one of the candidates. It is compared with every one of them.
    #[inline]
    pub(crate) fn is_among<'a>(&self, candidates: impl Iterator<Item = &'a Self>) -> bool {
        candidates.map(|candidate| self.ct_eq(candidate)).reduce(BitOr::bitor).is_some_and(Into::into)
    }

    /// Compares the whole array, which is zero behind the digest, by words: `subtle` compares a
    /// slice byte by byte, which took as long as the reading of the head. The bits in which the
    /// two differ are gathered first, so that there is one comparison.
    #[inline]
    fn ct_eq(&self, other: &Self) -> Choice {
        let words = self.bytes.as_chunks().0.iter().zip(other.bytes.as_chunks().0);
        let differ = words.fold(0, |differ, (a, b)| differ | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)));
        (differ | (self.len ^ other.len) as u64).ct_eq(&0)
    }
}

/// With several keys, each is fed this much before it is the next one's turn: a block of SHA-512,
/// two of the others. The rounds of one SHA-256 wait for each other, and the processor fills their
/// gaps with those of the next key, as far ahead as it looks, which is two or three blocks.
const TURN: usize = 128;

/// The codes of one text that is fed bit by bit, by every key. All keys of a ring are of one kind.
pub(crate) enum Macs {
    Sha256(Hmacs<Sha256>),
    Other(Box<dyn OtherMacs>),
}

/// What was fed, by each of the keys. The part of a block that waits for more is the same for all.
pub(crate) struct Hmacs<D: EagerHash> {
    running: SmallVec<[HmacCore<D>; 1]>,
    waiting: Buffer<HmacCore<D>>,
}

/// What is kept of codes while more of their text is waited for: nothing, for the code by one key
/// of HMAC-SHA256, of the part of a block that waits, as it can be fed once more.
pub(crate) enum HeldMacs {
    Sha256(HmacCore<Sha256>),
    Other(Box<dyn OtherMacs>),
}

impl Macs {
    /// Returns what is kept while more is waited for, and how many of the last bytes have to be fed
    /// once more then.
    #[inline]
    pub(crate) fn held(self) -> (HeldMacs, usize) {
        match self {
            Self::Sha256(macs) => match &macs.running[..] {
                [only] => (HeldMacs::Sha256(only.clone()), macs.waiting.get_pos()),
                _ => (HeldMacs::Other(Box::new(macs)), 0),
            },
            Self::Other(macs) => (HeldMacs::Other(macs), 0),
        }
    }

    /// Goes on behind what was fed, but for the bytes that have to be fed once more.
    #[inline]
    pub(crate) fn resumed(held: HeldMacs) -> Self {
        match held {
            HeldMacs::Sha256(only) => Self::Sha256(Hmacs::new(smallvec![only])),
            HeldMacs::Other(macs) => Self::Other(macs),
        }
    }

    pub(crate) fn by(keys: &Keyring<Mac>) -> Self {
        let own = |key: &Mac| if let Mac::Sha256(key) = key { Some(key.clone()) } else { None };
        match keys.first() {
            Mac::Sha256(_) => Self::Sha256(Hmacs::new(keys.iter().filter_map(own).collect())),
            Mac::Other(first) => {
                Self::Other(first.begin(
                    &mut keys.iter().filter_map(|key| if let Mac::Other(key) = key { Some(&**key) } else { None }),
                ))
            }
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(macs) => macs.update(bytes),
            Self::Other(macs) => macs.update(bytes),
        }
    }

    /// The code by each key of what was fed.
    pub(crate) fn finish(self) -> impl Iterator<Item = Digest> {
        let codes = match self {
            Self::Sha256(macs) => macs.finish(),
            Self::Other(macs) => macs.finish(),
        };
        codes.into_iter()
    }
}

impl<D: EagerHash> OtherMacs for Hmacs<D>
where
    Self: Send,
{
    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn finish(self: Box<Self>) -> SmallVec<[Digest; 1]> {
        (*self).finish()
    }
}

impl<D: EagerHash> Hmacs<D> {
    fn new(running: SmallVec<[HmacCore<D>; 1]>) -> Self {
        Self { running, waiting: Buffer::<HmacCore<D>>::default() }
    }

    fn update(&mut self, bytes: &[u8]) {
        let Self { running, waiting } = self;
        waiting.digest_blocks(bytes, |blocks| match &mut running[..] {
            [only] => only.update_blocks(blocks),
            all => {
                for turn in blocks.chunks(TURN / D::block_size()) {
                    all.iter_mut().for_each(|mac| mac.update_blocks(turn));
                }
            }
        });
    }

    fn finish(self) -> SmallVec<[Digest; 1]> {
        let Self { running, waiting } = self;
        let code = |mut mac: HmacCore<D>| {
            let mut code = Output::<HmacCore<D>>::default();
            mac.finalize_fixed_core(&mut waiting.clone(), &mut code);
            Digest::new(&code)
        };
        running.into_iter().map(code).collect()
    }
}

/// The position of the first key whose code, of those given in the keys' order, is one of the
/// candidates. Every code is compared with every candidate, so the time tells nothing of which
/// fitted.
pub(crate) fn matching_key<'a>(
    codes: impl Iterator<Item = Digest>,
    candidates: impl Iterator<Item = &'a Digest> + Clone,
) -> Option<usize> {
    let mut matched = None;
    for (position, code) in codes.enumerate() {
        if code.is_among(candidates.clone()) && matched.is_none() {
            matched = Some(position);
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(kind: MacKind, key: &str, data: &str) -> String {
        let mut macs = Macs::by(&Keyring::new([Mac::new(kind, key.as_bytes())]).unwrap().unwrap());
        data.as_bytes().chunks(1).for_each(|byte| macs.update(byte));
        hex::encode(macs.finish().next().unwrap().as_bytes())
    }

    #[test]
    fn the_rfc_vectors_hold() {
        let (key, data) = ("Jefe", "what do ya want for nothing?");
        assert_eq!(mac(MacKind::SHA1, key, data), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(mac(MacKind::SHA256, key, data), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(
            mac(MacKind::SHA512, key, data),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
    }

    #[test]
    fn any_key_and_any_candidate_may_match_and_the_first_key_is_named() {
        let code = |key: &str| Mac::new(MacKind::SHA256, key.as_bytes()).unwrap().of(b"");
        let codes = |keys: &'static [&str]| keys.iter().map(|key| code(key));
        let [a, b, c] = ["a", "b", "c"].map(code);
        assert_eq!(matching_key(codes(&["a", "b"]), [b].iter()), Some(1));
        assert_eq!(matching_key(codes(&["a", "b"]), [c, b, a].iter()), Some(0));
        assert_eq!(matching_key(codes(&["a", "b"]), [c].iter()), None);
        assert_eq!(matching_key(codes(&["a"]), [].iter()), None);
        assert_eq!(matching_key(codes(&["a"]), [Digest::new(&a.as_bytes()[..31])].iter()), None);
    }

    #[test]
    fn several_keys_are_fed_the_same_text_however_it_is_split() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for kind in [MacKind::SHA1, MacKind::SHA256, MacKind::SHA384, MacKind::SHA512, MacKind::SECRET_THEN_TEXT_SHA256]
        {
            let keys = || ["a", "b", "c"].map(|key| Mac::new(kind, key.as_bytes()));
            let expected: Vec<_> = keys().into_iter().map(|mac| mac.unwrap().of(&text)).collect();
            for chunk in [1, 7, 64, 127, 128, 129, 300, 1000] {
                let mut macs = Macs::by(&Keyring::new(keys()).unwrap().unwrap());
                text.chunks(chunk).for_each(|chunk| macs.update(chunk));
                let digests: Vec<_> = macs.finish().collect();
                assert!(
                    digests.iter().map(Digest::as_bytes).eq(expected.iter().map(Digest::as_bytes)),
                    "{kind:?} in chunks of {chunk}"
                );
            }
        }
    }
}
