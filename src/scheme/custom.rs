//! Proof by a rule of one sender's own, which finds the signed texts in a body and the signatures
//! over them.

use std::sync::Arc;

#[cfg(feature = "testing")]
use bytes::Bytes;
use http::request::Parts;
use subtle::{Choice, ConstantTimeEq as _};

use crate::encoding::Encoding;
use crate::mac::Mac;
use crate::provider::{MaybeReady, Recognition, RecognizedBy};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor, MatchedKey};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::fields::Unverified;
use super::proof::{Judged, Proof, Run};
use super::template::Values;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, SignWith, Signer, Unsigned};

/// What one sender signs of a body, if no template describes it. Its implementation is in the
/// sender's own file.
///
/// Nothing counts as covered: what the texts hold of the body, only the sender's code knows.
pub(crate) trait Rule: Send + Sync + 'static {
    /// Returns at least one item; every one of them must be signed.
    fn items(&self, body: &[u8]) -> Result<Vec<Item>, Rejection>;

    /// Describes the algorithm, the signature's place and the signed text, for tables.
    #[cfg(feature = "testing")]
    fn describe(&self) -> String;

    /// Signs as the sender would.
    #[cfg(feature = "testing")]
    fn sign(&self, body: &mut Bytes, sign: &SignWith<'_>) -> Result<(), SignError>;
}

/// One signed text, in any of its spellings, and its signature.
pub(crate) struct Item {
    texts: Vec<Vec<u8>>,
    signature: Vec<u8>,
}

impl Item {
    /// Creates an item with a signature of exactly `len` bytes.
    #[inline]
    pub(crate) fn new(
        texts: Vec<Vec<u8>>,
        signature: &[u8],
        encoding: Encoding,
        len: usize,
    ) -> Result<Self, Rejection> {
        let mut bytes = vec![0; len];
        if !encoding.decode_exact(signature, &mut bytes) {
            return Err(Reason::MalformedSignature.into());
        }
        Ok(Self { texts, signature: bytes })
    }

    /// Returns whether this key made the signature.
    #[inline]
    fn is_by(&self, mac: &Mac) -> bool {
        let fits = self.texts.iter().map(|text| mac.of(text).as_bytes().ct_eq(&self.signature));
        fits.fold(Choice::from(0), |fits, next| fits | next).into()
    }
}

/// Proof by the rule of one sender.
#[derive(Clone)]
pub(crate) struct CustomProof {
    pub(crate) rule: Arc<dyn Rule>,
    pub(crate) keys: Keys<Mac>,
}

impl Proof for CustomProof {
    type Offer = Vec<Item>;
    type Keys = KeysFor;
    type Progress = ();

    #[inline]
    fn is_in_body(&self) -> bool {
        true
    }

    #[inline]
    fn recognizes(&self, _: &Parts) -> Recognition {
        Recognition::Perhaps
    }

    #[inline]
    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        None
    }

    #[inline]
    fn recognizes_body(&self, _: &Parts, body: &[u8]) -> bool {
        self.rule.items(body).is_ok()
    }

    #[inline]
    fn read(&self, _: &Parts, body: &[u8], _: &mut Unverified) -> Result<Vec<Item>, Rejection> {
        self.rule.items(body)
    }

    #[inline]
    fn start(&self, _: &Vec<Item>, values: &Values<'_>) -> Judged<KeysFor> {
        Ok(self.keys.find(values, None))
    }

    #[inline]
    fn finish(&self, run: Run<'_, Self>, _: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        let keys = self.keys.tried(run.keys)?;
        let mut signed = run.offer.iter().map(|item| keys.ring.first_that(|mac| item.is_by(mac)));
        let first = signed.next().flatten();
        keys.verdict(first.filter(|_| signed.all(|key| key.is_some()))).map(MaybeReady::Ready)
    }

    #[inline]
    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        Some(&self.keys)
    }

    #[cfg(feature = "testing")]
    #[inline]
    fn describe(&self) -> String {
        self.rule.describe()
    }

    #[cfg(feature = "testing")]
    #[inline]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        let Signer::Secret = signer else { return None };
        Some(self.rule.sign(request.body, &|message| Ok(self.keys.signing_key()?.of(message).as_bytes().to_vec())))
    }
}
