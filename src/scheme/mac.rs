//! Proof by a message authentication code over the signed text.

use std::time::SystemTime;

use http::request::Parts;

use crate::config::ConfigError;
use crate::mac::{Mac, MacKind, Macs, matching_key};
use crate::pointer;
use crate::provider::MaybeReady;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{KeyPrint, Keyring, Keys, KeysFor};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::builder::SchemeBuilder;
use super::form::Unverified;
use super::proof::{Judged, Proof};
#[cfg(feature = "testing")]
use super::sign::{Signer, Unsigned};
use super::signature::Candidates;
use super::signed_text::SignedText;
use super::template::Values;

/// Proof by an HMAC over the signed text.
#[derive(Clone)]
pub(crate) struct MacProof {
    kind: MacKind,
    keys: Keys<Mac>,
    text: SignedText,
    /// Whether the MAC is computed while the body arrives.
    streams: bool,
}

impl MacProof {
    pub(super) fn new(kind: MacKind, builder: &SchemeBuilder) -> Result<Self, ConfigError> {
        let format = builder.key_format;
        let keys = builder.secrets()?.into_keys(move |secret| Mac::new(kind, &secret.key(format)?))?;
        let text = SignedText::new(builder)?;
        let streams = text.streams(builder);
        Ok(Self { kind, keys, text, streams })
    }

    fn matching(
        &self,
        (keys, started): (&KeysFor<Mac>, &mut Option<Macs>),
        offer: &Candidates,
        values: &Values<'_>,
        rest: &[u8],
    ) -> Result<Option<usize>, Rejection> {
        let template = &self.text.template;
        if let Some(macs) = started {
            macs.update(rest);
            template.feed_after(values, &mut |bytes| macs.update(bytes))?;
            return Ok(matching_key(macs.codes(), offer.iter()));
        }
        if let Some(only) = keys.ring.only() {
            let code =
                if template.is_body() { only.of(values.body) } else { only.over(|sink| template.feed(values, sink))? };
            return Ok(code.is_among(offer.iter()).then_some(0));
        }
        let mut macs = Macs::new(Keyring::clone(&keys.ring));
        template.feed(values, &mut |bytes| macs.update(bytes))?;
        Ok(matching_key(macs.codes(), offer.iter()))
    }
}

impl Proof for MacProof {
    /// The signatures of the head; empty if they are in the body.
    type Offer = Candidates;
    type Keys = KeysFor<Mac>;
    /// The MACs of what has arrived.
    type Progress = Option<Macs>;

    fn text(&self) -> Option<&SignedText> {
        Some(&self.text)
    }

    #[inline]
    fn read(&self, head: &Parts, _: SystemTime, _: &mut Unverified) -> Result<Candidates, Rejection> {
        let mut found = Candidates::new();
        if !self.text.signature.in_body() {
            self.text.signature.read(head, b"", self.kind.digest_len(), &mut found)?;
        }
        Ok(found)
    }

    #[inline]
    fn read_body(&self, offer: &mut Candidates, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if self.text.signature.in_body() {
            self.text.signature.read(head, body, self.kind.digest_len(), offer)?;
        }
        Ok(())
    }

    #[inline]
    fn start(&self, _: &Candidates, values: &Values<'_>) -> Judged<KeysFor<Mac>> {
        self.text.template.check(values)?;
        Ok(keys_for(&self.keys, values.head, |keys| keys))
    }

    fn receive(&self, keys: &KeysFor<Mac>, started: &mut Option<Macs>, values: &Values<'_>, chunk: &[u8]) {
        if !self.streams {
            return;
        }
        if started.is_none() {
            let mut macs = Macs::new(Keyring::clone(&keys.ring));
            // If that fails, it fails again when the whole is judged, and is refused there.
            if self.text.template.feed_before(values, &mut |bytes| macs.update(bytes)).is_ok() {
                *started = Some(macs);
            }
        }
        if let Some(macs) = started {
            macs.update(chunk);
        }
    }

    #[inline]
    fn finish(
        &self,
        offer: &Candidates,
        keys: &KeysFor<Mac>,
        started: &mut Option<Macs>,
        values: &Values<'_>,
        rest: &[u8],
    ) -> Judged<usize> {
        let matched = self.matching((keys, started), offer, values, rest)?;
        let key_index = verdict(keys.known, matched).map_err(|rejection| self.text.explain(rejection, values.head))?;
        Ok(MaybeReady::Ready(key_index))
    }

    fn check_body(&self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        // SHA-256 of secret and text can be continued by anyone who has seen one: nothing may follow the JSON value.
        if self.kind == MacKind::SecretThenTextSha256 && !pointer::is_one_value(body) {
            return Err(Rejection::new(Reason::MalformedBody).with_detail("it is not one JSON value and nothing else"));
        }
        self.text.check_body(head, body)
    }

    fn key_print(&self, keys: &KeysFor<Mac>, index: usize) -> Option<KeyPrint> {
        keys.ring.print(index)
    }

    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        Some(&self.keys)
    }

    fn mac<'a>(&self, keys: &'a KeysFor<Mac>, index: usize) -> Option<&'a Mac> {
        keys.ring.iter().nth(index)
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        self.text.describe(match self.kind {
            MacKind::Sha1 => "HMAC-SHA1",
            MacKind::Sha256 => "HMAC-SHA256",
            MacKind::Sha512 => "HMAC-SHA512",
            MacKind::SecretThenTextSha256 => "SHA-256 of secret and text",
        })
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> Option<Result<(), SignError>> {
        let Signer::Secret = signer else { return None };
        Some(self.text.sign(request, |message| Ok(fixed_key(&self.keys)?.of(message).as_bytes().to_vec())))
    }
}

/// Finds the keys for a request, now or later.
#[inline]
pub(super) fn keys_for<K: Clone + Send + Sync + 'static, T: Send + 'static>(
    keys: &Keys<K>,
    head: &Parts,
    with: impl FnOnce(KeysFor<K>) -> T + Send + 'static,
) -> MaybeReady<T> {
    match keys.find(head, None) {
        MaybeReady::Ready(keys) => MaybeReady::Ready(with(keys)),
        MaybeReady::Pending(keys) => MaybeReady::pending(async move { Ok(with(keys.await?)) }),
    }
}

/// Refuses a request that no key has signed. The decoy that stands for an unknown tenant's key proves nothing.
#[inline]
pub(super) fn verdict(known: bool, matched: Option<usize>) -> Result<usize, Rejection> {
    match matched {
        _ if !known => Err(Reason::UnknownTenant.into()),
        Some(index) => Ok(index),
        None => Err(Reason::SignatureMismatch.into()),
    }
}

#[cfg(feature = "testing")]
pub(super) fn fixed_key(keys: &Keys<Mac>) -> Result<&Mac, SignError> {
    keys.fixed().map(|ring| ring.first()).ok_or_else(|| SignError::new("its secrets are looked up"))
}
