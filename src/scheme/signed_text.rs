//! A signature over a template: what MACs and public keys have in common.

use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::builder::SchemeBuilder;
use super::form::Fields;
use super::place::Place;
#[cfg(feature = "testing")]
use super::sign::Unsigned;
use super::signature::{Candidates, Signature};
#[cfg(feature = "asymmetric")]
use super::template::Values;
use super::template::{Piece, Template};

/// Where the signature is, and what it signs.
#[derive(Clone)]
pub(super) struct SignedText {
    pub(super) signature: Signature,
    pub(super) template: Template,
    /// Where a SHA-256 of the body is, in a place that is signed.
    body_hash: Option<Signature>,
}

impl SignedText {
    pub(super) fn new(builder: &SchemeBuilder) -> Result<Self, ConfigError> {
        let url = builder.public_url.clone().transpose()?;
        let template = Template::parse(&builder.template, url.as_ref())?;
        let body_hash = builder.body_hash.clone().map(|hash| hash.0).transpose()?;
        if !(template.covers_body() || body_hash.is_some() || builder.empty_body || builder.body_unsigned) {
            return Err(ConfigError::conflict(
                "the signed template has no {body} and no {params}: anyone could change the body",
            ));
        }
        Ok(Self { signature: builder.place_of_signature()?, template, body_hash })
    }

    /// Returns whether everything that is signed before the body is known before the body is.
    pub(super) fn streams(&self, builder: &SchemeBuilder) -> bool {
        let in_body = |place: Option<&Place>| place.is_some_and(Place::in_body);
        let timestamp = builder.timestamp.as_ref().and_then(|timestamp| timestamp.0.as_ref().ok());
        let id = builder.id.as_ref().and_then(|id| id.0.as_ref().ok());
        self.template.streams()
            && !(self.template.has(&Piece::Timestamp) && in_body(timestamp.map(|timestamp| &timestamp.place)))
            && !(self.template.has(&Piece::Id) && in_body(id))
    }

    pub(super) fn is_in_text(&self) -> (bool, bool) {
        (self.template.has(&Piece::Timestamp), self.template.has(&Piece::Id))
    }

    pub(super) fn covers(&self, fields: &Fields, empty_body: bool) -> Signed {
        let template = &self.template;
        let body = template.covers_body() || self.body_hash.is_some() || empty_body;
        let covers = |place: &Place| match place.header() {
            Some(name) => template.has(&Piece::Header(name.clone())),
            None => body && place.in_body(),
        };
        Signed {
            body,
            timestamp: fields.timestamp.as_ref().is_some_and(|it| fields.timestamp_in_text || covers(&it.place)),
            id: fields.id.as_ref().is_some_and(|id| fields.id_in_text || covers(id)),
            event: fields.event.as_ref().is_some_and(covers),
            url: template.covers_url(),
        }
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn message(&self, values: &Values<'_>) -> Result<Vec<u8>, Rejection> {
        let mut message = Vec::new();
        self.template.feed(values, &mut |bytes| message.extend_from_slice(bytes))?;
        Ok(message)
    }

    /// Names the address that was signed over, if a mismatch may be due to it. Values of the query are left out.
    #[cold]
    pub(super) fn explain(&self, rejection: Rejection, head: &Parts) -> Rejection {
        match self.template.url(head) {
            Some(url) if rejection.reason() == Reason::SignatureMismatch => {
                rejection.with_detail(format!("the address signed over is {url}"))
            }
            _ => rejection,
        }
    }

    /// Compares the body with its signed hash.
    pub(super) fn check_body(&self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        let Some(hash) = &self.body_hash else { return Ok(()) };
        let digest = Sha256::digest(body);
        let mut claimed = Candidates::new();
        hash.read(head, body, digest.len(), &mut claimed).map_err(|rejection| match rejection.reason() {
            Reason::MissingSignature => Rejection::new(Reason::BodyMismatch)
                .with_detail(format!("nothing signs it, as its SHA-256 is not in {}", hash.names())),
            _ => rejection,
        })?;
        if claimed.iter().any(|claimed| !bool::from(claimed.as_bytes().ct_eq(&digest))) {
            return Err(Rejection::new(Reason::BodyMismatch)
                .with_detail(format!("its SHA-256 is not the one in {}", hash.names())));
        }
        Ok(())
    }

    #[cfg(feature = "testing")]
    pub(super) fn describe(&self, algorithm: &str) -> String {
        let hash = self
            .body_hash
            .as_ref()
            .map_or_else(String::new, |hash| format!(", the body's SHA-256 in {}", hash.names()));
        self.signature.describe(algorithm, &self.template) + &hash
    }

    #[cfg(feature = "testing")]
    pub(super) fn sign(
        &self,
        request: &mut Unsigned<'_>,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SignError>,
    ) -> Result<(), SignError> {
        if let Some(hash) = &self.body_hash {
            let text = hash.encoding.encode(&Sha256::digest(&*request.body));
            hash.places[0].put(request.head, request.body, &text)?;
        }
        let mut message = Vec::new();
        self.template
            .feed(&request.values(), &mut |bytes| message.extend_from_slice(bytes))
            .map_err(|_| SignError::new("the request lacks something that is signed"))?;
        self.signature.put(request, &sign(&message)?)
    }
}
