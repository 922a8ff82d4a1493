//! What a request says about itself: its timestamp, its id, its event.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::headers::{LONGEST_HEADER, single};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;

use super::template::Values;
use crate::place::{Place, Spot, Timestamp};

/// Where a request has what it says about itself.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    /// Headers that must have exactly this value.
    pub(crate) required: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) id: Option<Place>,
    pub(crate) event: Option<Place>,
    pub(crate) in_body: Option<Arc<BodyFields>>,
    /// Whether the signed text holds them.
    pub(crate) timestamp_in_text: bool,
    pub(crate) id_in_text: bool,
}

/// What a request says about itself, well formed and not yet proven.
pub(crate) struct Unverified {
    /// When it came.
    pub(crate) now: SystemTime,
    pub(crate) timestamp: Option<(Text, SystemTime)>,
    pub(crate) id: Option<Text>,
    pub(crate) event: Option<Text>,
    /// For how long a copy of the request is taken, if the proof says so.
    pub(crate) fresh_for: Option<Duration>,
}

impl Fields {
    /// Adds where in the body id and event are, if they are there, to the other fields of the body.
    pub(crate) fn with_own(
        &self,
        mut in_body: Option<Arc<BodyFields>>,
    ) -> Result<Option<Arc<BodyFields>>, ConfigError> {
        let unfit =
            |place: Option<&Place>| place.is_some_and(|place| matches!(place.spot, Spot::Numbered(_) | Spot::Body));
        let time = self.timestamp.as_ref().map(|timestamp| &timestamp.place);
        if unfit(time) || unfit(self.id.as_ref()) || unfit(self.event.as_ref()) {
            return Err(ConfigError::conflict("numbered headers are for signatures, and the whole body is for tokens"));
        }
        if let Some(id) = &self.id {
            id.add_id(&mut in_body);
        }
        if let Some(event) = &self.event {
            event.add_event(&mut in_body);
        }
        Ok(in_body)
    }

    /// Returns the places of time, id and event that are signed.
    pub(super) fn signed_places(&self, signed: Signed) -> [Option<&Place>; 3] {
        [
            self.timestamp.as_ref().map(|timestamp| &timestamp.place).filter(|_| signed.timestamp),
            self.id.as_ref().filter(|_| signed.id),
            self.event.as_ref().filter(|_| signed.event),
        ]
    }

    /// Reads what is in the head.
    #[inline(always)]
    pub(crate) fn read(&self, read: &mut Unverified, head: &Parts) -> Result<(), Rejection> {
        for (name, value) in &self.required {
            match single(head, name, LONGEST_HEADER)? {
                Some(found) if found == value => {}
                None => return Err(Rejection::new(Reason::MissingHeader).with_detail(format!("`{name}`"))),
                Some(_) => {
                    let wanted = value.to_str().unwrap_or_default();
                    return Err(Rejection::new(Reason::UnacceptableAlgorithm)
                        .with_detail(format!("`{name}` is not {wanted:?}")));
                }
            }
        }
        if let Some(timestamp) = self.timestamp.as_ref().filter(|timestamp| !timestamp.place.in_body()) {
            timestamp.read(&mut read.timestamp, head, b"", read.now)?;
        }
        if let Some(id) = self.id.as_ref().filter(|id| !id.in_body())
            && !read_in_head(&mut read.id, id, head)?
            && self.id_in_text
        {
            return Err(without_id(Reason::MissingHeader, id));
        }
        if let Some(event) = self.event.as_ref().filter(|event| !event.in_body()) {
            read_in_head(&mut read.event, event, head)?;
        }
        Ok(())
    }

    /// Returns whether a time or an id is in the body, so that it is read once that is there.
    pub(crate) fn are_in_body(&self) -> bool {
        let in_body = |place: Option<&Place>| place.is_some_and(Place::in_body);
        in_body(self.timestamp.as_ref().map(|timestamp| &timestamp.place)) || in_body(self.id.as_ref())
    }

    /// Reads what is in the body and part of the signed text.
    #[inline]
    pub(crate) fn read_text(&self, read: &mut Unverified, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if self.timestamp_in_text {
            self.read_timestamp(read, head, body)?;
        }
        if !self.id_in_text {
            return Ok(());
        }
        if let Some(id) = self.id.as_ref().filter(|id| id.in_body()) {
            let text = id.text(head, body, Reason::MalformedBody)?;
            read.id = Some(text.ok_or_else(|| without_id(Reason::MalformedBody, id))?);
        }
        Ok(())
    }

    /// Reads a timestamp that is in the body, unless it was read before.
    #[inline]
    pub(crate) fn read_timestamp(&self, read: &mut Unverified, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if let (None, Some(timestamp)) = (&read.timestamp, &self.timestamp) {
            timestamp.read(&mut read.timestamp, head, body, read.now)?;
        }
        Ok(())
    }
}

/// Puts what is at this place of the head into `read`, and returns whether it is there.
#[inline]
fn read_in_head(read: &mut Option<Text>, place: &Place, head: &Parts) -> Result<bool, Rejection> {
    let is_there = place.read_text(read.insert(Text::empty()), head, b"", Reason::MalformedHeader)?;
    if !is_there {
        *read = None;
    }
    Ok(is_there)
}

#[cold]
fn without_id(reason: Reason, place: &Place) -> Rejection {
    Rejection::new(reason).with_detail(format!("there is no id in {place}"))
}

impl Unverified {
    #[inline]
    pub(crate) fn new(now: SystemTime) -> Self {
        Self { now, timestamp: None, id: None, event: None, fresh_for: None }
    }

    #[inline]
    pub(crate) fn values<'a>(&'a self, head: &'a Parts, body: &'a [u8]) -> Values<'a> {
        let timestamp = self.timestamp.as_ref().map(|(text, _)| text.as_bytes());
        Values { head, shared: None, now: self.now, body, timestamp, id: self.id.as_ref().map(Text::as_bytes) }
    }
}
