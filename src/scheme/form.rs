//! A form of a scheme: one way in which a sender signs, by any kind of proof, and the verification
//! of a request by it.

#[cfg(feature = "inspect")]
use std::borrow::Cow;
use std::ptr;
use std::sync::Arc;
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
use crate::secrets::{Keys, MatchedKey};
use crate::time::Tolerance;

use super::custom::CustomProof;
use super::fields::{Fields, Unverified};
#[cfg(feature = "jwt")]
use super::jwt::JwtProof;
use super::mac::MacProof;
#[cfg(feature = "asymmetric")]
use super::message_signature::MessageProof;
use super::proof::{Judged, Proof, Run};
#[cfg(feature = "asymmetric")]
use super::public_key::PublicKeyProof;
use super::settings::Settings;
use super::template::Template;
use super::token::TokenProof;
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
    pub(crate) proof: P,
}

impl<P: Proof> Form<P> {
    /// Makes a form of these settings and a proof, and checks that they fit together.
    pub(crate) fn new(settings: &Settings, proof: P) -> Result<Self, ConfigError> {
        if settings.methods.is_empty() {
            return Err(ConfigError::missing("the scheme accepts no method"));
        }
        let mut fields = settings.fields.clone().with_body_fields(settings.in_body.clone())?;
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
        let names = signed_headers(&fields, signed, proof.template());
        if !names.is_empty() {
            Arc::make_mut(fields.in_body.get_or_insert_default()).signed_headers = names;
        }
        Ok(Self {
            methods: settings.methods.clone(),
            applies: settings.applies,
            signed,
            covers_more: proof.template().is_some_and(|template| template.covers_more(fields.timestamp.as_ref())),
            is_in_body: proof.is_in_body(),
            fields,
            proof,
        })
    }

    #[inline]
    fn id(&self) -> FormId {
        FormId(ptr::from_ref(self).addr())
    }

    /// Returns whether the form is for such a request.
    #[inline]
    pub(crate) fn is_for(&self, head: &Parts) -> bool {
        self.applies.is_none_or(|(_, applies)| applies(head)) && self.methods.contains(&head.method)
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.fields.timestamp.is_some() || self.proof.is_timed()
    }

    pub(crate) fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
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
        head: &Parts,
        now: SystemTime,
        wrap: impl FnOnce(Attempt<P>) -> T + Send + 'static,
    ) -> Judged<T> {
        let mut read = Unverified::new(now);
        let offer = if self.is_in_body { P::Offer::default() } else { self.proof.read(head, b"", &mut read)? };
        self.fields.read(&mut read, head)?;
        let form = self.id();
        match self.proof.start(&offer, &read.values(head, b""))? {
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
struct FormId(usize);

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
        self.fields.read_text(read, head, body)?;
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

macro_rules! kinds {
    ($($(#[$feature:meta])? $kind:ident($proof:ty),)*) => {
        /// A form of a scheme, by any kind of proof.
        #[derive(Clone)]
        pub(crate) enum AnyForm {
            $($(#[$feature])? $kind(Form<$proof>),)*
        }

        /// A request being verified by a form of a scheme.
        pub(crate) enum AnyAttempt {
            $($(#[$feature])? $kind(Attempt<$proof>),)*
        }

        impl AnyForm {
            /// See [`Form::begin`].
            #[inline(always)]
            pub(crate) fn begin<T: Send + 'static>(
                &self,
                head: &Parts,
                now: SystemTime,
                wrap: impl FnOnce(AnyAttempt) -> T + Send + 'static,
            ) -> Judged<T> {
                match self {
                    $($(#[$feature])? Self::$kind(form) => form.begin(head, now, |it| wrap(AnyAttempt::$kind(it))),)*
                }
            }

            /// Returns whether this very form has begun the attempt.
            #[inline]
            pub(crate) fn has_begun(&self, attempt: &AnyAttempt) -> bool {
                match (self, attempt) {
                    $($(#[$feature])? (Self::$kind(form), AnyAttempt::$kind(it)) => form.id() == it.form,)*
                    _ => false,
                }
            }

            /// Takes the next part of the body, for an attempt that the form has begun.
            pub(crate) fn receive(&self, attempt: &mut AnyAttempt, head: &Parts, chunk: &[u8]) {
                match (self, attempt) {
                    $($(#[$feature])? (Self::$kind(form), AnyAttempt::$kind(it)) => form.receive(it, head, chunk),)*
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
                    $($(#[$feature])? (Self::$kind(form), AnyAttempt::$kind(it)) => {
                        form.finish(it, handshakes, head, body, rest)
                    })*
                    _ => Err(foreign()),
                }
            }
        }

        /// Evaluates an expression for a form of any kind.
        macro_rules! of_form {
            ($any:expr, $form:ident => $value:expr) => {
                match $any {
                    $($(#[$feature])? AnyForm::$kind($form) => $value,)*
                }
            };
        }
    };
}

/// Refuses an attempt that another form has begun: a bug in whatever drives the scheme, and never a
/// success.
#[cold]
pub(super) fn foreign() -> Rejection {
    Rejection::new(Reason::NoDelivery).with_detail("another provider began this verification")
}

// The kinds of proof: a new one is a file, and a line here.
kinds! {
    Mac(MacProof),
    Token(TokenProof),
    #[cfg(feature = "asymmetric")]
    PublicKey(PublicKeyProof),
    #[cfg(feature = "jwt")]
    Jwt(JwtProof),
    #[cfg(feature = "asymmetric")]
    Message(MessageProof),
    Custom(CustomProof),
}
#[cfg(feature = "testing")]
pub(crate) use of_form;

impl AnyForm {
    #[inline]
    pub(crate) fn is_for(&self, head: &Parts) -> bool {
        of_form!(self, form => form.is_for(head))
    }

    /// See [`Form::describe`].
    pub(crate) fn describe(&self, facts: &mut Facts) {
        of_form!(self, form => form.describe(facts));
    }

    pub(crate) fn methods(&self) -> &[Method] {
        of_form!(self, form => &form.methods)
    }

    pub(crate) fn is_timed(&self) -> bool {
        of_form!(self, form => form.is_timed())
    }

    /// Returns whether the head has the proof, and the form is for such a request. That the proof
    /// is there is asked first: with several senders on a route, it mostly isn't.
    pub(crate) fn recognizes(&self, head: &Parts) -> Recognition {
        of_form!(self, form => match form.proof.recognizes(head) {
            Recognition::No => Recognition::No,
            _ if !form.is_for(head) => Recognition::No,
            recognized => recognized,
        })
    }

    pub(crate) fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        of_form!(self, form => form.proof.recognizes_body(head, body))
    }

    /// Refuses a request without a proof.
    pub(crate) fn missing(&self) -> Rejection {
        let rejection = Rejection::new(Reason::MissingSignature);
        match of_form!(self, form => form.proof.places().first()) {
            Some(place) => rejection.with_detail(format!("none in {place}")),
            None => rejection,
        }
    }

    /// Returns whether the bytes of the body are part of what is signed.
    pub(crate) fn signs_body_itself(&self) -> bool {
        of_form!(self, form => form.proof.template().is_some_and(Template::has_body))
    }

    pub(crate) fn mac_keys(&self) -> Option<&Keys<Mac>> {
        of_form!(self, form => form.proof.mac_keys())
    }

    /// Returns the headers that the sender sets, the one with the proof first.
    #[cfg(feature = "inspect")]
    pub(super) fn marks(&self) -> Vec<(HeaderName, Cow<'static, str>)> {
        of_form!(self, form => {
            let fields = &form.fields;
            let signed_id = fields.id.as_ref().filter(|_| form.signed.id);
            let places = form.proof.places().iter().chain(fields.timestamp.as_ref().map(|own| &own.place)).chain(signed_id);
            let required = fields.required.iter().map(|(name, _)| (name.clone(), Cow::Borrowed("")));
            let places = places.filter_map(|place| Some((place.mark()?, place.prefix.clone())));
            let headers = form.proof.headers().into_iter().map(|name| (name, Cow::Borrowed("")));
            places.chain(headers).chain(required).collect()
        })
    }

    #[cfg(feature = "inspect")]
    pub(super) fn signs_address(&self) -> bool {
        of_form!(self, form => form.signed.url || form.proof.text().is_some_and(|text| text.may_hold_address()))
    }

    /// Has no part of the proof name the body.
    pub(super) fn leave_body_unnamed(&mut self) {
        of_form!(self, form => form.proof.leave_body_unnamed());
    }

    /// Sets the tolerance, and returns whether there is one to be set.
    pub(crate) fn set_tolerance(&mut self, tolerance: Tolerance) -> bool {
        let own = of_form!(self, form => form.tolerance_mut());
        own.map(|own| *own = tolerance).is_some()
    }
}
