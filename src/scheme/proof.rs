//! What a kind of proof is. Each kind is one file with all about it: how it reads, decides, and
//! signs for tests.

use std::any::Any;
use std::sync::Arc;

#[cfg(feature = "inspect")]
use http::HeaderName;
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::delivery::Signed;
use crate::mac::Mac;
use crate::provider::{MaybeReady, Recognition, RecognizedBy};
use crate::rejection::Rejection;
use crate::secrets::{Keys, MatchedKey};
use crate::time::Tolerance;

use super::fields::{Fields, Unverified};
use super::signed_text::SignedText;
use super::template::{Template, Values, keep_signed_headers};
use crate::place::Place;
#[cfg(feature = "testing")]
use crate::sign::{SignResult, Signer, Unsigned};

/// A value that is known now, or once a key was found; or a rejection.
pub(crate) type Judged<T> = Result<MaybeReady<T>, Rejection>;

/// A kind of proof. A form drives it: `read` and `start` for the head, `receive` while the body
/// arrives, `finish` once it is there.
pub(crate) trait Proof: Clone + Send + Sync + 'static {
    /// What one request offers as its proof. The default stands for an offer that is still in the
    /// body.
    type Offer: Default + Send + 'static;
    /// Which keys one request is verified with.
    type Keys: Send + 'static;
    /// What was computed of the body so far.
    type Progress: Default + Send + 'static;

    /// Returns where the signature is and what it signs, if a template describes it.
    fn text(&self) -> Option<&SignedText> {
        None
    }

    /// Returns what is signed, if a template describes it.
    fn template(&self) -> Option<&Template> {
        self.text().map(|text| &text.template)
    }

    /// Returns the places that may have the proof.
    fn places(&self) -> &[Place] {
        self.text().map_or(&[], |text| &text.signature.places)
    }

    /// Returns the headers that the proof needs besides its places.
    #[cfg(feature = "inspect")]
    fn headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Returns whether the proof may be in the body, so that it is read only once the body is
    /// there.
    fn is_in_body(&self) -> bool {
        self.places().iter().any(Place::in_body)
    }

    /// Returns whether the head has the proof.
    fn recognizes(&self, head: &Parts) -> Recognition {
        Recognition::best(self.places().iter().map(|place| place.recognizes(head)))
    }

    /// See [`Provider::recognized_by`](crate::provider::Provider::recognized_by).
    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        self.places().iter().map(|place| place.header().cloned().map(RecognizedBy::Header)).collect()
    }

    /// Returns whether the body has the proof that the head could not show.
    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.places().iter().any(|place| place.is_there(head, body))
    }

    /// Returns whether keys are looked up by the whole head.
    fn shares_head(&self) -> bool {
        self.mac_keys().is_some_and(Keys::see_whole_head)
    }

    /// Returns what the proof covers.
    fn covers(&self, fields: &Fields) -> Signed {
        self.text().map_or_else(Signed::default, |text| text.covers(fields))
    }

    /// Keeps which headers have nothing but what is signed in them. `own` are the places of time,
    /// id and event, as far as they are signed.
    #[inline]
    fn keep_signed_headers(&self, own: &[Option<&Place>], in_body: &mut Option<Arc<BodyFields>>) {
        keep_signed_headers(own, self.template(), in_body);
    }

    /// Returns whether a verification reads the clock although the form has no timestamp.
    fn is_timed(&self) -> bool {
        false
    }

    /// Returns the tolerance of a time that only the proof knows of.
    fn tolerance_mut(&mut self) -> Option<&mut Tolerance> {
        None
    }

    /// Reads the offered proof, and refuses it if it is not well formed. It comes before all else
    /// that is in the head or the body, so that a request without a signature is refused for
    /// that.
    fn read(&self, head: &Parts, body: &[u8], read: &mut Unverified) -> Result<Self::Offer, Rejection>;

    /// Checks what the head must have besides, and finds the keys.
    fn start(&self, offer: &Self::Offer, values: &Values<'_>) -> Judged<Self::Keys>;

    /// Takes the next part of the body. A part that was not given is in the rest that `finish`
    /// gets.
    fn receive(&self, run: Run<'_, Self>, values: &Values<'_>, chunk: &[u8]) {
        let _ = (run, values, chunk);
    }

    /// Decides. `rest` is the part of the body that `receive` was not given. A key that has to be
    /// fetched is its sender's, whichever it is: only that it signed counts.
    fn finish(&self, run: Run<'_, Self>, values: &Values<'_>, rest: &[u8]) -> Judged<MatchedKey>;

    /// Returns what the proof itself says, for the handler.
    fn parsed(&self, offer: &Self::Offer) -> Option<Arc<dyn Any + Send + Sync>> {
        let _ = offer;
        None
    }

    /// Returns a part of a proof that fits which names the body, as a digest of it would.
    fn body_code<'a>(&self, offer: &'a Self::Offer) -> Option<&'a [u8; 32]> {
        let _ = offer;
        None
    }

    /// Has no part of the proof name the body.
    fn leave_body_unnamed(&mut self) {}

    /// Asks for the proof in the answer to a request that was refused.
    fn refuse(&self, rejection: Rejection) -> Rejection {
        rejection
    }

    /// Returns the keys of handshakes that are answered with a MAC.
    fn mac_keys(&self) -> Option<&Keys<Mac>> {
        None
    }

    /// Returns the key that signed, if it is one of MACs.
    fn mac<'a>(&'a self, keys: &'a Self::Keys, index: usize) -> Option<&'a Mac> {
        let _ = (keys, index);
        None
    }

    /// Describes the proof, for tables.
    #[cfg(feature = "testing")]
    fn describe(&self) -> String;

    /// Signs as the sender would, or returns `None` if this kind of proof needs another signer.
    #[cfg(feature = "testing")]
    fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult;
}

/// What a proof keeps of one request. These are references, as a struct of the values would be
/// copied into the attempt.
pub(crate) struct Run<'a, P: Proof> {
    pub(crate) offer: &'a mut P::Offer,
    pub(crate) keys: &'a P::Keys,
    pub(crate) progress: &'a mut P::Progress,
}
