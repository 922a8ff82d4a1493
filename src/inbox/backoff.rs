//! When a failed attempt is made again.

use std::ops::Range;
use std::time::Duration;

/// The attempts that a delivery gets by default: over a day of them with the default delays, on
/// average.
pub const DEFAULT_ATTEMPTS: u32 = 25;
/// The limit of the first delay by default.
pub const DEFAULT_FIRST_DELAY: Duration = Duration::from_secs(1);
/// The limit of every delay by default.
pub const DEFAULT_LONGEST_DELAY: Duration = Duration::from_secs(6 * 60 * 60);

/// How often and how far apart a delivery is tried.
///
/// The delay after attempt `n` is random between zero and `first * 2^(n-1)`, and never more than
/// the longest, so that what failed together isn't tried again together.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::inbox::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(3600)).attempts(20);
/// assert!(backoff.limit(3) == Duration::from_secs(4) && backoff.limit(20) == Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Creates a back-off whose delays grow from the start of the range to its end, with
    /// [`DEFAULT_ATTEMPTS`].
    #[must_use]
    pub fn exponential(delays: Range<Duration>) -> Self {
        Self { first: delays.start, longest: delays.end.max(delays.start), attempts: DEFAULT_ATTEMPTS }
    }

    /// Sets the number of attempts, at least 1. A delivery whose last attempt fails is dead.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Returns the longest delay after this attempt.
    #[must_use]
    pub fn limit(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    pub(super) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns a random delay after this attempt.
    pub(super) fn delay(&self, attempt: u32) -> Duration {
        // Without random numbers, everything waits as long as it may.
        let part = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        self.limit(attempt).mul_f64(part)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(DEFAULT_FIRST_DELAY..DEFAULT_LONGEST_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_are_spread_over_the_whole_of_it() {
        let backoff = Backoff::exponential(Duration::from_secs(1)..Duration::from_secs(60));
        let limits: Vec<_> = [1, 2, 3, 6, 7, 8, u32::MAX].map(|n| backoff.limit(n).as_secs()).into();
        assert_eq!(limits, [1, 2, 4, 32, 60, 60, 60]);
        let delays: Vec<_> = (0..1000).map(|_| backoff.delay(7).as_secs_f64()).collect();
        assert!(delays.iter().all(|delay| (0.0..=60.0).contains(delay)));
        for tenth in 0..10 {
            let (from, until) = (f64::from(tenth) * 6.0, f64::from(tenth + 1) * 6.0);
            assert!(delays.iter().any(|delay| (from..until).contains(delay)), "none from {from} to {until}");
        }
    }

    #[test]
    fn the_default_lasts_a_day_on_average() {
        let backoff = Backoff::default();
        let total: Duration = (1..backoff.most_attempts()).map(|attempt| backoff.limit(attempt) / 2).sum();
        assert!(total > Duration::from_secs(24 * 3600), "{total:?}");
    }
}
