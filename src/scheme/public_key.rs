//! Proof by a signature that a public key verifies. Feature `asymmetric`.

#[cfg(feature = "paypal")]
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;

use crate::algorithm::Algorithm;
#[cfg(feature = "paypal")]
use crate::certificate::CertificateKey;
use crate::config::ConfigError;
#[cfg(feature = "paypal")]
use crate::provider::BoxFuture;
use crate::provider::MaybeReady;
use crate::public_key::{PublicKey, matching_key};
use crate::rejection::Rejection;
use crate::secrets::{Keys, KeysFor, MatchedKey};

use super::fields::Unverified;
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::signed_text::SignedText;
use super::template::Values;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

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
    #[cfg(feature = "paypal")]
    Fetched(Arc<dyn FetchKey>),
}

/// Keys that a request says where to fetch.
#[cfg(feature = "paypal")]
pub(crate) trait FetchKey: Send + Sync + 'static {
    /// Checks where the key is said to be, before anything else is done.
    fn check(&self, head: &Parts) -> Result<(), Rejection>;

    /// Fetches the key, once every offline check has passed.
    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Arc<CertificateKey>, Rejection>>;
}

/// The keys for one request.
pub(crate) enum KeysAtHand {
    Given(KeysFor<PublicKey>),
    /// To be fetched as of this time.
    #[cfg(feature = "paypal")]
    ToFetch(Arc<dyn FetchKey>, SystemTime),
}

impl PublicKeyProof {
    pub(crate) fn new(algorithm: Algorithm, settings: &Settings) -> Result<Self, ConfigError> {
        let keys = settings.public_keys()?.into_keys(move |key| PublicKey::new(algorithm, key))?;
        Ok(Self { algorithm, keys: PublicKeys::Given(keys), text: SignedText::new(settings)? })
    }

    /// RSA with SHA-256, by a key of up to 4096 bits that is fetched.
    #[cfg(feature = "paypal")]
    pub(crate) fn fetched(keys: Arc<dyn FetchKey>, settings: &Settings) -> Result<Self, ConfigError> {
        let (algorithm, keys) = (Algorithm::RsaPkcs1Sha256, PublicKeys::Fetched(keys));
        Ok(Self { algorithm, keys, text: SignedText::new(settings)? })
    }
}

impl Proof for PublicKeyProof {
    type Offer = Vec<Vec<u8>>;
    type Keys = KeysAtHand;
    type Progress = ();

    fn text(&self) -> Option<&SignedText> {
        Some(&self.text)
    }

    fn read(&self, head: &Parts, body: &[u8], _: &mut Unverified) -> Result<Vec<Vec<u8>>, Rejection> {
        let longest = match &self.keys {
            PublicKeys::Given(_) => self.algorithm.longest_signature(),
            #[cfg(feature = "paypal")]
            PublicKeys::Fetched(_) => 512,
        };
        self.text.signature.read_up_to(head, body, longest)
    }

    #[cfg_attr(not(feature = "paypal"), allow(unused_variables))]
    fn start(&self, _: &Vec<Vec<u8>>, values: &Values<'_>, now: SystemTime) -> Judged<KeysAtHand> {
        self.text.template.check(values)?;
        match &self.keys {
            PublicKeys::Given(keys) => keys.find(values.head, None).and_then(|keys| Ok(KeysAtHand::Given(keys))),
            #[cfg(feature = "paypal")]
            PublicKeys::Fetched(keys) => {
                keys.check(values.head)?;
                Ok(KeysAtHand::ToFetch(keys.clone(), now).into())
            }
        }
    }

    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        let message = self.text.message(values)?;
        match run.keys {
            KeysAtHand::Given(keys) => {
                let verdict = keys.verdict(matching_key(&keys.ring, &message, run.offer));
                let key = verdict.map_err(|rejection| self.text.explain(rejection, values.head))?;
                Ok(MaybeReady::Ready(key))
            }
            #[cfg(feature = "paypal")]
            KeysAtHand::ToFetch(keys, now) => {
                let (key, offer) = (keys.fetch(values.head, *now), std::mem::take(run.offer));
                Ok(MaybeReady::pending(async move {
                    let key = key.await?;
                    let is_signed = offer.iter().any(|signature| key.verifies_sha256(&message, signature));
                    if is_signed {
                        Ok(MatchedKey::default())
                    } else {
                        Err(crate::rejection::Reason::SignatureMismatch.into())
                    }
                }))
            }
        }
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        let text = self.text.describe(self.algorithm.name());
        match &self.keys {
            PublicKeys::Given(_) => text,
            #[cfg(feature = "paypal")]
            PublicKeys::Fetched(_) => text + ", by a certificate that is fetched",
        }
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        let Signer::PrivateKey(key) = signer else { return None };
        Some(self.text.sign(request, |message| key.sign(self.algorithm, message)))
    }
}
