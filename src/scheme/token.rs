//! Proof by a shared token: a secret that the sender repeats. It covers nothing.

use std::time::SystemTime;

use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::provider::{MaybeReady, Recognition};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{KeyPrint, Keys, KeysFor};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::builder::SchemeBuilder;
use super::form::{Fields, Unverified};
use super::mac::{keys_for, verdict};
use super::place::Place;
use super::proof::{Judged, Proof};
#[cfg(feature = "testing")]
use super::sign::{Signer, Unsigned};
use super::source::Source;
use super::template::Values;

/// The digest of a token. Digests are compared, so that the time tells neither the length nor a common start.
#[derive(Clone, Copy)]
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[derive(Clone)]
pub(super) struct TokenProof {
    place: Place,
    keys: Keys<Token>,
}

impl TokenProof {
    pub(super) fn new(source: &Source, builder: &SchemeBuilder) -> Result<Self, ConfigError> {
        if builder.signature.is_some() {
            return Err(ConfigError::conflict("a token is no signature: the scheme has both"));
        }
        if builder.timestamp.is_some() {
            return Err(ConfigError::conflict("a token signs nothing, so a timestamp would prove nothing"));
        }
        let format = builder.key_format;
        let keys = builder.secrets()?.into_keys(move |secret| Ok(Token::of(&secret.key(format)?)))?;
        Ok(Self { place: source.0.clone()?, keys })
    }

    fn token(&self, head: &Parts, body: &[u8]) -> Result<Token, Rejection> {
        let missing = || Rejection::new(Reason::MissingSignature).with_detail(format!("none in {}", self.place));
        let value = self.place.value(head, body, Reason::MalformedSignature)?.ok_or_else(missing)?;
        Ok(Token::of(value.as_bytes()))
    }
}

impl Proof for TokenProof {
    /// The token of the head; none if it is in the body.
    type Offer = Option<Token>;
    type Keys = KeysFor<Token>;
    type Progress = ();

    fn recognizes(&self, head: &Parts) -> Recognition {
        self.place.recognizes(head)
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.place.is_there(head, body)
    }

    fn covers(&self, _: &Fields, _: bool) -> Signed {
        Signed::default()
    }

    fn read(&self, head: &Parts, _: SystemTime, _: &mut Unverified) -> Result<Option<Token>, Rejection> {
        if self.place.in_body() {
            return Ok(None);
        }
        self.token(head, b"").map(Some)
    }

    fn read_body(&self, offer: &mut Option<Token>, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if offer.is_none() {
            *offer = Some(self.token(head, body)?);
        }
        Ok(())
    }

    fn start(&self, _: &Option<Token>, values: &Values<'_>) -> Judged<KeysFor<Token>> {
        Ok(keys_for(&self.keys, values.head, |keys| keys))
    }

    fn finish(
        &self,
        offer: &Option<Token>,
        keys: &KeysFor<Token>,
        (): &mut (),
        _: &Values<'_>,
        _: &[u8],
    ) -> Judged<usize> {
        let received = offer.ok_or(Reason::MissingSignature)?;
        // All are compared, so that the time does not tell which one fitted.
        let fits = keys.ring.iter().enumerate().filter(|(_, token)| token.is(&received)).map(|(index, _)| index);
        let matched = fits.fold(None, |first, index| first.or(Some(index)));
        verdict(keys.known, matched).map(MaybeReady::Ready)
    }

    fn key_print(&self, keys: &KeysFor<Token>, index: usize) -> Option<KeyPrint> {
        keys.ring.print(index)
    }

    #[cfg(feature = "testing")]
    fn places(&self) -> &[Place] {
        std::slice::from_ref(&self.place)
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        format!("shared token in {}", self.place)
    }

    /// The scheme holds only digests, so the token comes from the test.
    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> Option<Result<(), SignError>> {
        let Signer::Token(token) = signer else { return None };
        Some(self.place.put(request.head, request.body, token))
    }
}
