//! Senders by name: what they put on the wire, in a few lines each.
//!
//! Each is a [`Scheme`], made by a function of its name or, from a configuration, by [`by_name`].
//!
//! # Examples
//!
//! ```
//! use tower_webhook::{WebhookLayer, senders};
//!
//! # fn main() -> Result<(), tower_webhook::ConfigError> {
//! let layer = WebhookLayer::new(senders::github("the secret of the webhook")?);
//!
//! let config = serde_json::from_str(r#"{"secrets": ["the secret of the webhook"]}"#).unwrap();
//! let layer = WebhookLayer::new(senders::by_name("github", config)?);
//! # Ok(())
//! # }
//! ```
//!
//! Rules change: each function names the sender's document, and says where a rule was not found in one.

mod adyen;
mod any_of;
mod asana;
mod braintree;
mod builtin;
#[doc(hidden)]
pub mod cdr_manager;
mod cloudevents;
mod config;
#[cfg(feature = "jwt")]
#[doc(hidden)]
pub mod connect;
mod contentful;
mod gitlab;
#[cfg(feature = "jwt")]
mod google;
mod hubspot;
pub(crate) mod knowledge;
mod mailgun;
mod meta;
mod okta;
#[cfg(feature = "paypal")]
mod paypal;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod pce;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod sns;
mod standard_webhooks;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod telna;
mod twilio;

use std::fmt;

use crate::config::ConfigError;
use crate::public_url::PublicUrl;
use crate::scheme::{Scheme, SchemeBuilder};

#[doc(hidden)]
pub use any_of::{AnyOf, AnyOfVerification};
#[doc(hidden)]
pub use cdr_manager::CdrManager;
#[cfg(feature = "jwt")]
#[doc(hidden)]
pub use connect::Connect;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub use sns::Sns;

pub use crate::certificate::{CertificateConfig, CertificateName};
pub use adyen::adyen_payments;
pub use asana::asana;
pub use braintree::braintree;
pub use builtin::*;
pub use cloudevents::cloudevents;
pub use config::SenderConfig;
pub use contentful::{contentful, contentful_at};
pub use gitlab::gitlab;
#[cfg(feature = "jwt")]
pub use google::google_oidc;
pub use hubspot::hubspot_v3;
pub use mailgun::mailgun;
pub use meta::meta;
pub use okta::{okta, okta_in};
#[cfg(feature = "paypal")]
pub use paypal::{PayPalCertificates, paypal};
#[cfg(feature = "asymmetric")]
pub use standard_webhooks::standard_webhooks_signed;
pub use standard_webhooks::{standard_webhooks, svix};
pub use twilio::twilio;

/// Returns every sender that [`by_name`] knows, in the order of their names.
///
/// # Examples
///
/// ```
/// for sender in tower_webhook::senders::all() {
///     println!("{}: {} ({})", sender.name, sender.title, sender.document);
/// }
/// ```
pub fn all() -> impl Iterator<Item = &'static Sender> {
    ALL.iter()
}

/// A sender in the table.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Sender {
    /// Its name, in `snake_case`, which is that of the function too.
    pub name: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// The address of its document.
    pub document: &'static str,
    /// How well the rule is known.
    pub evidence: Evidence,
    build: fn(&mut SenderConfig) -> Result<Scheme, ConfigError>,
}

/// How well a sender's rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// By the sender's own document or code.
    Official,
    /// By others who cite the sender. Not verified against the sender's own document: try it before you rely on it.
    Unverified,
}

impl Sender {
    /// The sender with this configuration.
    ///
    /// # Errors
    ///
    /// Where something is missing or wrong in it, or means nothing to this sender.
    pub fn build(&self, mut config: SenderConfig) -> Result<Scheme, ConfigError> {
        let mut scheme = (self.build)(&mut config)?;
        if let Some(tolerance) = config.take_tolerance() {
            scheme = scheme.with_tolerance(tolerance)?;
        }
        if let Some(bytes) = config.body_limit_bytes.take() {
            scheme = scheme.with_body_limit(bytes);
        }
        config.finish(self.name)?;
        Ok(scheme)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The sender of this name with this configuration.
///
/// # Errors
///
/// Where there is no such sender, or the configuration is not one for it.
pub fn by_name(name: &str, config: SenderConfig) -> Result<Scheme, ConfigError> {
    match all().find(|sender| sender.name == name) {
        Some(sender) => sender.build(config),
        None => {
            Err(ConfigError::missing("there is no sender of this name; see `senders::all`, and the features it needs"))
        }
    }
}

/// The table of senders, and the functions of those that need no code of their own.
///
/// The first word says what a sender is made from: `secret` takes secrets, `address` also the public URL (none takes the
/// address from forwarded headers), `key` public keys, `issuer` the keys of a token's issuer; `own` has a function in a file
/// of its own. Behind it is the feature that the sender needs, if it needs one.
macro_rules! senders {
    ($(
        $(#[$doc:meta])*
        $kind:ident $(($feature:literal))? $name:ident = $title:literal, $document:literal, $evidence:ident: $scheme:expr;
    )*) => {
        $(senders!(@function $kind [$($feature)?] [$(#[$doc])*] $name $title $document $evidence $scheme);)*

        /// Every sender, in the order of their names.
        pub(super) const ALL: &[super::Sender] = &[$(
            $(#[cfg(feature = $feature)])?
            super::Sender {
                name: stringify!($name),
                title: $title,
                document: $document,
                evidence: super::Evidence::$evidence,
                build: senders!(@build $kind $name $scheme),
            },
        )*];
    };
    (@function own $($rest:tt)*) => {};
    (@function secret $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if a secret is missing, empty or not in the sender's form." [
            (secrets: impl Into<crate::secrets::Secrets>) scheme scheme.secret(secrets)
        ] }
    };
    (@function address $($rest:tt)*) => {
        senders! { @item $($rest)*,
            "The sender signs the address that it was given: `public_url` is that address up to where the path begins that \
             this service sees. Returns an error if it is not valid, or a secret is missing, empty or not in the sender's form."
        [
            (secrets: impl Into<crate::secrets::Secrets>, public_url: impl Into<super::PublicAddress>)
            scheme public_url.into().set(scheme).secret(secrets)
        ] }
    };
    (@function key $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if a public key is missing or is not valid for this sender." [
            (public_keys: impl Into<crate::secrets::Secrets>) scheme scheme.with_public_key(public_keys)
        ] }
    };
    (@function issuer $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if the process has no usable cryptography for tokens." [
            (keys: crate::scheme::Jwks) scheme scheme(keys)
        ] }
    };
    (@item [$($feature:literal)?] [$(#[$doc:meta])*] $name:ident $title:literal $document:literal $evidence:ident
        $scheme:expr, $errors:literal [($($argument:ident: $type:ty),*) $of:ident $built:expr]) => {
        #[doc = concat!("[", $title, "](", $document, ").", $(" Feature `", $feature, "`.")?)]
        #[doc = ""]
        $(#[$doc])*
        #[doc = senders!(@evidence $evidence)]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = $errors]
        $(#[cfg(feature = $feature)])?
        pub fn $name($($argument: $type),*) -> Result<Scheme, crate::ConfigError> {
            let $of = $scheme;
            $built.with_behavior(*super::knowledge::of(stringify!($name))).build(stringify!($name))
        }
    };
    (@evidence Official) => { "" };
    (@evidence Unverified) => {
        "Not verified: the rule comes from others who cite the sender. Try it before you rely on it."
    };
    (@build own $name:ident $build:expr) => { $build };
    (@build secret $name:ident $scheme:expr) => { |config| $name(config.take_secrets()?) };
    (@build address $name:ident $scheme:expr) => { |config| $name(config.take_secrets()?, config.take_address()?) };
    (@build key $name:ident $scheme:expr) => { |config| $name(config.take_public_keys()?) };
    (@build issuer $name:ident $scheme:expr) => { |config| $name(config.take_jwks(None)?) };
}
use senders;

/// The address that a sender was given, for senders that sign it.
///
/// ```
/// use tower_webhook::senders::{self, PublicAddress};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let square = senders::square("the signature key", "https://hooks.example.com")?;
/// // Behind a proxy that writes X-Forwarded-Proto and X-Forwarded-Host, and that nobody can go round:
/// let square = senders::square("the signature key", PublicAddress::from_forwarded_headers())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PublicAddress(Option<String>);

/// Prints no address, which may hold a password.
impl fmt::Debug for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "PublicAddress(..)" } else { "PublicAddress(forwarded)" })
    }
}

impl PublicAddress {
    /// What the proxy before this service says: see
    /// [`with_trusted_forwarded_headers`](crate::scheme::SchemeBuilder::with_trusted_forwarded_headers).
    #[must_use]
    pub fn from_forwarded_headers() -> Self {
        Self(None)
    }

    fn set(&self, scheme: SchemeBuilder) -> SchemeBuilder {
        match &self.0 {
            Some(base) => scheme.with_public_url(base),
            None => scheme.with_trusted_forwarded_headers(),
        }
    }

    fn resolve(&self) -> Result<PublicUrl, ConfigError> {
        self.0.as_deref().map_or(Ok(PublicUrl::Forwarded), PublicUrl::base)
    }
}

impl<T: Into<String>> From<T> for PublicAddress {
    fn from(base: T) -> Self {
        Self(Some(base.into()))
    }
}
