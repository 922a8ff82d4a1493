//! Reading and judging a sender's timestamp.

use std::time::{Duration, SystemTime};

use http::request::Parts;

use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{TimeFormat, Tolerance};

use super::place::Place;
use super::source::Source;

/// The tolerance of a timestamp unless the scheme says otherwise, on both sides. It is what most senders document.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Where a timestamp is, how it is written, and how far from now it may be: see [`header`](super::header).
#[derive(Clone, Debug)]
pub struct TimestampSpec {
    source: Source,
    format: TimeFormat,
    tolerance: Tolerance,
}

impl TimestampSpec {
    pub(super) fn new(source: Source, format: TimeFormat) -> Self {
        Self { source, format, tolerance: Tolerance::within(DEFAULT_TOLERANCE) }
    }

    /// How far the timestamp may be from now, in the past and in the future. 300 seconds unless it is set.
    #[must_use]
    pub fn within(self, distance: Duration) -> Self {
        self.tolerance(Tolerance::within(distance))
    }

    /// As [`within`](Self::within), with a distance for each side.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    pub(super) fn plan(self) -> Result<TimestampPlan, ConfigError> {
        Ok(TimestampPlan { place: self.source.place()?, format: self.format, tolerance: self.tolerance })
    }
}

#[derive(Clone, Debug)]
pub(super) struct TimestampPlan {
    pub(super) place: Place,
    pub(super) format: TimeFormat,
    pub(super) tolerance: Tolerance,
}

impl TimestampPlan {
    /// The timestamp as it was written, and the time it stands for.
    pub(super) fn read(&self, head: &Parts, body: &[u8], now: SystemTime) -> Result<(Text, SystemTime), Rejection> {
        let text = self.place.text(head, body, Reason::MalformedTimestamp)?.ok_or_else(missing)?;
        let time = self.format.parse(text.as_bytes()).ok_or(Reason::MalformedTimestamp)?;
        match self.tolerance.allows(time, now) {
            true => Ok((text, time)),
            false if time < now => Err(Reason::Stale.into()),
            false => Err(Reason::Premature.into()),
        }
    }
}

fn missing() -> Rejection {
    Rejection::new(Reason::MissingHeader).with_detail("there is no timestamp")
}
