//! A signature over a template: what MACs and public keys have in common.

use std::sync::Arc;

use http::request::Parts;
#[cfg(feature = "testing")]
use sha2::{Digest as _, Sha256};

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "testing")]
use crate::sign::SignError;

use super::body_hash::BodyHash;
use super::fields::Fields;
use super::settings::{Settings, ShowAddress};
use super::template::Template;
use crate::place::{Place, Signature};
#[cfg(feature = "testing")]
use crate::sign::Unsigned;

/// Where the signature is, and what it signs.
#[derive(Clone)]
pub(crate) struct SignedText {
    pub(crate) signature: Signature,
    pub(crate) template: Template,
    /// Where a SHA-256 of the body is, in a place that is signed.
    body_hash: Option<BodyHash>,
    /// The address that a piece of the sender's own holds, for the operator.
    address: Option<Arc<ShowAddress>>,
    /// Whether everything that is signed before the body is known before the body is.
    pub(crate) streams: bool,
}

impl SignedText {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self, ConfigError> {
        let template = Template::of(settings.template.as_ref(), settings.public_url.as_ref(), &settings.pieces)
            .map_err(|error| error.with_setting("signed"))?;
        let body_hash = settings.body_hash.take();
        let signed = template.covers();
        if !(signed.body || body_hash.is_some() || settings.body_unsigned) {
            return Err(ConfigError::conflict(
                "the signed template has no {body}, {params} or {body_sha256}: anyone could change the body",
            ));
        }
        let missing = || ConfigError::missing("the scheme does not say where the signature is");
        let signature = settings.signature.take().ok_or_else(missing)?;
        let Fields { timestamp, id, .. } = &settings.fields;
        let in_body = |place: Option<&Place>| place.is_some_and(Place::in_body);
        let streams = template.streams()
            && !(signed.timestamp && in_body(timestamp.as_ref().map(|timestamp| &timestamp.place)))
            && !(signed.id && in_body(id.as_ref()));
        Ok(Self { signature, template, body_hash, address: settings.address.take(), streams })
    }

    pub(crate) fn covers(&self, fields: &Fields) -> Signed {
        let own = self.template.covers();
        let body = own.body || self.body_hash.is_some();
        let covers = |place: &Place| self.template.has(place) || (body && place.in_body());
        Signed {
            body,
            timestamp: fields.timestamp.as_ref().is_some_and(|it| own.timestamp || covers(&it.place)),
            id: fields.id.as_ref().is_some_and(|id| own.id || covers(id)),
            event: fields.event.as_ref().is_some_and(|event| own.event || covers(event)),
            url: own.url,
        }
    }

    /// Names the address that was signed over, if a mismatch may be due to it. Values of the query
    /// are left out.
    #[cold]
    pub(crate) fn explain(&self, rejection: Rejection, head: &Parts) -> Rejection {
        let own = || self.address.as_ref().and_then(|address| address(head));
        match self.template.url(head).or_else(own) {
            Some(url) if rejection.reason() == Reason::SignatureMismatch => {
                rejection.with_detail(format!("the address signed over is {url}"))
            }
            _ => rejection,
        }
    }

    /// Returns whether an address, or a part of one, may be signed.
    #[cfg(feature = "inspect")]
    pub(super) fn may_hold_address(&self) -> bool {
        let pieces = ["{url}", "{path}", "{query}", "{query:"];
        self.address.is_some() || pieces.iter().any(|piece| self.template.text.contains(piece))
    }

    /// Returns whether a hash of the body is signed, with which it must be compared.
    pub(crate) fn has_body_hash(&self) -> bool {
        self.body_hash.is_some()
    }

    /// Compares the body with its signed hash, if there is one.
    pub(crate) fn check_body(&self, head: &Parts, body: &[u8]) -> Result<(), Rejection> {
        match &self.body_hash {
            Some(hash) => hash.check(head, body),
            None => Ok(()),
        }
    }

    /// Describes a signature by this algorithm, for tables.
    #[cfg(feature = "testing")]
    pub(crate) fn describe(&self, algorithm: &str) -> String {
        let Self { signature, template, body_hash, .. } = self;
        let (names, encoding) = (signature.names(), signature.encoding.name());
        let hash = body_hash.as_ref().map(|hash| format!(", the body's SHA-256 in {}", hash.at.names()));
        let text = template.text.escape_default();
        format!("{algorithm} in {names} ({encoding}) over `{text}`{}", hash.unwrap_or_default())
    }

    #[cfg(feature = "testing")]
    pub(crate) fn sign(
        &self,
        request: &mut Unsigned<'_>,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SignError>,
    ) -> Result<(), SignError> {
        if let Some(BodyHash { at: hash, .. }) = &self.body_hash {
            let text = hash.encoding.encode(&Sha256::digest(&*request.body));
            hash.places[0].put(request.head, request.body, &text)?;
        }
        let mut text = self.signature.encoding.encode(&sign(&self.template.to_sign(request)?)?);
        if let Some(separator) = self.signature.behind {
            text.insert_str(0, &format!("1{}", char::from(separator)));
        }
        self.signature.places[0].put(request.head, request.body, &text)
    }
}
