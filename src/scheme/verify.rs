//! The verification of one request by a scheme.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::delivery::{Signed, Verified};
use crate::provider::{Outcome, Verification};
use crate::reject::{Reason, Rejection};
use crate::secret::{KeysFor, Ring};
use crate::text::Text;

use super::Plan;
use super::mac::{Digest, Mac, matching_key};
use super::template::{Piece, Values};

/// What the head says, well formed and not yet proven.
pub(super) struct Claimed {
    signature: Digest,
    timestamp: Option<(Text, SystemTime)>,
    id: Option<Text>,
    event: Option<Text>,
}

impl Claimed {
    pub(super) fn read(plan: &Plan, head: &Parts, now: SystemTime) -> Result<Self, Rejection> {
        let signature = plan.signature.read(head)?;
        let timestamp = plan.timestamp.as_ref().map(|timestamp| timestamp.read(head, now)).transpose()?;
        let id = plan.id.as_ref().map_or(Ok(None), |id| id.text(head, Reason::MalformedHeader))?;
        if id.is_none() && plan.template.has(&Piece::Id) {
            return Err(Rejection::new(Reason::MissingHeader).with_detail("there is no id"));
        }
        let event = plan.event.as_ref().map_or(Ok(None), |event| event.text(head, Reason::MalformedHeader))?;
        Ok(Self { signature, timestamp, id, event })
    }

    fn values<'a>(&'a self, head: &'a Parts) -> Values<'a> {
        Values { head, timestamp: self.timestamp.as_ref().map(|(text, _)| text.as_str()), id: self.id.as_deref() }
    }
}

/// A request being verified by a [`Scheme`](super::Scheme).
pub struct SchemeVerification {
    plan: Arc<Plan>,
    claimed: Claimed,
    macs: Ring<Mac>,
    known: bool,
}

impl SchemeVerification {
    pub(super) fn new(plan: Arc<Plan>, claimed: Claimed, head: &Parts, keys: KeysFor<Mac>) -> Self {
        let KeysFor { ring: mut macs, known } = keys;
        plan.template.feed_before(&claimed.values(head), |bytes| update(&mut macs, bytes));
        Self { plan, claimed, macs, known }
    }
}

impl fmt::Debug for SchemeVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeVerification").field("name", &self.plan.name).finish_non_exhaustive()
    }
}

fn update(macs: &mut Ring<Mac>, bytes: &[u8]) {
    for mac in macs.iter_mut() {
        mac.update(bytes);
    }
}

impl Verification for SchemeVerification {
    type Verdict = Ready<Result<Outcome, Rejection>>;

    fn receive(&mut self, chunk: &[u8]) {
        update(&mut self.macs, chunk);
    }

    fn finish(mut self, head: &Parts, _body: &Bytes) -> Self::Verdict {
        self.plan.template.feed_after(&self.claimed.values(head), |bytes| update(&mut self.macs, bytes));
        ready(match matching_key(self.macs, &[self.claimed.signature]) {
            _ if !self.known => Err(Reason::UnknownTenant.into()),
            None => Err(Reason::SignatureMismatch.into()),
            Some(key_index) => {
                let template = &self.plan.template;
                let signed = Signed {
                    body: true,
                    timestamp: template.has(&Piece::Timestamp),
                    id: template.has(&Piece::Id),
                    url: template.has(&Piece::Path),
                    ..Signed::default()
                };
                Ok(Outcome::Deliver(
                    Verified::new(signed)
                        .with_id(self.claimed.id)
                        .with_event(self.claimed.event)
                        .with_timestamp(self.claimed.timestamp.map(|(_, time)| time))
                        .with_key_index(key_index)
                        .with_identity(self.plan.identity.clone()),
                ))
            }
        })
    }
}
