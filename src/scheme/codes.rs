//! The MACs of one request: what its scheme signs, by every key.

use crate::rejection::{Reason, Rejection};
use crate::secrets::Ring;

use super::mac::{Mac, Macs, matching_key};
use super::plan::{Plan, Proof};
use super::signature::Candidates;
use super::template::Values;

/// The MACs of one request, by the scheme's own keys or by those that were looked up for it.
#[derive(Default)]
pub(super) struct Codes {
    looked_up: Option<Box<Ring<Mac>>>,
    /// What was fed so far, where the body comes in parts.
    started: Option<Macs>,
}

impl Codes {
    pub(super) fn by(keys: Ring<Mac>) -> Self {
        Self { looked_up: Some(Box::new(keys)), started: None }
    }

    /// The keys, by which nothing was computed yet.
    pub(super) fn keys<'a>(&'a self, plan: &'a Plan) -> Result<&'a Ring<Mac>, Rejection> {
        let own = match &plan.proof {
            Proof::Mac { keys, .. } => keys.fixed(),
            #[allow(unreachable_patterns, reason = "there are other proofs with some features")]
            _ => None,
        };
        self.looked_up.as_deref().or(own).ok_or_else(|| Reason::SecretUnavailable.into())
    }

    /// Feeds a part of the body, where the scheme allows for it.
    pub(super) fn receive(&mut self, plan: &Plan, values: &Values<'_>, chunk: &[u8]) {
        if !plan.streams {
            return;
        }
        if self.started.is_none() {
            // Where that fails, it fails again when the whole is judged, and is refused there.
            self.started = self.start(plan, values).ok();
        }
        if let Some(macs) = &mut self.started {
            macs.update(chunk);
        }
    }

    /// Feeds what is signed before the body.
    fn start(&self, plan: &Plan, values: &Values<'_>) -> Result<Macs, Rejection> {
        let mut macs = Macs::new(self.keys(plan)?.clone());
        plan.template.feed_before(values, &mut |bytes| macs.update(bytes))?;
        Ok(macs)
    }

    /// The position of the first key that made one of the signatures. `rest` is what was not fed of the body.
    #[inline]
    pub(super) fn judge(
        &mut self,
        plan: &Plan,
        values: &Values<'_>,
        rest: &[u8],
        signatures: &Candidates,
    ) -> Result<Option<usize>, Rejection> {
        let template = &plan.template;
        if let Some(macs) = &mut self.started {
            macs.update(rest);
            template.feed_after(values, &mut |bytes| macs.update(bytes))?;
            return Ok(matching_key(macs.codes(), signatures.iter()));
        }
        let keys = self.keys(plan)?;
        if let Some(only) = keys.only() {
            let code = match template.is_body() {
                true => only.of(values.body),
                false => only.over(|sink| template.feed(values, sink))?,
            };
            return Ok(code.is_among(signatures.iter()).then_some(0));
        }
        let mut macs = Macs::new(keys.clone());
        template.feed(values, &mut |bytes| macs.update(bytes))?;
        Ok(matching_key(macs.codes(), signatures.iter()))
    }
}
