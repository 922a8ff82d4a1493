//! Proof by a signature that a public key verifies. Feature `asymmetric`.

#[cfg(feature = "fetch")]
use std::sync::Arc;

use http::request::Parts;

use crate::algorithm::Algorithm;
use crate::config::ConfigError;
#[cfg(feature = "fetch")]
use crate::key_lookup::{FetchKey, KeysById};
use crate::provider::MaybeReady;
use crate::public_key::{PublicKey, matching_key};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor, MatchedKey};
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

use super::fields::Unverified;
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::signed_text::SignedText;
use super::template::Values;

/// Proof by a signature over the signed text.
#[derive(Clone)]
pub(crate) struct PublicKeyProof {
    algorithm: Algorithm,
    keys: PublicKeys,
    text: SignedText,
}

#[derive(Clone)]
enum PublicKeys {
    Given(Keys<PublicKey>),
    #[cfg(feature = "fetch")]
    Fetched(Arc<dyn FetchKey>),
}

impl PublicKeyProof {
    pub(crate) fn new(algorithm: Algorithm, settings: &Settings) -> Result<Self, ConfigError> {
        let text = SignedText::new(settings)?;
        #[cfg(feature = "fetch")]
        if let Some(keys) = fetched(algorithm, settings)? {
            return Ok(Self { algorithm, keys: PublicKeys::Fetched(keys), text });
        }
        Ok(Self { algorithm, keys: PublicKeys::Given(settings.public_keys(algorithm)?), text })
    }
}

/// Returns the keys of a sender whose requests say where they are.
#[cfg(feature = "fetch")]
fn fetched(algorithm: Algorithm, settings: &Settings) -> Result<Option<Arc<dyn FetchKey>>, ConfigError> {
    let Some(keys) = settings.key_lookup.clone() else { return Ok(settings.fetched_keys.clone()) };
    settings.no_secrets()?;
    let missing = || ConfigError::missing("the scheme does not say where the key's id is");
    let id = settings.key_id.clone().ok_or_else(missing)?;
    if id.in_body() || settings.public_keys.is_some() {
        return Err(ConfigError::conflict("keys are looked up by an id in the head, or they are given"));
    }
    Ok(Some(Arc::new(KeysById { id, algorithm, keys })))
}

impl Proof for PublicKeyProof {
    type Offer = Vec<Vec<u8>>;
    /// `None` if the key is to be fetched.
    type Keys = Option<KeysFor<PublicKey>>;
    type Progress = ();

    fn text(&self) -> Option<&SignedText> {
        Some(&self.text)
    }

    fn read(&self, head: &Parts, body: &[u8], _: &mut Unverified) -> Result<Vec<Vec<u8>>, Rejection> {
        self.text.signature.read_up_to(head, body, self.algorithm.longest_signature())
    }

    fn start(&self, _: &Vec<Vec<u8>>, values: &Values<'_>) -> Judged<Option<KeysFor<PublicKey>>> {
        self.text.template.check(values)?;
        match &self.keys {
            PublicKeys::Given(keys) => keys.find(values.head, None).and_then(|keys| Ok(Some(keys))),
            #[cfg(feature = "fetch")]
            PublicKeys::Fetched(keys) => {
                keys.check(values.head)?;
                Ok(None.into())
            }
        }
    }

    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        let message = self.text.template.whole(values)?;
        match (&self.keys, run.keys) {
            (PublicKeys::Given(keys), Some(found)) => {
                let keys = keys.tried(found)?;
                let verdict = keys.verdict(matching_key(keys.ring, &message, run.offer));
                let key = verdict.map_err(|rejection| self.text.explain(rejection, values.head))?;
                Ok(MaybeReady::Ready(key))
            }
            #[cfg(feature = "fetch")]
            (PublicKeys::Fetched(keys), None) => {
                let (key, offer) = (keys.fetch(values.head, values.now), std::mem::take(run.offer));
                Ok(MaybeReady::pending(async move {
                    let key = key.await?;
                    let is_signed = offer.iter().any(|signature| key.verifies(&message, signature));
                    if is_signed { Ok(MatchedKey::default()) } else { Err(Reason::SignatureMismatch.into()) }
                }))
            }
            // Not reached, as `start` has found the keys of this very proof.
            _ => Err(Reason::SignatureMismatch.into()),
        }
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        let text = self.text.describe(self.algorithm.name());
        match &self.keys {
            PublicKeys::Given(_) => text,
            #[cfg(feature = "fetch")]
            PublicKeys::Fetched(keys) => text + &keys.describe(),
        }
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        let Signer::PrivateKey(key) = signer else { return None };
        Some(self.text.sign(request, |message| key.sign(self.algorithm, message)))
    }
}
