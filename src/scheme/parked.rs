//! A verification by a scheme that waits for its body.
//!
//! Many may wait at a time, so one by MACs keeps no more than its keys and the states of their hash
//! functions. What was read from the head is read once more at the end, and the part of a block
//! that waits for more is in the body.

use std::any::Any;
use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::body::Arrived;
use crate::mac::{HashStates, Macs};
use crate::place::Candidates;
use crate::provider::{MaybeReady, Outcome, Parked};
use crate::rejection::Rejection;
use crate::secrets::KeysFor;

use super::any_form::{AnyAttempt, AnyForm, DrivenForm};
use super::fields::Unverified;
use super::form::{Form, FormId, foreign};
use super::mac::MacProof;
use super::proof::{Proof as _, Run};
use super::scheme::{Scheme, SchemeVerification, State};

/// Takes of a verification, which was given the first `fed` bytes of the body, what is needed while
/// it waits for more. Those by several forms are rare, and stay as they are.
pub(super) fn parked(verification: &mut SchemeVerification, fed: usize) -> Option<Box<dyn Parked<Scheme>>> {
    match &mut verification.0 {
        State::Verify { first: AnyAttempt::Mac(attempt), rest } if rest.is_empty() => {
            let keys = mem::replace(&mut attempt.keys, KeysFor::Own);
            let states = HashStates::new();
            let mut parked = Box::new(ParkedMacs { form: attempt.form, now: attempt.read.now, keys, states, seen: 0 });
            parked.keep(attempt.progress.take(), fed);
            Some(parked)
        }
        State::Verify { first: AnyAttempt::Other(form, attempt), rest } if rest.is_empty() => {
            Some(Box::new(ParkedOther { form: *form, attempt: mem::replace(attempt, Box::new(())), fed }))
        }
        _ => None,
    }
}

/// An attempt by MACs.
struct ParkedMacs {
    form: FormId,
    now: SystemTime,
    keys: KeysFor,
    /// None unless the text was begun.
    states: HashStates,
    /// How much of the body the states have.
    seen: usize,
}

impl ParkedMacs {
    fn form<'a>(&self, scheme: &'a Scheme) -> Option<&'a Form<MacProof>> {
        scheme.0.forms.iter().find_map(|form| match form {
            AnyForm::Mac(form) if FormId::of(form) == self.form => Some(form),
            _ => None,
        })
    }

    fn progress(&mut self) -> Option<Macs> {
        let states = mem::take(&mut self.states);
        (!states.is_empty()).then(|| Macs::resumed(states))
    }

    /// Keeps the MACs of what was fed, with the first `fed` bytes of the body.
    fn keep(&mut self, progress: Option<Macs>, fed: usize) {
        self.seen = 0;
        if let Some((states, again)) = progress.map(Macs::suspended)
            // Otherwise what is signed before the body isn't in a whole block yet: the text is begun anew.
            && let Some(seen) = fed.checked_sub(again)
        {
            (self.states, self.seen) = (states, seen);
        }
    }
}

impl Parked<Scheme> for ParkedMacs {
    fn receive(&mut self, scheme: &Scheme, head: &Parts, arrived: Arrived<'_>) {
        let Some(form) = self.form(scheme).filter(|form| form.proof.streams()) else { return };
        let (mut read, mut progress) = (Unverified::new(self.now), self.progress());
        if progress.is_none() && form.read_head(&mut read, head).is_err() {
            return;
        }
        let (values, mut offer) = (read.values(head, b""), Candidates::new());
        arrived.each_since(self.seen, &mut |chunk| {
            let run = Run { offer: &mut offer, keys: &self.keys, progress: &mut progress };
            form.proof.receive(run, &values, chunk);
        });
        self.keep(progress, arrived.len());
    }

    fn finish(&mut self, scheme: &Scheme, head: &Parts, body: &Bytes) -> Result<MaybeReady<Outcome>, Rejection> {
        let form = self.form(scheme).ok_or_else(foreign)?;
        let (mut read, mut progress) = (Unverified::new(self.now), self.progress());
        let mut offer = form.read_head(&mut read, head)?;
        let run = Run { offer: &mut offer, keys: &self.keys, progress: &mut progress };
        form.finish(&mut read, run, &scheme.0.handshakes, head, body, &body[self.seen..])
    }
}

/// An attempt by another kind of proof, which is in a box anyway.
struct ParkedOther {
    form: FormId,
    attempt: Box<dyn Any + Send>,
    fed: usize,
}

impl ParkedOther {
    fn form<'a>(&self, scheme: &'a Scheme) -> Option<&'a dyn DrivenForm> {
        scheme.0.forms.iter().find_map(|form| match form {
            AnyForm::Other(form) if form.id() == self.form => Some(&**form),
            _ => None,
        })
    }
}

impl Parked<Scheme> for ParkedOther {
    fn receive(&mut self, scheme: &Scheme, head: &Parts, arrived: Arrived<'_>) {
        let Some(form) = self.form(scheme) else { return };
        arrived.each_since(self.fed, &mut |chunk| form.receive_any(&mut *self.attempt, head, chunk));
        self.fed = arrived.len();
    }

    fn finish(&mut self, scheme: &Scheme, head: &Parts, body: &Bytes) -> Result<MaybeReady<Outcome>, Rejection> {
        let form = self.form(scheme).ok_or_else(foreign)?;
        form.finish_any(&mut *self.attempt, &scheme.0.handshakes, head, body, &body[self.fed..])
    }
}
