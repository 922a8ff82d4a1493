//! The table of senders: what is in a row, and what a row becomes.

use std::fmt;

use crate::config::ConfigError;
use crate::scheme::Scheme;

use super::config::SenderConfig;

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
    pub(super) build: fn(&mut SenderConfig) -> Result<Scheme, ConfigError>,
}

/// How well a sender's rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// By the sender's own document or code.
    Official,
    /// By others who cite the sender. Not verified against the sender's own document: try it before
    /// you rely on it.
    Unverified,
}

impl Sender {
    /// Builds the sender with this configuration.
    ///
    /// # Errors
    ///
    /// Where something is missing or wrong in it, or means nothing to this sender.
    #[inline]
    pub fn build(&self, mut config: SenderConfig) -> Result<Scheme, ConfigError> {
        let mut scheme = (self.build)(&mut config)?;
        if let Some(tolerance) = config.take_tolerance() {
            scheme = scheme.with_tolerance(tolerance).map_err(|error| error.with_setting("tolerance_seconds"))?;
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

/// The table of senders, and the functions of those that need no code of their own.
///
/// The first word says what a sender is made from: `secret` takes secrets, `address` also the
/// public URL (none takes the address from forwarded headers), `key` public keys, `keyed` those or
/// a look-up by their id, `issuer` the keys of a token's issuer; `own` has a function in a file of
/// its own. Behind it are the features that the sender needs, if it needs any.
macro_rules! senders {
    ($(
        $(#[$doc:meta])*
        $kind:ident $(($($feature:literal),+))? $name:ident = $title:literal, $document:literal, $evidence:ident: $scheme:expr;
    )*) => {
        $(senders!(@function $kind [$($($feature),+)?] [$(#[$doc])*] $name $title $document $evidence $scheme);)*

        /// Every sender, in the order of their names.
        pub(super) const ALL: &[crate::senders::table::Sender] = &[$(
            $(#[cfg(all($(feature = $feature),+))])?
            crate::senders::table::Sender {
                name: stringify!($name),
                title: $title,
                document: $document,
                evidence: crate::senders::table::Evidence::$evidence,
                build: senders!(@build $kind $name $scheme),
            },
        )*];
    };
    (@function own $($rest:tt)*) => {};
    (@function secret $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if a secret is missing, empty or not in the sender's form." [
            (secrets: impl Into<crate::secrets::Secrets> => crate::secrets::Secrets) scheme scheme.secret(secrets)
        ] }
    };
    (@function address $($rest:tt)*) => {
        senders! { @item $($rest)*,
            "The sender signs the address that it was given: `public_url` is that address up to where the path begins that \
             this service sees. Returns an error if it is not valid, or a secret is missing, empty or not in the sender's form."
        [
            (secrets: impl Into<crate::secrets::Secrets> => crate::secrets::Secrets,
             public_url: impl Into<crate::senders::address::PublicAddress> => crate::senders::address::PublicAddress)
            scheme public_url.set(scheme).secret(secrets)
        ] }
    };
    (@function key $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if a public key is missing or is not valid for this sender." [
            (public_keys: impl Into<crate::secrets::Secrets> => crate::secrets::Secrets) scheme scheme.with_public_key(public_keys)
        ] }
    };
    (@function keyed $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if a public key is missing or is not valid for this sender." [
            (keys: impl Into<crate::senders::public_keys::PublicKeys> => crate::senders::public_keys::PublicKeys) scheme keys.set(scheme)
        ] }
    };
    (@function issuer $($rest:tt)*) => {
        senders! { @item $($rest)*, "Returns an error if the process has no usable cryptography for tokens." [
            (keys: crate::scheme::Jwks => crate::scheme::Jwks) scheme scheme(keys)
        ] }
    };
    (@item [$($feature:literal),*] [$(#[$doc:meta])*] $name:ident $title:literal $document:literal $evidence:ident
        $scheme:expr, $errors:literal [($($argument:ident: $type:ty => $inner:ty),*) $of:ident $built:expr]) => {
        #[doc = concat!("[", $title, "](", $document, ").", $(" Feature `", $feature, "`."),*)]
        #[doc = ""]
        $(#[$doc])*
        #[doc = senders!(@evidence $evidence)]
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = ""]
        #[doc = $errors]
        #[cfg(all($(feature = $feature),*))]
        pub fn $name($($argument: $type),*) -> Result<Scheme, crate::config::ConfigError> {
            // What is generic is compiled where it is called, and so it is as little as can be. The rest is inline, as it is
            // compiled in no program then but those that have this sender.
            #[inline]
            fn $name($($argument: $inner),*) -> Result<Scheme, crate::config::ConfigError> {
                let $of = $scheme;
                $built.with_behavior(super::knowledge::$name).build(stringify!($name))
            }
            $name($($argument.into()),*)
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
    (@build keyed $name:ident $scheme:expr) => { |config| $name(config.take_public_keys()?) };
    (@build issuer $name:ident $scheme:expr) => { |config| $name(config.take_jwks(None)?) };
}
pub(super) use senders;
