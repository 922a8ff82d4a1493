//! What a request says of itself.

use std::time::SystemTime;

use http::request::Parts;

use crate::reject::{Reason, Rejection};
use crate::text::Text;

use super::plan::{Plan, Proof, Where};
use super::signature::Candidates;
use super::source::{LONGEST_HEADER, single};
use super::template::{Piece, Values};
use super::token::Token;

/// What a request says, well formed and not yet proven.
#[derive(Default)]
pub(super) struct Claimed {
    pub(super) signatures: Signatures,
    pub(super) timestamp: Option<(Text, SystemTime)>,
    pub(super) id: Option<Text>,
    pub(super) event: Option<Text>,
}

#[derive(Default)]
pub(super) enum Signatures {
    #[default]
    InBody,
    Digests(Candidates),
    Tokens(Token),
    #[cfg(feature = "asymmetric")]
    Long(Vec<Vec<u8>>),
}

impl Claimed {
    /// Reads what is in the head, and refuses what the head alone shows to be wrong.
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
    pub(super) fn complete(
        &mut self,
        plan: &Plan,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
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

    pub(super) fn read_timestamp(
        &mut self,
        plan: &Plan,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        if let Some(timestamp) = &plan.timestamp {
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
