//! Proof by a signature that a public key verifies. Feature `asymmetric`.

#[cfg(feature = "fetch")]
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;

use crate::algorithm::Algorithm;
use crate::config::ConfigError;
#[cfg(feature = "fetch")]
use crate::key_lookup::KeyLookup;
#[cfg(feature = "fetch")]
use crate::place::Place;
#[cfg(feature = "fetch")]
use crate::provider::BoxFuture;
use crate::provider::MaybeReady;
#[cfg(feature = "fetch")]
use crate::public_key::Verifies;
use crate::public_key::{PublicKey, matching_key};
#[cfg(feature = "fetch")]
use crate::rejection::Reason;
use crate::rejection::Rejection;
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

/// Keys that a request says where to fetch.
#[cfg(feature = "fetch")]
pub(crate) trait FetchKey: Send + Sync + 'static {
    /// Checks where the key is said to be, before anything else is done.
    fn check(&self, head: &Parts) -> Result<(), Rejection>;

    /// Fetches the key, once every offline check has passed.
    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Arc<dyn Verifies>, Rejection>>;

    /// Says how the key is found, for tables.
    #[cfg(feature = "testing")]
    fn describe(&self) -> String;
}

/// Keys that are looked up by the id at this place.
#[cfg(feature = "fetch")]
struct KeysById {
    id: Place,
    algorithm: Algorithm,
    keys: KeyLookup,
}

#[cfg(feature = "fetch")]
impl KeysById {
    fn id(&self, head: &Parts) -> Result<crate::text::Text, Rejection> {
        let missing = || Rejection::new(Reason::MissingHeader).with_detail(format!("no key's id in {}", self.id));
        let id = self.id.text(head, b"", Reason::MalformedSignature)?.ok_or_else(missing)?;
        KeyLookup::check(&id, &self.id).map(|()| id)
    }
}

#[cfg(feature = "fetch")]
impl FetchKey for KeysById {
    fn check(&self, head: &Parts) -> Result<(), Rejection> {
        self.id(head).map(drop)
    }

    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Arc<dyn Verifies>, Rejection>> {
        let found = self.id(head).and_then(|id| self.keys.find(&id, self.algorithm, now));
        Box::pin(async move { Ok(found?.wait().await? as Arc<dyn Verifies>) })
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        format!(", by the key whose id is in {}", self.id)
    }
}

/// The keys for one request.
pub(crate) enum KeysAtHand {
    Given(KeysFor<PublicKey>),
    /// To be fetched as of this time.
    #[cfg(feature = "fetch")]
    ToFetch(Arc<dyn FetchKey>, SystemTime),
}

impl PublicKeyProof {
    pub(crate) fn new(algorithm: Algorithm, settings: &Settings) -> Result<Self, ConfigError> {
        let text = SignedText::new(settings)?;
        #[cfg(feature = "fetch")]
        if let Some(keys) = settings.key_lookup.clone() {
            settings.no_secrets()?;
            let missing = || ConfigError::missing("the scheme does not say where the key's id is");
            let id = settings.key_id.clone().ok_or_else(missing)?;
            if id.in_body() || settings.public_keys.is_some() {
                return Err(ConfigError::conflict("keys are looked up by an id in the head, or they are given"));
            }
            let keys = PublicKeys::Fetched(Arc::new(KeysById { id, algorithm, keys }));
            return Ok(Self { algorithm, keys, text });
        }
        let keys = settings.public_keys()?.into_keys(move |key| PublicKey::new(algorithm, key))?;
        Ok(Self { algorithm, keys: PublicKeys::Given(keys), text })
    }

    /// RSA with SHA-256, by a key that is fetched.
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
        self.text.signature.read_up_to(head, body, self.algorithm.longest_signature())
    }

    #[cfg_attr(not(feature = "fetch"), allow(unused_variables))]
    fn start(&self, _: &Vec<Vec<u8>>, values: &Values<'_>, now: SystemTime) -> Judged<KeysAtHand> {
        self.text.template.check(values)?;
        match &self.keys {
            PublicKeys::Given(keys) => keys.find(values.head, None).and_then(|keys| Ok(KeysAtHand::Given(keys))),
            #[cfg(feature = "fetch")]
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
            #[cfg(feature = "fetch")]
            KeysAtHand::ToFetch(keys, now) => {
                let (key, offer) = (keys.fetch(values.head, *now), std::mem::take(run.offer));
                Ok(MaybeReady::pending(async move {
                    let key = key.await?;
                    let is_signed = offer.iter().any(|signature| key.verifies(&message, signature));
                    if is_signed { Ok(MatchedKey::default()) } else { Err(Reason::SignatureMismatch.into()) }
                }))
            }
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
