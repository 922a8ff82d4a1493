//! A form of a scheme: one way in which a sender signs, by any kind of proof, and the verification
//! of a request by it.

use std::any::Any;
#[cfg(feature = "inspect")]
use std::borrow::Cow;
use std::mem;
use std::ptr;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::HeaderName;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::{Signed, SignedText, Verified};
use crate::mac::Mac;
use crate::place::Place;
use crate::provider::{Facts, MaybeReady, Outcome, Recognition};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{HeadRef, Keys, MatchedKey};
use crate::time::Tolerance;

use super::fields::{Fields, Unverified};
use super::mac::MacProof;
use super::proof::{Judged, Proof, Run};
use super::settings::Settings;
use super::template::{Template, Values};
use crate::handshake::Handshake;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

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
    /// Makes a form of these settings, which are taken, and a proof, and checks that they fit together.
    pub(crate) fn new(settings: &mut Settings, proof: P) -> Result<Self, ConfigError> {
        if settings.methods.is_empty() {
            return Err(ConfigError::missing("the scheme accepts no method"));
        }
        let mut fields = mem::take(&mut settings.fields);
        let mut in_body = fields.with_own(mem::take(&mut settings.in_body))?;
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
        in_body.signed_headers = signed_headers(&fields, signed, proof.template());
        fields.in_body = in_body.shared();
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

    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        self.fields.timestamp.as_mut().map(|timestamp| &mut timestamp.tolerance).or_else(|| self.proof.tolerance_mut())
    }

    /// Adds what the form tells of its sender.
    fn describe(&self, facts: &mut Facts) {
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
        let form = self.id();
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
        template.without_time(&read.values(head, body), self.fields.timestamp.as_ref()).map(Box::new).map(Some)
    }

    /// Returns what was proven of the request. What was read is taken.
    #[inline(always)]
    fn verified(
        &self,
        read: &mut Unverified,
        offer: &P::Offer,
        key: MatchedKey,
        text: Option<Box<SignedText>>,
    ) -> Verified {
        let mut signed = self.signed;
        // A token may lack either.
        signed.timestamp &= read.timestamp.is_some();
        signed.id &= read.id.is_some() || self.fields.id.is_some();
        let own = self.fields.timestamp.as_ref();
        let (in_body, parsed) = (self.fields.in_body.clone(), self.proof.parsed(offer));
        // Written at once: each of the methods that set one part would hand on the whole.
        Verified {
            sender: None,
            id: read.id.take(),
            event: read.event.take(),
            in_body,
            timestamp: read.timestamp.as_ref().map(|(_, time)| *time),
            fresh_for: own.map_or(read.fresh_for, |own| Some(own.tolerance.width())),
            key_print: key.print,
            body_code: self.proof.body_code(offer).copied(),
            text,
            key_index: key.index.try_into().unwrap_or(u16::MAX),
            signed,
            parsed,
        }
    }
}

/// Returns the headers of which nothing but the signed value is in them.
fn signed_headers(fields: &Fields, signed: Signed, template: Option<&Template>) -> Vec<HeaderName> {
    let own = [
        (signed.timestamp, fields.timestamp.as_ref().map(|timestamp| &timestamp.place)),
        (signed.id, fields.id.as_ref()),
        (signed.event, fields.event.as_ref()),
    ];
    let own = own.into_iter().filter_map(|(is_signed, place)| place.filter(|_| is_signed));
    let in_text = template.into_iter().flat_map(Template::places);
    own.chain(in_text).filter_map(Place::whole_header).cloned().collect()
}

/// Which form it is, of all that there are at a time: where it is in memory. A scheme's forms stay
/// where they are once it is shared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormId(usize);

/// A request being verified by a form.
pub(crate) struct Attempt<P: Proof> {
    /// The form that has begun it, and that alone may decide. It isn't held, as whoever drives the
    /// verification has the scheme.
    form: FormId,
    read: Unverified,
    offer: P::Offer,
    keys: P::Keys,
    progress: P::Progress,
}

impl<P: Proof> Form<P> {
    fn receive(&self, attempt: &mut Attempt<P>, head: &Parts, chunk: &[u8]) {
        let Attempt { read, offer, keys, progress, .. } = attempt;
        self.proof.receive(Run { offer, keys, progress }, &read.values(head, b""), chunk);
    }

    /// Called once.
    #[inline]
    fn finish(
        &self,
        attempt: &mut Attempt<P>,
        handshakes: &[Handshake],
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Judged<Outcome> {
        let Attempt { read, offer, keys, progress, .. } = attempt;
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
                    if let Some(answer) = handshake.finish(head, body, self.proof.mac(keys, key.index))? {
                        return Ok(Outcome::Answer(answer).into());
                    }
                }
                let text = self.signed_text(read, head, body)?;
                Ok(Outcome::Deliver(self.verified(read, offer, key, text)).into())
            }
            MaybeReady::Pending(key) => {
                self.check_body(read, head, body)?;
                let text = self.signed_text(read, head, body)?;
                let verified = self.verified(read, offer, MatchedKey::default(), text);
                Ok(MaybeReady::pending(async move { key.await.map(|_| Outcome::Deliver(verified)) }))
            }
        }
    }
}

/// A form by any kind of proof. Nearly every sender signs with MACs, and its requests cost no box.
/// Whoever makes another kind of form brings what that kind does: a program has the code of those
/// kinds alone that its senders use.
#[derive(Clone)]
pub(crate) enum AnyForm {
    Mac(Form<MacProof>),
    Other(Box<dyn DrivenForm>),
}

/// A request being verified by a form of a scheme.
pub(crate) enum AnyAttempt {
    Mac(Attempt<MacProof>),
    /// By any kind of proof, as the form that has begun it knows.
    Other(FormId, Box<dyn Any + Send>),
}

/// What a scheme does with a form, whatever its kind of proof.
pub(crate) trait DrivenForm: Send + Sync {
    fn id(&self) -> FormId;
    fn is_for(&self, head: &Parts) -> bool;
    /// Returns whether the head has the proof, and the form is for such a request. That the proof
    /// is there is asked first: with several senders on a route, it mostly isn't.
    fn recognizes(&self, head: &Parts) -> Recognition;
    fn is_timed(&self) -> bool;
    /// Returns whether keys are looked up by the whole head.
    fn shares_head(&self) -> bool;
    /// Adds what the form tells of its sender.
    fn describe(&self, facts: &mut Facts);
    fn methods(&self) -> &[Method];
    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool;
    /// Refuses a request without a proof.
    fn missing(&self) -> Rejection;
    /// Asks for the proof in the answer to a request that was refused.
    fn refuse(&self, rejection: Rejection) -> Rejection;
    /// Returns whether the bytes of the body are part of what is signed.
    fn signs_body_itself(&self) -> bool;
    fn mac_keys(&self) -> Option<&Keys<Mac>>;
    /// Returns the headers that the sender sets, the one with the proof first.
    #[cfg(feature = "inspect")]
    fn marks(&self) -> Vec<(HeaderName, Cow<'static, str>)>;
    #[cfg(feature = "inspect")]
    fn signs_address(&self) -> bool;
    /// Has no part of the proof name the body.
    fn leave_body_unnamed(&mut self);
    /// Sets the tolerance, and returns whether there is one to be set.
    fn set_tolerance(&mut self, tolerance: Tolerance) -> bool;
    fn begin_any(&self, head: HeadRef<'_>, now: SystemTime) -> Judged<AnyAttempt>;
    /// Takes the next part of the body, for an attempt that the form has begun.
    fn receive_any(&self, attempt: &mut dyn Any, head: &Parts, chunk: &[u8]);
    /// Decides on an attempt that the form has begun.
    fn finish_any(
        &self,
        attempt: &mut dyn Any,
        handshakes: &[Handshake],
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Judged<Outcome>;
    fn boxed(&self) -> Box<dyn DrivenForm>;
    #[cfg(feature = "testing")]
    fn fields(&self) -> &Fields;
    #[cfg(all(feature = "inspect", feature = "testing"))]
    fn proof_places(&self) -> &[Place];
    /// Describes the form, for tables.
    #[cfg(feature = "testing")]
    fn describe_form(&self) -> String;
    /// Signs, or returns `None` if the form is not for such a request or signer.
    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult;
}

impl<P: Proof> DrivenForm for Form<P> {
    #[inline]
    fn id(&self) -> FormId {
        FormId(ptr::from_ref(self).addr())
    }

    #[inline]
    fn is_for(&self, head: &Parts) -> bool {
        self.applies.is_none_or(|(_, applies)| applies(head)) && self.methods.contains(&head.method)
    }

    #[inline]
    fn recognizes(&self, head: &Parts) -> Recognition {
        match self.proof.recognizes(head) {
            Recognition::No => Recognition::No,
            _ if !self.is_for(head) => Recognition::No,
            recognized => recognized,
        }
    }

    fn begin_any(&self, head: HeadRef<'_>, now: SystemTime) -> Judged<AnyAttempt> {
        let id = self.id();
        self.begin(head, now, move |attempt| AnyAttempt::Other(id, Box::new(attempt)))
    }

    fn receive_any(&self, attempt: &mut dyn Any, head: &Parts, chunk: &[u8]) {
        if let Some(attempt) = attempt.downcast_mut() {
            self.receive(attempt, head, chunk);
        }
    }

    fn finish_any(
        &self,
        attempt: &mut dyn Any,
        handshakes: &[Handshake],
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Judged<Outcome> {
        match attempt.downcast_mut() {
            Some(attempt) => self.finish(attempt, handshakes, head, body, rest),
            None => Err(foreign()),
        }
    }

    fn boxed(&self) -> Box<dyn DrivenForm> {
        Box::new(self.clone())
    }

    fn is_timed(&self) -> bool {
        self.fields.timestamp.is_some() || self.proof.is_timed()
    }

    fn shares_head(&self) -> bool {
        self.proof.shares_head()
    }

    fn describe(&self, facts: &mut Facts) {
        self.describe(facts);
    }

    fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.proof.recognizes_body(head, body)
    }

    fn missing(&self) -> Rejection {
        let rejection = Rejection::new(Reason::MissingSignature);
        match self.proof.places().first() {
            Some(place) => rejection.with_detail(format!("none in {place}")),
            None => rejection,
        }
    }

    fn refuse(&self, rejection: Rejection) -> Rejection {
        self.proof.refuse(rejection)
    }

    fn signs_body_itself(&self) -> bool {
        self.proof.template().is_some_and(Template::has_body)
    }

    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        self.proof.mac_keys()
    }

    #[cfg(feature = "inspect")]
    fn marks(&self) -> Vec<(HeaderName, Cow<'static, str>)> {
        let fields = &self.fields;
        let signed_id = fields.id.as_ref().filter(|_| self.signed.id);
        let times = fields.timestamp.as_ref().map(|own| &own.place);
        let places = self.proof.places().iter().chain(times).chain(signed_id);
        let required = fields.required.iter().map(|(name, _)| (name.clone(), Cow::Borrowed("")));
        let places = places.filter_map(|place| Some((place.mark()?, place.prefix.clone())));
        let headers = self.proof.headers().into_iter().map(|name| (name, Cow::Borrowed("")));
        places.chain(headers).chain(required).collect()
    }

    #[cfg(feature = "inspect")]
    fn signs_address(&self) -> bool {
        self.signed.url || self.proof.text().is_some_and(|text| text.may_hold_address())
    }

    fn leave_body_unnamed(&mut self) {
        self.proof.leave_body_unnamed();
    }

    fn set_tolerance(&mut self, tolerance: Tolerance) -> bool {
        self.tolerance_mut().map(|own| *own = tolerance).is_some()
    }

    #[cfg(feature = "testing")]
    fn fields(&self) -> &Fields {
        &self.fields
    }

    #[cfg(all(feature = "inspect", feature = "testing"))]
    fn proof_places(&self) -> &[Place] {
        self.proof.places()
    }

    #[cfg(feature = "testing")]
    fn describe_form(&self) -> String {
        self.proof.describe() + self.applies.map_or("", |(about, _)| about)
    }

    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        self.sign(request, signer)
    }
}

impl Clone for Box<dyn DrivenForm> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

/// Evaluates an expression for a form of any kind.
macro_rules! of_form {
    ($any:expr, $form:ident => $value:expr) => {
        match $any {
            AnyForm::Mac($form) => $value,
            AnyForm::Other($form) => $value,
        }
    };
}
#[cfg(feature = "testing")]
pub(crate) use of_form;

impl AnyForm {
    pub(crate) fn other(form: Form<impl Proof>) -> Self {
        Self::Other(Box::new(form))
    }

    #[inline]
    pub(crate) fn is_for(&self, head: &Parts) -> bool {
        of_form!(self, form => form.is_for(head))
    }

    pub(crate) fn recognizes(&self, head: &Parts) -> Recognition {
        of_form!(self, form => form.recognizes(head))
    }

    pub(crate) fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        of_form!(self, form => form.recognizes_body(head, body))
    }

    pub(crate) fn is_timed(&self) -> bool {
        of_form!(self, form => form.is_timed())
    }

    /// Returns whether keys are looked up by the whole head.
    pub(crate) fn shares_head(&self) -> bool {
        of_form!(self, form => form.shares_head())
    }

    pub(crate) fn describe(&self, facts: &mut Facts) {
        of_form!(self, form => form.describe(facts));
    }

    pub(crate) fn methods(&self) -> &[Method] {
        of_form!(self, form => form.methods())
    }

    pub(crate) fn missing(&self) -> Rejection {
        of_form!(self, form => form.missing())
    }

    pub(crate) fn refuse(&self, rejection: Rejection) -> Rejection {
        of_form!(self, form => form.refuse(rejection))
    }

    pub(crate) fn signs_body_itself(&self) -> bool {
        of_form!(self, form => form.signs_body_itself())
    }

    pub(crate) fn mac_keys(&self) -> Option<&Keys<Mac>> {
        of_form!(self, form => form.mac_keys())
    }

    #[cfg(feature = "inspect")]
    pub(super) fn marks(&self) -> Vec<(HeaderName, Cow<'static, str>)> {
        of_form!(self, form => form.marks())
    }

    #[cfg(feature = "inspect")]
    pub(super) fn signs_address(&self) -> bool {
        of_form!(self, form => form.signs_address())
    }

    pub(super) fn leave_body_unnamed(&mut self) {
        of_form!(self, form => form.leave_body_unnamed());
    }

    pub(crate) fn set_tolerance(&mut self, tolerance: Tolerance) -> bool {
        of_form!(self, form => form.set_tolerance(tolerance))
    }

    /// See [`Form::begin`].
    #[inline(always)]
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        head: HeadRef<'_>,
        now: SystemTime,
        wrap: impl FnOnce(AnyAttempt) -> T + Send + 'static,
    ) -> Judged<T> {
        match self {
            Self::Mac(form) => form.begin(head, now, |attempt| wrap(AnyAttempt::Mac(attempt))),
            Self::Other(form) => form.begin_any(head, now)?.and_then(|attempt| Ok(wrap(attempt))),
        }
    }

    /// Returns whether this very form has begun the attempt.
    #[inline]
    pub(crate) fn has_begun(&self, attempt: &AnyAttempt) -> bool {
        match (self, attempt) {
            (Self::Mac(form), AnyAttempt::Mac(attempt)) => form.id() == attempt.form,
            (Self::Other(form), AnyAttempt::Other(id, _)) => form.id() == *id,
            _ => false,
        }
    }

    /// Takes the next part of the body, for an attempt that the form has begun.
    pub(crate) fn receive(&self, attempt: &mut AnyAttempt, head: &Parts, chunk: &[u8]) {
        match (self, attempt) {
            (Self::Mac(form), AnyAttempt::Mac(attempt)) => form.receive(attempt, head, chunk),
            (Self::Other(form), AnyAttempt::Other(_, attempt)) => form.receive_any(&mut **attempt, head, chunk),
            _ => {}
        }
    }

    /// Decides on an attempt that the form has begun.
    #[inline]
    pub(crate) fn finish(
        &self,
        attempt: &mut AnyAttempt,
        handshakes: &[Handshake],
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Judged<Outcome> {
        match (self, attempt) {
            (Self::Mac(form), AnyAttempt::Mac(attempt)) => form.finish(attempt, handshakes, head, body, rest),
            (Self::Other(form), AnyAttempt::Other(_, attempt)) => {
                form.finish_any(&mut **attempt, handshakes, head, body, rest)
            }
            _ => Err(foreign()),
        }
    }
}

/// Refuses an attempt that another form has begun: a bug in whatever drives the scheme, and never a
/// success.
#[cold]
pub(super) fn foreign() -> Rejection {
    Rejection::new(Reason::NoDelivery).with_detail("another provider began this verification")
}
