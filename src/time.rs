//! The clock, and how far a sender's timestamps may be from it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::rejection::{Reason, Rejection};
use crate::rfc3339;

/// The release of this version, 2026-11-22, since 1970. No clock that is right reads an earlier
/// time.
const RELEASED: Duration = Duration::from_secs(1_795_305_600);

/// A source of the current time. Everything in this crate that depends on the time takes a clock,
/// so that tests neither wait nor expire.
///
/// A closure is a clock, and so is an `Arc` of one.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_webhook::Clock;
///
/// let clock = || UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
/// ```
///
/// So is `Arc<dyn Clock>`, so that one clock can be chosen at run time and shared:
///
/// ```
/// use std::sync::Arc;
///
/// use tower_webhook::{Clock, SystemClock, WebhookLayer, senders};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let clock: Arc<dyn Clock> = Arc::new(SystemClock);
/// let layer = WebhookLayer::new(senders::github("the webhook's secret")?).with_clock(clock.clone());
/// # Ok(())
/// # }
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

impl<F> Clock for F
where
    F: Fn() -> SystemTime + Send + Sync + 'static,
{
    fn now(&self) -> SystemTime {
        self()
    }
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> SystemTime {
        T::now(self)
    }
}

/// The operating system's clock, the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// How far a sender's timestamp may lie in the past and in the future.
///
/// Both sides are bounded: a timestamp from the future would keep a captured request valid until
/// then.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_webhook::Tolerance;
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
/// let tolerance = Tolerance::within(Duration::from_secs(300));
/// assert!(tolerance.allows(now - Duration::from_secs(300), now));
/// assert!(!tolerance.allows(now + Duration::from_secs(301), now));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    past: Duration,
    future: Duration,
}

impl Tolerance {
    /// Allows the same distance on both sides.
    #[must_use]
    pub const fn within(distance: Duration) -> Self {
        Self { past: distance, future: distance }
    }

    /// Allows one distance for timestamps in the past (age) and another for those in the future
    /// (clock skew).
    #[must_use]
    pub const fn past_and_future(past: Duration, future: Duration) -> Self {
        Self { past, future }
    }

    /// Returns whether `stamp` is near enough to `now`. A distance of exactly the tolerance is
    /// allowed.
    #[must_use]
    #[inline]
    pub fn allows(self, stamp: SystemTime, now: SystemTime) -> bool {
        match now.duration_since(stamp) {
            Ok(age) => age <= self.past,
            Err(ahead) => ahead.duration() <= self.future,
        }
    }

    /// Refuses a time that is too old or too far in the future. The detail names it as `what`, and
    /// says by how much and what was allowed.
    pub(crate) fn check(self, what: &str, stamp: SystemTime, now: SystemTime) -> Result<(), Rejection> {
        if self.allows(stamp, now) {
            return Ok(());
        }
        check_clock(stamp, now)?;
        let (reason, distance, allowed, side) = match now.duration_since(stamp) {
            Ok(age) => (Reason::Stale, age, self.past, "past"),
            Err(ahead) => (Reason::Premature, ahead.duration(), self.future, "future"),
        };
        Err(out_of_bounds(reason, what, distance, allowed, side))
    }

    /// Returns the distance allowed in the past.
    #[must_use]
    pub const fn past(self) -> Duration {
        self.past
    }

    /// Returns the distance allowed in the future.
    #[must_use]
    pub const fn future(self) -> Duration {
        self.future
    }

    /// Returns how long one timestamp is allowed: from the moment when it is just not too far ahead
    /// until it is too old.
    pub(crate) const fn width(self) -> Duration {
        self.past.saturating_add(self.future)
    }

    /// Returns the larger of the two sides.
    #[must_use]
    pub fn longest(self) -> Duration {
        self.past.max(self.future)
    }
}

/// Refuses to judge a sender's time by a clock that is certainly wrong: one that reads a time
/// before the release of this version, while the sender's time is after it. A machine that has lost
/// its clock would otherwise refuse genuine requests for good, and accept tokens that have expired.
pub(crate) fn check_clock(stamp: SystemTime, now: SystemTime) -> Result<(), Rejection> {
    let is_released =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).is_ok_and(|since_epoch| since_epoch >= RELEASED);
    if is_released(stamp) && !is_released(now) {
        return Err(
            Rejection::new(Reason::ClockUnset).with_detail("it reads a time before the release of this version")
        );
    }
    Ok(())
}

/// Returns the refusal of something that ended at `end`, and was kept for `leeway` longer.
#[cfg_attr(not(feature = "jwt"), allow(dead_code))]
pub(crate) fn ended(what: &str, end: SystemTime, now: SystemTime, leeway: Duration) -> Rejection {
    out_of_bounds(Reason::Stale, what, now.duration_since(end).unwrap_or_default(), leeway, "past")
}

fn out_of_bounds(reason: Reason, what: &str, distance: Duration, allowed: Duration, side: &str) -> Rejection {
    let (distance, allowed) = (Rounded(distance), Rounded(allowed));
    Rejection::new(reason).with_detail(format!("{what} is {distance} in the {side}, and {allowed} are allowed"))
}

/// A duration for people: whole seconds, or one with fewer digits if it is long.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..600 => write!(f, "{seconds} s"),
            seconds @ 600..36_000 => write!(f, "{} min", seconds / 60),
            seconds @ 36_000..864_000 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

impl fmt::Debug for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tolerance({:?} past, {:?} future)", self.past, self.future)
    }
}

/// How a sender writes a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeFormat {
    /// Whole seconds since 1970, decimal digits only.
    UnixSeconds,
    /// Whole milliseconds since 1970, decimal digits only.
    UnixMillis,
    /// RFC 3339, with any offset, such as `2023-01-10T10:02:27Z`.
    Rfc3339,
}

/// The longest unix time: 13 digits of milliseconds reach the year 2286.
const MAX_DIGITS: usize = 13;
/// The longest RFC 3339 text: date, time, nine decimals and an offset are 35 characters.
const MAX_RFC3339_LEN: usize = 40;

impl TimeFormat {
    /// Reads a time. Returns `None` for anything that isn't exactly in this format: signs, spaces,
    /// fractions of unix times.
    pub(crate) fn parse(self, text: &[u8]) -> Option<SystemTime> {
        let since_epoch = match self {
            Self::UnixSeconds => Duration::from_secs(digits(text)?),
            Self::UnixMillis => Duration::from_millis(digits(text)?),
            Self::Rfc3339 if text.len() > MAX_RFC3339_LEN => return None,
            Self::Rfc3339 => return rfc3339::parse(text),
        };
        UNIX_EPOCH.checked_add(since_epoch)
    }

    /// Writes a time as the sender would. Returns `None` before 1970, and after the year 9999 if
    /// the year has four digits.
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
    pub(crate) fn format(self, time: SystemTime) -> Option<String> {
        let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
        match self {
            Self::UnixSeconds => Some(since_epoch.as_secs().to_string()),
            Self::UnixMillis => Some(since_epoch.as_millis().to_string()),
            Self::Rfc3339 => rfc3339::format(time),
        }
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'9' => Some(sum * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn both_sides_are_bounded_and_the_edge_is_inside() {
        let tolerance = Tolerance::past_and_future(Duration::from_secs(10), Duration::from_secs(5));
        for (stamp, allowed) in [(990, true), (989, false), (1000, true), (1005, true), (1006, false)] {
            assert_eq!(tolerance.allows(at(stamp), at(1000)), allowed, "{stamp}");
        }
    }

    #[test]
    fn a_time_that_is_refused_says_by_how_much_and_what_was_allowed() {
        let tolerance = Tolerance::past_and_future(Duration::from_secs(8 * 3600), Duration::from_secs(300));
        let now = UNIX_EPOCH + RELEASED + Duration::from_secs(1_000_000);
        for (stamp, text) in [
            (now - Duration::from_secs(9 * 3600), "Timestamp is 540 min in the past, and 480 min are allowed"),
            (now + Duration::from_secs(301), "Timestamp is 301 s in the future, and 300 s are allowed"),
            (UNIX_EPOCH, "Timestamp is 20790 d in the past, and 480 min are allowed"),
        ] {
            let rejection = tolerance.check("Timestamp", stamp, now).unwrap_err();
            assert!(rejection.to_string().ends_with(text), "{rejection}");
        }
    }

    #[test]
    fn a_clock_before_the_release_is_our_failure_and_not_the_senders() {
        let tolerance = Tolerance::within(Duration::from_secs(300));
        let released = UNIX_EPOCH + RELEASED;
        let genuine = released + Duration::from_secs(60);
        for clock in [UNIX_EPOCH, at(1_000_000_000), released - Duration::from_secs(3600)] {
            let rejection = tolerance.check("it", genuine, clock).unwrap_err();
            assert_eq!((rejection.reason(), rejection.status().as_u16()), (Reason::ClockUnset, 503));
            assert!(check_clock(genuine, clock).is_err());
        }
        assert!(tolerance.check("it", genuine, released).is_ok());
        let old = tolerance.check("it", at(2_000_000), at(1_000_000)).unwrap_err();
        assert_eq!(old.reason(), Reason::Premature, "a time that was never of this version");
    }

    #[test]
    fn the_ends_of_time_neither_overflow_nor_pass() {
        let tolerance = Tolerance::within(Duration::from_secs(300));
        let last = TimeFormat::UnixSeconds.parse(b"9999999999999").unwrap();
        assert!(!tolerance.allows(last, at(0)));
        assert!(!tolerance.allows(at(0), last));
        assert!(Tolerance::within(Duration::MAX).allows(last, at(0)));
    }

    #[test]
    fn unix_times_are_plain_digits() {
        assert_eq!(TimeFormat::UnixSeconds.parse(b"1531420618"), Some(at(1_531_420_618)));
        assert_eq!(TimeFormat::UnixMillis.parse(b"1531420618000"), Some(at(1_531_420_618)));
        for bad in
            ["", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "-9223372036854775808", "12345678901234", "\u{661}"]
        {
            assert_eq!(TimeFormat::UnixSeconds.parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn rfc3339_reads_offsets_and_fractions() {
        let time = at(1_673_344_947);
        for good in ["2023-01-10T10:02:27Z", "2023-01-10T11:02:27+01:00", "2023-01-10T10:02:27.000Z"] {
            assert_eq!(TimeFormat::Rfc3339.parse(good.as_bytes()), Some(time), "{good}");
        }
        for bad in ["2023-01-10", "2023-01-10 10:02:27", "1673344947", "2023-13-10T10:02:27Z", "2023-01-10T10:02:27"] {
            assert_eq!(TimeFormat::Rfc3339.parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_ends_of_the_calendar_are_read_and_what_lies_behind_them_is_not_written() {
        for (text, is_written) in
            [("0000-01-01T00:00:00+23:59", false), ("9999-12-31T23:59:59Z", true), ("9999-12-31T23:59:59-23:59", false)]
        {
            let time = TimeFormat::Rfc3339.parse(text.as_bytes()).unwrap();
            assert_eq!(TimeFormat::Rfc3339.format(time).is_some(), is_written, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for format in [TimeFormat::UnixSeconds, TimeFormat::UnixMillis, TimeFormat::Rfc3339] {
            let text = format.format(at(1_700_000_000)).unwrap();
            assert_eq!(format.parse(text.as_bytes()), Some(at(1_700_000_000)), "{text}");
        }
    }
}
