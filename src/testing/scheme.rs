//! Schemes that sign as their senders do, and schemes in words.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::request::Parts;

#[cfg(feature = "inspect")]
use crate::place::{Place, Spot};
use crate::provider::{Facts, Provider};
use crate::rejection::Reason;
use crate::scheme::{AnyForm, DrivenForm as _, Form, Proof, Scheme, of_form};
use crate::sign::{SignError, SignResult, Signer, Unsigned};
use crate::time::Tolerance;

impl Scheme {
    /// Adds what the sender would add.
    pub(crate) fn sign_request(
        &self,
        request: Request<Bytes>,
        now: SystemTime,
        signer: &Signer<'_>,
    ) -> Result<Request<Bytes>, SignError> {
        let (head, body) = request.into_parts();
        for form in &self.0.forms {
            let (mut head, mut body) = (head.clone(), body.clone());
            let mut unsigned = Unsigned { head: &mut head, body: &mut body, now, timestamp: None, id: None };
            if let Some(signed) = of_form!(form, form => form.sign(&mut unsigned, signer)) {
                return signed.map(|()| Request::from_parts(head, body));
            }
        }
        Err(SignError::new(match signer {
            Signer::Secret => "it does not take such a request, or holds no secret to sign it with",
            Signer::PrivateKey(_) => "it does not verify such a request by a public key",
            Signer::Token(_) => "it does not verify such a request by a token",
        }))
    }

    /// Adds an event and an id at the places where the sender has them, and a small body if there
    /// is none. A body that is there stays as it is.
    #[cfg(feature = "inspect")]
    pub(crate) fn sample(
        &self,
        request: Request<Option<Bytes>>,
        event: &str,
        id: &str,
    ) -> Result<Request<Bytes>, SignError> {
        let (mut head, given) = request.into_parts();
        let is_given = given.is_some();
        let (fields, proof_places) = of_form!(&self.0.forms[0], form => (form.fields(), form.proof_places()));
        let ids = fields.id.iter().map(|place| (place, id));
        let places: Vec<_> = ids.chain(fields.event.iter().map(|place| (place, event))).collect();
        let in_body = places.iter().map(|(place, _)| *place).chain(proof_places);
        let mut body = given.unwrap_or_else(|| Bytes::from_static(start_of_body(in_body)));
        for (place, value) in places {
            if !(is_given && place.in_body()) {
                place.clear(&mut head);
                place.put(&mut head, &mut body, value)?;
            }
        }
        Ok(Request::from_parts(head, body))
    }
}

/// Describes a scheme in words, for the tables of the documentation.
#[must_use]
pub fn facts(scheme: &Scheme) -> SchemeFacts {
    let inner = &scheme.0;
    let mut forms: Vec<String> = Vec::new();
    for form in &inner.forms {
        let form = of_form!(form, form => form.describe_form());
        // Forms that differ by a key or an address alone are one to a reader.
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    let Facts { tolerance, body_limit, event, identity, .. } = scheme.facts().remove(0);
    let deduplicated_by = identity.unwrap_or_default();
    SchemeFacts { scheme: forms.join("; or "), tolerance, body_limit, event, deduplicated_by }
}

/// Returns the smallest body that has room for these places.
#[cfg(feature = "inspect")]
fn start_of_body<'a>(places: impl Iterator<Item = &'a Place>) -> &'static [u8] {
    for place in places {
        match &place.spot {
            Spot::Json(pointer) if pointer.starts_with("/0/") => return b"[{}]",
            Spot::Form(_) => return b"",
            _ => {}
        }
    }
    b"{}"
}

/// A scheme in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemeFacts {
    /// The algorithm, where the signature is, and what it covers.
    pub scheme: String,
    /// How far the timestamp may be from now, if there is one.
    pub tolerance: Option<Tolerance>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Where the event's name is.
    pub event: Option<String>,
    /// What tells a repetition from a new delivery.
    pub deduplicated_by: String,
}

impl<P: Proof> Form<P> {
    /// Signs, or returns `None` if the form is not for such a request or signer.
    pub(crate) fn sign(&self, request: &mut Unsigned<'_>, signer: &Signer<'_>) -> SignResult {
        if !self.is_for(request.head) {
            return None;
        }
        match self.fill(request) {
            Ok(()) => self.proof.sign(request, signer),
            Err(error) => Some(Err(error)),
        }
    }

    /// Adds what is signed besides the body.
    fn fill(&self, request: &mut Unsigned<'_>) -> Result<(), SignError> {
        let Unsigned { head, body, now, timestamp, id } = request;
        for (name, value) in &self.fields.required {
            head.headers.insert(name, value.clone());
        }
        self.proof.places().iter().for_each(|place| place.clear(head));
        if let Some(own) = &self.fields.timestamp {
            let text = own.format.format(*now).ok_or_else(|| SignError::new("the time lies before 1970"))?;
            own.place.clear(head);
            own.place.put(head, body, &text)?;
            *timestamp = Some(text);
        }
        if let Some(place) = &self.fields.id {
            let read = |head: &Parts, body: &[u8]| place.text(head, body, Reason::MalformedHeader).ok().flatten();
            if self.fields.id_in_text && read(head, body).is_none() {
                place.put(head, body, "msg_1")?;
            }
            *id = read(head, body);
        }
        Ok(())
    }
}
