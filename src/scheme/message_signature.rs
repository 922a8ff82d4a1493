//! Proof by an HTTP Message Signature (RFC 9421). Feature `asymmetric`.

use http::HeaderName;
use http::request::Parts;

use crate::algorithm::Algorithm;
use crate::config::ConfigError;
use crate::delivery::Signed;
#[cfg(feature = "fetch")]
use crate::key_lookup::KeyLookup;
use crate::mac::{Digest, Mac, MacKind, matching_key as matching_mac};
#[cfg(feature = "testing")]
use crate::message_signatures::write_digest;
use crate::message_signatures::{Kind, MessageRules, Offered, check_digest};
use crate::place::Place;
use crate::provider::{MaybeReady, Recognition};
#[cfg(feature = "fetch")]
use crate::public_key::Verifies as _;
use crate::public_key::{PublicKey, matching_key};
use crate::public_url::PublicUrl;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor, MatchedKey};
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};
use crate::time::Tolerance;

use super::fields::{Fields, Unverified};
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::template::Values;

const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
#[cfg(feature = "inspect")]
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
#[cfg(feature = "inspect")]
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The most signatures of one request that are tried.
const MAX_TRIED: usize = 4;

#[derive(Clone)]
pub(crate) struct MessageProof {
    rules: MessageRules,
    keys: MessageKeys,
    public_url: Option<PublicUrl>,
}

#[derive(Clone)]
enum MessageKeys {
    Shared(Keys<Mac>),
    Given(Keys<PublicKey>),
    #[cfg(feature = "fetch")]
    ById(KeyLookup, Algorithm),
}

/// The keys for one request.
pub(crate) enum MessageKeysFor {
    Shared(KeysFor),
    Given(KeysFor),
    #[cfg(feature = "fetch")]
    ToFetch,
}

impl MessageProof {
    pub(crate) fn new(rules: MessageRules, settings: &Settings) -> Result<Self, ConfigError> {
        if settings.signature.is_some() {
            return Err(ConfigError::conflict("an HTTP Message Signature has its own place: the scheme has both"));
        }
        if !rules.covers("content-digest") && !settings.body_unsigned {
            let message = "the signature covers no content-digest: anyone could change the body";
            return Err(ConfigError::conflict(message).with_setting("covering").with_setting("message_signature"));
        }
        let keys = match rules.kind {
            Kind::HmacSha256 => MessageKeys::Shared(settings.keys(|key| Ok(Mac::new(MacKind::SHA256, key)))?),
            Kind::Public(algorithm) => Self::public(algorithm, settings)?,
        };
        Ok(Self { rules, keys, public_url: settings.public_url.clone() })
    }

    fn public(algorithm: Algorithm, settings: &Settings) -> Result<MessageKeys, ConfigError> {
        #[cfg(feature = "fetch")]
        if let (Some(keys), None) = (&settings.key_lookup, &settings.public_keys) {
            settings.no_secrets()?;
            return Ok(MessageKeys::ById(keys.clone(), algorithm));
        }
        settings.public_keys(algorithm).map(MessageKeys::Given)
    }
}

impl Proof for MessageProof {
    type Offer = Vec<Offered>;
    type Keys = MessageKeysFor;
    type Progress = ();

    fn recognizes(&self, head: &Parts) -> Recognition {
        head.headers.contains_key(SIGNATURE_INPUT).into()
    }

    #[cfg(feature = "inspect")]
    fn headers(&self) -> Vec<HeaderName> {
        vec![SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST]
    }

    fn covers(&self, fields: &Fields) -> Signed {
        let body = self.rules.covers("content-digest");
        let covers = |place: &Option<Place>| {
            place.as_ref().is_some_and(|place| {
                (body && place.in_body()) || place.header().is_some_and(|name| self.rules.covers(name.as_str()))
            })
        };
        Signed {
            body,
            timestamp: true,
            id: covers(&fields.id),
            event: covers(&fields.event),
            url: self.rules.covers_address(),
        }
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        Some(&mut self.rules.tolerance)
    }

    fn read(&self, head: &Parts, _: &[u8], read: &mut Unverified) -> Result<Vec<Offered>, Rejection> {
        let mut offered = self.rules.read(head, self.public_url.as_ref(), read.now)?;
        offered.truncate(MAX_TRIED);
        read.timestamp = offered.first().map(|first| (first.created_text.clone(), first.created));
        read.fresh_for = Some(self.rules.tolerance.width());
        Ok(offered)
    }

    fn shares_head(&self) -> bool {
        match &self.keys {
            MessageKeys::Shared(keys) => keys.see_whole_head(),
            MessageKeys::Given(keys) => keys.see_whole_head(),
            #[cfg(feature = "fetch")]
            MessageKeys::ById(..) => false,
        }
    }

    fn start(&self, offer: &Vec<Offered>, values: &Values<'_>) -> Judged<MessageKeysFor> {
        let _ = offer;
        match &self.keys {
            MessageKeys::Shared(keys) => keys.find(values, None).and_then(|keys| Ok(MessageKeysFor::Shared(keys))),
            MessageKeys::Given(keys) => keys.find(values, None).and_then(|keys| Ok(MessageKeysFor::Given(keys))),
            #[cfg(feature = "fetch")]
            MessageKeys::ById(..) => {
                offer.iter().try_for_each(|it| {
                    KeyLookup::check(it.keyid.as_deref().unwrap_or_default(), &"`signature-input`")
                })?;
                Ok(MessageKeysFor::ToFetch.into())
            }
        }
    }

    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        if self.rules.covers("content-digest") {
            check_digest(values.head, values.body)?;
        }
        let offer = std::mem::take(run.offer);
        match (&self.keys, run.keys) {
            (MessageKeys::Shared(keys), MessageKeysFor::Shared(found)) => {
                let keys = keys.tried(found)?;
                let by = |it: &Offered| {
                    let codes = keys.ring.iter().map(|mac| mac.of(&it.base));
                    matching_mac(codes, [Digest::new(&it.signature)].iter())
                };
                keys.verdict(offer.iter().filter_map(by).next()).map(MaybeReady::Ready)
            }
            (MessageKeys::Given(keys), MessageKeysFor::Given(found)) => {
                let keys = keys.tried(found)?;
                let by = |it: &Offered| matching_key(keys.ring, &it.base, std::slice::from_ref(&it.signature));
                keys.verdict(offer.iter().find_map(by)).map(MaybeReady::Ready)
            }
            #[cfg(feature = "fetch")]
            (MessageKeys::ById(keys, algorithm), MessageKeysFor::ToFetch) => {
                let (keys, algorithm, now) = (keys.clone(), *algorithm, values.now);
                Ok(MaybeReady::pending(async move {
                    for it in offer {
                        let key = keys.find(it.keyid.as_deref().unwrap_or_default(), algorithm, now)?.wait().await?;
                        if key.verifies(&it.base, &it.signature) {
                            return Ok(MatchedKey::default());
                        }
                    }
                    Err(Reason::SignatureMismatch.into())
                }))
            }
            // Not reached, as `start` has found the keys of this very proof.
            _ => Err(Reason::SignatureMismatch.into()),
        }
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        let covered: Vec<_> = self.rules.covered().collect();
        format!("HTTP Message Signature {} over {}", self.rules.kind.name(), covered.join(", "))
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        let url = self.public_url.as_ref();
        let covers = self.rules.covers("content-digest");
        let written = covers.then(|| write_digest(request.head, request.body)).transpose();
        if let Err(fault) = written {
            return Some(Err(fault));
        }
        match (&self.keys, self.rules.kind, signer) {
            (MessageKeys::Shared(keys), _, Signer::Secret) => {
                let sign = |message: &[u8]| Ok(keys.signing_key()?.of(message).as_bytes().to_vec());
                Some(self.rules.sign(request.head, url, request.now, sign))
            }
            (_, Kind::Public(algorithm), Signer::PrivateKey(key)) => {
                Some(self.rules.sign(request.head, url, request.now, |message| key.sign(algorithm, message)))
            }
            _ => None,
        }
    }
}
