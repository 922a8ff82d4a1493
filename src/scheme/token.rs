//! Proof by a shared token: a secret that the sender repeats. It covers nothing.

use http::request::Parts;

use crate::config::ConfigError;
use crate::provider::MaybeReady;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor, MatchedKey, Token};

use super::fields::Unverified;
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::source::Source;
use super::template::Values;
use crate::place::Place;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

#[derive(Clone)]
pub(crate) struct TokenProof {
    place: Place,
    keys: Keys<Token>,
}

impl TokenProof {
    #[inline]
    pub(crate) fn new(source: &Source, settings: &Settings) -> Result<Self, ConfigError> {
        if settings.signature.is_some() {
            return Err(ConfigError::conflict("a token is no signature: the scheme has both"));
        }
        if settings.fields.timestamp.is_some() {
            return Err(ConfigError::conflict("a token signs nothing, so a timestamp would prove nothing"));
        }
        Ok(Self { keys: settings.keys(|key| Ok(Token::of(key)))?, place: source.0.clone()? })
    }
}

impl Proof for TokenProof {
    type Offer = Token;
    type Keys = KeysFor;
    type Progress = ();

    #[inline]
    fn places(&self) -> &[Place] {
        std::slice::from_ref(&self.place)
    }

    #[inline]
    fn read(&self, head: &Parts, body: &[u8], _: &mut Unverified) -> Result<Token, Rejection> {
        let missing = || Rejection::new(Reason::MissingSignature).with_detail(format!("none in {}", self.place));
        let value = self.place.value(head, body, Reason::MalformedSignature)?.ok_or_else(missing)?;
        Ok(Token::of(value.as_bytes()))
    }

    #[inline]
    fn shares_head(&self) -> bool {
        self.keys.see_whole_head()
    }

    #[inline]
    fn start(&self, _: &Token, values: &Values<'_>) -> Judged<KeysFor> {
        Ok(self.keys.find(values, None))
    }

    #[inline]
    fn finish(&self, run: Run<'_, Self>, _: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        let keys = self.keys.tried(run.keys)?;
        keys.verdict(keys.ring.first_that(|token| token.is(run.offer))).map(MaybeReady::Ready)
    }

    #[cfg(feature = "testing")]
    #[inline]
    fn describe(&self) -> String {
        format!("shared token in {}", self.place)
    }

    /// The scheme holds only digests, so the token comes from the test.
    #[cfg(feature = "testing")]
    #[inline]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        let Signer::Token(token) = signer else { return None };
        Some(self.place.put(request.head, request.body, token))
    }
}
