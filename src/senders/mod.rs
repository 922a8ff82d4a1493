//! Senders by name: what they put on the wire, in a few lines each.
//!
//! Each is a [`Scheme`], made by a function of its name or, from a configuration, by [`by_name`]:
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
#[doc(hidden)]
pub mod cdr_manager;
mod config;
#[cfg(feature = "jwt")]
#[doc(hidden)]
pub mod connect;
mod elsewhere;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "paypal")]
mod paypal;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod pce;
mod plain;
#[cfg(feature = "asymmetric")]
mod signed;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod sns;
#[cfg(feature = "sns")]
#[doc(hidden)]
pub mod telna;
mod timed;
mod token;

use std::fmt;

use crate::config::ConfigError;
use crate::scheme::{Scheme, SchemeFacts};

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
pub use config::SenderConfig;
pub use elsewhere::*;
#[cfg(feature = "jwt")]
pub use jwt::*;
#[cfg(feature = "paypal")]
pub use paypal::*;
pub use plain::*;
#[cfg(feature = "asymmetric")]
pub use signed::*;
pub use timed::*;
pub use token::*;

/// Every sender that [`by_name`] knows, by group.
///
/// ```
/// for sender in tower_webhook::senders::all() {
///     println!("{}: {} ({})", sender.name, sender.title, sender.document);
/// }
/// ```
pub fn all() -> impl Iterator<Item = &'static Sender> {
    ALL.iter().copied().flatten()
}

/// Every sender, in groups: signed bodies, signed times, signed addresses and fields, public keys, tokens.
pub const ALL: &[&[Sender]] = &[
    PLAIN,
    PLAIN_MORE,
    TIMED,
    TIMED_MORE,
    ELSEWHERE,
    ELSEWHERE_MORE,
    #[cfg(feature = "asymmetric")]
    SIGNED,
    #[cfg(feature = "jwt")]
    JWT,
    #[cfg(feature = "paypal")]
    PAYPAL,
    TOKEN,
    TOKEN_MORE,
];

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
    sample: fn() -> SenderConfig,
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

    /// A configuration that the sender can be built from, with keys that everybody knows: for tables and tests.
    #[must_use]
    pub fn sample_config(&self) -> SenderConfig {
        (self.sample)()
    }

    /// What its scheme does, in words.
    ///
    /// # Errors
    ///
    /// None: a test builds every sender from its sample configuration.
    pub fn facts(&self) -> Result<SchemeFacts, ConfigError> {
        self.build(self.sample_config()).map(|scheme| scheme.facts())
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

/// The functions of a group, and its part of the table.
///
/// The first word says what a sender is made from: `secret` takes secrets, `address` also the public URL (none takes the
/// address from forwarded headers), `key` public keys.
macro_rules! senders {
    ($group:ident; $(
        $(#[$doc:meta])*
        $kind:ident $name:ident = $title:literal, $document:literal, $evidence:ident: $scheme:expr;
    )*) => {
        $(senders!(@function $kind $(#[$doc])* $name $title $document $evidence $scheme);)*

        pub(super) const $group: &[super::Sender] = &[$(super::Sender {
            name: stringify!($name),
            title: $title,
            document: $document,
            evidence: super::Evidence::$evidence,
            build: senders!(@build $kind $name),
            sample: senders!(@sample $kind),
        },)*];
    };
    (@function secret $(#[$doc:meta])* $name:ident $title:literal $document:literal $evidence:ident $scheme:expr) => {
        #[doc = concat!("[", $title, "](", $document, ").")]
        #[doc = ""]
        $(#[$doc])*
        #[doc = senders!(@evidence $evidence)]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "Where a secret is missing, empty or not in the sender's form."]
        pub fn $name(secrets: impl Into<crate::secrets::Secrets>) -> Result<Scheme, crate::ConfigError> {
            $scheme.secret(secrets).build(stringify!($name))
        }
    };
    (@function address $(#[$doc:meta])* $name:ident $title:literal $document:literal $evidence:ident $scheme:expr) => {
        #[doc = concat!("[", $title, "](", $document, ").")]
        #[doc = ""]
        $(#[$doc])*
        #[doc = senders!(@evidence $evidence)]
        #[doc = ""]
        #[doc = "The address that the sender was given is signed. `public_url` is that address up to where the path begins that"]
        #[doc = "this service sees."]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "Where a secret is missing, empty or not in the sender's form, or the URL is none."]
        pub fn $name(
            secrets: impl Into<crate::secrets::Secrets>,
            public_url: impl Into<super::PublicAddress>,
        ) -> Result<Scheme, crate::ConfigError> {
            public_url.into().set($scheme).secret(secrets).build(stringify!($name))
        }
    };
    (@function key $(#[$doc:meta])* $name:ident $title:literal $document:literal $evidence:ident $scheme:expr) => {
        #[doc = concat!("[", $title, "](", $document, "). Feature `asymmetric`.")]
        #[doc = ""]
        $(#[$doc])*
        #[doc = senders!(@evidence $evidence)]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = "Where a public key is missing or is none for this sender."]
        pub fn $name(public_keys: impl Into<crate::secrets::Secrets>) -> Result<Scheme, crate::ConfigError> {
            $scheme.public_key(public_keys).build(stringify!($name))
        }
    };
    (@function key_p256 $($function:tt)*) => { senders!(@function key $($function)*); };
    (@evidence Official) => { "" };
    (@evidence Unverified) => {
        "Not verified: the rule comes from others who cite the sender. Try it before you rely on it."
    };
    (@build secret $name:ident) => { |config| $name(config.take_secrets()?) };
    (@build address $name:ident) => { |config| $name(config.take_secrets()?, config.take_address()?) };
    (@build key $name:ident) => { |config| $name(config.take_public_keys()?) };
    (@sample secret) => { super::SenderConfig::sample_secret };
    (@sample address) => { super::SenderConfig::sample_address };
    (@build key_p256 $name:ident) => { senders!(@build key $name) };
    (@sample key_p256) => { super::SenderConfig::sample_p256_key };
    (@sample key) => { super::SenderConfig::sample_key };
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
#[derive(Clone, Debug)]
pub struct PublicAddress(Option<String>);

impl PublicAddress {
    /// What the proxy before this service says: see
    /// [`trust_forwarded_headers`](crate::scheme::SchemeBuilder::trust_forwarded_headers).
    #[must_use]
    pub fn from_forwarded_headers() -> Self {
        Self(None)
    }

    fn set(&self, scheme: crate::scheme::SchemeBuilder) -> crate::scheme::SchemeBuilder {
        match &self.0 {
            Some(base) => scheme.public_url(base),
            None => scheme.trust_forwarded_headers(),
        }
    }
}

impl<T: Into<String>> From<T> for PublicAddress {
    fn from(base: T) -> Self {
        Self(Some(base.into()))
    }
}
