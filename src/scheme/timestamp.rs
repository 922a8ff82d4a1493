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
        Self(source.0.map(|place| Timestamp { place, format, tolerance, optional: false }))
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

impl TimestampSpec {
    /// Accepts requests without a timestamp. Only for timestamps in a body that is signed: their absence is signed too.
    pub(crate) fn optional(mut self) -> Self {
        if let Ok(timestamp) = &mut self.0 {
            timestamp.optional = true;
        }
        self
    }
}

#[derive(Clone, Debug)]
pub(super) struct Timestamp {
    pub(super) place: Place,
    pub(super) format: TimeFormat,
    pub(super) tolerance: Tolerance,
    /// Whether a signed body may lack it.
    pub(super) optional: bool,
}

impl Timestamp {
    /// Reads the timestamp of a body that was verified.
    pub(super) fn read_verified(
        &self,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Option<(Text, SystemTime)>, Rejection> {
        if self.optional && !self.place.is_there(head, body) {
            // A text that is no JSON is not one without a timestamp.
            return self.place.text(head, body, Reason::MalformedTimestamp).map(|_| None);
        }
        self.read(head, body, now).map(Some)
    }

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
        // The detail costs refusals alone.
        if !self.tolerance.allows(time, now) {
            self.tolerance.check(&format!("the timestamp in {place}"), time, now)?;
        }
        Ok((text, time))
    }
}
