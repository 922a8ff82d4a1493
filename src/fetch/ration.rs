//! How often something may be done that strangers can cause.

use std::time::{Duration, SystemTime};

/// A bucket of permits that fills up again with time. The time is handed in.
#[derive(Debug)]
pub(super) struct Ration {
    burst: u32,
    interval: Duration,
    left: u32,
    /// When the bucket was last filled up to `left`; none while it is full.
    since: Option<SystemTime>,
}

impl Ration {
    /// `burst` permits at once, and one more each `interval`.
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, left: burst, since: None }
    }

    /// Takes a permit, if there is one.
    pub(super) fn take(&mut self, now: SystemTime) -> bool {
        self.refill(now);
        match self.left {
            0 => false,
            _ => {
                self.left -= 1;
                self.since.get_or_insert(now);
                true
            }
        }
    }

    fn refill(&mut self, now: SystemTime) {
        let Some(since) = self.since else { return };
        let Ok(passed) = now.duration_since(since) else {
            // The clock was set back: count from here, else there would be no permit until it caught up.
            self.since = Some(now);
            return;
        };
        let grown = passed.as_nanos() / self.interval.as_nanos().max(1);
        let room = self.burst - self.left;
        match u32::try_from(grown) {
            Ok(grown) if grown < room => {
                self.left += grown;
                self.since = Some(since + self.interval * grown);
            }
            _ => (self.left, self.since) = (self.burst, None),
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
        let mut ration = Ration::new(3, Duration::from_secs(10));
        let taken: Vec<_> = [100, 100, 101, 105, 109, 110, 110, 119, 120].map(|time| ration.take(at(time))).into();
        assert_eq!(taken, [true, true, true, false, false, true, false, false, true]);
        assert_eq!((0..9).filter(|_| ration.take(at(10_000))).count(), 3, "never more than the burst");
    }

    #[test]
    fn a_clock_that_is_set_back_neither_gives_nor_blocks() {
        let mut ration = Ration::new(1, Duration::from_secs(10));
        assert!(ration.take(at(1_000_000)));
        assert!(!ration.take(at(100)));
        assert!(!ration.take(at(109)));
        assert!(ration.take(at(110)));
    }
}
