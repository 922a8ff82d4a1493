//! The verification of one request by a scheme.

use std::fmt;
use std::future::Future;
#[cfg(feature = "asymmetric")]
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::provider::{MaybeReady, Outcome};
use crate::rejection::{Reason, Rejection};
use crate::secrets::Ring;

#[cfg(feature = "jwt")]
use super::bearer::{ClaimedToken, JwtKeys, verify_public};
use super::claimed::{Claimed, Offered};
use super::codes::Codes;
use super::mac::Digest;
#[cfg(feature = "asymmetric")]
use super::plan::Fetched;
#[cfg(feature = "jwt")]
use super::plan::Proof;
use super::plan::{Applies, Plan, Where};
use super::pointer;
#[cfg(feature = "asymmetric")]
use super::public_key::{PublicKey, verifying_key};
use super::signature::Candidates;
use super::token::{Token, matching_token};

/// A request being verified by a [`Scheme`](super::Scheme).
pub struct SchemeVerification {
    pub(super) first: Attempt,
    /// Where the scheme has several forms, and the head fits more than one.
    pub(super) rest: Vec<Attempt>,
}

/// The verification by one form of a scheme.
pub(super) struct Attempt {
    /// Which form, in the scheme's order.
    pub(super) form: usize,
    pub(super) claimed: Claimed,
    pub(super) running: Running,
    pub(super) known: bool,
    pub(super) now: SystemTime,
}

/// The state of a proof while the body arrives.
pub(super) enum Running {
    Mac(Codes),
    Token(Ring<Token>),
    #[cfg(feature = "asymmetric")]
    Public(Ring<PublicKey>),
    /// The key is to be fetched.
    #[cfg(feature = "asymmetric")]
    Fetched(Fetched),
    /// A token, whose shared secret is known by its position or whose public key is to be found.
    #[cfg(feature = "jwt")]
    Jwt(Option<Box<(ClaimedToken, Option<usize>)>>),
    /// An unsigned body, which may be a question.
    Unsigned(fn(&[u8]) -> Result<Option<Answer>, Rejection>),
}

impl SchemeVerification {
    pub(super) fn new(first: Attempt, rest: Vec<Attempt>) -> Self {
        Self { first, rest }
    }
}

impl From<Attempt> for SchemeVerification {
    fn from(first: Attempt) -> Self {
        Self::new(first, Vec::new())
    }
}

impl fmt::Debug for SchemeVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeVerification").finish_non_exhaustive()
    }
}

/// The verdict of all forms that were tried. All of them were, so that the time does not tell which one fitted.
pub(super) fn best(
    first: Result<MaybeReady<Outcome>, Rejection>,
    others: Vec<Result<MaybeReady<Outcome>, Rejection>>,
) -> Result<MaybeReady<Outcome>, Rejection> {
    if !std::iter::once(&first).chain(&others).any(|verdict| matches!(verdict, Ok(MaybeReady::Pending(_)))) {
        return others.into_iter().fold(first, better);
    }
    Ok(pending(async move {
        let mut verdict = settled(first).await;
        for other in others {
            verdict = better(verdict, settled(other).await);
        }
        verdict
    }))
}

fn pending(verdict: impl Future<Output = Result<Outcome, Rejection>> + Send + 'static) -> MaybeReady<Outcome> {
    MaybeReady::pending(verdict)
}

async fn settled(verdict: Result<MaybeReady<Outcome>, Rejection>) -> Result<Outcome, Rejection> {
    verdict?.wait().await
}

/// The first verdict that accepts; of two refusals, a failure of ours goes before a fault of the request.
fn better<T>(first: Result<T, Rejection>, second: Result<T, Rejection>) -> Result<T, Rejection> {
    match (first, second) {
        (Ok(outcome), _) | (Err(_), Ok(outcome)) => Ok(outcome),
        (Err(first), Err(second)) if !first.reason().is_transient() && second.reason().is_transient() => Err(second),
        (Err(first), Err(_)) => Err(first),
    }
}

impl Attempt {
    pub(super) fn new(form: usize, claimed: Claimed, running: Running, known: bool, now: SystemTime) -> Self {
        Self { form, claimed, running, known, now }
    }

    pub(super) fn without_claims(form: usize, running: Running, now: SystemTime) -> Self {
        Self::new(form, Claimed::default(), running, true, now)
    }

    pub(super) fn receive(&mut self, plan: &Plan, head: &Parts, chunk: &[u8]) {
        if let Running::Mac(codes) = &mut self.running {
            codes.receive(plan, &self.claimed.values(plan, head, b""), chunk);
        }
    }

    /// Called once.
    #[inline]
    pub(super) fn finish(
        &mut self,
        plan: &Arc<Plan>,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        self.judge(plan, head, body, rest)
    }

    #[inline]
    fn judge(
        &mut self,
        plan: &Arc<Plan>,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        self.claimed.complete(plan, head, body, self.now)?;
        let matched = match &mut self.running {
            Running::Unsigned(answer) => {
                return Ok(Outcome::Answer(answer(body)?.ok_or(Reason::MissingSignature)?).into());
            }
            Running::Mac(codes) => match &plan.signature {
                Where::Crafted(crafted) => crafted.judge(codes.keys(plan)?, body)?,
                _ => {
                    let values = self.claimed.values(plan, head, body);
                    codes.judge(plan, &values, rest, &self.claimed.digests)?
                }
            },
            Running::Token(tokens) => match &self.claimed.offered {
                Offered::Token(token) => matching_token(tokens, &[*token]),
                _ => None,
            },
            #[cfg(feature = "asymmetric")]
            Running::Public(keys) => {
                let message = self.claimed.message(plan, head, body)?;
                match &self.claimed.offered {
                    Offered::Signatures(signatures) => verifying_key(keys, &message, signatures),
                    _ => None,
                }
            }
            #[cfg(feature = "asymmetric")]
            Running::Fetched(fetched) => {
                let message = self.claimed.message(plan, head, body)?;
                let find = (fetched.find)(head, self.now);
                let (plan, mut claimed) = (plan.clone(), mem::take(&mut self.claimed));
                return Ok(pending(async move {
                    let verifier = find.await?;
                    let Offered::Signatures(signatures) = &claimed.offered else {
                        return Err(Reason::MissingSignature.into());
                    };
                    match signatures.iter().any(|signature| verifier(&message, signature)) {
                        true => Ok(Outcome::Deliver(plan.verified(&mut claimed, 0))),
                        false => Err(Reason::SignatureMismatch.into()),
                    }
                }));
            }
            #[cfg(feature = "jwt")]
            Running::Jwt(token) => {
                let token = token.take().ok_or(Reason::MissingSignature)?;
                return judge_token(plan, *token, body, self.now);
            }
        };
        let key_index = match (self.known, matched) {
            (false, _) => return Err(Reason::UnknownTenant.into()),
            (true, None) => return Err(Reason::SignatureMismatch.into()),
            (true, Some(index)) => index,
        };
        plan.check_body(head, body)?;
        self.claimed.read_timestamp(plan, head, body, self.now)?;
        if !plan.handshakes.is_empty() {
            let key = match &self.running {
                Running::Mac(codes) => codes.keys(plan)?.iter().nth(key_index),
                _ => None,
            };
            for handshake in &plan.handshakes {
                if let Some(answer) = handshake.finish(head, body, key)? {
                    return Ok(Outcome::Answer(answer).into());
                }
            }
        }
        Ok(Outcome::Deliver(plan.verified(&mut self.claimed, key_index)).into())
    }
}

#[cfg(feature = "jwt")]
fn judge_token(
    plan: &Arc<Plan>,
    (claimed, key_index): (ClaimedToken, Option<usize>),
    body: &[u8],
    now: SystemTime,
) -> Result<MaybeReady<Outcome>, Rejection> {
    let Proof::Jwt(proof) = &plan.proof else { return Err(Reason::MissingSignature.into()) };
    proof.check_body(&claimed, body)?;
    match (key_index, &proof.keys) {
        (Some(index), _) => Ok(claimed.outcome(plan, proof, index).into()),
        (None, JwtKeys::Public(jwks)) => {
            let found = proof.find(jwks, &claimed, now)?;
            let plan = plan.clone();
            Ok(pending(async move {
                verify_public(found, &claimed).await?;
                match &plan.proof {
                    Proof::Jwt(proof) => Ok(claimed.outcome(&plan, proof, 0)),
                    _ => Err(Reason::MissingSignature.into()),
                }
            }))
        }
        (None, JwtKeys::Shared(_)) => Err(Reason::SignatureMismatch.into()),
    }
}

impl Plan {
    /// What is left to be compared with the body once the signature is proven.
    fn check_body(&self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if self.applies == Some(Applies::NoBody) && !body.is_empty() {
            return Err(Rejection::new(Reason::BodyMismatch).with_detail("there is a body, and nothing signs it"));
        }
        if let Some(claim) = &self.body_hash {
            let digest = Digest::new(&Sha256::digest(body));
            let mut claimed = Candidates::default();
            claim.read(head, body, digest.as_bytes().len(), &mut claimed)?;
            if claimed.iter().any(|claimed| claimed.as_bytes() != digest.as_bytes()) {
                return Err(Reason::BodyMismatch.into());
            }
        }
        if self.one_json_value && !pointer::is_one_value(body) {
            return Err(Rejection::new(Reason::MalformedBody).with_detail("it is not one JSON value and nothing else"));
        }
        Ok(())
    }
}
