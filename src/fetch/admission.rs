//! Which URLs that have never succeeded may be fetched.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::mem;
use std::time::{Duration, SystemTime};

use super::rate_limit::RateLimiter;

/// The most URLs of one generation that are remembered as asked for: 115 seconds of 500 new ones a
/// second, in 0.6 MB. SNS asks again after 20 to 35 seconds.
const MAX_ASKED: usize = 57_344;

/// Admits fetches of URLs that have never succeeded, at a limited rate.
///
/// An attacker can name any number of URLs, so the first to come must not be the first to be
/// served: the genuine URL would drown. But a sender repeats a delivery that failed, and all its
/// deliveries name the same few URLs, while inventions don't repeat. So a URL that was asked for
/// before has a budget of its own, which inventions never touch. An attacker who repeats them
/// competes for that budget too; against such a one, pin the sender's URLs.
pub(super) struct Admission {
    new: RateLimiter,
    repeated: RateLimiter,
    asked: Asked,
}

impl Admission {
    /// Creates budgets of `burst` fetches at once each, and of one more each `interval`.
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        let limiter = || RateLimiter::new(burst, interval);
        Self { new: limiter(), repeated: limiter(), asked: Asked::default() }
    }

    pub(super) fn admit(&mut self, url: &str, now: SystemTime) -> bool {
        let is_repeated = self.asked.insert(url);
        (is_repeated && self.repeated.try_acquire(now)) || self.new.try_acquire(now)
    }
}

/// The URLs that were asked for lately, as hashes with a key of their own.
#[derive(Default)]
struct Asked {
    state: RandomState,
    recent: HashSet<u64>,
    older: HashSet<u64>,
}

impl Asked {
    /// Returns whether the URL was asked for before.
    fn insert(&mut self, url: &str) -> bool {
        let hash = self.state.hash_one(url);
        if self.recent.len() == MAX_ASKED {
            self.older = mem::take(&mut self.recent);
        }
        !self.recent.insert(hash) || self.older.contains(&hash)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn inventions_take_nothing_from_urls_that_are_repeated() {
        let mut admission = Admission::new(4, Duration::from_secs(1));
        let junk = (0..1000).filter(|number| admission.admit(&format!("junk{number}"), UNIX_EPOCH)).count();
        assert_eq!(junk, 4);
        assert!(!admission.admit("genuine", UNIX_EPOCH));
        assert!(admission.admit("genuine", UNIX_EPOCH));
    }

    #[test]
    fn repetitions_are_limited_too_and_memory_is_bounded() {
        let mut admission = Admission::new(4, Duration::from_secs(1));
        let mut ask = |times: usize| (0..times).filter(|_| admission.admit("same", UNIX_EPOCH)).count();
        assert_eq!(ask(1000), 8);
        let mut asked = Asked::default();
        for number in 0..3 * MAX_ASKED {
            assert!(!asked.insert(&number.to_string()));
        }
        assert!(asked.recent.len() <= MAX_ASKED && asked.older.len() <= MAX_ASKED);
        assert!(asked.insert(&(2 * MAX_ASKED).to_string()));
        assert!(!asked.insert("0"), "forgotten");
    }
}
