//! Reading and judging a sender's timestamp.

use std::time::{Duration, SystemTime};

use http::request::Parts;

use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{TimeFormat, Tolerance};

use super::place::Place;
use super::source::Source;

/// The default tolerance of a timestamp, on both sides. It is what most senders document.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Where a timestamp is, how it is written, and how far from now it may be: see [`header`](super::header).
#[derive(Clone, Debug)]
pub struct TimestampSpec(pub(super) Result<Timestamp, ConfigError>);

impl TimestampSpec {
    pub(super) fn new(source: Source, format: TimeFormat) -> Self {
        let tolerance = Tolerance::within(DEFAULT_TOLERANCE);
        Self(source.0.map(|place| Timestamp { place, format, tolerance }))
    }

    /// Sets how far the timestamp may be from now, in the past and in the future. The default is 300 seconds.
    #[must_use]
    pub fn within(self, distance: Duration) -> Self {
        self.with_tolerance(Tolerance::within(distance))
    }

    /// Sets how far the timestamp may be from now, with a distance for each side.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        if let Ok(timestamp) = &mut self.0 {
            timestamp.tolerance = tolerance;
        }
        self
    }
}

#[derive(Clone, Debug)]
pub(super) struct Timestamp {
    pub(super) place: Place,
    pub(super) format: TimeFormat,
    pub(super) tolerance: Tolerance,
}

impl Timestamp {
    /// Returns the timestamp as it was written, and the time it stands for.
    pub(super) fn read(&self, head: &Parts, body: &[u8], now: SystemTime) -> Result<(Text, SystemTime), Rejection> {
        let place = &self.place;
        let missing = || Rejection::new(Reason::MissingHeader).with_detail(format!("there is no timestamp in {place}"));
        let text = place.text(head, body, Reason::MalformedTimestamp)?.ok_or_else(missing)?;
        let unreadable = || {
            Rejection::new(Reason::MalformedTimestamp)
                .with_detail(format!("{place} is not a time in {:?}", self.format))
        };
        let time = self.format.parse(text.as_bytes()).ok_or_else(unreadable)?;
        match self.tolerance.check(time, now) {
            Ok(()) => Ok((text, time)),
            Err(reason) => Err(self.untimely(reason, time, now)),
        }
    }

    #[cold]
    fn untimely(&self, reason: Reason, time: SystemTime, now: SystemTime) -> Rejection {
        let (distance, allowed) = match now.duration_since(time) {
            Ok(age) => (age, self.tolerance.past()),
            Err(ahead) => (ahead.duration(), self.tolerance.future()),
        };
        let word = if reason == Reason::Stale { "old" } else { "ahead" };
        Rejection::new(reason).with_detail(format!(
            "the timestamp in {} is {} s {word}, {} s are allowed",
            self.place,
            distance.as_secs(),
            allowed.as_secs()
        ))
    }
}
