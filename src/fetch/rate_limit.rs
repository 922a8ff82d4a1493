//! A token-bucket rate limiter.

use std::time::{Duration, SystemTime};

/// A bucket of permits that refills over time. The caller passes the time in.
#[derive(Debug)]
pub(super) struct RateLimiter {
    burst: u32,
    interval: Duration,
    permits: u32,
    /// When the bucket was last refilled; `None` while it is full.
    refilled_at: Option<SystemTime>,
}

impl RateLimiter {
    /// Creates a limiter that allows `burst` permits at once, and one more each `interval`.
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, permits: burst, refilled_at: None }
    }

    /// Takes a permit, if there is one.
    pub(super) fn try_acquire(&mut self, now: SystemTime) -> bool {
        self.refill(now);
        if self.permits == 0 {
            return false;
        }
        self.permits -= 1;
        self.refilled_at.get_or_insert(now);
        true
    }

    fn refill(&mut self, now: SystemTime) {
        let Some(refilled_at) = self.refilled_at else { return };
        let Ok(elapsed) = now.duration_since(refilled_at) else {
            // The clock was set back. Count from the new time; otherwise no permit would be added until it
            // caught up.
            self.refilled_at = Some(now);
            return;
        };
        let earned = elapsed.as_nanos() / self.interval.as_nanos().max(1);
        let missing = self.burst - self.permits;
        match u32::try_from(earned) {
            Ok(earned) if earned < missing => {
                self.permits += earned;
                self.refilled_at = Some(refilled_at + self.interval * earned);
            }
            _ => (self.permits, self.refilled_at) = (self.burst, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let mut limiter = RateLimiter::new(3, Duration::from_secs(10));
        let taken: Vec<_> =
            [100, 100, 101, 105, 109, 110, 110, 119, 120].map(|time| limiter.try_acquire(at(time))).into();
        assert_eq!(taken, [true, true, true, false, false, true, false, false, true]);
        assert_eq!((0..9).filter(|_| limiter.try_acquire(at(10_000))).count(), 3, "never more than the burst");
    }

    #[test]
    fn a_clock_that_is_set_back_neither_gives_nor_blocks() {
        let mut limiter = RateLimiter::new(1, Duration::from_secs(10));
        assert!(limiter.try_acquire(at(1_000_000)));
        assert!(!limiter.try_acquire(at(100)));
        assert!(!limiter.try_acquire(at(109)));
        assert!(limiter.try_acquire(at(110)));
    }
}
