//! Several forms of one scheme, all of which are tried. Schemes that have several bring it, so that
//! a program of others hasn't got it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::provider::{Begin, MaybeReady, Outcome};
use crate::rejection::{Reason, Rejection};
use crate::secrets::HeadRef;

use super::any_form::{AnyAttempt, AnyForm};
use super::proof::Judged;
use super::scheme::{Scheme, SchemeVerification, Several, State, begin_one};

// A constant, as the functions of a static are in every program.
pub(super) const SEVERAL: &Several = &Several { begin, finish };

impl Scheme {
    /// Accepts what either of the two accepts: for a sender that is about to change how it signs.
    /// The handshakes are those of both, the body limit is the larger one, and everything else
    /// is that of the first.
    #[must_use]
    #[inline]
    pub fn or(self, other: Self) -> Self {
        let other = Arc::unwrap_or_clone(other.0);
        self.with(|own| {
            own.body_limit = own.body_limit.max(other.body_limit);
            own.handshakes.extend(other.handshakes);
            own.is_timed |= other.is_timed;
            own.shares_head |= other.shares_head;
            own.forms.extend(other.forms);
            own.several = Some(SEVERAL);
            // What one form verified may be verified by the other when it is repeated, and so by another code.
            own.forms.iter_mut().for_each(AnyForm::leave_body_unnamed);
        })
    }
}

/// Begins with every form that the head fits.
#[inline]
fn begin(scheme: &Scheme, head: HeadRef<'_>, now: SystemTime) -> Judged<Begin<SchemeVerification>> {
    let mut begun = Vec::new();
    let mut fault: Option<Rejection> = None;
    for form in scheme.forms_for(head.parts()) {
        match begin_one(form, head, now) {
            Ok(verification) => begun.push(verification),
            // That something is wrong tells more than that something is missing.
            Err(rejection) => match &fault {
                Some(first) if first.reason() != Reason::MissingSignature => {}
                Some(_) if rejection.reason() == Reason::MissingSignature => {}
                _ => fault = Some(rejection),
            },
        }
    }
    if !begun.is_empty() {
        return Ok(joined(begun.remove(0), begun));
    }
    Err(fault.unwrap_or_else(|| scheme.no_form(head.parts())))
}

/// All are tried, so that the time does not tell which one fitted.
#[inline]
fn finish(
    scheme: &Scheme,
    first: &mut AnyAttempt,
    others: &mut [AnyAttempt],
    head: &Parts,
    body: &Bytes,
    rest: &[u8],
) -> Judged<Outcome> {
    let mut verdict = scheme.finish_one(first, head, body, rest);
    for other in others {
        verdict = better(verdict, scheme.finish_one(other, head, body, rest));
    }
    verdict
}

/// Makes one verification of those that several forms have begun, of which some may wait for their
/// keys. There is at least one.
#[inline]
fn joined(
    mut first: MaybeReady<Begin<SchemeVerification>>,
    others: Vec<MaybeReady<Begin<SchemeVerification>>>,
) -> MaybeReady<Begin<SchemeVerification>> {
    let is_ready = |begun: &MaybeReady<_>| matches!(begun, MaybeReady::Ready(_));
    if let MaybeReady::Ready(Begin::Verify(SchemeVerification(State::Verify { rest, .. }))) = &mut first
        && others.iter().all(is_ready)
    {
        let ready =
            others.into_iter().filter_map(|other| if let MaybeReady::Ready(it) = other { Some(it) } else { None });
        rest.extend(ready.filter_map(only_attempt));
        return first;
    }
    MaybeReady::pending(async move {
        let mut first = first.wait().await?;
        if let Begin::Verify(SchemeVerification(State::Verify { rest, .. })) = &mut first {
            for other in others {
                rest.extend(only_attempt(other.wait().await?));
            }
        }
        Ok(first)
    })
}

#[inline]
fn only_attempt(begun: Begin<SchemeVerification>) -> Option<AnyAttempt> {
    match begun {
        Begin::Verify(SchemeVerification(State::Verify { first, .. })) => Some(first),
        _ => None,
    }
}

/// Chooses the first verdict that accepts. Of two rejections, a failure of ours goes before a fault
/// of the request. A verdict that waits for a key is waited for only to be compared.
#[inline]
fn better(first: Judged<Outcome>, second: Judged<Outcome>) -> Judged<Outcome> {
    match (first, second) {
        (Err(first), Err(second)) if !first.reason().is_transient() && second.reason().is_transient() => Err(second),
        (Err(first), Err(_)) => Err(first),
        (Ok(MaybeReady::Ready(outcome)), _) | (Err(_), Ok(MaybeReady::Ready(outcome))) => Ok(outcome.into()),
        (first, second) => {
            Ok(MaybeReady::pending(async move { better(settled(first).await, settled(second).await)?.wait().await }))
        }
    }
}

async fn settled(verdict: Judged<Outcome>) -> Judged<Outcome> {
    verdict?.wait().await.map(MaybeReady::Ready)
}
