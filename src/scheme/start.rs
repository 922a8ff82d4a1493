//! The start of a verification: the head is read by a scheme's forms, and their keys are found.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;

use crate::provider::{Begin, MaybeReady};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{Keys, KeysFor, Ring};

use super::Scheme;
#[cfg(feature = "jwt")]
use super::bearer::{JwtKeys, JwtProof};
use super::claimed::Claimed;
use super::codes::Codes;
use super::plan::{Plan, Proof, wrong_method};
use super::verify::{Attempt, Running, SchemeVerification};

/// Starts the only form of a scheme.
pub(super) fn one(
    plan: &Arc<Plan>,
    head: &Parts,
    now: SystemTime,
) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
    if !plan.has_fixed_macs() {
        return match start(plan, 0, head, now) {
            Ok(Started::Now(attempt)) => Ok(Begin::Verify(attempt.into()).into()),
            Ok(Started::Later(attempt)) => {
                Ok(MaybeReady::pending(async move { attempt.await.map(|attempt| Begin::Verify(attempt.into())) }))
            }
            Err(rejection) => Err(rejection),
        };
    }
    // Nearly every request: the verification is written where it is returned, as it is large, and a copy of it would cost as
    // much as the reading of the head.
    let mut claimed = Claimed::default();
    match claimed.read(plan, head, now) {
        Ok(()) => Ok(Begin::Verify(SchemeVerification {
            first: Attempt { form: 0, claimed, running: Running::Mac(Codes::default()), known: true, now },
            rest: Vec::new(),
        })
        .into()),
        Err(rejection) => Err(rejection),
    }
}

/// Starts every form that the head fits.
pub(super) fn any(
    scheme: &Scheme,
    head: &Parts,
    now: SystemTime,
) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
    let mut started = Vec::new();
    let mut fault: Option<Rejection> = None;
    let forms = std::iter::once(&scheme.first).chain(scheme.rest.iter()).enumerate();
    for (form, plan) in forms.filter(|(_, plan)| plan.is_for(head)) {
        match start(plan, form, head, now) {
            Ok(attempt) => started.push(attempt),
            // That something is wrong tells more than that something is missing.
            Err(rejection) => match &fault {
                Some(first) if first.reason() != Reason::MissingSignature => {}
                _ => fault = Some(rejection),
            },
        }
    }
    if started.is_empty() {
        return Err(match fault {
            Some(fault) => fault,
            None if scheme.plans().any(|plan| plan.methods.contains(&head.method)) => Reason::MissingSignature.into(),
            None => wrong_method(scheme.plans().flat_map(|plan| &plan.methods)),
        });
    }
    if started.iter().any(|attempt| matches!(attempt, Started::Later(_))) {
        return Ok(MaybeReady::pending(async move {
            let mut attempts = Vec::new();
            for attempt in started {
                attempts.push(match attempt {
                    Started::Now(attempt) => attempt,
                    Started::Later(attempt) => attempt.await?,
                });
            }
            together(attempts.into_iter()).map(Begin::Verify)
        }));
    }
    together(started.into_iter().filter_map(|attempt| match attempt {
        Started::Now(attempt) => Some(attempt),
        Started::Later(_) => None,
    }))
    .map(|verification| Begin::Verify(verification).into())
}

fn together(mut attempts: impl Iterator<Item = Attempt>) -> Result<SchemeVerification, Rejection> {
    let first = attempts.next().ok_or(Reason::MissingSignature)?;
    Ok(SchemeVerification::new(first, attempts.collect()))
}

enum Started {
    Now(Attempt),
    Later(Pin<Box<dyn Future<Output = Result<Attempt, Rejection>> + Send>>),
}

/// Reads the head by one form, and finds its keys.
fn start(plan: &Plan, form: usize, head: &Parts, now: SystemTime) -> Result<Started, Rejection> {
    let mut claimed = Claimed::default();
    claimed.read(plan, head, now)?;
    match &plan.proof {
        Proof::Mac { .. } if plan.has_fixed_macs() => {
            Ok(Started::Now(Attempt::new(form, claimed, Running::Mac(Codes::default()), true, now)))
        }
        Proof::Mac { keys, .. } => run(form, head, now, claimed, keys, |ring| Running::Mac(Codes::by(ring))),
        Proof::Token { keys, .. } => run(form, head, now, claimed, keys, Running::Token),
        #[cfg(feature = "asymmetric")]
        Proof::Public { keys, .. } => run(form, head, now, claimed, keys, Running::Public),
        #[cfg(feature = "asymmetric")]
        Proof::Fetched(fetched) => {
            (fetched.check)(head)?;
            Ok(Started::Now(Attempt::new(form, claimed, Running::Fetched(fetched.clone()), true, now)))
        }
        #[cfg(feature = "jwt")]
        Proof::Jwt(proof) => start_jwt(form, proof, head, now),
    }
}

/// A shared secret settles the token here; a public key may have to be fetched, which is left for later.
#[cfg(feature = "jwt")]
fn start_jwt(form: usize, proof: &JwtProof, head: &Parts, now: SystemTime) -> Result<Started, Rejection> {
    let claimed = proof.read(head, now)?;
    let attempt = move |claimed, key_index| {
        Attempt::without_claims(form, Running::Jwt(Some(Box::new((claimed, key_index)))), now)
    };
    let JwtKeys::Shared(keys) = &proof.keys else { return Ok(Started::Now(attempt(claimed, None))) };
    Ok(match keys.find(head, None) {
        MaybeReady::Ready(keys) => {
            let index = JwtProof::verify_shared(&claimed, keys)?;
            Started::Now(attempt(claimed, Some(index)))
        }
        MaybeReady::Pending(keys) => Started::Later(Box::pin(async move {
            let index = JwtProof::verify_shared(&claimed, keys.await?)?;
            Ok(attempt(claimed, Some(index)))
        })),
    })
}

fn run<K: Clone + Send + Sync + 'static>(
    form: usize,
    head: &Parts,
    now: SystemTime,
    claimed: Claimed,
    keys: &Keys<K>,
    running: fn(Ring<K>) -> Running,
) -> Result<Started, Rejection> {
    let attempt = move |keys: KeysFor<K>| Attempt::new(form, claimed, running(keys.ring), keys.known, now);
    Ok(match keys.find(head, None) {
        MaybeReady::Ready(keys) => Started::Now(attempt(keys)),
        MaybeReady::Pending(keys) => Started::Later(Box::pin(async move { Ok(attempt(keys.await?)) })),
    })
}
