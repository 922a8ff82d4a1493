//! Message authentication codes: keyed once, cloned for each request, fed as the bytes arrive.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use sha1::Sha1;
use sha2::digest::Output;
use sha2::digest::block_api::{Block, Buffer, EagerHash, FixedOutputCore as _, UpdateCore as _};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use smallvec::SmallVec;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroize as _;

use crate::pointer;
use crate::secrets::Keyring;

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
    key: fn(&[u8]) -> Mac,
}

impl MacKind {
    pub(crate) const SHA1: Self = Self::hmac("HMAC-SHA1", 20, false, other_key::<Sha1>);
    pub(crate) const SHA256: Self = Self::hmac("HMAC-SHA256", 32, true, |key| Mac::Sha256(HmacKey::new(key)));
    pub(crate) const SHA384: Self = Self::hmac("HMAC-SHA384", 48, false, other_key::<Sha384>);
    pub(crate) const SHA512: Self = Self::hmac("HMAC-SHA512", 64, true, other_key::<Sha512>);
    /// No HMAC at all: SHA-256 of the secret and then the text. It can be continued by anyone who
    /// has seen one: nothing may follow the JSON value.
    pub(crate) const SECRET_THEN_TEXT_SHA256: Self = Self {
        takes: Some(pointer::is_one_value),
        ..Self::hmac("SHA-256 of secret and text", 32, false, |key| {
            Mac::Other(Arc::new(SecretThenText(Sha256::new_with_prefix(key))))
        })
    };

    const fn hmac(name: &'static str, digest_len: usize, is_strong: bool, key: fn(&[u8]) -> Mac) -> Self {
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
    Sha256(HmacKey<Sha256>),
    Other(Arc<dyn OtherMac>),
}

/// A key of another kind.
pub(crate) trait OtherMac: Send + Sync {
    /// Returns the code of what is fed.
    fn over(&self, feed: &mut dyn FnMut(&mut dyn FnMut(&[u8]))) -> Digest;

    /// Returns the key if its code of a text can be begun before the whole text is there.
    fn running(&self) -> Option<&dyn RunningMac> {
        None
    }
}

/// A key by which a text is fed bit by bit.
pub(crate) trait RunningMac {
    /// Returns the state before the text.
    fn begin(&self) -> HashState;

    /// Feeds the next bytes to the states by this key and others of its kind.
    fn update(&self, states: &mut [HashState], rest: &mut Rest, bytes: &[u8]);

    fn finish(&self, state: &HashState, rest: &Rest) -> Digest;
}

impl Mac {
    pub(crate) fn new(kind: MacKind, key: &[u8]) -> Self {
        (kind.key)(key)
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
            Self::Sha256(key) => key.over(feed),
            Self::Other(key) => {
                let (mut feed, mut fed) = (Some(feed), Ok(()));
                let code = key.over(&mut |sink| fed = feed.take().map_or(Ok(()), |feed| feed(sink)));
                fed.map(|()| code)
            }
        }
    }

    fn running(&self) -> Option<&dyn RunningMac> {
        match self {
            Self::Sha256(key) => Some(key),
            Self::Other(key) => key.running(),
        }
    }
}

/// A hash function that HMAC is made of, and whose state can be put aside.
pub(crate) trait Hash: EagerHash<Core: SerializableState + Send + Sync> + 'static {}

impl<D: EagerHash<Core: SerializableState + Send + Sync> + 'static> Hash for D {}

/// A key of HMAC (RFC 2104): the hash function's states after the block that is made of the key,
/// for the text and for the hash of the text.
//
// The crate `hmac` has the same pair, but keeps both of them in each running code, where the second is needed only at
// the end and is at hand by then, and has no way to put a running code aside.
#[derive(Clone)]
pub(crate) struct HmacKey<D: Hash> {
    inner: D::Core,
    outer: D::Core,
}

impl<D: Hash> HmacKey<D> {
    fn new(key: &[u8]) -> Self {
        let mut block = Block::<D::Core>::default();
        if let Some(start) = block.get_mut(..key.len()) {
            start.copy_from_slice(key);
        } else {
            let mut hash = D::digest(key);
            block[..hash.len()].copy_from_slice(&hash);
            hash.as_mut_slice().zeroize();
        }
        let mut after = |pad: u8| {
            block.iter_mut().for_each(|byte| *byte ^= pad);
            let mut state = D::Core::default();
            state.update_blocks(std::slice::from_ref(&block));
            block.iter_mut().for_each(|byte| *byte ^= pad);
            state
        };
        let own = Self { inner: after(0x36), outer: after(0x5c) };
        block.as_mut_slice().zeroize();
        own
    }

    #[inline]
    fn over<E>(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>) -> Result<Digest, E> {
        let (mut inner, mut rest) = (self.inner.clone(), Buffer::<D::Core>::default());
        feed(&mut |bytes| rest.digest_blocks(bytes, |blocks| inner.update_blocks(blocks)))?;
        Ok(self.code(inner, &mut rest))
    }

    /// Returns the code of one text by each of these keys.
    fn over_each<E>(
        keys: &[&Self],
        feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<SmallVec<[Digest; 1]>, E> {
        let mut inner: SmallVec<[D::Core; 2]> = keys.iter().map(|key| key.inner.clone()).collect();
        let mut rest = Buffer::<D::Core>::default();
        feed(&mut |bytes| feed_each::<D>(&mut inner, &mut rest, bytes))?;
        Ok(keys.iter().zip(inner).map(|(key, inner)| key.code(inner, &mut rest.clone())).collect())
    }

    /// Returns the code of a text, of which `inner` has had all but the rest.
    #[inline]
    fn code(&self, mut inner: D::Core, rest: &mut Buffer<D::Core>) -> Digest {
        let (mut hash, mut outer) = (Output::<D::Core>::default(), self.outer.clone());
        inner.finalize_fixed_core(rest, &mut hash);
        rest.reset();
        rest.digest_blocks(&hash, |blocks| outer.update_blocks(blocks));
        outer.finalize_fixed_core(rest, &mut hash);
        Digest::new(&hash)
    }
}

/// Feeds several states, which share the part of a block that waits for more.
fn feed_each<D: Hash>(inner: &mut [D::Core], rest: &mut Buffer<D::Core>, bytes: &[u8]) {
    rest.digest_blocks(bytes, |blocks| match &mut *inner {
        [only] => only.update_blocks(blocks),
        all => {
            for turn in blocks.chunks(TURN / D::block_size()) {
                all.iter_mut().for_each(|inner| inner.update_blocks(turn));
            }
        }
    });
}

fn other_key<D: Hash>(key: &[u8]) -> Mac {
    Mac::Other(Arc::new(HmacKey::<D>::new(key)))
}

impl<D: Hash> OtherMac for HmacKey<D> {
    fn over(&self, feed: &mut dyn FnMut(&mut dyn FnMut(&[u8]))) -> Digest {
        let Ok(code) = self.over::<Infallible>(|sink| {
            feed(sink);
            Ok(())
        });
        code
    }

    fn running(&self) -> Option<&dyn RunningMac> {
        Some(self)
    }
}

impl<D: Hash> RunningMac for HmacKey<D> {
    fn begin(&self) -> HashState {
        HashState::of(&self.inner)
    }

    fn update(&self, states: &mut [HashState], rest: &mut Rest, bytes: &[u8]) {
        let mut inner: SmallVec<[D::Core; 2]> = states.iter().map(HashState::load).collect();
        let mut waiting = rest.load::<D>();
        feed_each::<D>(&mut inner, &mut waiting, bytes);
        states.iter_mut().zip(&inner).for_each(|(state, inner)| state.store(inner));
        rest.store(waiting.get_data());
    }

    fn finish(&self, state: &HashState, rest: &Rest) -> Digest {
        self.code(state.load(), &mut rest.load::<D>())
    }
}

#[derive(Clone)]
struct SecretThenText(Sha256);

impl OtherMac for SecretThenText {
    fn over(&self, feed: &mut dyn FnMut(&mut dyn FnMut(&[u8]))) -> Digest {
        let mut hash = self.0.clone();
        feed(&mut |bytes| hash.update(bytes));
        Digest::new(&hash.finalize())
    }
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

/// The longest state of a hash function, that of SHA-512.
const MAX_STATE: usize = 80;
/// The longest block, that of SHA-512.
const MAX_BLOCK: usize = 128;

/// The state of a hash function after whole blocks, as bytes: so one of any function has room in a
/// verification, without a box and without the code of that function.
pub(crate) struct HashState([u8; MAX_STATE]);

impl HashState {
    fn of<C: SerializableState>(core: &C) -> Self {
        let mut own = Self([0; MAX_STATE]);
        own.store(core);
        own
    }

    fn store<C: SerializableState>(&mut self, core: &C) {
        let mut bytes = core.serialize();
        self.0[..bytes.len()].copy_from_slice(&bytes);
        bytes.as_mut_slice().zeroize();
    }

    /// What a state of another function would become fits no code.
    fn load<C: SerializableState + Default>(&self) -> C {
        let mut bytes = SerializedState::<C>::default();
        let len = bytes.len();
        bytes.copy_from_slice(&self.0[..len]);
        let core = C::deserialize(&bytes).unwrap_or_default();
        bytes.as_mut_slice().zeroize();
        core
    }
}

impl Drop for HashState {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The part of a block that waits for more.
pub(crate) struct Rest {
    bytes: [u8; MAX_BLOCK],
    len: usize,
}

impl Rest {
    const NONE: Self = Self { bytes: [0; MAX_BLOCK], len: 0 };

    fn store(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
    }

    fn load<D: Hash>(&self) -> Buffer<D::Core> {
        Buffer::<D::Core>::try_new(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// The codes of one text that is fed bit by bit, by every key of a ring, which each call is given.
/// All keys of a ring are of one kind, so that they share the part of a block that waits for more.
pub(crate) struct Macs {
    states: HashStates,
    rest: Rest,
}

/// What is kept of codes while their text is waited for, if the part of a block that waits for more
/// can be fed once more.
pub(crate) type HashStates = SmallVec<[HashState; 1]>;

impl Macs {
    /// Returns nothing if these keys need the whole text.
    pub(crate) fn by(keys: &Keyring<Mac>) -> Option<Self> {
        let states = keys.iter().map(|key| Some(key.running()?.begin())).collect::<Option<_>>()?;
        Some(Self::resumed(states))
    }

    /// Goes on behind the last whole block.
    pub(crate) fn resumed(states: HashStates) -> Self {
        Self { states, rest: Rest::NONE }
    }

    pub(crate) fn update(&mut self, keys: &Keyring<Mac>, bytes: &[u8]) {
        if let Some(key) = keys.first().running() {
            key.update(&mut self.states, &mut self.rest, bytes);
        }
    }

    /// Returns the states after the last whole block, and how many bytes behind it have to be fed
    /// once more.
    pub(crate) fn suspended(self) -> (HashStates, usize) {
        (self.states, self.rest.len)
    }

    /// Returns the code by each key of what was fed.
    pub(crate) fn finish(self, keys: &Keyring<Mac>) -> SmallVec<[Digest; 1]> {
        let codes =
            keys.iter().zip(&self.states).filter_map(|(key, state)| Some(key.running()?.finish(state, &self.rest)));
        codes.collect()
    }
}

/// Returns the code by each key of a text that is there as a whole.
pub(crate) fn codes<E>(
    keys: &Keyring<Mac>,
    feed: impl Fn(&mut dyn FnMut(&[u8])) -> Result<(), E>,
) -> Result<SmallVec<[Digest; 1]>, E> {
    let usual = keys.iter().filter_map(|key| if let Mac::Sha256(key) = key { Some(key) } else { None });
    let usual: SmallVec<[_; 2]> = usual.collect();
    if !usual.is_empty() {
        return HmacKey::over_each(&usual, feed);
    }
    if let Some(mut macs) = Macs::by(keys) {
        feed(&mut |bytes| macs.update(keys, bytes))?;
        return Ok(macs.finish(keys));
    }
    keys.iter().map(|key| key.over(&feed)).collect()
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

    fn mac(kind: MacKind, key: &[u8], data: &[u8]) -> String {
        let keys = Keyring::new([Ok(Mac::new(kind, key))]).unwrap().unwrap();
        let mut macs = Macs::by(&keys).unwrap();
        data.chunks(1).for_each(|byte| macs.update(&keys, byte));
        hex::encode(macs.finish(&keys)[0].as_bytes())
    }

    #[test]
    fn the_rfc_vectors_hold() {
        let (key, data): (&[u8], &[u8]) = (b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac(MacKind::SHA1, key, data), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(mac(MacKind::SHA256, key, data), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(
            mac(MacKind::SHA512, key, data),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
    }

    #[test]
    fn any_key_and_any_candidate_may_match_and_the_first_key_is_named() {
        let code = |key: &str| Mac::new(MacKind::SHA256, key.as_bytes()).of(b"");
        let codes = |keys: &'static [&str]| keys.iter().map(|key| code(key));
        let [a, b, c] = ["a", "b", "c"].map(code);
        assert_eq!(matching_key(codes(&["a", "b"]), [b].iter()), Some(1));
        assert_eq!(matching_key(codes(&["a", "b"]), [c, b, a].iter()), Some(0));
        assert_eq!(matching_key(codes(&["a", "b"]), [c].iter()), None);
        assert_eq!(matching_key(codes(&["a"]), [].iter()), None);
        assert_eq!(matching_key(codes(&["a"]), [Digest::new(&a.as_bytes()[..31])].iter()), None);
    }

    #[test]
    fn keys_of_any_length_make_the_codes_that_another_implementation_makes() {
        fn check<D: EagerHash>(kind: MacKind) {
            use hmac::{Hmac, KeyInit as _, Mac as _};

            let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
            for len in 0..=bytes.len() {
                let (key, text) = (&bytes[..len], &bytes[len / 2..]);
                let other = Hmac::<D>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes();
                assert_eq!(Mac::new(kind, key).of(text).as_bytes(), &other[..], "{kind:?} by {len} bytes");
            }
        }
        check::<Sha1>(MacKind::SHA1);
        check::<Sha256>(MacKind::SHA256);
        check::<Sha384>(MacKind::SHA384);
        check::<Sha512>(MacKind::SHA512);
    }

    #[test]
    fn a_key_that_is_longer_than_a_block_is_hashed_first() {
        // RFC 4231, test case 6.
        let (key, data): (_, &[u8]) = ([0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            mac(MacKind::SHA256, &key, data),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert_eq!(
            mac(MacKind::SHA384, &key, data),
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"
        );
        assert_eq!(
            mac(MacKind::SHA512, &key, data),
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
        );
    }

    #[test]
    fn several_keys_are_fed_the_same_text_however_it_is_split() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for kind in [MacKind::SHA1, MacKind::SHA256, MacKind::SHA384, MacKind::SHA512] {
            let keys = ["a", "b", "c"].map(|key| Mac::new(kind, key.as_bytes()));
            let expected: Vec<_> = keys.iter().map(|mac| mac.of(&text)).collect();
            let keys = Keyring::new(keys.map(Ok)).unwrap().unwrap();
            let Ok(whole) = codes::<Infallible>(&keys, |sink| {
                sink(&text[..100]);
                sink(&text[100..]);
                Ok(())
            });
            assert!(whole.iter().map(Digest::as_bytes).eq(expected.iter().map(Digest::as_bytes)), "{kind:?}");
            for chunk in [1, 7, 64, 127, 128, 129, 300, 1000] {
                let mut macs = Macs::by(&keys).unwrap();
                text.chunks(chunk).for_each(|chunk| macs.update(&keys, chunk));
                let digests = macs.finish(&keys);
                assert!(
                    digests.iter().map(Digest::as_bytes).eq(expected.iter().map(Digest::as_bytes)),
                    "{kind:?} in chunks of {chunk}"
                );
            }
            for fed in [0, 1, 63, 64, 127, 128, 129, 300, 1000] {
                let mut macs = Macs::by(&keys).unwrap();
                macs.update(&keys, &text[..fed]);
                let (states, again) = macs.suspended();
                let mut macs = Macs::resumed(states);
                macs.update(&keys, &text[fed - again..]);
                let digests = macs.finish(&keys);
                assert!(
                    digests.iter().map(|it| it.as_bytes().to_vec()).eq(expected.iter().map(Digest::as_bytes)),
                    "{kind:?} at {fed}"
                );
            }
        }
    }

    #[test]
    fn a_code_that_is_no_hmac_needs_the_whole_text() {
        let key = Mac::new(MacKind::SECRET_THEN_TEXT_SHA256, b"Jefe");
        let code = Sha256::digest(b"Jefe wants nothing");
        assert_eq!(key.of(b" wants nothing").as_bytes(), &code[..]);
        let keys = Keyring::new([Ok(key.clone()), Ok(key)]).unwrap().unwrap();
        assert!(Macs::by(&keys).is_none());
        let Ok(both) = codes::<Infallible>(&keys, |sink| {
            sink(b" wants ");
            sink(b"nothing");
            Ok(())
        });
        assert!(both.iter().map(Digest::as_bytes).eq([&code[..], &code[..]]));
    }
}
