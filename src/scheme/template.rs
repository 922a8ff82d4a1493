//! What a sender signs: a template of literals and parts of the request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::delivery::{Signed, SignedText};
use crate::place::{Place, Timestamp};
use crate::public_url::PublicUrl;
use crate::rejection::Rejection;
use crate::secrets::HeadRef;
#[cfg(feature = "testing")]
use crate::sign::{SignError, Unsigned};

/// A piece that only one sender signs, written by that sender's code.
pub(crate) struct CustomPiece {
    pub(crate) name: &'static str,
    /// What it covers. A piece that covers the body is a digest of it.
    pub(crate) covers: Signed,
    pub(crate) write: Box<WritePiece>,
}

/// Writes a piece. Without a timestamp in the values, it leaves the time out.
pub(crate) type WritePiece = dyn Fn(&Values<'_>) -> Result<Vec<u8>, Rejection> + Send + Sync;

/// What is signed. The body itself is fed as it arrives.
#[derive(Clone)]
pub(crate) struct Template {
    /// As it is written, for tables.
    #[cfg(any(test, feature = "inspect", feature = "testing"))]
    pub(crate) text: Box<str>,
    pub(super) has_body: bool,
    /// Whether the head may lack what a piece is made of.
    pub(super) needs_head: bool,
    /// The pieces around the body. A template that is the body alone has none, and a program of
    /// such senders has none of their code.
    pub(super) around: Option<Arc<dyn AroundBody>>,
}

/// What the pieces around the body do.
pub(super) trait AroundBody: Send + Sync {
    fn feed_before(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection>;
    fn feed_after(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection>;
    fn check(&self, values: &Values<'_>) -> Result<(), Rejection>;
    fn covers(&self) -> Signed;
    fn each_place(&self, take: &mut dyn FnMut(&Place));
    fn keep_signed_headers(&self, of: &Template, own: &[Option<&Place>], in_body: &mut Option<Arc<BodyFields>>);
    fn has(&self, place: &Place) -> bool;
    fn shown_url(&self, head: &Parts) -> Option<String>;
    fn streams(&self) -> bool;
    fn covers_more(&self, time: Option<&Timestamp>) -> bool;
    fn without_time(&self, values: &Values<'_>, time: Option<&Timestamp>) -> Result<[Vec<u8>; 2], Rejection>;
}

/// A template as it is written, and what reads it.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) text: Cow<'static, str>,
    pub(super) parse: fn(&str, Option<&PublicUrl>, &[Arc<CustomPiece>]) -> Result<Template, ConfigError>,
}

/// The parts of a request that may be signed, as they were received.
pub(crate) struct Values<'a> {
    pub(crate) head: &'a Parts,
    /// The head once more, if it is shared, for a look-up to hold.
    pub(crate) shared: Option<&'a Arc<Parts>>,
    /// When the request came.
    #[cfg_attr(not(all(feature = "asymmetric", feature = "fetch")), allow(dead_code))]
    pub(crate) now: SystemTime,
    /// Empty until it has arrived.
    pub(crate) body: &'a [u8],
    pub(crate) timestamp: Option<&'a [u8]>,
    pub(crate) id: Option<&'a [u8]>,
}

impl<'a> From<&Values<'a>> for HeadRef<'a> {
    #[inline]
    fn from(values: &Values<'a>) -> Self {
        values.shared.map_or_else(|| values.head.into(), Into::into)
    }
}

#[cfg(feature = "testing")]
impl<'a> From<&'a Unsigned<'_>> for Values<'a> {
    fn from(it: &'a Unsigned<'_>) -> Self {
        Self {
            head: it.head,
            shared: None,
            now: it.now,
            body: it.body,
            timestamp: it.timestamp.as_deref().map(str::as_bytes),
            id: it.id.as_deref().map(str::as_bytes),
        }
    }
}

impl Template {
    /// Reads the template that a sender signs: the body alone, unless it is said.
    pub(crate) fn of(
        written: Option<&Written>,
        url: Option<&PublicUrl>,
        custom: &[Arc<CustomPiece>],
    ) -> Result<Self, ConfigError> {
        match written {
            Some(written) => (written.parse)(&written.text, url, custom),
            None => Ok(Self::body()),
        }
    }

    fn body() -> Self {
        Self {
            #[cfg(any(test, feature = "inspect", feature = "testing"))]
            text: "{body}".into(),
            has_body: true,
            needs_head: false,
            around: None,
        }
    }

    /// Returns whether the value at this place is signed as it is, with all that is in its header.
    pub(crate) fn has(&self, place: &Place) -> bool {
        self.around.as_ref().is_some_and(|around| around.has(place))
    }

    /// Hands on the places whose values are signed as they are.
    pub(super) fn each_place(&self, take: &mut dyn FnMut(&Place)) {
        if let Some(around) = &self.around {
            around.each_place(take);
        }
    }

    /// Keeps which headers are signed. By the body alone, none is.
    pub(super) fn keep_signed_headers(&self, own: &[Option<&Place>], in_body: &mut Option<Arc<BodyFields>>) {
        if let Some(around) = &self.around {
            around.keep_signed_headers(self, own, in_body);
        }
    }

    pub(crate) fn has_body(&self) -> bool {
        self.has_body
    }

    /// Returns whether the body is all that is signed.
    #[inline]
    pub(crate) fn is_body(&self) -> bool {
        self.around.is_none()
    }

    /// Returns what the text covers whatever the places of time, id and event are.
    pub(crate) fn covers(&self) -> Signed {
        let mut signed = self.around.as_ref().map(|around| around.covers()).unwrap_or_default();
        signed.body |= self.has_body;
        signed
    }

    /// Returns the address that is signed, without what may be secret in it.
    pub(crate) fn url(&self, head: &Parts) -> Option<String> {
        self.around.as_ref()?.shown_url(head)
    }

    /// Returns whether the text before the body is known before the body is.
    pub(crate) fn streams(&self) -> bool {
        self.has_body && self.around.as_ref().is_none_or(|around| around.streams())
    }

    /// Checks that the head has what the pieces need.
    #[inline]
    pub(crate) fn check(&self, values: &Values<'_>) -> Result<(), Rejection> {
        match &self.around {
            Some(around) if self.needs_head => around.check(values),
            _ => Ok(()),
        }
    }

    pub(super) fn feed_before(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.around.as_ref().map_or(Ok(()), |around| around.feed_before(values, sink))
    }

    pub(super) fn feed_after(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.around.as_ref().map_or(Ok(()), |around| around.feed_after(values, sink))
    }

    /// Feeds the whole text, once the body is there.
    #[inline]
    pub(super) fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.feed_before(values, sink)?;
        if self.has_body {
            sink(values.body);
        }
        self.feed_after(values, sink)
    }

    /// Returns the whole text, once the body is there.
    #[cfg(any(test, feature = "asymmetric", feature = "jwt", feature = "testing"))]
    pub(super) fn whole(&self, values: &Values<'_>) -> Result<Vec<u8>, Rejection> {
        let mut text = Vec::new();
        self.feed(values, &mut |bytes| text.extend_from_slice(bytes))?;
        Ok(text)
    }

    /// Returns the whole text of a request that is being signed.
    #[cfg(feature = "testing")]
    pub(crate) fn to_sign(&self, request: &Unsigned<'_>) -> Result<Vec<u8>, SignError> {
        self.whole(&request.into()).map_err(|_| SignError::new("the request lacks something that is signed"))
    }

    /// Returns whether the text has more than literals, the id, the body and the time.
    pub(crate) fn covers_more(&self, time: Option<&Timestamp>) -> bool {
        self.around.as_ref().is_some_and(|around| around.covers_more(time))
    }

    /// Returns the text without the time and the body, if there is more than the body.
    pub(crate) fn without_time(
        &self,
        values: &Values<'_>,
        time: Option<&Timestamp>,
    ) -> Result<Option<Box<SignedText>>, Rejection> {
        let Some(around) = &self.around else { return Ok(None) };
        let [before, after] = around.without_time(&Values { timestamp: None, ..*values }, time)?;
        Ok(Some(Box::new(SignedText { before, has_body: self.has_body, after })))
    }
}

/// Keeps the headers of which nothing but the signed value is in them: those of these places, and
/// those that the template names.
#[inline]
pub(super) fn keep_signed_headers(
    own: &[Option<&Place>],
    template: Option<&Template>,
    in_body: &mut Option<Arc<BodyFields>>,
) {
    let mut headers = Vec::new();
    let mut add = |place: &Place| headers.extend(place.whole_header().cloned());
    own.iter().flatten().for_each(|place| add(place));
    if let Some(template) = template {
        template.each_place(&mut add);
    }
    if !headers.is_empty() {
        BodyFields::change(in_body, |fields| fields.with_signed_headers(headers));
    }
}
