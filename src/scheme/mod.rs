//! Senders as a few declarative lines: where the signature is, what it covers, how it is made.

mod any_form;
mod body_hash;
mod builder;
mod custom;
mod fields;
mod form;
#[cfg(feature = "jwt")]
mod jwt;
mod kinds;
mod mac;
#[cfg(feature = "asymmetric")]
mod message_signature;
mod parked;
mod pieces;
mod proof;
#[cfg(feature = "asymmetric")]
mod public_key;
#[allow(clippy::module_inception, reason = "the scheme itself, of which the other files are the parts")]
pub(crate) mod scheme;
mod settings;
mod several;
mod signed_text;
mod source;
mod template;
mod token;

pub use crate::handshake::Handshake;
#[cfg(test)]
pub(crate) use crate::handshake::tests::ask;
pub(crate) use crate::handshake::{challenge_mac, echo, only_member, printable, query_parameter};
#[cfg(feature = "certificates")]
#[cfg(feature = "jwt")]
pub use crate::jwt::ChainRoots;
#[cfg(feature = "jwt")]
pub use crate::jwt::{Jwks, JwtClaims, JwtRules};
#[cfg(all(feature = "asymmetric", feature = "fetch"))]
pub use crate::key_lookup::KeyLookup;
#[cfg(feature = "asymmetric")]
pub use crate::message_signatures::MessageRules;
#[cfg(feature = "testing")]
pub(crate) use any_form::{AnyForm, DrivenForm, of_form};
pub use builder::SchemeBuilder;
pub(crate) use custom::{Item, Rule};
#[cfg(feature = "testing")]
pub(crate) use form::Form;
#[cfg(feature = "testing")]
pub(crate) use proof::Proof;
pub(crate) use scheme::Scheme;
pub use scheme::SchemeVerification;
#[cfg(feature = "jwt")]
pub use source::body;
#[cfg(feature = "asymmetric")]
pub(crate) use source::in_header;
pub(crate) use source::part;
pub use source::{
    SignatureSpec, Source, TimestampSpec, basic, bearer, form, header, json, numbered_headers, path_segment, query,
};
pub(crate) use template::Values;
