//! Requests proven by a JSON web token: one shared secret, or the public keys of an issuer.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::delivery::Verified;
use crate::json::Object;
use crate::maybe_ready::MaybeReady;
use crate::provider::Outcome;
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor};
use crate::text::Text;

use super::jwks::Jwks;
use super::jwt::{self, Algorithm, LONGEST_TOKEN, PublicKey, TimeRules, Times, Token};
use super::mac::Mac;
use super::place::{Place, single};
use super::plan::Plan;

/// How a token is found and judged.
#[derive(Clone)]
pub(crate) struct JwtProof {
    /// `Authorization: Bearer`, or the whole value of another header.
    pub(crate) header: HeaderName,
    pub(crate) algorithm: Algorithm,
    pub(crate) keys: JwtKeys,
    pub(crate) times: TimeRules,
    /// The claim that holds the SHA-256 of the body in lower-case hexadecimal.
    pub(crate) body_hash: Option<&'static str>,
    /// Claims that must have one of these values: whom the token is for, and from.
    pub(crate) expected: Vec<(&'static str, Vec<String>)>,
    /// Claims that must be `true`.
    pub(crate) must_be_true: &'static [&'static str],
    /// The claim that names the delivery.
    pub(crate) id_claim: Option<&'static str>,
}

#[derive(Clone)]
pub(crate) enum JwtKeys {
    Shared(Keys<Mac>),
    Public(Jwks),
}

/// A token that is well formed, of this time and for us, and not yet proven.
pub(super) struct ClaimedToken {
    text: Bytes,
    kid: Option<String>,
    claims: Object,
    times: Times,
}

impl JwtProof {
    fn text<'a>(&self, head: &'a Parts) -> Result<&'a [u8], Rejection> {
        if self.header == AUTHORIZATION {
            return jwt::bearer(head, &self.header);
        }
        Ok(single(head, &self.header, LONGEST_TOKEN)?.ok_or(Reason::MissingSignature)?.as_bytes())
    }

    /// Judges all that the head shows.
    pub(super) fn read(&self, head: &Parts, now: SystemTime) -> Result<ClaimedToken, Rejection> {
        let text = Bytes::copy_from_slice(self.text(head)?);
        let token = Token::split(&text)?;
        let kid = token.header(self.algorithm)?.kid;
        let claims = token.claims()?;
        let times = self.times.check(&claims, now)?;
        for (name, allowed) in &self.expected {
            let claim = claims.parse::<String>(name).ok_or_else(|| jwt::malformed("a claim is missing"))?;
            if !allowed.contains(&claim) {
                return Err(Rejection::new(Reason::NotForUs).with_detail("the token is for, or from, somebody else"));
            }
        }
        if self.must_be_true.iter().any(|name| claims.parse::<bool>(name) != Some(true)) {
            return Err(Rejection::new(Reason::NotForUs).with_detail("a claim that has to be true is not"));
        }
        Ok(ClaimedToken { kid, claims, times, text })
    }

    /// Whether the token speaks of this body.
    pub(super) fn check_body(&self, claimed: &ClaimedToken, body: &[u8]) -> Result<(), Rejection> {
        let Some(name) = self.body_hash else { return Ok(()) };
        match claimed.claims.parse::<String>(name) {
            Some(hash) if hash == hex::encode(Sha256::digest(body)) => Ok(()),
            // A request without a body needs no hash of it.
            None if body.is_empty() && !claimed.claims.contains(name) => Ok(()),
            _ => Err(Reason::BodyMismatch.into()),
        }
    }

    pub(super) fn verify_shared(claimed: &ClaimedToken, keys: KeysFor<Mac>) -> Result<usize, Rejection> {
        let verdict = Token::split(&claimed.text)?.verify_hs256(&keys.ring);
        match keys.known {
            true => verdict,
            false => Err(Reason::UnknownTenant.into()),
        }
    }

    pub(super) fn find(
        &self,
        jwks: &Jwks,
        claimed: &ClaimedToken,
        now: SystemTime,
    ) -> Result<MaybeReady<PublicKey>, Rejection> {
        let kid = claimed.kid.as_deref().ok_or_else(|| jwt::malformed("it names no key"))?;
        jwks.find(kid, self.algorithm, now)
    }
}

/// Verifies with a key that may have to be fetched.
pub(super) async fn verify_public(found: MaybeReady<PublicKey>, claimed: &ClaimedToken) -> Result<(), Rejection> {
    let key = found.wait().await?;
    Token::split(&claimed.text)?.verify_public(&key)
}

impl ClaimedToken {
    pub(super) fn outcome(self, plan: &Plan, proof: &JwtProof, key_index: usize) -> Outcome {
        let id = proof.id_claim.and_then(|name| self.claims.parse::<String>(name)).map(Text::from);
        let mut signed = plan.signed;
        signed.timestamp &= self.times.issued.is_some();
        signed.id &= id.is_some() || plan.id.as_ref().is_some_and(Place::in_body);
        Outcome::Deliver(
            Verified::new(signed)
                .with_id(id)
                .with_body_fields(plan.in_body.clone())
                .with_timestamp(self.times.issued)
                .with_key_index(key_index),
        )
    }
}
