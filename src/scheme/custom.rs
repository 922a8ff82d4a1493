//! Proof by a rule of one sender's own: a function that yields the signed texts and the signatures that the request offers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::ConfigError;
use crate::delivery::{Signed, SignedText};
use crate::encoding::Encoding;
use crate::mac::{Digest, Mac};
#[cfg(feature = "paypal")]
use crate::provider::BoxFuture;
use crate::provider::{MaybeReady, Recognition};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{KeyPrint, Keys, KeysFor};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::builder::SchemeBuilder;
use super::form::{Fields, Unverified};
#[cfg(feature = "testing")]
use super::mac::fixed_key;
use super::mac::{keys_for, verdict};
use super::proof::{Judged, Proof};
#[cfg(feature = "testing")]
use super::sign::{SignWith, Signer, Unsigned};
use super::signature::Signature;
use super::template::Values;
use super::timestamp::Timestamp;

/// What one sender signs, if no template describes it. Its implementation is in the sender's own file.
pub(crate) trait Rule: Send + Sync + 'static {
    /// Returns what the signatures cover. A timestamp or an id that is covered must be there.
    fn covers(&self) -> Signed;

    /// Returns whether the head has a signature. By default they are in the body.
    fn recognizes(&self, head: &Parts) -> Recognition {
        let _ = head;
        Recognition::Perhaps
    }

    /// Checks what the head alone can show, its signature first.
    fn check_head(&self, head: &Parts) -> Result<(), Rejection> {
        let _ = head;
        Ok(())
    }

    /// Returns at least one item; every one of them must be signed.
    fn items<'a>(&self, values: &Values<'a>) -> Result<Vec<Item<'a>>, Rejection>;

    /// Returns what is signed besides the body and the time, if that is more than literals.
    fn signed_text(&self, values: &Values<'_>) -> Result<Option<SignedText>, Rejection> {
        let _ = values;
        Ok(None)
    }

    /// Returns the address that is signed, without what may be secret in it: a mismatch may be due to it.
    fn address(&self, head: &Parts) -> Option<String> {
        let _ = head;
        None
    }

    /// Describes the algorithm, the signature's place and the signed text, for tables.
    #[cfg(feature = "testing")]
    fn describe(&self) -> String;

    /// Signs as the sender would.
    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, sign: &SignWith<'_>) -> Result<(), SignError>;
}

/// A text in pieces, so that the body is not copied into it.
pub(crate) type SignedPieces<'a> = Vec<Cow<'a, [u8]>>;

/// One signed text, in any of its spellings, and the signatures of which any may be right.
pub(crate) struct Item<'a> {
    pub(crate) texts: Vec<SignedPieces<'a>>,
    pub(crate) signatures: Vec<Vec<u8>>,
}

impl<'a> Item<'a> {
    /// An item with one signature of exactly `len` bytes.
    pub(crate) fn new(
        texts: Vec<SignedPieces<'a>>,
        signature: &[u8],
        encoding: Encoding,
        len: usize,
    ) -> Result<Self, Rejection> {
        let mut bytes = vec![0; len];
        if !encoding.decode_exact(signature, &mut bytes) {
            return Err(Reason::MalformedSignature.into());
        }
        Ok(Self { texts, signatures: vec![bytes] })
    }

    /// Returns the position of the first key that made one of the signatures. Every key is tried with each.
    fn matching_key(&self, keys: &KeysFor<Mac>) -> Option<usize> {
        let fits = |mac: &Mac| {
            self.texts.iter().fold(Choice::from(0), |fits, text| {
                let code = mac_of(mac, text);
                self.signatures.iter().fold(fits, |fits, signature| fits | code.as_bytes().ct_eq(signature))
            })
        };
        let fits = keys.ring.iter().enumerate().filter(|(_, mac)| fits(mac).into()).map(|(index, _)| index);
        fits.fold(None, |first, index| first.or(Some(index)))
    }
}

fn mac_of(mac: &Mac, text: &[Cow<'_, [u8]>]) -> Digest {
    let code: Result<_, Infallible> = mac.over(|sink| {
        text.iter().for_each(|piece| sink(piece));
        Ok(())
    });
    match code {
        Ok(code) => code,
        Err(never) => match never {},
    }
}

/// A rule for a signature in a header, over a text that only code can build.
pub(crate) struct HeaderRule {
    pub(crate) signature: Signature,
    /// How long a signature may be, in bytes.
    pub(crate) lengths: RangeInclusive<usize>,
    pub(crate) covers: Signed,
    /// Whether more than the body is signed, which is the last of the text but for the time. The time is left out if it is not
    /// given.
    pub(crate) ends_with_body: bool,
    /// The algorithm and the text, for tables.
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
    pub(crate) about: (&'static str, String),
    pub(crate) text: Box<BuildText>,
    /// The address that is signed, if one is: see [`Rule::address`].
    pub(crate) address: Option<Box<BuildAddress>>,
}

pub(crate) type BuildAddress = dyn Fn(&Parts) -> Option<String> + Send + Sync;
pub(crate) type BuildText = dyn for<'a> Fn(&Values<'a>) -> Result<SignedPieces<'a>, Rejection> + Send + Sync;

impl HeaderRule {
    fn signatures(&self, head: &Parts) -> Result<Vec<Vec<u8>>, Rejection> {
        let found = self.signature.read_up_to(head, b"", *self.lengths.end())?;
        if found.iter().any(|signature| !self.lengths.contains(&signature.len())) {
            return Err(Reason::MalformedSignature.into());
        }
        Ok(found)
    }
}

impl Rule for HeaderRule {
    fn covers(&self) -> Signed {
        self.covers
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        self.signature.recognizes(head)
    }

    fn check_head(&self, head: &Parts) -> Result<(), Rejection> {
        self.signatures(head)?;
        (self.text)(&Values { head, body: b"", timestamp: None, id: None }).map(|_| ())
    }

    fn items<'a>(&self, values: &Values<'a>) -> Result<Vec<Item<'a>>, Rejection> {
        Ok(vec![Item { texts: vec![(self.text)(values)?], signatures: self.signatures(values.head)? }])
    }

    fn signed_text(&self, values: &Values<'_>) -> Result<Option<SignedText>, Rejection> {
        if !self.ends_with_body {
            return Ok(None);
        }
        let before = (self.text)(&Values { head: values.head, body: b"", timestamp: None, id: values.id })?.concat();
        Ok(Some(SignedText { before, has_body: true, after: Vec::new() }))
    }

    fn address(&self, head: &Parts) -> Option<String> {
        self.address.as_ref()?(head)
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        self.signature.describe(self.about.0, &self.about.1)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, sign: &SignWith<'_>) -> Result<(), SignError> {
        let text = (self.text)(&request.values()).map_err(|_| SignError::new("the request lacks a signed part"))?;
        let signature = sign(&text.concat())?;
        self.signature.put(request, &signature)
    }
}

/// A key that the request says where to fetch.
#[cfg(feature = "paypal")]
pub(crate) trait FetchKey: Send + Sync + 'static {
    /// Checks where the key is said to be, before anything else is done.
    fn check(&self, head: &Parts) -> Result<(), Rejection>;

    /// Fetches the key, once every offline check has passed.
    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Box<Verifier>, Rejection>>;
}

/// Returns whether a message and a signature belong together.
#[cfg(feature = "paypal")]
pub(crate) type Verifier = dyn Fn(&[u8], &[u8]) -> bool + Send + Sync;

/// Where the keys of a [`Rule`] come from.
#[derive(Clone)]
enum CustomKeys {
    Mac(Keys<Mac>),
    #[cfg(feature = "paypal")]
    Fetched(Arc<dyn FetchKey>),
}

/// Proof by the rule of one sender.
#[derive(Clone)]
pub(super) struct CustomProof {
    rule: Arc<dyn Rule>,
    keys: CustomKeys,
}

/// The keys for one request.
pub(super) enum CustomRun {
    Mac(KeysFor<Mac>),
    #[cfg(feature = "paypal")]
    Fetched(Arc<dyn FetchKey>, SystemTime),
}

impl SchemeBuilder {
    /// A sender that signs with a MAC, by a rule of its own. `key` makes the key from a secret.
    pub(crate) fn rule(rule: impl Rule, key: fn(&[u8]) -> Result<Mac, ConfigError>) -> Self {
        let rule: Arc<dyn Rule> = Arc::new(rule);
        Self::new(move |builder| {
            let format = builder.key_format;
            let keys = builder.secrets()?.into_keys(move |secret| key(&secret.key(format)?))?;
            builder.form(CustomProof { rule: rule.clone(), keys: CustomKeys::Mac(keys) })
        })
    }

    /// A sender that signs with a key that is fetched, by a rule of its own.
    #[cfg(feature = "paypal")]
    pub(crate) fn fetched_rule(rule: impl Rule, key: impl FetchKey) -> Self {
        let proof = CustomProof { rule: Arc::new(rule), keys: CustomKeys::Fetched(Arc::new(key)) };
        Self::new(move |builder| builder.form(proof.clone()))
    }
}

impl Proof for CustomProof {
    /// The time alone: the rule reads the signatures together with the text.
    type Offer = SystemTime;
    type Keys = CustomRun;
    type Progress = ();

    fn recognizes(&self, head: &Parts) -> Recognition {
        self.rule.recognizes(head)
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.rule.items(&Values { head, body, timestamp: None, id: None }).is_ok()
    }

    fn covers(&self, _: &Fields, _: bool) -> Signed {
        self.rule.covers()
    }

    fn is_in_text(&self) -> (bool, bool) {
        (self.rule.covers().timestamp, self.rule.covers().id)
    }

    fn is_timed(&self) -> bool {
        !matches!(self.keys, CustomKeys::Mac(_))
    }

    fn read(&self, head: &Parts, now: SystemTime, _: &mut Unverified) -> Result<SystemTime, Rejection> {
        self.rule.check_head(head).map(|()| now)
    }

    #[cfg_attr(not(feature = "paypal"), allow(unused_variables))]
    fn start(&self, now: &SystemTime, values: &Values<'_>) -> Judged<CustomRun> {
        match &self.keys {
            CustomKeys::Mac(keys) => Ok(keys_for(keys, values.head, CustomRun::Mac)),
            #[cfg(feature = "paypal")]
            CustomKeys::Fetched(key) => {
                key.check(values.head)?;
                Ok(CustomRun::Fetched(key.clone(), *now).into())
            }
        }
    }

    fn finish(&self, _: &SystemTime, keys: &CustomRun, (): &mut (), values: &Values<'_>, _: &[u8]) -> Judged<usize> {
        let items = self.rule.items(values)?;
        match keys {
            CustomRun::Mac(keys) => {
                let mut signed = items.iter().map(|item| item.matching_key(keys));
                let first = signed.next().flatten();
                let verdict = verdict(keys.known, first.filter(|_| signed.all(|key| key.is_some())));
                verdict.map(MaybeReady::Ready).map_err(|rejection| match self.rule.address(values.head) {
                    Some(address) if rejection.reason() == Reason::SignatureMismatch => {
                        rejection.with_detail(format!("the address signed over is {address}"))
                    }
                    _ => rejection,
                })
            }
            #[cfg(feature = "paypal")]
            CustomRun::Fetched(key, now) => {
                let key = key.fetch(values.head, *now);
                let concat = |texts: Vec<SignedPieces<'_>>| texts.iter().map(|text| text.concat()).collect::<Vec<_>>();
                let items: Vec<_> = items.into_iter().map(|item| (concat(item.texts), item.signatures)).collect();
                Ok(MaybeReady::pending(async move {
                    let verifies = key.await?;
                    let is_signed = items.iter().all(|(texts, signatures)| {
                        texts.iter().any(|text| signatures.iter().any(|signature| verifies(text, signature)))
                    });
                    verdict(true, is_signed.then_some(0))
                }))
            }
        }
    }

    fn covers_more(&self, _: Option<&Timestamp>) -> bool {
        true
    }

    fn signed_text(&self, values: &Values<'_>, _: Option<&Timestamp>) -> Result<Option<SignedText>, Rejection> {
        self.rule.signed_text(values)
    }

    fn key_print(&self, keys: &CustomRun, index: usize) -> Option<KeyPrint> {
        match keys {
            CustomRun::Mac(keys) => keys.ring.print(index),
            #[cfg(feature = "paypal")]
            CustomRun::Fetched(..) => None,
        }
    }

    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        match &self.keys {
            CustomKeys::Mac(keys) => Some(keys),
            #[cfg(feature = "paypal")]
            CustomKeys::Fetched(_) => None,
        }
    }

    fn mac<'a>(&self, keys: &'a CustomRun, index: usize) -> Option<&'a Mac> {
        match keys {
            CustomRun::Mac(keys) => keys.ring.iter().nth(index),
            #[cfg(feature = "paypal")]
            CustomRun::Fetched(..) => None,
        }
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        self.rule.describe()
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> Option<Result<(), SignError>> {
        match (&self.keys, signer) {
            (CustomKeys::Mac(keys), Signer::Secret) => {
                Some(self.rule.sign(request, &|message| Ok(fixed_key(keys)?.of(message).as_bytes().to_vec())))
            }
            #[cfg(feature = "paypal")]
            (CustomKeys::Fetched(_), Signer::PrivateKey(key)) => Some(self.rule.sign(request, key)),
            _ => None,
        }
    }
}
