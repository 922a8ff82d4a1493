//! A form of a scheme: one way in which a sender signs, and the verification of a request by it.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use http::header::{ALLOW, HeaderName, HeaderValue};
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::delivery::{Signed, SignedText, Verified};
use crate::headers::{LONGEST_HEADER, single};
use crate::provider::{MaybeReady, Outcome};
use crate::rejection::{Reason, Rejection};
use crate::secrets::KeyPrint;
use crate::text::Text;
use crate::time::Tolerance;

use super::handshake::Handshake;
use super::place::{Place, Spot};
use super::proof::{Judged, Proof};
use super::template::Values;
use super::timestamp::Timestamp;

/// One way in which a sender signs.
#[derive(Clone)]
pub(super) struct Form<P> {
    pub(super) methods: Vec<Method>,
    /// Chooses the requests that the form is for, if the methods don't: in words, and as a function.
    pub(super) applies: Option<(&'static str, fn(&Parts) -> bool)>,
    /// Whether only requests without a body are accepted.
    pub(super) empty_body: bool,
    pub(super) fields: Fields,
    /// What the proof covers at most, found out once.
    pub(super) signed: Signed,
    /// Whether it may cover more than the body, the time and the id.
    pub(super) covers_more: bool,
    pub(super) proof: P,
}

/// Where a request has what it says about itself.
#[derive(Clone)]
pub(super) struct Fields {
    /// Headers that must have exactly this value.
    pub(super) required: Vec<(HeaderName, HeaderValue)>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) id: Option<Place>,
    pub(super) event: Option<Place>,
    pub(super) in_body: Option<Arc<BodyFields>>,
    /// Whether the signed text holds them.
    pub(super) timestamp_in_text: bool,
    pub(super) id_in_text: bool,
}

/// What a request says about itself, well formed and not yet proven.
#[derive(Default)]
pub(super) struct Unverified {
    pub(super) timestamp: Option<(Text, SystemTime)>,
    pub(super) id: Option<Text>,
    event: Option<Text>,
}

impl Fields {
    /// Reads what is in the head.
    #[inline]
    fn read(&self, read: &mut Unverified, head: &Parts, now: SystemTime) -> Result<(), Rejection> {
        for (name, value) in &self.required {
            match single(head, name, LONGEST_HEADER)? {
                Some(found) if found == value => {}
                None => return Err(Rejection::new(Reason::MissingHeader).with_detail(format!("`{name}`"))),
                Some(_) => {
                    return Err(
                        Rejection::new(Reason::UnacceptableAlgorithm).with_detail(format!("`{name}` is not {value:?}"))
                    );
                }
            }
        }
        if let Some(timestamp) = self.timestamp.as_ref().filter(|timestamp| !timestamp.place.in_body()) {
            read.timestamp = Some(timestamp.read(head, b"", now)?);
        }
        if let Some(id) = self.id.as_ref().filter(|id| !id.in_body()) {
            read.id = id.text(head, b"", Reason::MalformedHeader)?;
            if read.id.is_none() && self.id_in_text {
                return Err(without_id(Reason::MissingHeader, id));
            }
        }
        if let Some(event) = self.event.as_ref().filter(|event| !event.in_body()) {
            read.event = event.text(head, b"", Reason::MalformedHeader)?;
        }
        Ok(())
    }

    /// Reads what is in the body and part of the signed text.
    #[inline]
    fn read_text(&self, read: &mut Unverified, head: &Parts, body: &[u8], now: SystemTime) -> Result<(), Rejection> {
        if self.timestamp_in_text {
            self.read_timestamp(read, head, body, now)?;
        }
        if let Some(id) = self.id.as_ref().filter(|id| self.id_in_text && id.in_body()) {
            let text = id.text(head, body, Reason::MalformedBody)?;
            read.id = Some(text.ok_or_else(|| without_id(Reason::MalformedBody, id))?);
        }
        Ok(())
    }

    /// Reads a timestamp that is in the body, unless it was read before.
    fn read_timestamp(
        &self,
        read: &mut Unverified,
        head: &Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        if let (None, Some(timestamp)) = (&read.timestamp, &self.timestamp) {
            read.timestamp = timestamp.read_verified(head, body, now)?;
        }
        Ok(())
    }
}

#[cold]
fn without_id(reason: Reason, place: &Place) -> Rejection {
    Rejection::new(reason).with_detail(format!("there is no id in {place}"))
}

impl Unverified {
    #[inline]
    fn values<'a>(&'a self, head: &'a Parts, body: &'a [u8]) -> Values<'a> {
        let timestamp = self.timestamp.as_ref().map(|(text, _)| text.as_str());
        Values { head, body, timestamp, id: self.id.as_deref() }
    }
}

impl<P: Proof> Form<P> {
    /// Finishes a form, and checks that its parts fit together.
    pub(super) fn checked(mut self, body_unsigned: bool) -> Result<Self, ConfigError> {
        let Fields { timestamp, id, event, .. } = &self.fields;
        let numbered = |place: &Place| matches!(place.spot, Spot::Numbered(_));
        if id.iter().chain(event).chain(timestamp.iter().map(|it| &it.place)).any(numbered) {
            return Err(ConfigError::conflict("numbered headers are for signatures alone"));
        }
        (self.fields.timestamp_in_text, self.fields.id_in_text) = self.proof.is_in_text();
        self.signed = self.proof.covers(&self.fields, self.empty_body);
        self.covers_more = self.proof.covers_more(self.fields.timestamp.as_ref());
        if self.fields.timestamp_in_text && self.fields.timestamp.is_none() {
            return Err(ConfigError::missing("the scheme signs a timestamp and does not say where it is"));
        }
        if self.fields.id_in_text && self.fields.id.is_none() {
            return Err(ConfigError::missing("the scheme signs an id and does not say where it is"));
        }
        if self.fields.timestamp.is_some() && !self.signed.timestamp {
            return Err(ConfigError::conflict(
                "the scheme reads a timestamp that is not signed: it would prove nothing",
            ));
        }
        if self.signed.body && body_unsigned {
            return Err(ConfigError::conflict("the scheme signs the body after all"));
        }
        Ok(self)
    }

    /// Returns whether the form is for such a request.
    pub(super) fn is_for(&self, head: &Parts) -> bool {
        self.applies.is_none_or(|(_, applies)| applies(head)) && self.methods.contains(&head.method)
    }

    pub(super) fn is_timed(&self) -> bool {
        self.fields.timestamp.is_some() || self.proof.is_timed()
    }

    pub(super) fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        self.fields.timestamp.as_mut().map(|timestamp| &mut timestamp.tolerance).or_else(|| self.proof.tolerance_mut())
    }

    /// Judges the head. `wrap` makes the result of the attempt in its place, as an attempt is large.
    #[inline]
    pub(super) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        head: &Parts,
        now: SystemTime,
        wrap: impl FnOnce(Attempt<P>) -> T + Send + 'static,
    ) -> Judged<T> {
        let mut read = Unverified::default();
        let offer = self.proof.read(head, now, &mut read)?;
        self.fields.read(&mut read, head, now)?;
        let form = self.clone();
        match self.proof.start(&offer, &read.values(head, b""))? {
            MaybeReady::Ready(keys) => {
                Ok(MaybeReady::Ready(wrap(Attempt { form, read, offer, keys, progress: P::Progress::default(), now })))
            }
            MaybeReady::Pending(keys) => Ok(MaybeReady::pending(async move {
                Ok(wrap(Attempt { form, read, offer, keys: keys.await?, progress: P::Progress::default(), now }))
            })),
        }
    }

    /// Returns what is signed besides the body and the time, if that is more than literals.
    fn signed_text(&self, read: &Unverified, head: &Parts, body: &[u8]) -> Result<Option<Box<SignedText>>, Rejection> {
        let text = self.proof.signed_text(&read.values(head, body), self.fields.timestamp.as_ref())?;
        Ok(text.map(Box::new))
    }

    /// Returns what the handler is told of a request that was proven. What was read is taken.
    fn verified(
        &self,
        read: &mut Unverified,
        (key_index, key_print): (usize, Option<KeyPrint>),
        text: Option<Box<SignedText>>,
        fresh_for: Option<Duration>,
    ) -> Verified {
        let signed = self.proof.covers_of(self.signed, read);
        // Written at once: each of the methods that set one part would hand on the whole.
        Verified {
            provider: None,
            id: read.id.take(),
            event: read.event.take(),
            in_body: self.fields.in_body.clone(),
            timestamp: read.timestamp.take().map(|(_, time)| time),
            fresh_for,
            key_print,
            text,
            key_index: key_index.try_into().unwrap_or(u16::MAX),
            signed,
            parsed: None,
        }
    }
}

/// A request being verified by a form.
pub(super) struct Attempt<P: Proof> {
    form: Arc<Form<P>>,
    read: Unverified,
    offer: P::Offer,
    keys: P::Keys,
    progress: P::Progress,
    now: SystemTime,
}

impl<P: Proof> Attempt<P> {
    pub(super) fn receive(&mut self, head: &Parts, chunk: &[u8]) {
        self.form.proof.receive(&self.keys, &mut self.progress, &self.read.values(head, b""), chunk);
    }

    /// Called once.
    #[inline]
    pub(super) fn finish(
        &mut self,
        handshakes: &[Handshake],
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let form = &*self.form;
        form.proof.read_body(&mut self.offer, head, body)?;
        form.fields.read_text(&mut self.read, head, body, self.now)?;
        let values = self.read.values(head, body);
        match form.proof.finish(&self.offer, &self.keys, &mut self.progress, &values, rest)? {
            MaybeReady::Ready(key_index) => {
                self.check_body(head, body)?;
                let mac = self.form.proof.mac(&self.keys, key_index);
                for handshake in handshakes {
                    if let Some(answer) = handshake.finish(head, body, mac)? {
                        return Ok(Outcome::Answer(answer).into());
                    }
                }
                let print = self.form.proof.key_print(&self.keys, key_index);
                let (text, fresh_for) = (self.signed_text(head, body)?, self.fresh_for());
                Ok(Outcome::Deliver(self.form.verified(&mut self.read, (key_index, print), text, fresh_for)).into())
            }
            MaybeReady::Pending(key_index) => {
                self.check_body(head, body)?;
                let (text, fresh_for) = (self.signed_text(head, body)?, self.fresh_for());
                let (form, mut read) = (self.form.clone(), mem::take(&mut self.read));
                Ok(MaybeReady::pending(async move {
                    // A key that was fetched is its sender's, whichever it is.
                    Ok(Outcome::Deliver(form.verified(&mut read, (key_index.await?, None), text, fresh_for)))
                }))
            }
        }
    }

    #[inline]
    fn fresh_for(&self) -> Option<Duration> {
        match &self.form.fields.timestamp {
            Some(timestamp) => Some(timestamp.tolerance.width()),
            None => self.form.proof.fresh_for(&self.offer),
        }
    }

    #[inline]
    fn signed_text(&self, head: &Parts, body: &[u8]) -> Result<Option<Box<SignedText>>, Rejection> {
        if self.form.covers_more { self.form.signed_text(&self.read, head, body) } else { Ok(None) }
    }

    /// Checks what is left to be compared with the body.
    #[inline]
    fn check_body(&mut self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        let form = &*self.form;
        if form.empty_body && !body.is_empty() {
            return Err(Rejection::new(Reason::BodyMismatch).with_detail("there is a body, and nothing signs it"));
        }
        form.proof.check_body(head, body)?;
        form.fields.read_timestamp(&mut self.read, head, body, self.now)
    }
}

/// Refuses a method that is not one of these.
pub(crate) fn wrong_method<'a>(methods: impl IntoIterator<Item = &'a Method>) -> Rejection {
    let mut allowed: Vec<_> = methods.into_iter().map(Method::as_str).collect();
    allowed.dedup();
    let rejection = Rejection::new(Reason::MethodNotAllowed);
    match allowed.join(", ").try_into() {
        Ok(allowed) => rejection.with_header(ALLOW, allowed),
        Err(_) => rejection,
    }
}
