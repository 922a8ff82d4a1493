//! A form by any kind of proof, as a scheme drives it.

use std::any::Any;
#[cfg(feature = "inspect")]
use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
#[cfg(feature = "inspect")]
use http::header::HeaderName;
use http::request::Parts;

use crate::mac::Mac;
#[cfg(all(feature = "inspect", feature = "testing"))]
use crate::place::Place;
use crate::provider::{Facts, Outcome, Recognition, RecognizedBy};
use crate::rejection::{Reason, Rejection};
use crate::secrets::{HeadRef, Keys};
use crate::time::Tolerance;

#[cfg(all(feature = "inspect", feature = "testing"))]
use super::fields::Fields;
use super::form::{Attempt, Form, FormId, foreign};
use super::mac::MacProof;
use super::proof::{Judged, Proof};
use super::template::Template;
use crate::handshake::Handshake;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

/// A form by any kind of proof. Nearly every sender signs with MACs, and its requests cost no box.
/// The constructor of another kind of form brings what that kind does: a program has the code of
/// those kinds alone that its senders use.
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
    /// See [`Proof::recognized_by`].
    fn recognized_by(&self) -> Option<Vec<RecognizedBy>>;
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
    #[cfg(all(feature = "inspect", feature = "testing"))]
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
        FormId::of(self)
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

    #[inline]
    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        self.proof.recognized_by()
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
            Some(attempt) => {
                let (read, run) = Attempt::parts(attempt);
                self.finish(read, run, handshakes, head, body, rest)
            }
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

    #[inline]
    fn describe(&self, facts: &mut Facts) {
        self.describe(facts);
    }

    fn methods(&self) -> &[Method] {
        &self.methods
    }

    #[inline]
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

    #[cfg(all(feature = "inspect", feature = "testing"))]
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

    #[inline]
    pub(crate) fn recognizes(&self, head: &Parts) -> Recognition {
        of_form!(self, form => form.recognizes(head))
    }

    /// See [`Proof::recognized_by`].
    #[inline]
    pub(super) fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        of_form!(self, form => form.recognized_by())
    }

    #[inline]
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

    #[inline]
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
            (Self::Mac(form), AnyAttempt::Mac(attempt)) => {
                let (read, run) = attempt.parts();
                form.finish(read, run, handshakes, head, body, rest)
            }
            (Self::Other(form), AnyAttempt::Other(_, attempt)) => {
                form.finish_any(&mut **attempt, handshakes, head, body, rest)
            }
            _ => Err(foreign()),
        }
    }
}
