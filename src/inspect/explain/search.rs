//! The search: one change at a time, then two.

use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::any_provider::AnyProvider;
use crate::provider::{Provider as _, Recognition};
use crate::rejection::{Reason, Rejection};

use super::bodies::{self, OtherBody};
use super::explanation::{Explanation, Finding, Mistake};
use super::heads::{self, OtherHead};
use super::known::Known;
use super::settings::{self, Origin, OtherSettings};
use super::trial::{self, Budget, Request};
use super::{clock, hints};

/// The largest body that is tried. Larger ones are those of few senders, and cost as many times
/// more.
const MAX_BODY: usize = 1024 * 1024;

/// How many changes of a kind are tried together with those of another kind.
const MAX_PAIRED: usize = 40;

pub(super) async fn explain(
    known: &Known,
    head: &Parts,
    body: Option<&Bytes>,
    now: SystemTime,
    refused: Option<&Rejection>,
) -> Option<Explanation> {
    let body = body.filter(|body| body.len() <= MAX_BODY);
    let clues = known.provider.clues();
    let by_reason = refused.and_then(hints::of_reason);
    if by_reason.is_some() {
        return by_reason;
    }
    let origin = Origin::of(known, &clues);
    let mut search = Search { request: Request { head, body, now }, budget: Budget::new(), accepted_at: None };
    let mut first = refused.cloned();
    if clues.is_repeatable {
        match search.attempt(&known.provider, head, body).await {
            Ok(found) if body.is_some() => return Some(search.passing(found)),
            Ok(_) => {}
            Err(rejection) => first = first.or(Some(rejection)),
        }
        let by_reason = first.as_ref().and_then(hints::of_reason);
        if by_reason.is_some() {
            return by_reason;
        }
    }
    let others = settings::look_alikes(known.provider.name(), origin.as_ref(), head);
    if clues.is_repeatable {
        let changes = Changes {
            heads: heads::candidates(head, &clues),
            bodies: body.map_or_else(Vec::new, |body| bodies::candidates(head, body)),
            settings: origin.as_ref().map_or_else(Vec::new, |origin| {
                let mut changed = settings::with_other_secrets(known, origin);
                if clues.signs_address {
                    changed.extend(settings::with_other_addresses(origin, head));
                }
                changed
            }),
        };
        let found = search.search(known, &changes, &others).await;
        if found.is_some() {
            return found;
        }
    }
    // A request that looks like one of the expected sender is not called another's.
    let is_expected = known.provider.recognizes(head) == Recognition::Yes;
    let others: Vec<_> = others.iter().map(|(name, _)| *name).filter(|_| !is_expected).collect();
    let secrets = origin.as_ref().map_or(&[][..], |origin| &origin.secrets);
    hints::of_request(first.as_ref()?, &known.provider, secrets, &others, head, body)
}

struct Changes {
    heads: Vec<OtherHead>,
    bodies: Vec<OtherBody>,
    settings: Vec<OtherSettings>,
}

struct Search<'a> {
    request: Request<'a>,
    budget: Budget,
    /// A time at which the request is refused for something else than its time, if there is one.
    accepted_at: Option<SystemTime>,
}

impl Search<'_> {
    /// Verifies a request, at another time if only the time is wrong. Returns what is wrong with
    /// the time, if it is.
    async fn attempt(
        &mut self,
        provider: &AnyProvider,
        head: &Parts,
        body: Option<&Bytes>,
    ) -> Result<Option<Finding>, Rejection> {
        let request = Request { head, body, now: self.request.now };
        let refused = match trial::verify(provider, request, &mut self.budget).await {
            Ok(_) => return Ok(None),
            Err(rejection) if clock::is_about_time(&rejection) => rejection,
            Err(rejection) => return Err(rejection),
        };
        // Nearly all changes leave the time as it is.
        if let Some(now) = self.accepted_at {
            match trial::verify(provider, Request { now, ..request }, &mut self.budget).await {
                Ok(verified) => return Ok(Some(clock::finding(request.now, now, verified.as_ref()))),
                Err(rejection) if !clock::is_about_time(&rejection) => return Err(rejection),
                Err(_) => {}
            }
        }
        let Some((now, verdict)) = clock::find(provider, request, &refused, &mut self.budget).await else {
            return Err(refused);
        };
        self.accepted_at = Some(now);
        verdict.map(|verified| Some(clock::finding(request.now, now, verified.as_ref())))
    }

    fn passing(&self, clock: Option<Finding>) -> Explanation {
        Explanation::proven(vec![clock.unwrap_or_else(|| {
            Finding::new(
                Mistake::Passing,
                "the request verifies by now",
                "nothing, if the sender sends it again: a secret or a key had not come yet",
            )
        })])
    }

    /// Returns what is wrong if a request verifies.
    async fn with<const N: usize>(
        &mut self,
        provider: &AnyProvider,
        head: &Parts,
        body: Option<&Bytes>,
        findings: [&Finding; N],
    ) -> Option<Explanation> {
        let clock = self.attempt(provider, head, body).await.ok()?;
        let mut findings: Vec<_> = findings.into_iter().cloned().chain(clock).collect();
        findings.dedup();
        // The head alone proves nothing.
        Some(if body.is_some() { Explanation::proven(findings) } else { Explanation::likely(findings) })
    }

    async fn search(
        &mut self,
        known: &Known,
        changes: &Changes,
        others: &[(&'static str, Option<AnyProvider>)],
    ) -> Option<Explanation> {
        let (own, head, body) = (&known.provider, self.request.head, self.request.body);
        let mut repaired = Vec::new();
        // Without a body, a change can only help a head that was refused.
        let is_hopeless = body.is_none() && !self.is_refused_by_its_head(own).await;
        for other in changes.heads.iter().filter(|_| !is_hopeless) {
            let found = self.with(own, &other.head, body, [&other.finding]).await;
            if found.is_some() {
                return found;
            }
            if body.is_some() && self.is_accepted(own, &other.head).await {
                repaired.push(other);
            }
        }
        let body = body?;
        for other in &changes.settings {
            let found = self.with(&other.provider, head, Some(body), [&other.finding]).await;
            if found.is_some() {
                return found;
            }
        }
        for (name, provider) in &known.other_senders {
            let found = self.with(provider, head, Some(body), [&other_route(name, own)]).await;
            if found.is_some() {
                return found;
            }
        }
        for (name, provider) in others.iter().filter_map(|(name, provider)| Some((name, provider.as_ref()?))) {
            let found = self.with(provider, head, Some(body), [&other_sender(name, own)]).await;
            if found.is_some() {
                return found;
            }
        }
        for other in &changes.bodies {
            let found = self.with(own, head, Some(&other.body), [&other.finding]).await;
            if found.is_some() {
                return found;
            }
        }
        self.pairs(own, changes, &repaired).await
    }

    async fn pairs(&mut self, own: &AnyProvider, changes: &Changes, repaired: &[&OtherHead]) -> Option<Explanation> {
        let (head, bodies) = (self.request.head, changes.bodies.iter().take(MAX_PAIRED));
        for other in repaired.iter().take(MAX_PAIRED) {
            for settings in changes.settings.iter().take(MAX_PAIRED) {
                let findings = [&other.finding, &settings.finding];
                let found = self.with(&settings.provider, &other.head, self.request.body, findings).await;
                if found.is_some() {
                    return found;
                }
            }
        }
        for body in bodies.clone() {
            for settings in changes.settings.iter().take(MAX_PAIRED) {
                let findings = [&body.finding, &settings.finding];
                let found = self.with(&settings.provider, head, Some(&body.body), findings).await;
                if found.is_some() || self.budget.is_spent() {
                    return found;
                }
            }
        }
        for body in bodies {
            for other in repaired.iter().take(MAX_PAIRED) {
                let findings = [&other.finding, &body.finding];
                let found = self.with(own, &other.head, Some(&body.body), findings).await;
                if found.is_some() || self.budget.is_spent() {
                    return found;
                }
            }
        }
        None
    }

    /// Returns whether a head gets as far as its signature's verification.
    async fn is_accepted(&mut self, provider: &AnyProvider, head: &Parts) -> bool {
        let request = Request { head, body: None, ..self.request };
        match trial::verify(provider, request, &mut self.budget).await {
            Ok(_) => true,
            Err(rejection) => clock::is_about_time(&rejection),
        }
    }

    async fn is_refused_by_its_head(&mut self, provider: &AnyProvider) -> bool {
        let request = Request { body: None, ..self.request };
        let verdict = trial::verify(provider, request, &mut self.budget).await;
        verdict.is_err_and(|rejection| rejection.reason() != Reason::Overloaded)
    }
}

fn other_route(name: &str, own: &AnyProvider) -> Finding {
    Finding::new(
        Mistake::OtherRoute,
        format!("the request is one for {name}, and came to the route of {}", own.name()),
        format!("give the sender the address of {name}, or put the layers on their own routes"),
    )
}

fn other_sender(name: &str, own: &AnyProvider) -> Finding {
    Finding::new(
        Mistake::OtherSender,
        format!(
            "this is a request of {name}, signed with the secret that is set here, and the route expects {}",
            own.name()
        ),
        format!("make this route `{name}`"),
    )
}
