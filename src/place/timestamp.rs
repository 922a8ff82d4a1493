//! Where a timestamp is, and how it is read and judged.

use std::time::SystemTime;

use http::request::Parts;

use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{TimeFormat, Tolerance};

use super::Place;

/// A place that has a time, how it is written, and how far from now it may be.
#[derive(Clone, Debug)]
pub(crate) struct Timestamp {
    pub(crate) place: Place,
    pub(crate) format: TimeFormat,
    pub(crate) tolerance: Tolerance,
    /// Whether a signed body may lack it.
    pub(crate) optional: bool,
    /// How it is read: with the timestamp, so that a program whose senders sign none can't read
    /// any.
    read: Read,
}

type Read = fn(&Timestamp, &mut Option<(Text, SystemTime)>, &Parts, &[u8], SystemTime) -> Result<(), Rejection>;

impl Timestamp {
    #[inline]
    pub(crate) fn new(place: Place, format: TimeFormat, tolerance: Tolerance) -> Self {
        Self { place, format, tolerance, optional: false, read: Self::read_at }
    }

    /// Puts the timestamp as it was written, and the time it stands for, into `read`.
    #[inline]
    pub(crate) fn read(
        &self,
        read: &mut Option<(Text, SystemTime)>,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        (self.read)(self, read, head, body, now)
    }

    #[inline]
    fn read_at(
        &self,
        read: &mut Option<(Text, SystemTime)>,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        let place = &self.place;
        let missing = || Rejection::new(Reason::MissingHeader).with_detail(format!("there is no timestamp in {place}"));
        let (text, time) = read.insert((Text::empty(), now));
        if !place.read_text(text, head, body, Reason::MalformedTimestamp)? {
            *read = None;
            return if self.optional { Ok(()) } else { Err(missing()) };
        }
        let unreadable = || {
            Rejection::new(Reason::MalformedTimestamp)
                .with_detail(format!("{place} is not a time in {:?}", self.format))
        };
        *time = self.format.parse(text.as_bytes()).ok_or_else(unreadable)?;
        // The detail costs refusals alone.
        if !self.tolerance.allows(*time, now) {
            self.tolerance.check(&format!("the timestamp in {place}"), *time, now)?;
        }
        Ok(())
    }
}
