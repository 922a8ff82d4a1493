//! Message authentication codes: keyed once, cloned for each request, fed as the bytes arrive.

use std::convert::Infallible;

use hmac::block_api::HmacCore;
use hmac::digest::block_api::{Buffer, CoreProxy as _, FixedOutputCore as _, UpdateCore as _};
use hmac::digest::{Digest as _, KeyInit, Output};
use hmac::{EagerHash, Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use smallvec::SmallVec;
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::ConfigError;
use crate::secrets::Keyring;

/// The longest digest, that of SHA-512.
pub(crate) const MAX_DIGEST: usize = 64;

/// The hash function of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MacKind {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    /// No HMAC at all: SHA-256 of the secret and then the text.
    SecretThenTextSha256,
}

impl MacKind {
    #[cfg(feature = "testing")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "HMAC-SHA1",
            Self::Sha256 => "HMAC-SHA256",
            Self::Sha384 => "HMAC-SHA384",
            Self::Sha512 => "HMAC-SHA512",
            Self::SecretThenTextSha256 => "SHA-256 of secret and text",
        }
    }

    pub(crate) const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::SecretThenTextSha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A key, already absorbed by the hash function: the states that each text starts from, and no
/// block beside them, so that the keys of many tenants take little memory.
#[derive(Clone)]
pub(crate) enum Mac {
    Sha1(HmacCore<Sha1>),
    Sha256(HmacCore<Sha256>),
    Sha384(HmacCore<Sha384>),
    Sha512(HmacCore<Sha512>),
    SecretThenTextSha256(Sha256),
}

impl Mac {
    pub(crate) fn new(kind: MacKind, key: &[u8]) -> Result<Self, ConfigError> {
        let unusable = |_| ConfigError::key("a secret is no HMAC key");
        Ok(match kind {
            MacKind::Sha1 => Self::Sha1(HmacCore::new_from_slice(key).map_err(unusable)?),
            MacKind::Sha256 => Self::Sha256(HmacCore::new_from_slice(key).map_err(unusable)?),
            MacKind::Sha384 => Self::Sha384(HmacCore::new_from_slice(key).map_err(unusable)?),
            MacKind::Sha512 => Self::Sha512(HmacCore::new_from_slice(key).map_err(unusable)?),
            MacKind::SecretThenTextSha256 => Self::SecretThenTextSha256(Sha256::new_with_prefix(key)),
        })
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
            Self::Sha1(key) => hmac_over(key, feed),
            Self::Sha256(key) => hmac_over(key, feed),
            Self::Sha384(key) => hmac_over(key, feed),
            Self::Sha512(key) => hmac_over(key, feed),
            Self::SecretThenTextSha256(hash) => {
                let mut hash = hash.clone();
                feed(&mut |bytes| hash.update(bytes))?;
                Ok(Digest::new(&hash.finalize()))
            }
        }
    }
}

fn started<D: EagerHash>(key: &HmacCore<D>) -> Hmac<D> {
    Hmac::compose(key.clone(), Buffer::<HmacCore<D>>::default())
}

fn hmac_over<D: EagerHash, E>(
    key: &HmacCore<D>,
    feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
) -> Result<Digest, E> {
    let mut mac = started(key);
    feed(&mut |bytes| mac.update(bytes))?;
    Ok(Digest::new(&mac.finalize().into_bytes()))
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
        candidates.fold(Choice::from(0), |fits, candidate| fits | self.ct_eq(candidate)).into()
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
    Sha1(Hmacs<Sha1>),
    Sha256(Hmacs<Sha256>),
    Sha384(Hmacs<Sha384>),
    Sha512(Hmacs<Sha512>),
    /// The secrets are as long as they are, so that each is in a block of its own length.
    SecretThenTextSha256(SmallVec<[Sha256; 1]>),
}

/// What was fed, by each of the keys. The part of a block that waits for more is the same for all.
pub(crate) struct Hmacs<D: EagerHash> {
    running: SmallVec<[HmacCore<D>; 1]>,
    waiting: Buffer<HmacCore<D>>,
}

impl Macs {
    pub(crate) fn by(keys: &Keyring<Mac>) -> Self {
        macro_rules! of_kind {
            ($kind:ident) => {
                keys.iter().filter_map(|key| if let Mac::$kind(key) = key { Some(key.clone()) } else { None }).collect()
            };
        }
        match keys.first() {
            Mac::Sha1(_) => Self::Sha1(Hmacs::new(of_kind!(Sha1))),
            Mac::Sha256(_) => Self::Sha256(Hmacs::new(of_kind!(Sha256))),
            Mac::Sha384(_) => Self::Sha384(Hmacs::new(of_kind!(Sha384))),
            Mac::Sha512(_) => Self::Sha512(Hmacs::new(of_kind!(Sha512))),
            Mac::SecretThenTextSha256(_) => Self::SecretThenTextSha256(of_kind!(SecretThenTextSha256)),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(macs) => macs.update(bytes),
            Self::Sha256(macs) => macs.update(bytes),
            Self::Sha384(macs) => macs.update(bytes),
            Self::Sha512(macs) => macs.update(bytes),
            Self::SecretThenTextSha256(hashes) => hashes.iter_mut().for_each(|hash| hash.update(bytes)),
        }
    }

    /// The code by each key of what was fed.
    pub(crate) fn finish(self) -> impl Iterator<Item = Digest> {
        let codes: SmallVec<[Digest; 1]> = match self {
            Self::Sha1(macs) => macs.finish(),
            Self::Sha256(macs) => macs.finish(),
            Self::Sha384(macs) => macs.finish(),
            Self::Sha512(macs) => macs.finish(),
            Self::SecretThenTextSha256(hashes) => {
                hashes.into_iter().map(|hash| Digest::new(&hash.finalize())).collect()
            }
        };
        codes.into_iter()
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
        assert_eq!(mac(MacKind::Sha1, key, data), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(mac(MacKind::Sha256, key, data), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(
            mac(MacKind::Sha512, key, data),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
    }

    #[test]
    fn any_key_and_any_candidate_may_match_and_the_first_key_is_named() {
        let code = |key: &str| Mac::new(MacKind::Sha256, key.as_bytes()).unwrap().of(b"");
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
        for kind in [MacKind::Sha1, MacKind::Sha256, MacKind::Sha384, MacKind::Sha512, MacKind::SecretThenTextSha256] {
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
