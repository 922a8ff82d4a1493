//! A scheme in words, for tables.

use std::fmt;

use crate::time::Tolerance;

use super::Scheme;
use super::place::{Place, Spot};
use super::plan::{Applies, Plan, Proof, Where};

/// What a scheme does, in words: see [`Scheme::facts`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemeFacts {
    /// The algorithm, where the signature is, and what it covers.
    pub scheme: String,
    /// How far the timestamp may be from now, where there is one.
    pub tolerance: Option<Tolerance>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Where the event's name is.
    pub event: Option<String>,
    /// What tells a repetition from a new delivery.
    pub deduplicated_by: String,
}

impl Scheme {
    /// The scheme in words.
    #[must_use]
    pub fn facts(&self) -> SchemeFacts {
        let plans: Vec<_> = self.plans().map(ToString::to_string).collect();
        let first = &self.first;
        let signed = first.signed;
        let deduplicated_by = match (&first.id, first.in_body.as_ref().is_some_and(|fields| fields.has_identity())) {
            #[cfg(feature = "jwt")]
            (None, false) if signed.id => match &first.proof {
                Proof::Jwt(proof) => format!("claim `{}`", proof.id_claim.unwrap_or_default()),
                _ => "the body".to_owned(),
            },
            (_, true) => "an id in the body".to_owned(),
            (Some(id), false) if signed.id => id.to_string(),
            _ => "the body".to_owned(),
        };
        SchemeFacts {
            scheme: plans.join("; or "),
            tolerance: first.tolerance(),
            body_limit: first.body_limit,
            event: first.event.as_ref().map(|event| match signed.event {
                true => event.to_string(),
                false => format!("{event}, unsigned"),
            }),
            deduplicated_by,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proof {
            Proof::Mac { kind, .. } => f.write_str(kind.name())?,
            Proof::Token { .. } => f.write_str("shared token")?,
            #[cfg(feature = "asymmetric")]
            Proof::Public { algorithm, .. } => f.write_str(algorithm.name())?,
            #[cfg(feature = "asymmetric")]
            Proof::Fetched(fetched) => f.write_str(fetched.name)?,
            #[cfg(feature = "jwt")]
            Proof::Jwt(proof) => {
                write!(f, "JWT {:?} in `{}`", proof.algorithm, proof.header)?;
                match proof.body_hash {
                    Some(claim) => write!(f, ", the body's SHA-256 in the claim `{claim}`")?,
                    None => f.write_str(", which leaves the body unsigned")?,
                }
            }
        }
        match &self.signature {
            Where::Signature(signature) => {
                write!(f, " in ")?;
                for (index, place) in signature.places.iter().enumerate() {
                    write!(f, "{}{place}", if index == 0 { "" } else { " or " })?;
                }
                write!(f, " ({}) over `{}`", signature.encoding.name(), self.template)?;
                for hash in self.body_hash.iter().flat_map(|hash| &hash.places) {
                    write!(f, ", the body's SHA-256 in {hash}")?;
                }
                f.write_str(match self.applies {
                    None => "",
                    Some(Applies::Form) => ", of forms",
                    Some(Applies::NotForm) => ", of other bodies",
                    Some(Applies::NoBody) => ", without a body",
                })
            }
            Where::Token(place) => write!(f, " in {place}"),
            #[cfg(feature = "jwt")]
            Where::Jwt => Ok(()),
            Where::Crafted(crafted) => write!(f, " over {}", crafted.signed),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spot {
            Spot::Header(name) => write!(f, "`{name}`")?,
            Spot::Numbered(stem) => write!(f, "`{stem}1` and on")?,
            Spot::Basic => f.write_str("`authorization` (Basic)")?,
            Spot::Query(parameter) => write!(f, "query `{parameter}`")?,
            Spot::PathEnd => f.write_str("the end of the path")?,
            Spot::Json(pointer) => write!(f, "body `{pointer}`")?,
            Spot::Form(field) => write!(f, "form field `{field}`")?,
        }
        match self.prefix {
            "" => Ok(()),
            prefix => write!(f, " `{}`", prefix.trim()),
        }
    }
}
