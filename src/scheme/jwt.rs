//! Proof by a JSON web token, signed with a shared secret or with a key that its issuer publishes.

use std::time::SystemTime;

#[cfg(feature = "inspect")]
use http::HeaderName;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::jwt::{Backend, ClaimedToken, Jwks, JwtRules, Token, malformed};
use crate::mac::{Mac, MacKind};
use crate::provider::{MaybeReady, Recognition};
use crate::rejection::Rejection;
use crate::secrets::{Keys, KeysFor, MatchedKey};
#[cfg(feature = "testing")]
use crate::sign::{SignError, set_header};
use crate::text::Text;
use crate::time::Tolerance;

use super::fields::{Fields, Unverified};
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
#[cfg(feature = "testing")]
use super::sign::{SignResult, SignWith, Signer, Unsigned};
use super::template::Values;

#[derive(Clone)]
pub(super) struct JwtProof {
    pub(super) rules: JwtRules,
    keys: JwtKeys,
}

#[derive(Clone)]
enum JwtKeys {
    Shared(Keys<Mac>),
    Public(Jwks),
}

/// What is known of the signature before the body is.
pub(super) enum JwtKeysFor {
    Proven(MatchedKey),
    /// The key may have to be fetched, which waits until everything else is right.
    ToFind(Jwks, SystemTime),
}

impl JwtProof {
    /// Takes the keys of the issuer, or else the secrets of the settings.
    pub(super) fn new(rules: JwtRules, issuer: Option<Jwks>, settings: &Settings) -> Result<Self, ConfigError> {
        Backend::prove()?;
        let keys = match issuer {
            Some(jwks) => {
                settings.no_secrets()?;
                JwtKeys::Public(jwks)
            }
            None => JwtKeys::Shared(settings.keys(|key| Mac::new(MacKind::Sha256, key))?),
        };
        Ok(Self { rules, keys })
    }

    #[cfg(feature = "testing")]
    fn put(&self, request: &mut Unsigned<'_>, sign: &SignWith<'_>) -> Result<(), SignError> {
        let token = self.rules.sign(request.body, request.now, sign)?;
        set_header(request.head, self.rules.header.clone(), token)
    }
}

fn proven(text: &[u8], keys: &KeysFor<Mac>) -> Result<JwtKeysFor, Rejection> {
    match Token::split(text)?.verify_hs256(&keys.ring) {
        Err(fault) if keys.known => Err(fault),
        matched => keys.verdict(matched.ok()).map(JwtKeysFor::Proven),
    }
}

impl Proof for JwtProof {
    /// Boxed, as other offers are far smaller.
    type Offer = Box<ClaimedToken>;
    type Keys = JwtKeysFor;
    type Progress = ();

    fn recognizes(&self, head: &Parts) -> Recognition {
        head.headers.contains_key(&self.rules.header).into()
    }

    #[cfg(feature = "inspect")]
    fn header(&self) -> Option<HeaderName> {
        Some(self.rules.header.clone())
    }

    fn covers(&self, fields: &Fields) -> Signed {
        let body = self.rules.body_hash.is_some();
        Signed {
            body,
            timestamp: self.rules.times.issued.is_some(),
            id: self.rules.id_claim.is_some() || (body && fields.id.is_some()),
            event: body && fields.event.is_some(),
            ..Signed::default()
        }
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        self.rules.times.issued.as_mut()
    }

    fn read(&self, head: &Parts, _: &[u8], read: &mut Unverified) -> Result<Box<ClaimedToken>, Rejection> {
        let token = self.rules.read(head, read.now)?;
        read.timestamp = token.issued.map(|issued| (Text::default(), issued));
        read.id = token.id.clone();
        read.fresh_for = token.fresh_for;
        Ok(Box::new(token))
    }

    /// A shared secret settles the token here, before the body is read.
    fn start(&self, token: &Box<ClaimedToken>, values: &Values<'_>, now: SystemTime) -> Judged<JwtKeysFor> {
        let keys = match &self.keys {
            JwtKeys::Public(jwks) => return Ok(JwtKeysFor::ToFind(jwks.clone(), now).into()),
            JwtKeys::Shared(keys) => keys.find(values.head, None),
        };
        match keys {
            MaybeReady::Ready(keys) => proven(&token.text, &keys).map(Into::into),
            MaybeReady::Pending(keys) => {
                let text = token.text.clone();
                Ok(MaybeReady::pending(async move { proven(&text, &keys.await?) }))
            }
        }
    }

    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        let token = run.offer;
        self.rules.check_hash(token, values.body)?;
        match run.keys {
            JwtKeysFor::Proven(key) => Ok(MaybeReady::Ready(*key)),
            JwtKeysFor::ToFind(jwks, now) => {
                let kid = token.kid.as_deref().ok_or_else(|| malformed("it names no key"))?;
                let found = jwks.find(kid, self.rules.algorithm, *now)?;
                let text = token.text.clone();
                Ok(MaybeReady::pending(async move {
                    let key = found.wait().await?;
                    Token::split(&text)?.verify_public(&key)?;
                    Ok(MatchedKey::default())
                }))
            }
        }
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        let body = match self.rules.body_hash {
            Some(claim) => format!("the body's SHA-256 in the claim `{claim}`"),
            None => "which leaves the body unsigned".to_owned(),
        };
        format!("JWT {:?} in `{}`, {body}", self.rules.algorithm, self.rules.header)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        match (&self.keys, signer) {
            (JwtKeys::Shared(keys), Signer::Secret) => {
                Some(self.put(request, &|message| Ok(keys.signing_key()?.of(message).as_bytes().to_vec())))
            }
            (JwtKeys::Public(_), Signer::PrivateKey(key)) => Some(self.put(request, key)),
            _ => None,
        }
    }
}
