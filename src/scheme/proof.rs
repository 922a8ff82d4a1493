//! A way to prove a request. Each kind is one file with everything about it: what it reads, what it covers, how it decides,
//! and how tests sign.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use crate::delivery::{self, Signed};
use crate::mac::Mac;
use crate::provider::{MaybeReady, Outcome, Recognition};
use crate::rejection::Rejection;
use crate::secrets::{KeyPrint, Keys};
#[cfg(feature = "testing")]
use crate::sign::SignError;
use crate::time::Tolerance;

use super::custom::CustomProof;
use super::form::{Attempt, Fields, Form, Unverified};
use super::handshake::Handshake;
#[cfg(feature = "jwt")]
use super::jwt::JwtProof;
use super::mac::MacProof;
#[cfg(feature = "testing")]
use super::place::Place;
#[cfg(feature = "asymmetric")]
use super::public_key::PublicKeyProof;
#[cfg(feature = "testing")]
use super::sign::{Signer, Unsigned};
use super::signed_text::SignedText;
use super::template::Values;
use super::timestamp::Timestamp;
use super::token::TokenProof;

/// A value that is known now, or once a key was found; or a rejection.
pub(super) type Judged<T> = Result<MaybeReady<T>, Rejection>;

/// A kind of proof. A [`Form`] drives it: `read` and `start` for the head, `receive` while the body arrives, `finish` once
/// it is there.
pub(super) trait Proof: Clone + Send + Sync + 'static {
    /// What one request offers as its proof.
    type Offer: Send + 'static;
    /// The keys for one request.
    type Keys: Send + 'static;
    /// What was computed of the body so far. It is apart from the keys because it may be large, and is made in its place.
    type Progress: Default + Send + 'static;

    /// Returns where the signature is and what it signs, if a template describes it.
    fn text(&self) -> Option<&SignedText> {
        None
    }

    /// Returns whether the head has the proof.
    fn recognizes(&self, head: &Parts) -> Recognition {
        self.text().map_or(Recognition::Perhaps, |text| text.signature.recognizes(head))
    }

    /// Returns whether the body has the proof that the head could not show.
    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.text().is_some_and(|text| text.signature.is_there(head, body))
    }

    /// Returns what the proof covers.
    fn covers(&self, fields: &Fields, empty_body: bool) -> Signed {
        self.text().map_or_else(Signed::default, |text| text.covers(fields, empty_body))
    }

    /// Returns what the proof of this request covers, which may be less.
    fn covers_of(&self, signed: Signed, _: &Unverified) -> Signed {
        signed
    }

    /// Returns whether the timestamp and the id are part of the signed text, so that they must be there.
    fn is_in_text(&self) -> (bool, bool) {
        self.text().map_or((false, false), SignedText::is_in_text)
    }

    /// Returns whether a verification reads the clock although the form has no timestamp.
    fn is_timed(&self) -> bool {
        false
    }

    /// Returns how long a copy of the request is taken, if the form has no timestamp.
    fn fresh_for(&self, offer: &Self::Offer) -> Option<Duration> {
        let _ = offer;
        None
    }

    /// Returns the tolerance of a time that only the proof knows of.
    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        None
    }

    /// Reads the offered proof from the head, and refuses it if it is not well formed.
    fn read(&self, head: &Parts, now: SystemTime, fields: &mut Unverified) -> Result<Self::Offer, Rejection>;

    /// Reads the offered proof from the body, if it is there. It comes before all else that is in the body, so that a request
    /// without a signature is refused for that.
    fn read_body(&self, offer: &mut Self::Offer, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        let _ = (offer, head, body);
        Ok(())
    }

    /// Checks what the head must have besides, and finds the keys.
    fn start(&self, offer: &Self::Offer, values: &Values<'_>) -> Judged<Self::Keys>;

    /// Takes the next part of the body. A part that was not given is in the rest that `finish` gets.
    fn receive(&self, keys: &Self::Keys, progress: &mut Self::Progress, values: &Values<'_>, chunk: &[u8]) {
        let _ = (keys, progress, values, chunk);
    }

    /// Decides, and returns the position of the key. `rest` is the part of the body that `receive` was not given.
    fn finish(
        &self,
        offer: &Self::Offer,
        keys: &Self::Keys,
        progress: &mut Self::Progress,
        values: &Values<'_>,
        rest: &[u8],
    ) -> Judged<usize>;

    /// Checks what the proof says about the body without covering its bytes.
    fn check_body(&self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        self.text().map_or(Ok(()), |text| text.check_body(head, body))
    }

    /// Returns whether more than literals may be signed besides the body and the time.
    fn covers_more(&self, time: Option<&Timestamp>) -> bool {
        self.text().is_some_and(|text| text.template.covers_more(time))
    }

    /// Returns what is signed besides the body and the time, if that is more than literals. Called only if the proof
    /// [covers more](Self::covers_more).
    fn signed_text(
        &self,
        values: &Values<'_>,
        time: Option<&Timestamp>,
    ) -> Result<Option<delivery::SignedText>, Rejection> {
        self.text().map(|text| text.template.without_time(values, time)).transpose()
    }

    /// Returns what tells the key at this position from others.
    fn key_print(&self, keys: &Self::Keys, index: usize) -> Option<KeyPrint> {
        let _ = (keys, index);
        None
    }

    /// Returns the keys of handshakes that are answered with a MAC.
    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        None
    }

    /// Returns the key that signed, if it is one of MACs.
    fn mac<'a>(&self, keys: &'a Self::Keys, index: usize) -> Option<&'a Mac> {
        let _ = (keys, index);
        None
    }

    /// Returns where the proof is, to be cleared before a request is signed.
    #[cfg(feature = "testing")]
    fn places(&self) -> &[Place] {
        self.text().map_or(&[], |text| &text.signature.places)
    }

    /// Describes the proof, for tables.
    #[cfg(feature = "testing")]
    fn describe(&self) -> String;

    /// Signs as the sender would, or returns `None` if this kind of proof needs another signer.
    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> Option<Result<(), SignError>>;
}

/// The kinds of proof: a new one is a file, and a line in the list below.
macro_rules! kinds {
    ($($(#[$feature:meta])? $kind:ident($proof:ty),)*) => {
        /// A form of a scheme, by any kind of proof.
        #[derive(Clone)]
        pub(super) enum AnyForm {
            $($(#[$feature])? $kind(Arc<Form<$proof>>),)*
        }

        /// A request being verified by a form of a scheme.
        pub(super) enum AnyAttempt {
            $($(#[$feature])? $kind(Attempt<$proof>),)*
        }

        $($(#[$feature])? impl From<Form<$proof>> for AnyForm {
            fn from(form: Form<$proof>) -> Self {
                Self::$kind(Arc::new(form))
            }
        })*

        impl AnyForm {
            /// Judges the head. `wrap` makes the result of the attempt in its place, as an attempt is large.
            #[inline]
            pub(super) fn begin<T: Send + 'static>(
                &self,
                head: &Parts,
                now: SystemTime,
                wrap: impl FnOnce(AnyAttempt) -> T + Send + 'static,
            ) -> Judged<T> {
                match self {
                    $($(#[$feature])? Self::$kind(form) => form.begin(head, now, |it| wrap(AnyAttempt::$kind(it))),)*
                }
            }
        }

        impl AnyAttempt {
            pub(super) fn receive(&mut self, head: &Parts, chunk: &[u8]) {
                match self {
                    $($(#[$feature])? Self::$kind(attempt) => attempt.receive(head, chunk),)*
                }
            }

            #[inline]
            pub(super) fn finish(
                &mut self,
                handshakes: &[Handshake],
                head: &Parts,
                body: &Bytes,
                rest: &[u8],
            ) -> Judged<Outcome> {
                match self {
                    $($(#[$feature])? Self::$kind(attempt) => attempt.finish(handshakes, head, body, rest),)*
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

kinds! {
    Mac(MacProof),
    Token(TokenProof),
    #[cfg(feature = "asymmetric")]
    PublicKey(PublicKeyProof),
    #[cfg(feature = "jwt")]
    Jwt(JwtProof),
    Custom(CustomProof),
}
#[cfg(feature = "testing")]
pub(super) use of_form;

impl AnyForm {
    pub(super) fn is_for(&self, head: &Parts) -> bool {
        of_form!(self, form => form.is_for(head))
    }

    pub(super) fn methods(&self) -> &[Method] {
        of_form!(self, form => &form.methods)
    }

    pub(super) fn is_timed(&self) -> bool {
        of_form!(self, form => form.is_timed())
    }

    pub(super) fn recognizes(&self, head: &Parts) -> Recognition {
        of_form!(self, form => form.proof.recognizes(head))
    }

    pub(super) fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        of_form!(self, form => form.proof.recognizes_body(head, body))
    }

    pub(super) fn mac_keys(&self) -> Option<&Keys<Mac>> {
        of_form!(self, form => form.proof.mac_keys())
    }

    /// Sets the tolerance, and returns whether there is one to be set.
    pub(super) fn set_tolerance(&mut self, tolerance: Tolerance) -> bool {
        let own = of_form!(self, form => Arc::make_mut(form).tolerance_mut());
        own.map(|own| *own = tolerance).is_some()
    }
}
