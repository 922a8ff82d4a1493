//! A sender's configuration, as a file or a database holds it.

mod message_signature;
mod place;
mod scheme;

use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::certificate::CertificateConfig;
use crate::config::ConfigError;
use crate::secrets::{Secret, Secrets};
use crate::time::Tolerance;

use super::address::PublicAddress;

pub use scheme::SchemeConfig;

/// Defines the configuration: each setting once, with its type, its setter and what the setter
/// makes of its argument.
macro_rules! settings {
    ($(#[$about:meta])* pub struct $config:ident {$(
        $(#[$doc:meta])*
        $field:ident: $type:ty, $setter:ident$(<$generic:ident: $bound:path>)?($value:ident: $from:ty) = $into:expr;
    )*}) => {
        $(#[$about])*
        #[derive(Clone, Default)]
        #[non_exhaustive]
        pub struct $config {
            $($(#[$doc])* pub $field: $type,)*
            /// The keys that were read, of which each may be there once.
            read: Vec<&'static str>,
        }

        impl $config {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter$(<$generic: $bound>)?(mut self, $value: $from) -> Self {
                    self.$field = $into;
                    self
                }
            )*

            /// Reads the value of this key, and returns whether it is a setting of a sender: for a file in which those stand
            /// beside settings of another kind, in the `visit_map` of its own visitor.
            ///
            /// # Errors
            ///
            /// Returns an error if the value doesn't fit the key, or the key was there before.
            pub fn read_key<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
                match key {
                    $(stringify!($field) => {
                        const KEY: &str = stringify!($field);
                        if self.read.contains(&KEY) {
                            return Err(A::Error::duplicate_field(KEY));
                        }
                        self.read.push(KEY);
                        self.$field = Setting::read(map)?;
                    })*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Returns the first setting that is still there.
            #[inline]
            fn first_left(&self) -> Option<&'static str> {
                $(if self.$field.is_set() {
                    return Some(stringify!($field));
                })*
                None
            }

            const KEYS: &[&str] = &[$(stringify!($field)),*];
        }
    };
}

settings! {
    /// The settings of any sender, as a file or a row of a database holds them.
    ///
    /// [`provider`](Self::provider) names the sender, and that sender's function says which of the others it needs. What means
    /// nothing to it is refused, except the public URL, which belongs to the service rather than to the sender.
    ///
    /// `Debug` prints the sender and no other setting, since several are secret.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::senders::SenderConfig;
    /// use tower_webhook::{AnyProvider, WebhookLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let row = r#"{"provider": "stripe", "secrets": ["new", "old"], "tolerance_seconds": 60}"#;
    /// let stripe: AnyProvider = serde_json::from_str::<SenderConfig>(row)?.build()?;
    /// let layer = WebhookLayer::new(stripe);
    ///
    /// // A sender that is not built in, in the words of `SchemeBuilder`.
    /// let row = r#"{"provider": "scheme", "secrets": ["whatever Acme's portal shows"], "scheme": {
    ///     "name": "acme", "algorithm": "hmac_sha256",
    ///     "signature": {"header": "x-acme-signature", "prefix": "v1=", "encoding": "hex"},
    ///     "timestamp": {"header": "x-acme-timestamp", "format": "unix_seconds", "tolerance_seconds": 300},
    ///     "signed": "{timestamp}.{body}",
    ///     "id": {"header": "x-acme-delivery"}, "event": {"json": "/type"}}}"#;
    /// let acme = serde_json::from_str::<SenderConfig>(row)?.build()?;
    ///
    /// let github = SenderConfig::default().with_provider("github").with_secrets(["s3cret"]);
    /// let error = github.with_verify_token("t0ken").build().unwrap_err();
    /// assert_eq!(error.to_string(), "`verify_token` means nothing to github");
    /// # Ok(())
    /// # }
    /// ```
    pub struct SenderConfig {
        /// The sender: the name of one of [`all`](super::all), `aws_sns`, `cloudblue_connect`, or `scheme`.
        provider: Option<String>, with_provider(name: impl Into<String>) = Some(name.into());
        /// Shared secrets, the likeliest first.
        secrets: Vec<Secret>, with_secrets<T: Into<Secret>>(secrets: impl IntoIterator<Item = T>) =
            secrets.into_iter().map(Into::into).collect();
        /// The sender's public keys, in any form that
        /// [`SchemeBuilder::with_public_key`](crate::scheme::SchemeBuilder) takes.
        public_keys: Vec<String>, with_public_keys<T: Into<String>>(keys: impl IntoIterator<Item = T>) =
            keys.into_iter().map(Into::into).collect();
        /// The rules of a sender that is not built in: `scheme`.
        scheme: Option<SchemeConfig>, with_scheme(scheme: SchemeConfig) = Some(scheme);
        /// The public key that names an account, `braintree`, or the key of an app, `tiktok_shop`.
        public_key: Option<String>, with_public_key(key: impl Into<String>) = Some(key.into());
        /// The address of this service as senders see it: for those that sign it.
        public_url: Option<String>, with_public_url(url: impl Into<String>) = Some(url.into());
        /// Whether the address is taken from forwarded headers, if no `public_url` is set.
        trust_forwarded_headers: bool, with_trust_forwarded_headers(trust: bool) = trust;
        /// The token of a subscription: `meta`.
        verify_token: Option<Secret>, with_verify_token(token: impl Into<Secret>) = Some(token.into());
        /// The header that holds the token, `okta`, or the signature of the newer form, `paystack`.
        header: Option<String>, with_header(name: impl Into<String>) = Some(name.into());
        /// The id of the webhook at the sender: `paypal`, `cloudblue_connect`.
        webhook_id: Option<String>, with_webhook_id(id: impl Into<String>) = Some(id.into());
        /// The address of the sender's keys: `google_oidc`, `plaid`.
        jwks_url: Option<String>, with_jwks_url(url: impl Into<String>) = Some(url.into());
        /// The issuer of tokens: `google_oidc`.
        issuer: Option<String>, with_issuer(issuer: impl Into<String>) = Some(issuer.into());
        /// The audience of tokens: `google_oidc`.
        audience: Option<String>, with_audience(audience: impl Into<String>) = Some(audience.into());
        /// The service account that the sender acts as: `google_oidc`.
        email: Option<String>, with_email(email: impl Into<String>) = Some(email.into());
        /// Where certificates are, and what they must be: `aws_sns`, `paypal`.
        certificate: Option<CertificateConfig>, with_certificate(certificate: CertificateConfig) = Some(certificate);
        /// Whether a secret that the sender offers while a webhook is made is accepted: `asana`. The offer is not signed: set this
        /// only during a registration.
        accept_offered_secret: bool, with_accept_offered_secret(accept: bool) = accept;
        /// The senders that may ask for permission to send: `cloudevents`.
        allow_origins: Vec<String>, with_allow_origins<T: Into<String>>(origins: impl IntoIterator<Item = T>) =
            origins.into_iter().map(Into::into).collect();
        /// The topics whose messages are accepted, by their full names (ARN): `aws_sns`.
        topics: Vec<String>, with_topics<T: Into<String>>(arns: impl IntoIterator<Item = T>) =
            arns.into_iter().map(Into::into).collect();
        /// Whether every topic is accepted: `aws_sns`. **Anyone with an AWS account can then send you messages that verify.**
        any_topic: bool, with_insecure_any_topic(any: bool) = any;
        /// How subscriptions are confirmed: `aws_sns`. The default is [`Confirmation::Automatic`].
        confirm: Option<Confirmation>, with_confirm(confirm: Confirmation) = Some(confirm);
        /// How old a message may be, in seconds, or `null` for any age: `aws_sns`.
        max_age_seconds: Option<Option<u64>>, with_max_age_seconds(seconds: Option<u64>) = Some(seconds);
        /// The credentials of HTTP Basic authentication that are required as well: `aws_sns`.
        basic_auth: Option<BasicAuth>, with_basic_auth(credentials: BasicAuth) = Some(credentials);
        /// How far a timestamp may be from now, in seconds and on both sides.
        tolerance_seconds: Option<u64>, with_tolerance_seconds(seconds: u64) = Some(seconds);
        /// The largest body, in bytes.
        body_limit_bytes: Option<usize>, with_body_limit_bytes(bytes: usize) = Some(bytes);
    }
}

/// How a subscription is confirmed: see [`SenderConfig::confirm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Confirmation {
    /// By the layer.
    Automatic,
    /// By the handler, which gets the request for it.
    Manual,
    /// Not at all.
    Ignore,
}

/// The credentials of HTTP Basic authentication: see [`SenderConfig::basic_auth`].
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "sns"), allow(dead_code, reason = "read in every configuration, used by one sender"))]
pub struct BasicAuth {
    pub(super) user: String,
    pub(super) password: String,
}

impl BasicAuth {
    /// Creates credentials. The password may be empty.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

impl fmt::Debug for BasicAuth {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicAuth(..)")
    }
}

/// The type of a setting.
trait Setting: Sized {
    fn is_set(&self) -> bool;
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error>;
}

/// In a file, a setting is there or not, and `null` is a value like any other.
impl<T: for<'de> Deserialize<'de>> Setting for Option<T> {
    #[inline]
    fn is_set(&self) -> bool {
        self.is_some()
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        map.next_value().map(Some)
    }
}

impl<T: for<'de> Deserialize<'de>> Setting for Vec<T> {
    #[inline]
    fn is_set(&self) -> bool {
        !self.is_empty()
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        map.next_value()
    }
}

impl Setting for bool {
    #[inline]
    fn is_set(&self) -> bool {
        *self
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        map.next_value()
    }
}

impl<'de> Deserialize<'de> for SenderConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = SenderConfig;

            #[inline]
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the settings of a sender")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SenderConfig, A::Error> {
                let mut config = SenderConfig::default();
                while let Some(key) = map.next_key::<String>()? {
                    if !config.read_key(&key, &mut map)? {
                        return Err(A::Error::unknown_field(&key, SenderConfig::KEYS));
                    }
                }
                Ok(config)
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

impl SenderConfig {
    #[inline]
    pub(super) fn take_secrets(&mut self) -> Result<Secrets, ConfigError> {
        if self.secrets.is_empty() {
            return Err(ConfigError::missing("`secrets` is missing or empty").with_setting("secrets"));
        }
        Ok(Secrets::new(std::mem::take(&mut self.secrets)))
    }

    #[cfg(feature = "asymmetric")]
    #[inline]
    pub(super) fn take_public_keys(&mut self) -> Result<Secrets, ConfigError> {
        if self.public_keys.is_empty() {
            return Err(ConfigError::missing("`public_keys` is missing or empty").with_setting("public_keys"));
        }
        Ok(Secrets::new(std::mem::take(&mut self.public_keys)))
    }

    #[inline]
    pub(super) fn take_address(&mut self) -> Result<PublicAddress, ConfigError> {
        let missing = || {
            ConfigError::missing("the sender signs the address that it was given: set `public_url`")
                .with_setting("public_url")
        };
        self.address().ok_or_else(missing)
    }

    #[inline]
    pub(super) fn address(&mut self) -> Option<PublicAddress> {
        let is_forwarded = std::mem::take(&mut self.trust_forwarded_headers);
        match self.public_url.take() {
            Some(base) => Some(base.into()),
            None => is_forwarded.then(PublicAddress::from_forwarded_headers),
        }
    }

    /// The keys at `jwks_url`, or at the sender's own address.
    #[cfg(feature = "jwt")]
    #[inline]
    pub(super) fn take_jwks(&mut self, usual: Option<&str>) -> Result<crate::scheme::Jwks, ConfigError> {
        let url = self.jwks_url.take();
        let missing = || ConfigError::missing("`jwks_url` is missing");
        let keys =
            url.as_deref().or(usual).ok_or_else(missing).and_then(|url| crate::scheme::Jwks::builder(url).build());
        keys.map_err(|error| error.with_setting("jwks_url"))
    }

    #[inline]
    pub(super) fn take_tolerance(&mut self) -> Option<Tolerance> {
        self.tolerance_seconds.take().map(|seconds| Tolerance::within(Duration::from_secs(seconds)))
    }

    /// Refuses what nobody took.
    #[inline]
    pub(super) fn finish(mut self, sender: &str) -> Result<(), ConfigError> {
        // Where a service is reached is the same for all its senders.
        self.address();
        match self.first_left() {
            Some(key) => Err(ConfigError::conflict(format!("`{key}` means nothing to {sender}")).with_setting(key)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SenderConfig {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderConfig").field("provider", &self.provider).finish_non_exhaustive()
    }
}
