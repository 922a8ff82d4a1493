//! By how much a clock is off.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::any_provider::AnyProvider;
use crate::delivery::Verified;
use crate::rejection::{Reason, Rejection};

use super::explanation::{Finding, Mistake};
use super::trial::{self, Budget, Request};

/// The first step from now that is tried; each further one is twice as long.
const FIRST_STEP: Duration = Duration::from_secs(64);

/// So many steps reach further than any time that a sender writes.
const MAX_STEPS: u32 = 26;

/// So many halves of the longest step are less than a millisecond.
const MAX_HALVES: u32 = 42;

/// Time zones are up to 14 hours apart.
const MAX_ZONE: u64 = 14 * 3600;

pub(super) fn is_about_time(rejection: &Rejection) -> bool {
    matches!(rejection.reason(), Reason::Stale | Reason::Premature | Reason::ClockUnset)
}

/// What is said of a request once it isn't refused for its time.
type Verdict = Result<Option<Verified>, Rejection>;

/// Looks for a time at which a request isn't refused for its time, and returns what is said of it
/// then.
pub(super) async fn find(
    provider: &AnyProvider,
    request: Request<'_>,
    refused: &Rejection,
    budget: &mut Budget,
) -> Option<(SystemTime, Verdict)> {
    let is_stale = refused.reason() == Reason::Stale;
    let (mut near, mut step) = (request.now, FIRST_STEP);
    for _ in 0..MAX_STEPS {
        let far = if is_stale { request.now.checked_sub(step) } else { request.now.checked_add(step) };
        // Before 1970 there is no sender's time.
        let far = far.filter(|far| *far >= SystemTime::UNIX_EPOCH).unwrap_or(SystemTime::UNIX_EPOCH);
        match trial::verify(provider, Request { now: far, ..request }, budget).await {
            Err(rejection) if !is_about_time(&rejection) => return Some((far, Err(rejection))),
            Err(rejection) if (rejection.reason() == Reason::Stale) == is_stale => near = far,
            Err(_) => return between(provider, request, (near, far), is_stale, budget).await,
            verdict => return Some((far, verdict)),
        }
        step = step.saturating_mul(2);
    }
    None
}

/// Halves the distance between a time that is too late and one that is too early.
async fn between(
    provider: &AnyProvider,
    request: Request<'_>,
    (mut near, mut far): (SystemTime, SystemTime),
    is_stale: bool,
    budget: &mut Budget,
) -> Option<(SystemTime, Verdict)> {
    for _ in 0..MAX_HALVES {
        let (first, last) = (near.min(far), near.max(far));
        let middle = first + last.duration_since(first).ok()? / 2;
        match trial::verify(provider, Request { now: middle, ..request }, budget).await {
            Err(rejection) if !is_about_time(&rejection) => return Some((middle, Err(rejection))),
            Err(rejection) if (rejection.reason() == Reason::Stale) == is_stale => near = middle,
            Err(_) => far = middle,
            verdict => return Some((middle, verdict)),
        }
    }
    None
}

/// Tells by how much the time of a request that verifies at another time is off.
pub(super) fn finding(now: SystemTime, accepted: SystemTime, verified: Option<&Verified>) -> Finding {
    let stamp = verified.and_then(|verified| verified.timestamp);
    let about = if stamp.is_some() { "" } else { "about " };
    let stamp = stamp.unwrap_or(accepted);
    let (distance, side, is_ahead) = match now.duration_since(stamp) {
        Ok(age) => (age, "behind", false),
        Err(ahead) => (ahead.duration(), "ahead of", true),
    };
    let cause = format!("the time of the request is {about}{} {side} this machine's clock", Span(distance));
    let seconds = distance.as_secs();
    let from_half_hour = (seconds % 1800).min(1800 - seconds % 1800);
    let cure = if seconds > 1200 && seconds <= MAX_ZONE && from_half_hour < 60 {
        "one of the two takes a local time for UTC: set time zone and clock here, and check the time with NTP"
    } else if is_ahead {
        "set this machine's clock by NTP; if it is right, the sender's is wrong"
    } else {
        "set this machine's clock by NTP; if it is right, the request was held up on its way or sent again later, \
         and a longer tolerance would let copies through"
    };
    Finding::new(Mistake::Clock, cause, cure)
}

/// A duration for people, in its two largest units.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
        let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
        let (unit, name) = units[first];
        write!(f, "{} {name}", seconds / unit)?;
        match units.get(first + 1) {
            Some((smaller, name)) if seconds % unit >= *smaller => {
                write!(f, " {} {name}", seconds % unit / smaller)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")]
        {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
