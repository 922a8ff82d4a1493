//! A verification by a scheme that waits for its body.
//!
//! Many may wait at a time, so one by MACs keeps no more than its keys, the codes to compare with,
//! and the states of the hash functions. What else was read from the head is read once more when it
//! goes on, and the part of a block that waits for more is in the body.

use std::any::Any;
use std::mem;
use std::time::SystemTime;

use http::request::Parts;

use crate::mac::{HeldMacs, Macs};
use crate::place::Candidates;
use crate::rejection::Rejection;
use crate::secrets::KeysFor;

use super::any_form::{AnyAttempt, AnyForm};
use super::fields::Unverified;
use super::form::{Attempt, FormId, foreign};
use super::mac::MacProof;

/// An attempt of which only that is kept which is needed while it waits.
pub(super) trait ParkedAttempt: Send {
    /// Returns the attempt as it was, and how much of the body it has seen. The form that has begun
    /// it is among these.
    fn resume(&mut self, forms: &[AnyForm], head: &Parts) -> Result<(AnyAttempt, usize), Rejection>;

    /// Keeps the attempt, which was given the first `fed` bytes of the body.
    fn keep(&mut self, attempt: &mut AnyAttempt, fed: usize);
}

/// An attempt by MACs.
pub(super) struct ParkedMacs {
    form: FormId,
    now: SystemTime,
    offer: Candidates,
    keys: KeysFor,
    /// None unless the text was begun.
    macs: Option<HeldMacs>,
    /// How much of the body they have.
    seen: usize,
}

impl ParkedMacs {
    /// Returns one that keeps nothing yet.
    pub(super) fn new(attempt: &Attempt<MacProof>) -> Self {
        let (form, now) = (attempt.form, attempt.read.now);
        Self { form, now, offer: Candidates::new(), keys: KeysFor::Own, macs: None, seen: 0 }
    }
}

impl ParkedAttempt for ParkedMacs {
    fn resume(&mut self, forms: &[AnyForm], head: &Parts) -> Result<(AnyAttempt, usize), Rejection> {
        let form = forms.iter().find_map(|form| match form {
            AnyForm::Mac(form) if FormId::of(form) == self.form => Some(form),
            _ => None,
        });
        let mut read = Unverified::new(self.now);
        form.ok_or_else(foreign)?.fields.read(&mut read, head)?;
        let attempt = Attempt::<MacProof> {
            form: self.form,
            read,
            offer: mem::take(&mut self.offer),
            keys: mem::replace(&mut self.keys, KeysFor::Own),
            progress: self.macs.take().map(Macs::resumed),
        };
        Ok((AnyAttempt::Mac(attempt), self.seen))
    }

    fn keep(&mut self, attempt: &mut AnyAttempt, fed: usize) {
        let AnyAttempt::Mac(attempt) = attempt else { return };
        self.offer = mem::take(&mut attempt.offer);
        self.keys = mem::replace(&mut attempt.keys, KeysFor::Own);
        (self.macs, self.seen) = match attempt.progress.take().map(Macs::held) {
            Some((macs, again)) if again <= fed => (Some(macs), fed - again),
            // What is signed before the body isn't in a whole block yet: the text is begun anew.
            Some(_) => (None, 0),
            // Nothing was given yet, or nothing begins before the whole body is there.
            None => (None, fed),
        };
    }
}

/// An attempt by another kind of proof, which is in a box anyway.
pub(super) struct ParkedOther {
    form: FormId,
    attempt: Box<dyn Any + Send>,
    seen: usize,
}

impl ParkedOther {
    /// Returns one that keeps nothing yet.
    pub(super) fn new(form: FormId) -> Self {
        Self { form, attempt: Box::new(()), seen: 0 }
    }
}

impl ParkedAttempt for ParkedOther {
    fn resume(&mut self, _: &[AnyForm], _: &Parts) -> Result<(AnyAttempt, usize), Rejection> {
        Ok((AnyAttempt::Other(self.form, mem::replace(&mut self.attempt, Box::new(()))), self.seen))
    }

    fn keep(&mut self, attempt: &mut AnyAttempt, fed: usize) {
        if let AnyAttempt::Other(_, attempt) = attempt {
            self.attempt = mem::replace(attempt, Box::new(()));
            self.seen = fed;
        }
    }
}
