//! The verification of one request by a scheme.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::delivery::{Signed, Verified};
use crate::provider::{Outcome, Verification};
use crate::reject::{Reason, Rejection};
use crate::secret::Ring;
use crate::text::Text;

#[cfg(feature = "jwt")]
use super::bearer::{ClaimedToken, JwtKeys, verify_public};
use super::handshake::Handshake;
use super::mac::{Digest, Mac, Macs, matching_key};
#[cfg(feature = "asymmetric")]
use super::plan::Fetched;
use super::plan::{Applies, Plan, Proof, Where, insisting};
use super::pointer;
#[cfg(feature = "asymmetric")]
use super::public_key::{PublicKey, verifying_key};
use super::signature::Candidates;
use super::source::{LONGEST_HEADER, Place, single};
use super::template::{Piece, Values};
use super::token::{Token, matching_token};

/// What a request says, well formed and not yet proven.
#[derive(Default)]
pub(super) struct Claimed {
    signatures: Signatures,
    timestamp: Option<(Text, SystemTime)>,
    id: Option<Text>,
    event: Option<Text>,
}

#[derive(Default)]
enum Signatures {
    #[default]
    InBody,
    Digests(Candidates),
    Tokens(Token),
    #[cfg(feature = "asymmetric")]
    Long(Vec<Vec<u8>>),
}

impl Claimed {
    /// Reads what is in the head, and refuses what the head alone shows to be wrong.
    #[inline]
    pub(super) fn read(plan: &Plan, head: &Parts, now: SystemTime) -> Result<Self, Rejection> {
        let mut claimed = Self::default();
        if !plan.signature_in_body() {
            claimed.signatures = plan.read_signatures(head, b"")?;
        }
        for (name, value) in &plan.required {
            let given = single(head, name, LONGEST_HEADER)?.ok_or(Reason::MissingHeader)?;
            if given.as_bytes() != value.as_bytes() {
                return Err(Rejection::new(Reason::UnacceptableAlgorithm).with_detail("a header names another method"));
            }
        }
        if let Some(timestamp) = plan.timestamp.as_ref().filter(|timestamp| !timestamp.place.in_body()) {
            claimed.timestamp = Some(timestamp.read(head, b"", now)?);
        }
        if let Some(id) = plan.id.as_ref().filter(|id| !id.in_body()) {
            claimed.id = id.text(head, b"", Reason::MalformedHeader)?;
            if claimed.id.is_none() && plan.template.has(&Piece::Id) {
                return Err(Rejection::new(Reason::MissingHeader).with_detail("there is no id"));
            }
        }
        if let Some(event) = plan.event.as_ref().filter(|event| !event.in_body()) {
            claimed.event = event.text(head, b"", Reason::MalformedHeader)?;
        }
        plan.template.check(&claimed.values(plan, head, b""))?;
        Ok(claimed)
    }

    /// Reads what is in the body and part of what is signed.
    fn complete(&mut self, plan: &Plan, head: &Parts, body: &[u8], now: SystemTime) -> Result<(), Rejection> {
        if plan.signature_in_body() {
            self.signatures = plan.read_signatures(head, body)?;
        }
        if self.timestamp.is_none() && plan.template.has(&Piece::Timestamp) {
            self.read_timestamp(plan, head, body, now)?;
        }
        if let Some(id) = plan.id.as_ref().filter(|id| id.in_body() && plan.template.has(&Piece::Id)) {
            let missing = || Rejection::new(Reason::MalformedBody).with_detail("there is no id");
            self.id = Some(id.text(head, body, Reason::MalformedBody)?.ok_or_else(missing)?);
        }
        Ok(())
    }

    fn read_timestamp(&mut self, plan: &Plan, head: &Parts, body: &[u8], now: SystemTime) -> Result<(), Rejection> {
        if let Some(timestamp) = &plan.timestamp {
            self.timestamp = Some(timestamp.read(head, body, now)?);
        }
        Ok(())
    }

    #[cfg(feature = "asymmetric")]
    fn message(&self, plan: &Plan, head: &Parts, body: &[u8]) -> Result<Vec<u8>, Rejection> {
        let mut message = Vec::new();
        let values = self.values(plan, head, body);
        plan.template.feed(&values, &mut |bytes| message.extend_from_slice(bytes))?;
        Ok(message)
    }

    fn values<'a>(&'a self, plan: &'a Plan, head: &'a Parts, body: &'a [u8]) -> Values<'a> {
        Values {
            head,
            body,
            timestamp: self.timestamp.as_ref().map(|(text, _)| text.as_str()),
            id: self.id.as_deref(),
            url: plan.url.as_ref(),
        }
    }
}

impl Plan {
    fn read_signatures(&self, head: &Parts, body: &[u8]) -> Result<Signatures, Rejection> {
        Ok(match (&self.signature, &self.proof) {
            (Where::Signature(signature), Proof::Mac { kind, .. }) => {
                Signatures::Digests(signature.read(head, body, kind.digest_len())?)
            }
            #[cfg(feature = "asymmetric")]
            (Where::Signature(signature), Proof::Fetched(fetched)) => {
                Signatures::Long(signature.read_long(head, body, fetched.longest_signature)?)
            }
            #[cfg(feature = "asymmetric")]
            (Where::Signature(signature), Proof::Public { algorithm, .. }) => {
                Signatures::Long(signature.read_long(head, body, algorithm.longest_signature())?)
            }
            (Where::Token(place), _) => {
                let value = place.value(head, body, Reason::MalformedSignature)?.ok_or(Reason::MissingSignature)?;
                Signatures::Tokens(Token::of(value.as_bytes()))
            }
            _ => Signatures::InBody,
        })
    }
}

/// A request being verified by a [`Scheme`](super::Scheme).
pub struct SchemeVerification {
    first: Attempt,
    /// Where the scheme has several forms, and the head fits more than one.
    rest: Vec<Attempt>,
}

/// The verification by one form of a scheme.
pub(super) struct Attempt {
    plan: Arc<Plan>,
    claimed: Claimed,
    running: Running,
    known: bool,
    now: SystemTime,
}

/// The state of a proof while the body arrives.
pub(super) enum Running {
    Mac {
        macs: Macs,
        /// The same keys, untouched, where a handshake is answered with them or several texts are signed.
        unused: Option<Box<Ring<Mac>>>,
    },
    Token(Ring<Token>),
    #[cfg(feature = "asymmetric")]
    Public(Ring<PublicKey>),
    /// The key is to be fetched.
    #[cfg(feature = "asymmetric")]
    Fetched(Fetched),
    /// A token, whose shared secret is known by its position or whose public key is to be found.
    #[cfg(feature = "jwt")]
    Jwt {
        claimed: Option<Box<ClaimedToken>>,
        key_index: Option<usize>,
    },
    /// An unsigned body, which may be a question.
    Unsigned(fn(&[u8]) -> Result<Option<Answer>, Rejection>),
    /// The answer was found by the head and a key that had to be looked up.
    Answered(Answer),
}

impl SchemeVerification {
    pub(super) fn new(first: Attempt, rest: Vec<Attempt>) -> Self {
        Self { first, rest }
    }

    /// The verification that nearly every request needs: by one form, with MACs whose keys are there. It says the same as
    /// the general way and copies the MACs less often.
    #[inline]
    pub(super) fn by_mac(plan: &Arc<Plan>, ring: &Ring<Mac>, head: &Parts, now: SystemTime) -> Result<Self, Rejection> {
        let mut verification = Self {
            first: Attempt {
                claimed: Claimed::read(plan, head, now)?,
                running: Running::Mac { macs: Macs::new(ring.clone()), unused: None },
                plan: plan.clone(),
                known: true,
                now,
            },
            rest: Vec::new(),
        };
        verification.first.feed_before(head)?;
        Ok(verification)
    }
}

impl From<Attempt> for SchemeVerification {
    fn from(first: Attempt) -> Self {
        Self::new(first, Vec::new())
    }
}

impl fmt::Debug for SchemeVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeVerification").field("name", &self.first.plan.name).finish_non_exhaustive()
    }
}

impl Verification for SchemeVerification {
    type Verdict = SchemeVerdict;

    fn receive(&mut self, chunk: &[u8]) {
        self.first.receive(chunk);
        for attempt in &mut self.rest {
            attempt.receive(chunk);
        }
    }

    fn finish(mut self, head: &Parts, body: &Bytes) -> SchemeVerdict {
        let first = self.first.finish(head, body);
        if self.rest.is_empty() {
            return first;
        }
        let rest: Vec<_> = self.rest.iter_mut().map(|attempt| attempt.finish(head, body)).collect();
        SchemeVerdict::later(async move {
            let mut verdict = first.await;
            for other in rest {
                verdict = match (verdict, other.await) {
                    (Ok(outcome), _) | (Err(_), Ok(outcome)) => Ok(outcome),
                    // A failure of ours goes before a fault of the request.
                    (Err(first), Err(second)) if first.reason().is_final() && !second.reason().is_final() => {
                        Err(second)
                    }
                    (Err(first), Err(_)) => Err(first),
                };
            }
            verdict
        })
    }
}

/// The verdict of a [`Scheme`](super::Scheme): at once, unless a key has to be fetched.
pub struct SchemeVerdict(Step);

enum Step {
    Now(Option<Result<Outcome, Rejection>>),
    Later(Pin<Box<dyn Future<Output = Result<Outcome, Rejection>> + Send>>),
}

impl SchemeVerdict {
    fn now(verdict: Result<Outcome, Rejection>) -> Self {
        Self(Step::Now(Some(verdict)))
    }

    fn later(verdict: impl Future<Output = Result<Outcome, Rejection>> + Send + 'static) -> Self {
        Self(Step::Later(Box::pin(verdict)))
    }
}

impl Future for SchemeVerdict {
    type Output = Result<Outcome, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Step::Now(verdict) => match verdict.take() {
                Some(verdict) => Poll::Ready(verdict),
                None => panic!("a scheme's verdict was polled after it was ready"),
            },
            Step::Later(verdict) => verdict.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for SchemeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeVerdict").finish_non_exhaustive()
    }
}

impl Attempt {
    #[inline]
    pub(super) fn new(
        plan: Arc<Plan>,
        claimed: Claimed,
        running: Running,
        known: bool,
        head: &Parts,
        now: SystemTime,
    ) -> Result<Self, Rejection> {
        let mut attempt = Self { plan, claimed, running, known, now };
        attempt.feed_before(head)?;
        Ok(attempt)
    }

    /// Feeds what is signed before the body.
    fn feed_before(&mut self, head: &Parts) -> Result<(), Rejection> {
        let Self { plan, claimed, running, .. } = self;
        if let Running::Mac { macs, unused } = running {
            if plan.handshakes.iter().any(Handshake::is_keyed) {
                *unused = Some(Box::new(macs.ring().clone()));
            }
            if plan.streams() {
                let values = claimed.values(plan, head, b"");
                plan.template.feed_before(&values, &mut |bytes| macs.update(bytes))?;
            }
        }
        Ok(())
    }

    pub(super) fn without_claims(plan: Arc<Plan>, running: Running, now: SystemTime) -> Self {
        Self { plan, claimed: Claimed::default(), running, known: true, now }
    }

    fn receive(&mut self, chunk: &[u8]) {
        if let Running::Mac { macs, .. } = &mut self.running
            && self.plan.streams()
        {
            macs.update(chunk);
        }
    }

    /// Called once. By reference: a verification is large, and a copy of it costs as much as reading a small body.
    fn finish(&mut self, head: &Parts, body: &Bytes) -> SchemeVerdict {
        let status = self.plan.refusal;
        match self.judge(head, body) {
            Ok(Judged::Now(outcome)) => SchemeVerdict::now(Ok(outcome)),
            Ok(Judged::Later(verdict)) => {
                SchemeVerdict::later(async move { verdict.await.map_err(|rejection| insisting(status, rejection)) })
            }
            Err(rejection) => SchemeVerdict::now(Err(insisting(status, rejection))),
        }
    }

    fn judge(&mut self, head: &Parts, body: &Bytes) -> Result<Judged, Rejection> {
        let plan = &self.plan;
        self.claimed.complete(plan, head, body, self.now)?;
        let mut unused = None;
        let matched = match &mut self.running {
            Running::Answered(answer) => return Ok(Judged::Now(Outcome::Answer(answer.clone()))),
            Running::Unsigned(answer) => {
                let answer = answer(body)?.ok_or(Reason::MissingSignature)?;
                return Ok(Judged::Now(Outcome::Answer(answer)));
            }
            Running::Mac { macs, unused: keys } => {
                let matched = match &plan.signature {
                    Where::Crafted(crafted) => crafted.judge(macs.ring(), body)?,
                    _ => {
                        let values = self.claimed.values(plan, head, body);
                        let mut sink = |bytes: &[u8]| macs.update(bytes);
                        match plan.streams() {
                            true => plan.template.feed_after(&values, &mut sink)?,
                            false => plan.template.feed(&values, &mut sink)?,
                        }
                        match &self.claimed.signatures {
                            Signatures::Digests(candidates) => matching_key(macs.ring(), candidates.iter()),
                            _ => None,
                        }
                    }
                };
                unused = keys.take();
                matched
            }
            Running::Token(tokens) => match &self.claimed.signatures {
                Signatures::Tokens(token) => matching_token(tokens, &[*token]),
                _ => None,
            },
            #[cfg(feature = "asymmetric")]
            Running::Public(keys) => {
                let message = self.claimed.message(plan, head, body)?;
                match &self.claimed.signatures {
                    Signatures::Long(signatures) => verifying_key(keys, &message, signatures),
                    _ => None,
                }
            }
            #[cfg(feature = "asymmetric")]
            Running::Fetched(fetched) => {
                let message = self.claimed.message(plan, head, body)?;
                let find = (fetched.find)(head, self.now);
                let (plan, claimed) = (self.plan.clone(), mem::take(&mut self.claimed));
                return Ok(Judged::Later(Box::pin(async move {
                    let verifier = find.await?;
                    let Signatures::Long(signatures) = &claimed.signatures else {
                        return Err(Reason::MissingSignature.into());
                    };
                    match signatures.iter().any(|signature| verifier(&message, signature)) {
                        true => Ok(Outcome::Deliver(plan.verified(claimed, 0))),
                        false => Err(Reason::SignatureMismatch.into()),
                    }
                })));
            }
            #[cfg(feature = "jwt")]
            Running::Jwt { claimed, key_index } => {
                let claimed = claimed.take().ok_or(Reason::MissingSignature)?;
                return judge_token(plan, *claimed, *key_index, body, self.now);
            }
        };
        let key_index = match (self.known, matched) {
            (false, _) => return Err(Reason::UnknownTenant.into()),
            (true, None) => return Err(Reason::SignatureMismatch.into()),
            (true, Some(index)) => index,
        };
        plan.check_body(head, body)?;
        if self.claimed.timestamp.is_none() {
            self.claimed.read_timestamp(plan, head, body, self.now)?;
        }
        let mac = unused.and_then(|macs| macs.into_iter().nth(key_index));
        for handshake in &plan.handshakes {
            if let Some(answer) = handshake.finish(head, body, mac.clone())? {
                return Ok(Judged::Now(Outcome::Answer(answer)));
            }
        }
        Ok(Judged::Now(Outcome::Deliver(plan.verified(mem::take(&mut self.claimed), key_index))))
    }
}

/// What came of a verification that found nothing wrong so far.
enum Judged {
    Now(Outcome),
    #[cfg_attr(not(any(feature = "asymmetric", feature = "jwt")), allow(dead_code))]
    Later(Pin<Box<dyn Future<Output = Result<Outcome, Rejection>> + Send>>),
}

#[cfg(feature = "jwt")]
fn judge_token(
    plan: &Arc<Plan>,
    claimed: ClaimedToken,
    key_index: Option<usize>,
    body: &[u8],
    now: SystemTime,
) -> Result<Judged, Rejection> {
    let Proof::Jwt(proof) = &plan.proof else { return Err(Reason::MissingSignature.into()) };
    proof.check_body(&claimed, body)?;
    match (key_index, &proof.keys) {
        (Some(index), _) => Ok(Judged::Now(claimed.outcome(plan, proof, index))),
        (None, JwtKeys::Public(jwks)) => {
            let found = proof.find(jwks, &claimed, now)?;
            let plan = plan.clone();
            Ok(Judged::Later(Box::pin(async move {
                verify_public(found, &claimed, now).await?;
                match &plan.proof {
                    Proof::Jwt(proof) => Ok(claimed.outcome(&plan, proof, 0)),
                    _ => Err(Reason::MissingSignature.into()),
                }
            })))
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
            let claimed = claim.read(head, body, digest.as_bytes().len())?;
            if claimed.iter().any(|claimed| claimed.as_bytes() != digest.as_bytes()) {
                return Err(Reason::BodyMismatch.into());
            }
        }
        if self.one_json_value && !pointer::is_one_value(body) {
            return Err(Rejection::new(Reason::MalformedBody).with_detail("it is not one JSON value and nothing else"));
        }
        Ok(())
    }

    fn verified(&self, claimed: Claimed, key_index: usize) -> Verified {
        // Written at once: each of the methods that set one part would hand on the whole.
        Verified {
            id: claimed.id,
            id_in: self.id_in.clone(),
            event: claimed.event,
            event_in: self.event_in.clone(),
            timestamp: claimed.timestamp.map(|(_, time)| time),
            key_index,
            identity: self.identity.clone(),
            ..Verified::new(self.signed)
        }
    }

    /// What the signature covers.
    pub(super) fn covered(&self) -> Signed {
        #[cfg(feature = "jwt")]
        if let Proof::Jwt(proof) = &self.proof {
            let body = proof.body_hash.is_some();
            return Signed {
                body,
                timestamp: proof.times.issued.is_some(),
                id: proof.id_claim.is_some() || (body && self.id.is_some()),
                event: body && self.event.is_some(),
                ..Signed::default()
            };
        }
        if !matches!(self.signature, Where::Signature(_) | Where::Crafted(_)) {
            return Signed::default();
        }
        let template = &self.template;
        let body = match &self.signature {
            Where::Crafted(crafted) => crafted.covers_body,
            _ => template.covers_body() || self.body_hash.is_some() || self.applies == Some(Applies::NoBody),
        };
        let covers = |place: &Place| match place.header() {
            Some(name) => template.has(&Piece::Header(name.clone())) || template.covers_headers(),
            None => body && place.in_body(),
        };
        Signed {
            body,
            timestamp: self
                .timestamp
                .as_ref()
                .is_some_and(|timestamp| template.has(&Piece::Timestamp) || covers(&timestamp.place)),
            id: self.id.as_ref().is_some_and(|id| template.has(&Piece::Id) || covers(id)),
            event: self.event.as_ref().is_some_and(covers),
            url: template.covers_url(),
        }
    }
}
