//! What a request says of itself, read and not yet proven.

use std::time::SystemTime;

use http::request::Parts;

use crate::delivery::Verified;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;

use super::place::{LONGEST_HEADER, single};
use super::plan::{Plan, Proof, Where};
use super::signature::Candidates;
use super::template::{Piece, Values};
use super::token::Token;

/// What a request says, well formed and not yet proven.
#[derive(Default)]
pub(super) struct Claimed {
    /// The signatures, where they are MACs.
    pub(super) digests: Candidates,
    /// What is offered in the place of a MAC.
    pub(super) offered: Offered,
    timestamp: Option<(Text, SystemTime)>,
    id: Option<Text>,
    event: Option<Text>,
}

#[derive(Default)]
pub(super) enum Offered {
    #[default]
    Nothing,
    Token(Token),
    #[cfg(feature = "asymmetric")]
    Signatures(Vec<Vec<u8>>),
}

impl Claimed {
    /// Reads what is in the head, and refuses what the head alone shows to be wrong.
    #[inline]
    pub(super) fn read(&mut self, plan: &Plan, head: &Parts, now: SystemTime) -> Result<(), Rejection> {
        if !plan.signature_in_body() {
            self.read_signatures(plan, head, b"")?;
        }
        for (name, value) in &plan.required {
            let given = single(head, name, LONGEST_HEADER)?.ok_or(Reason::MissingHeader)?;
            if given.as_bytes() != value.as_bytes() {
                return Err(Rejection::new(Reason::UnacceptableAlgorithm).with_detail("a header names another method"));
            }
        }
        if let Some(timestamp) = plan.timestamp.as_ref().filter(|timestamp| !timestamp.place.in_body()) {
            self.timestamp = Some(timestamp.read(head, b"", now)?);
        }
        if let Some(id) = plan.id.as_ref().filter(|id| !id.in_body()) {
            self.id = id.text(head, b"", Reason::MalformedHeader)?;
            if self.id.is_none() && plan.template.has(&Piece::Id) {
                return Err(Rejection::new(Reason::MissingHeader).with_detail("there is no id"));
            }
        }
        if let Some(event) = plan.event.as_ref().filter(|event| !event.in_body()) {
            self.event = event.text(head, b"", Reason::MalformedHeader)?;
        }
        plan.template.check(&self.values(plan, head, b""))
    }

    /// Reads what is in the body and part of what is signed.
    #[inline]
    pub(super) fn complete(
        &mut self,
        plan: &Plan,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        if plan.signature_in_body() {
            self.read_signatures(plan, head, body)?;
        }
        if plan.template.has(&Piece::Timestamp) {
            self.read_timestamp(plan, head, body, now)?;
        }
        if let Some(id) = plan.id.as_ref().filter(|id| id.in_body() && plan.template.has(&Piece::Id)) {
            let missing = || Rejection::new(Reason::MalformedBody).with_detail("there is no id");
            self.id = Some(id.text(head, body, Reason::MalformedBody)?.ok_or_else(missing)?);
        }
        Ok(())
    }

    #[inline]
    fn read_signatures(&mut self, plan: &Plan, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        match (&plan.signature, &plan.proof) {
            (Where::Signature(signature), Proof::Mac { kind, .. }) => {
                signature.read(head, body, kind.digest_len(), &mut self.digests)?;
            }
            #[cfg(feature = "asymmetric")]
            (Where::Signature(signature), Proof::Fetched(fetched)) => {
                self.offered = Offered::Signatures(signature.read_long(head, body, fetched.longest_signature)?);
            }
            #[cfg(feature = "asymmetric")]
            (Where::Signature(signature), Proof::Public { algorithm, .. }) => {
                self.offered = Offered::Signatures(signature.read_long(head, body, algorithm.longest_signature())?);
            }
            (Where::Token(place), _) => {
                let value = place.value(head, body, Reason::MalformedSignature)?.ok_or(Reason::MissingSignature)?;
                self.offered = Offered::Token(Token::of(value.as_bytes()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a timestamp that is in the body, once the body is proven, unless it was read before.
    pub(super) fn read_timestamp(
        &mut self,
        plan: &Plan,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        if let (None, Some(timestamp)) = (&self.timestamp, &plan.timestamp) {
            self.timestamp = Some(timestamp.read(head, body, now)?);
        }
        Ok(())
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn message(&self, plan: &Plan, head: &Parts, body: &[u8]) -> Result<Vec<u8>, Rejection> {
        let mut message = Vec::new();
        let values = self.values(plan, head, body);
        plan.template.feed(&values, &mut |bytes| message.extend_from_slice(bytes))?;
        Ok(message)
    }

    #[inline]
    pub(super) fn values<'a>(&'a self, plan: &'a Plan, head: &'a Parts, body: &'a [u8]) -> Values<'a> {
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
    /// What the handler is told of a request that was proven. The claims are taken.
    #[inline]
    pub(super) fn verified(&self, claimed: &mut Claimed, key_index: usize) -> Verified {
        // Written at once: each of the methods that set one part would hand on the whole.
        Verified {
            provider: None,
            id: claimed.id.take(),
            event: claimed.event.take(),
            in_body: self.in_body.clone(),
            timestamp: claimed.timestamp.take().map(|(_, time)| time),
            key_index: key_index.try_into().unwrap_or(u16::MAX),
            signed: self.signed,
            parsed: None,
        }
    }
}
