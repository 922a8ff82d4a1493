//! One verification, on trial: nothing follows from it.

use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::any_provider::AnyProvider;
use crate::delivery::Verified;
use crate::provider::{Begin, Outcome, Provider};
use crate::rejection::{Reason, Rejection};

/// The most verifications that are tried for one request.
pub(super) const MAX_TRIALS: usize = 2000;

/// The most bytes that are verified for one request.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What one trial costs at least, in bytes: its head is read too, and a public key may be used.
const MIN_COST: usize = 512;

/// After so many bytes other tasks get their turn.
const TURN: usize = 128 * 1024;

/// The work that is left for one request.
pub(super) struct Budget {
    trials: usize,
    bytes: usize,
    /// What was done since the last turn.
    done: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { trials: MAX_TRIALS, bytes: MAX_BYTES, done: 0 }
    }

    /// Takes the cost of one trial, and returns whether it was there.
    fn take(&mut self, bytes: usize) -> bool {
        let cost = bytes.max(MIN_COST);
        let (Some(trials), Some(bytes)) = (self.trials.checked_sub(1), self.bytes.checked_sub(cost)) else {
            return false;
        };
        (self.trials, self.bytes) = (trials, bytes);
        self.done += cost;
        true
    }

    /// Returns whether it is time to let other tasks go on.
    fn is_turn(&mut self) -> bool {
        let is_turn = self.done >= TURN;
        if is_turn {
            self.done = 0;
        }
        is_turn
    }

    pub(super) fn is_spent(&self) -> bool {
        self.trials == 0 || self.bytes < MIN_COST
    }
}

/// A request on trial.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) head: &'a Parts,
    /// Without it, only the head is judged.
    pub(super) body: Option<&'a Bytes>,
    pub(super) now: SystemTime,
}

/// Verifies a request. Without a body, nothing is proven.
pub(super) async fn verify(
    provider: &AnyProvider,
    request: Request<'_>,
    budget: &mut Budget,
) -> Result<Option<Verified>, Rejection> {
    let Request { head, body, now } = request;
    if !budget.take(body.map_or(0, Bytes::len)) {
        return Err(Rejection::new(Reason::Overloaded).with_detail("the work for one explanation is done"));
    }
    if budget.is_turn() {
        tokio::task::yield_now().await;
    }
    // An answer without a verification proves nothing.
    let Begin::Verify(mut verification) = provider.begin(head, &move || now)?.wait().await? else {
        return Err(Reason::MissingSignature.into());
    };
    let Some(body) = body else { return Ok(None) };
    match provider.finish(&mut verification, head, body, body)?.wait().await? {
        Outcome::Deliver(verified) => Ok(Some(verified)),
        Outcome::Answer(answer) if answer.status().is_success() => Ok(None),
        Outcome::Answer(_) => Err(Reason::MissingSignature.into()),
    }
}
