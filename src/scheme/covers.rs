//! What a scheme's signature covers.

use crate::delivery::Signed;

use super::place::Place;
#[cfg(feature = "jwt")]
use super::plan::Proof;
use super::plan::{Applies, Plan, Where};
use super::template::Piece;

impl Plan {
    /// What the signature covers.
    pub(super) fn covered(&self) -> Signed {
        #[cfg(feature = "jwt")]
        if let Proof::Jwt(proof) = &self.proof {
            let body = proof.body_hash.is_some();
            return Signed {
                body,
                timestamp: proof.times.issued.is_some(),
                id: proof.id_claim.is_some() || (body && self.id.is_some()),
                event: body && self.event.is_some(),
                ..Signed::default()
            };
        }
        if !matches!(self.signature, Where::Signature(_) | Where::Crafted(_)) {
            return Signed::default();
        }
        let template = &self.template;
        let body = match &self.signature {
            Where::Crafted(crafted) => crafted.covers_body,
            _ => template.covers_body() || self.body_hash.is_some() || self.applies == Some(Applies::NoBody),
        };
        let covers = |place: &Place| match place.header() {
            Some(name) => template.has(&Piece::Header(name.clone())) || template.covers_headers(),
            None => body && place.in_body(),
        };
        Signed {
            body,
            timestamp: self
                .timestamp
                .as_ref()
                .is_some_and(|timestamp| template.has(&Piece::Timestamp) || covers(&timestamp.place)),
            id: self.id.as_ref().is_some_and(|id| template.has(&Piece::Id) || covers(id)),
            event: self.event.as_ref().is_some_and(covers),
            url: template.covers_url(),
        }
    }
}
