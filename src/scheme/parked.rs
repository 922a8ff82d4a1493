//! A verification by a scheme that waits for its body.
//!
//! Many may wait at a time, so one by MACs keeps no more than its keys, the codes to compare with,
//! and the states of the hash functions. What else was read from the head is read once more at the
//! end, and the part of a block that waits for more is in the body.

use std::any::Any;
use std::mem;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::body::Arrived;
use crate::handshake::Handshake;
use crate::mac::{HeldMacs, Macs};
use crate::place::Candidates;
use crate::provider::Outcome;
use crate::secrets::KeysFor;

use super::any_form::{AnyForm, DrivenForm};
use super::fields::Unverified;
use super::form::{Attempt, Form, FormId, foreign};
use super::mac::MacProof;
use super::proof::{Judged, Proof as _, Run};

/// An attempt of which only that is kept which is needed while it waits.
pub(super) trait ParkedAttempt: Send {
    /// Sees what has arrived so far. The form that has begun the attempt is among these.
    fn receive(&mut self, forms: &[AnyForm], head: &Parts, arrived: Arrived<'_>);

    fn finish(&mut self, forms: &[AnyForm], handshakes: &[Handshake], head: &Parts, body: &Bytes) -> Judged<Outcome>;
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
    /// Takes it of an attempt that was given the first `fed` bytes of the body.
    pub(super) fn of(attempt: &mut Attempt<MacProof>, fed: usize) -> Self {
        let mut own = Self {
            form: attempt.form,
            now: attempt.read.now,
            offer: mem::take(&mut attempt.offer),
            keys: mem::replace(&mut attempt.keys, KeysFor::Own),
            macs: None,
            seen: 0,
        };
        own.keep(attempt.progress.take(), fed);
        own
    }

    fn form<'a>(&self, forms: &'a [AnyForm]) -> Option<&'a Form<MacProof>> {
        forms.iter().find_map(|form| match form {
            AnyForm::Mac(form) if FormId::of(form) == self.form => Some(form),
            _ => None,
        })
    }

    fn progress(&mut self) -> Option<Macs> {
        self.macs.take().map(Macs::resumed)
    }

    /// Keeps the MACs of what was fed, with the first `fed` bytes of the body.
    fn keep(&mut self, progress: Option<Macs>, fed: usize) {
        self.seen = 0;
        if let Some((macs, again)) = progress.map(Macs::held)
            // Otherwise what is signed before the body isn't in a whole block yet: the text is begun anew.
            && let Some(seen) = fed.checked_sub(again)
        {
            (self.macs, self.seen) = (Some(macs), seen);
        }
    }
}

impl ParkedAttempt for ParkedMacs {
    fn receive(&mut self, forms: &[AnyForm], head: &Parts, arrived: Arrived<'_>) {
        let Some(form) = self.form(forms).filter(|form| form.proof.streams()) else { return };
        let (mut read, mut progress) = (Unverified::new(self.now), self.progress());
        if progress.is_none() && form.fields.read(&mut read, head).is_err() {
            return;
        }
        let values = read.values(head, b"");
        arrived.each_since(self.seen, &mut |chunk| {
            let run = Run { offer: &mut self.offer, keys: &self.keys, progress: &mut progress };
            form.proof.receive(run, &values, chunk);
        });
        self.keep(progress, arrived.len());
    }

    fn finish(&mut self, forms: &[AnyForm], handshakes: &[Handshake], head: &Parts, body: &Bytes) -> Judged<Outcome> {
        let form = self.form(forms).ok_or_else(foreign)?;
        let (mut read, mut progress) = (Unverified::new(self.now), self.progress());
        form.fields.read(&mut read, head)?;
        let run = Run { offer: &mut self.offer, keys: &self.keys, progress: &mut progress };
        form.finish(&mut read, run, handshakes, head, body, &body[self.seen..])
    }
}

/// An attempt by another kind of proof, which is in a box anyway.
pub(super) struct ParkedOther {
    form: FormId,
    attempt: Box<dyn Any + Send>,
    fed: usize,
}

impl ParkedOther {
    /// Takes it of an attempt that was given the first `fed` bytes of the body.
    pub(super) fn of(form: FormId, attempt: &mut Box<dyn Any + Send>, fed: usize) -> Self {
        Self { form, attempt: mem::replace(attempt, Box::new(())), fed }
    }

    fn form<'a>(&self, forms: &'a [AnyForm]) -> Option<&'a dyn DrivenForm> {
        forms.iter().find_map(|form| match form {
            AnyForm::Other(form) if form.id() == self.form => Some(&**form),
            _ => None,
        })
    }
}

impl ParkedAttempt for ParkedOther {
    fn receive(&mut self, forms: &[AnyForm], head: &Parts, arrived: Arrived<'_>) {
        let Some(form) = self.form(forms) else { return };
        arrived.each_since(self.fed, &mut |chunk| form.receive_any(&mut *self.attempt, head, chunk));
        self.fed = arrived.len();
    }

    fn finish(&mut self, forms: &[AnyForm], handshakes: &[Handshake], head: &Parts, body: &Bytes) -> Judged<Outcome> {
        let form = self.form(forms).ok_or_else(foreign)?;
        form.finish_any(&mut *self.attempt, handshakes, head, body, &body[self.fed..])
    }
}
