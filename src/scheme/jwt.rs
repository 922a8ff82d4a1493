//! Proof by a JSON web token, signed with a shared secret, with a key that its issuer publishes or
//! that was given, or with that of a certificate.

use std::any::Any;
use std::sync::Arc;

#[cfg(feature = "inspect")]
use http::HeaderName;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::Signed;
#[cfg(feature = "testing")]
use crate::jwt::TEST_KID;
#[cfg(any(feature = "asymmetric", feature = "testing"))]
use crate::jwt::of_signature;
use crate::jwt::{
    Algorithm, Backend, ClaimedToken, Jwks, JwtRules, LONGEST_TOKEN, ProvenClaims, Token, challenge, malformed,
};
use crate::mac::{Mac, MacKind};
use crate::place::{Place, Spot};
use crate::provider::MaybeReady;
#[cfg(feature = "certificates")]
use crate::public_key::Verifies as _;
#[cfg(feature = "asymmetric")]
use crate::public_key::{PublicKey, matching_key};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor, MatchedKey, TriedKeys};
#[cfg(feature = "testing")]
use crate::sign::{SignError, SignResult, SignWith, Signer, Unsigned};
use crate::text::Text;
use crate::time::Tolerance;

use super::fields::{Fields, Unverified};
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::source::Source;
use super::template::{Template, Values};

#[derive(Clone)]
pub(crate) struct JwtProof {
    place: Place,
    rules: JwtRules,
    keys: JwtKeys,
    /// What a detached token signs.
    detached: Option<Template>,
    /// Where the key's id is, if the token doesn't name it.
    key_id: Option<Place>,
}

#[derive(Clone)]
enum JwtKeys {
    Shared(MacKind, Keys<Mac>),
    Public(Jwks),
    #[cfg(feature = "asymmetric")]
    Given(Keys<PublicKey>),
    /// The token brings its own.
    #[cfg(feature = "certificates")]
    Chain,
}

/// What is known of the signature before the body is.
pub(crate) enum JwtKeysFor {
    Proven(MatchedKey),
    Shared(KeysFor),
    #[cfg(feature = "asymmetric")]
    Given(KeysFor),
    /// The key may have to be fetched, which waits until everything else is right, or the token
    /// brings it.
    ToFind,
}

impl JwtProof {
    pub(crate) fn new(source: &Source, rules: JwtRules, settings: &Settings) -> Result<Self, ConfigError> {
        Backend::prove()?;
        if settings.signature.is_some() {
            return Err(ConfigError::conflict("a token has its signature inside: the scheme has both"));
        }
        let template = || Template::of(settings.template.as_ref(), settings.public_url.as_ref(), &settings.pieces);
        let detached = rules.is_detached.then(template).transpose().map_err(|error| error.with_setting("signed"))?;
        let kind = match rules.algorithm {
            Algorithm::HS384 => MacKind::SHA384,
            Algorithm::HS512 => MacKind::SHA512,
            _ => MacKind::SHA256,
        };
        let keys = if rules.is_shared() {
            JwtKeys::Shared(kind, settings.keys(move |key| Ok(Mac::new(kind, key)))?)
        } else if rules.brings_certificates() {
            settings.no_secrets()?;
            #[cfg(feature = "certificates")]
            {
                JwtKeys::Chain
            }
            #[cfg(not(feature = "certificates"))]
            return Err(ConfigError::unavailable("certificates need the feature `certificates`"));
        } else {
            Self::public(&rules, settings)?
        };
        Ok(Self { place: source.0.clone()?, rules, keys, detached, key_id: settings.key_id.clone() })
    }

    fn public(rules: &JwtRules, settings: &Settings) -> Result<JwtKeys, ConfigError> {
        settings.no_secrets()?;
        match (settings.jwks.clone(), &settings.public_keys) {
            (Some(jwks), None) => Ok(JwtKeys::Public(jwks)),
            (Some(_), Some(_)) => Err(ConfigError::conflict("there are public keys and a set of them")),
            #[cfg(feature = "asymmetric")]
            (None, Some(_)) => {
                let none = || ConfigError::conflict("the tokens' algorithm has no public key");
                settings.public_keys(of_signature(rules.algorithm).ok_or_else(none)?).map(JwtKeys::Given)
            }
            _ => {
                let _ = rules;
                Err(ConfigError::missing("there is no public key"))
            }
        }
    }

    /// Returns the text of the token with all that is signed.
    fn whole(&self, token: &ClaimedToken, values: &Values<'_>) -> Result<Vec<u8>, Rejection> {
        let Some(template) = &self.detached else { return Ok(token.text.to_vec()) };
        Ok(Token::split(&token.text)?.with_payload(&template.whole(values)?))
    }

    #[cfg(feature = "testing")]
    fn put(
        &self,
        request: &mut Unsigned<'_>,
        chain: Option<Vec<String>>,
        sign: &SignWith<'_>,
    ) -> Result<(), SignError> {
        let payload = self.detached.as_ref().map(|template| template.to_sign(request)).transpose()?;
        let own: &[u8] = if self.place.in_body() { request.body } else { b"" };
        let token = self.rules.sign(own, request.body, payload.as_deref(), request.now, chain, sign)?;
        if let Some(id) = &self.key_id {
            id.put(request.head, request.body, TEST_KID)?;
        }
        self.place.put(request.head, request.body, &token)
    }
}

fn proven(text: &[u8], kind: MacKind, keys: &TriedKeys<'_, Mac>) -> Result<MatchedKey, Rejection> {
    match Token::split_within(text, usize::MAX)?.verify_mac(keys.ring, kind) {
        Err(fault) if keys.known => Err(fault),
        matched => keys.verdict(matched.ok()),
    }
}

impl Proof for JwtProof {
    /// Boxed, as other offers are far smaller.
    type Offer = Box<ClaimedToken>;
    type Keys = JwtKeysFor;
    type Progress = ();

    fn refuse(&self, rejection: Rejection) -> Rejection {
        if self.place.spot == Spot::Bearer { challenge(rejection) } else { rejection }
    }

    fn template(&self) -> Option<&Template> {
        self.detached.as_ref()
    }

    fn places(&self) -> &[Place] {
        std::slice::from_ref(&self.place)
    }

    #[cfg(feature = "inspect")]
    fn headers(&self) -> Vec<HeaderName> {
        self.key_id.iter().filter_map(Place::mark).collect()
    }

    fn covers(&self, fields: &Fields) -> Signed {
        let own = self.detached.as_ref().map(Template::covers).unwrap_or_default();
        let body = own.body || self.rules.body_hash.is_some() || self.place.spot == Spot::Body;
        let covers = |place: &Option<Place>| body && place.as_ref().is_some_and(Place::in_body);
        Signed {
            body,
            timestamp: own.timestamp || self.rules.times.issued.is_some(),
            id: own.id || self.rules.id_claim.is_some() || covers(&fields.id),
            event: self.rules.event_claim.is_some() || covers(&fields.event),
            url: own.url,
        }
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        self.rules.times.issued.as_mut()
    }

    fn read(&self, head: &Parts, body: &[u8], read: &mut Unverified) -> Result<Box<ClaimedToken>, Rejection> {
        let missing = || Rejection::new(Reason::MissingSignature).with_detail(format!("none in {}", self.place));
        // Room for the authentication scheme and the spaces before a token.
        let value = self.place.value_within(head, body, Reason::MalformedSignature, LONGEST_TOKEN + 16)?;
        let longest = if self.place.in_body() { usize::MAX } else { LONGEST_TOKEN };
        let mut token = self.rules.read(value.ok_or_else(missing)?.as_bytes(), longest, read.now)?;
        if let Some(issued) = token.issued {
            read.timestamp = Some((Text::default(), issued));
        }
        (read.id, read.event) = (token.id.take(), token.event.take());
        read.fresh_for = token.fresh_for;
        Ok(Box::new(token))
    }

    fn shares_head(&self) -> bool {
        match &self.keys {
            JwtKeys::Shared(_, keys) => keys.see_whole_head(),
            #[cfg(feature = "asymmetric")]
            JwtKeys::Given(keys) => keys.see_whole_head(),
            _ => false,
        }
    }

    /// A shared secret settles a token of the head here, before the body is read.
    fn start(&self, token: &Box<ClaimedToken>, values: &Values<'_>) -> Judged<JwtKeysFor> {
        if let Some(template) = &self.detached {
            template.check(values)?;
        }
        match &self.keys {
            JwtKeys::Public(_) => Ok(JwtKeysFor::ToFind.into()),
            #[cfg(feature = "asymmetric")]
            JwtKeys::Given(keys) => keys.find(values, None).and_then(|keys| Ok(JwtKeysFor::Given(keys))),
            #[cfg(feature = "certificates")]
            JwtKeys::Chain => Ok(JwtKeysFor::ToFind.into()),
            JwtKeys::Shared(kind, keys) => {
                let (kind, is_whole) = (*kind, !self.place.in_body() && self.detached.is_none());
                let (text, own) = (token.text.clone(), keys.clone());
                keys.find(values, None).and_then(move |found| {
                    if is_whole {
                        proven(&text, kind, &own.tried(&found)?).map(JwtKeysFor::Proven)
                    } else {
                        Ok(JwtKeysFor::Shared(found))
                    }
                })
            }
        }
    }

    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, _: &[u8]) -> Judged<MatchedKey> {
        let token = &**run.offer;
        self.rules.check_hash(token, values.body)?;
        match (&self.keys, run.keys) {
            (_, JwtKeysFor::Proven(key)) => Ok(MaybeReady::Ready(*key)),
            (JwtKeys::Shared(kind, keys), JwtKeysFor::Shared(found)) => {
                proven(&self.whole(token, values)?, *kind, &keys.tried(found)?).map(MaybeReady::Ready)
            }
            #[cfg(feature = "asymmetric")]
            (JwtKeys::Given(keys), JwtKeysFor::Given(found)) => {
                let keys = keys.tried(found)?;
                let whole = self.whole(token, values)?;
                let (message, signature) = Token::split_within(&whole, usize::MAX)?.signed()?;
                keys.verdict(matching_key(keys.ring, message, &[signature])).map(MaybeReady::Ready)
            }
            #[cfg(feature = "certificates")]
            (JwtKeys::Chain, JwtKeysFor::ToFind) => {
                let mismatch = || Rejection::from(Reason::SignatureMismatch);
                let (chain, algorithm) =
                    self.rules.chain.as_ref().zip(of_signature(self.rules.algorithm)).ok_or_else(mismatch)?;
                let key = chain.key(algorithm, &token.x5c, values.now)?;
                let whole = self.whole(token, values)?;
                let (message, signature) = Token::split_within(&whole, usize::MAX)?.signed()?;
                if !key.verifies(message, &signature) {
                    return Err(mismatch());
                }
                Ok(MatchedKey::default().into())
            }
            (JwtKeys::Public(jwks), JwtKeysFor::ToFind) => {
                let beside = self.key_id.as_ref().map(|id| id.text(values.head, b"", Reason::MalformedSignature));
                let beside = beside.transpose()?.flatten();
                let named = || match &self.key_id {
                    Some(id) => malformed(format!("no key's id in {id}")),
                    None => malformed("it names no key"),
                };
                let own = token.kid.as_deref().filter(|_| self.key_id.is_none());
                let kid = beside.as_deref().or(own).ok_or_else(named)?;
                let found = jwks.find(kid, self.rules.algorithm, values.now)?;
                let whole = self.whole(token, values)?;
                Ok(MaybeReady::pending(async move {
                    let key = found.wait().await?;
                    Token::split_within(&whole, usize::MAX)?.verify_public(&key)?;
                    Ok(MatchedKey::default())
                }))
            }
            // Not reached, as `start` has found the keys of this very proof.
            _ => Err(Reason::SignatureMismatch.into()),
        }
    }

    fn parsed(&self, token: &Box<ClaimedToken>) -> Option<Arc<dyn Any + Send + Sync>> {
        let claims = token.claims.bytes();
        (!claims.is_empty()).then(|| Arc::new(ProvenClaims(claims.clone())) as _)
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        let Self { place, rules, detached, .. } = self;
        let text = match (detached, &rules.body_hash) {
            (Some(template), _) => format!("over `{}`", template.text.escape_default()),
            (None, Some((claim, _))) => format!("the body's SHA-256 in the claim `{claim}`"),
            (None, None) if place.in_body() => "whose claims are all that is proven".to_owned(),
            (None, None) => "which leaves the body unsigned".to_owned(),
        };
        let chain = if rules.brings_certificates() { ", by a certificate that it brings" } else { "" };
        format!("JWT {:?} in {place}, {text}{chain}", rules.algorithm)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        match (&self.keys, signer) {
            (JwtKeys::Shared(_, keys), Signer::Secret) => {
                Some(self.put(request, None, &|message| Ok(keys.signing_key()?.of(message).as_bytes().to_vec())))
            }
            (JwtKeys::Shared(..), _) => None,
            (_, Signer::PrivateKey(key)) => {
                let algorithm = of_signature(self.rules.algorithm)?;
                Some(self.put(request, key.chain(), &|message| key.sign(algorithm, message)))
            }
            _ => None,
        }
    }
}
