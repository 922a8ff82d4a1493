//! A form of a scheme: one way in which a sender signs, by any kind of proof, and the verification
//! of a request by it.

use std::mem;
use std::ptr;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::{Signed, SignedText, Verified};
use crate::provider::{Facts, MaybeReady, Outcome};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{HeadRef, MatchedKey};
use crate::time::Tolerance;

use super::fields::{Fields, Unverified};
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::template::{Template, Values};
use crate::handshake::Handshake;

/// One way in which a sender signs.
#[derive(Clone)]
pub(crate) struct Form<P> {
    pub(crate) methods: Vec<Method>,
    pub(crate) applies: Option<(&'static str, fn(&Parts) -> bool)>,
    pub(crate) fields: Fields,
    /// What the proof covers at most. Like the next two, it is found out once.
    pub(crate) signed: Signed,
    /// Whether the proof may cover more than the body, the time and the id.
    covers_more: bool,
    /// Whether the proof is read from the body.
    is_in_body: bool,
    /// Whether the body has more that is to be read or compared before the request is accepted.
    reads_body: bool,
    pub(crate) proof: P,
}

impl<P: Proof> Form<P> {
    /// Makes a form of these settings, which are taken, and a proof, and checks that they fit
    /// together.
    pub(crate) fn new(settings: &mut Settings, proof: P) -> Result<Self, ConfigError> {
        if settings.methods.is_empty() {
            return Err(ConfigError::missing("the scheme accepts no method"));
        }
        let mut fields = mem::take(&mut settings.fields);
        let mut in_body = fields.with_own(settings.in_body.take())?;
        let in_text = proof.template().map(Template::covers).unwrap_or_default();
        (fields.timestamp_in_text, fields.id_in_text) = (in_text.timestamp, in_text.id);
        let signed = proof.covers(&fields);
        if fields.timestamp_in_text && fields.timestamp.is_none() {
            return Err(ConfigError::missing("the scheme signs a timestamp and does not say where it is"));
        }
        if fields.id_in_text && fields.id.is_none() {
            return Err(ConfigError::missing("the scheme signs an id and does not say where it is"));
        }
        if fields.timestamp.is_some() && !signed.timestamp {
            return Err(ConfigError::conflict(
                "the scheme reads a timestamp that is not signed: it would prove nothing",
            ));
        }
        if signed.body && settings.body_unsigned {
            return Err(ConfigError::conflict("the scheme signs the body after all"));
        }
        proof.keep_signed_headers(&fields.signed_places(signed), &mut in_body);
        fields.in_body = in_body;
        Ok(Self {
            methods: mem::take(&mut settings.methods),
            applies: settings.applies,
            signed,
            covers_more: proof.template().is_some_and(|template| template.covers_more(fields.timestamp.as_ref())),
            is_in_body: proof.is_in_body(),
            reads_body: fields.are_in_body() || proof.text().is_some_and(|text| text.has_body_hash()),
            fields,
            proof,
        })
    }

    pub(super) fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        self.fields.timestamp.as_mut().map(|timestamp| &mut timestamp.tolerance).or_else(|| self.proof.tolerance_mut())
    }

    /// Adds what the form tells of its sender.
    #[inline]
    pub(super) fn describe(&self, facts: &mut Facts) {
        let (fields, signed) = (&self.fields, self.signed);
        let in_body = fields.in_body.as_ref();
        facts.tolerance = self.clone().tolerance_mut().copied();
        facts.event =
            fields.event.as_ref().map(|event| event.to_string() + if signed.event { "" } else { ", unsigned" });
        facts.identity = Some(match &fields.id {
            _ if signed.url && in_body.is_some_and(|rules| rules.has_id()) => "all that is signed".to_owned(),
            _ if in_body.is_some_and(|rules| rules.has_identity()) => "an id in the body".to_owned(),
            Some(id) if signed.id || !(signed.body || signed.url) => id.to_string(),
            Some(id) => format!("{id} and what is signed"),
            None if signed.id => "a signed claim".to_owned(),
            None if facts.behavior.unique_bodies().is_some() => "what is signed".to_owned(),
            None => "nothing".to_owned(),
        });
    }

    /// Judges the head. `wrap` makes the result of the attempt in its place, as an attempt is
    /// large.
    #[inline]
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        head: HeadRef<'_>,
        now: SystemTime,
        wrap: impl FnOnce(Attempt<P>) -> T + Send + 'static,
    ) -> Judged<T> {
        let (head, shared) = (head.parts(), head.shared());
        let mut read = Unverified::new(now);
        let offer = if self.is_in_body { P::Offer::default() } else { self.proof.read(head, b"", &mut read)? };
        self.fields.read(&mut read, head)?;
        let form = FormId::of(self);
        match self.proof.start(&offer, &Values { shared, ..read.values(head, b"") })? {
            MaybeReady::Ready(keys) => {
                Ok(MaybeReady::Ready(wrap(Attempt { form, read, offer, keys, progress: P::Progress::default() })))
            }
            MaybeReady::Pending(keys) => Ok(MaybeReady::pending(async move {
                Ok(wrap(Attempt { form, read, offer, keys: keys.await?, progress: P::Progress::default() }))
            })),
        }
    }

    /// Checks what is left to be compared with the body.
    #[inline]
    fn check_body(&self, read: &mut Unverified, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if self.reads_body { self.compare_with_body(read, head, body) } else { Ok(()) }
    }

    fn compare_with_body(&self, read: &mut Unverified, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        if let Some(text) = self.proof.text() {
            text.check_body(head, body)?;
        }
        self.fields.read_timestamp(read, head, body)
    }

    /// Returns what is signed besides the body and the time, if that is more than literals.
    #[inline]
    fn signed_text(&self, read: &Unverified, head: &Parts, body: &[u8]) -> Result<Option<Box<SignedText>>, Rejection> {
        if self.covers_more { self.signed_beside(read, head, body) } else { Ok(None) }
    }

    fn signed_beside(
        &self,
        read: &Unverified,
        head: &Parts,
        body: &[u8],
    ) -> Result<Option<Box<SignedText>>, Rejection> {
        let Some(template) = self.proof.template() else { return Ok(None) };
        template.without_time(&read.values(head, body), self.fields.timestamp.as_ref())
    }

    /// Returns that the request is genuine, and what was proven of it. What was read is taken.
    //
    // Written where it is returned: a copy of it would wait for what was just written in smaller pieces.
    #[inline]
    fn delivered(
        &self,
        read: &mut Unverified,
        offer: &P::Offer,
        key: MatchedKey,
        text: Option<Box<SignedText>>,
    ) -> Judged<Outcome> {
        let mut delivered = Ok(MaybeReady::Ready(Outcome::Deliver(Verified::new(self.signed_of(read)))));
        if let Ok(MaybeReady::Ready(Outcome::Deliver(verified))) = &mut delivered {
            self.prove(verified, read, offer, key, text);
        }
        delivered
    }

    /// Returns what is signed of this request: a token may lack the time or the id.
    #[inline]
    fn signed_of(&self, read: &Unverified) -> Signed {
        let mut signed = self.signed;
        signed.timestamp &= read.timestamp.is_some();
        signed.id &= read.id.is_some() || self.fields.id.is_some();
        signed
    }

    /// Adds what was proven of the request, which is taken.
    #[inline(always)]
    fn prove(
        &self,
        verified: &mut Verified,
        read: &mut Unverified,
        offer: &P::Offer,
        key: MatchedKey,
        text: Option<Box<SignedText>>,
    ) {
        let own = self.fields.timestamp.as_ref();
        verified.id = read.id.take();
        verified.event = read.event.take();
        verified.in_body.clone_from(&self.fields.in_body);
        verified.timestamp = read.timestamp.as_ref().map(|(_, time)| *time);
        verified.fresh_for = own.map_or(read.fresh_for, |own| Some(own.tolerance.width()));
        verified.key_print = key.print;
        verified.body_code = self.proof.body_code(offer).copied();
        verified.text = text;
        verified.key_index = key.index.try_into().unwrap_or(u16::MAX);
        verified.parsed = self.proof.parsed(offer);
    }
}

/// Which form it is, of all that there are at a time: where it is in memory. A scheme's forms stay
/// where they are once it is shared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormId(usize);

impl FormId {
    #[inline]
    pub(super) fn of<P>(form: &Form<P>) -> Self {
        Self(ptr::from_ref(form).addr())
    }
}

/// A request being verified by a form.
pub(crate) struct Attempt<P: Proof> {
    /// The form that has begun it, and that alone may decide. It isn't held, as what drives the
    /// verification has the scheme.
    pub(super) form: FormId,
    pub(super) read: Unverified,
    pub(super) offer: P::Offer,
    pub(super) keys: P::Keys,
    pub(super) progress: P::Progress,
}

impl<P: Proof> Attempt<P> {
    /// Returns what was read from the head, and what the proof keeps.
    #[inline]
    pub(super) fn parts(&mut self) -> (&mut Unverified, Run<'_, P>) {
        let Self { read, offer, keys, progress, .. } = self;
        (read, Run { offer, keys, progress })
    }
}

impl<P: Proof> Form<P> {
    pub(super) fn receive(&self, attempt: &mut Attempt<P>, head: &Parts, chunk: &[u8]) {
        let (read, run) = attempt.parts();
        self.proof.receive(run, &read.values(head, b""), chunk);
    }

    /// Called once.
    #[inline]
    pub(super) fn finish(
        &self,
        read: &mut Unverified,
        Run { offer, keys, progress }: Run<'_, P>,
        handshakes: &[Handshake],
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Judged<Outcome> {
        if self.is_in_body {
            *offer = self.proof.read(head, body, read)?;
        }
        if self.reads_body {
            self.fields.read_text(read, head, body)?;
        }
        match self.proof.finish(Run { offer, keys, progress }, &read.values(head, body), rest)? {
            MaybeReady::Ready(key) => {
                self.check_body(read, head, body)?;
                for handshake in handshakes {
                    // With `?`, an answer would be moved before it is known that there is one.
                    match handshake.finish(head, body, self.proof.mac(keys, key.index)) {
                        Ok(None) => {}
                        Ok(Some(answer)) => return Ok(Outcome::Answer(answer).into()),
                        Err(rejection) => return Err(rejection),
                    }
                }
                let text = self.signed_text(read, head, body)?;
                self.delivered(read, offer, key, text)
            }
            MaybeReady::Pending(key) => {
                self.check_body(read, head, body)?;
                let text = self.signed_text(read, head, body)?;
                let mut verified = Verified::new(self.signed_of(read));
                self.prove(&mut verified, read, offer, MatchedKey::default(), text);
                Ok(MaybeReady::pending(async move { key.await.map(|_| Outcome::Deliver(verified)) }))
            }
        }
    }
}

/// Refuses an attempt that another form has begun: a bug in whatever drives the scheme, and never a
/// success.
#[cold]
pub(super) fn foreign() -> Rejection {
    Rejection::new(Reason::NoDelivery).with_detail("another provider began this verification")
}
