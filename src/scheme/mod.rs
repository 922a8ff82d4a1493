//! Senders as a few declarative lines: where the signature is, what it covers, how it is made.

mod builder;
mod custom;
mod fields;
mod form;
mod handshake;
#[cfg(feature = "jwt")]
mod jwt;
mod mac;
mod place;
mod proof;
#[cfg(feature = "asymmetric")]
mod public_key;
#[allow(clippy::module_inception, reason = "the scheme itself, of which the other files are the parts")]
pub(crate) mod scheme;
mod settings;
#[cfg(feature = "testing")]
mod sign;
mod signed_text;
mod source;
mod template;
#[cfg(feature = "testing")]
mod testing;
mod token;

#[cfg(feature = "jwt")]
pub use crate::jwt::Jwks;
pub use builder::SchemeBuilder;
pub(crate) use custom::{Item, Rule};
pub use handshake::Handshake;
#[cfg(test)]
pub(crate) use handshake::tests::ask;
pub(crate) use handshake::{echo, printable, query_parameter};
#[cfg(feature = "paypal")]
pub(crate) use public_key::FetchKey;
pub(crate) use scheme::Scheme;
pub use scheme::SchemeVerification;
#[cfg(feature = "testing")]
pub(crate) use sign::{SignWith, Signer};
pub(crate) use source::part;
pub use source::{
    SignatureSpec, Source, TimestampSpec, basic, bearer, form, header, json, numbered_headers, path_segment, query,
};
pub(crate) use template::Values;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use testing::SchemeFacts;
