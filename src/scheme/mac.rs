//! Proof by a message authentication code over the signed text.

use std::sync::Arc;

use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::mac::{Mac, MacKind, Macs, matching_key};
use crate::place::{Candidates, Place};
use crate::provider::MaybeReady;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keyring, Keys, KeysFor, MatchedKey};

use super::fields::Unverified;
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::signed_text::SignedText;
use super::template::Values;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

/// Proof by an HMAC over the signed text.
#[derive(Clone)]
pub(crate) struct MacProof {
    kind: MacKind,
    keys: Keys<Mac>,
    text: SignedText,
    /// Whether two bodies with one code are the same body: it covers the body and nothing else, by
    /// a hash function of which nobody knows a collision, and a request has no other code
    /// beside it.
    names_body: bool,
}

impl MacProof {
    pub(crate) fn new(kind: MacKind, settings: &mut Settings) -> Result<Self, ConfigError> {
        let keys = settings.keys(move |key| Mac::new(kind, key))?;
        let text = SignedText::new(settings)?;
        let names_body = kind.is_strong && text.template.is_body() && text.signature.is_single();
        Ok(Self { kind, keys, text, names_body })
    }

    #[inline(always)]
    fn matching(
        &self,
        ring: &Keyring<Mac>,
        run: Run<'_, Self>,
        values: &Values<'_>,
        rest: &[u8],
    ) -> Result<Option<usize>, Rejection> {
        match ring.only() {
            // Nearly every request.
            Some(only) if run.progress.is_none() && self.text.template.is_body() => {
                Ok(only.of(values.body).is_among(run.offer.iter()).then_some(0))
            }
            _ => self.matching_text(ring, run, values, rest),
        }
    }

    fn matching_text(
        &self,
        ring: &Keyring<Mac>,
        run: Run<'_, Self>,
        values: &Values<'_>,
        rest: &[u8],
    ) -> Result<Option<usize>, Rejection> {
        let (offer, template) = (run.offer, &self.text.template);
        if let Some(mut macs) = run.progress.take() {
            macs.update(rest);
            template.feed_after(values, &mut |bytes| macs.update(bytes))?;
            return Ok(matching_key(macs.finish(), offer.iter()));
        }
        if let Some(only) = ring.only() {
            let code = only.over(|sink| template.feed(values, sink))?;
            return Ok(code.is_among(offer.iter()).then_some(0));
        }
        let mut macs = Macs::by(ring);
        template.feed(values, &mut |bytes| macs.update(bytes))?;
        Ok(matching_key(macs.finish(), offer.iter()))
    }
}

impl Proof for MacProof {
    type Offer = Candidates;
    type Keys = KeysFor;
    /// The MACs of what has arrived.
    type Progress = Option<Macs>;

    fn text(&self) -> Option<&SignedText> {
        Some(&self.text)
    }

    fn keep_signed_headers(&self, own: &[Option<&Place>], in_body: &mut Option<Arc<BodyFields>>) {
        self.text.template.keep_signed_headers(own, in_body);
    }

    #[inline]
    fn read(&self, head: &Parts, body: &[u8], _: &mut Unverified) -> Result<Candidates, Rejection> {
        self.text.signature.read(head, body, self.kind.digest_len)
    }

    #[inline]
    fn start(&self, _: &Candidates, values: &Values<'_>) -> Judged<KeysFor> {
        self.text.template.check(values)?;
        Ok(self.keys.find(values, None))
    }

    fn receive(&self, run: Run<'_, Self>, values: &Values<'_>, chunk: &[u8]) {
        if !self.text.streams {
            return;
        }
        if run.progress.is_none() {
            // If that fails, it fails again when the whole is judged, and is refused there.
            let Ok(keys) = self.keys.tried(run.keys) else { return };
            let mut macs = Macs::by(keys.ring);
            if self.text.template.feed_before(values, &mut |bytes| macs.update(bytes)).is_ok() {
                *run.progress = Some(macs);
            }
        }
        if let Some(macs) = run.progress {
            macs.update(chunk);
        }
    }

    #[inline]
    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, rest: &[u8]) -> Judged<MatchedKey> {
        let keys = self.keys.tried(run.keys)?;
        let matched = self.matching(keys.ring, run, values, rest)?;
        let key = keys.verdict(matched).map_err(|rejection| self.text.explain(rejection, values.head))?;
        if self.kind.takes.is_some_and(|takes| !takes(values.body)) {
            return Err(Rejection::new(Reason::MalformedBody).with_detail("it is not one JSON value and nothing else"));
        }
        Ok(MaybeReady::Ready(key))
    }

    #[inline]
    fn body_code<'a>(&self, offer: &'a Candidates) -> Option<&'a [u8; 32]> {
        let [only] = &offer[..] else { return None };
        only.as_bytes().first_chunk().filter(|_| self.names_body)
    }

    fn leave_body_unnamed(&mut self) {
        self.names_body = false;
    }

    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        Some(&self.keys)
    }

    fn mac<'a>(&'a self, keys: &'a KeysFor, index: usize) -> Option<&'a Mac> {
        self.keys.tried(keys).ok()?.ring.iter().nth(index)
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        self.text.describe(self.kind.name)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        let Signer::Secret = signer else { return None };
        Some(self.text.sign(request, |message| Ok(self.keys.signing_key()?.of(message).as_bytes().to_vec())))
    }
}
