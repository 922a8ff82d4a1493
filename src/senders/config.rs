//! A sender's configuration, as a file or a database holds it.

use std::time::Duration;

use serde::Deserialize;

use crate::certificate::CertificateConfig;
use crate::config::ConfigError;
use crate::secrets::{Secret, Secrets};
use crate::time::Tolerance;

use super::address::PublicAddress;

/// What a sender can be told. Which of it a sender needs, its function says; what means nothing to it is refused by
/// [`by_name`](super::by_name), except the public URL, which belongs to the service rather than to the sender.
///
/// ```
/// use tower_webhook::senders::{self, SenderConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config: SenderConfig = serde_json::from_str(r#"{"secrets": ["new", "old"], "tolerance_seconds": 60}"#)?;
/// let stripe = senders::by_name("stripe", config)?;
///
/// let config = SenderConfig::default().with_secrets(["s3cret"]).with_verify_token("t0ken");
/// assert!(senders::by_name("meta", config.clone()).is_ok());
/// assert!(senders::by_name("github", config).is_err(), "GitHub knows no verify token");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SenderConfig {
    /// Shared secrets, the likeliest first.
    pub secrets: Vec<Secret>,
    /// The sender's public keys: see [`SchemeBuilder::with_public_key`](crate::scheme::SchemeBuilder).
    pub public_keys: Vec<String>,
    /// The public key that names an account, `braintree`, or an app, `tiktok_shop`.
    pub public_key: Option<String>,
    /// The address of this service as senders see it: for those that sign it.
    pub public_url: Option<String>,
    /// Whether the address is taken from forwarded headers, where no `public_url` is set.
    pub trust_forwarded_headers: bool,
    /// The token of a subscription: `meta`.
    pub verify_token: Option<Secret>,
    /// The header that holds the token: `okta`.
    pub header: Option<String>,
    /// The id of the webhook at the sender: `paypal`.
    pub webhook_id: Option<String>,
    /// The address of the sender's keys: `google_oidc`, `plaid`.
    pub jwks_url: Option<String>,
    /// Who issues tokens: `google_oidc`.
    pub issuer: Option<String>,
    /// Whom tokens are for: `google_oidc`.
    pub audience: Option<String>,
    /// The service account that the sender acts as: `google_oidc`.
    pub email: Option<String>,
    /// Where certificates are, and what they must be: `paypal`.
    pub certificate: Option<CertificateConfig>,
    /// Whether a secret that the sender offers while a webhook is made is accepted: `asana`. The offer is not signed: set it only
    /// for the while of a registration.
    pub accept_offered_secret: bool,
    /// The senders that may ask for permission to send: `cloudevents`.
    pub allow_origins: Vec<String>,
    /// How far a timestamp may be from now, in seconds and on both sides.
    pub tolerance_seconds: Option<u64>,
    /// The largest body, in bytes.
    pub body_limit_bytes: Option<usize>,
}

/// A setter for each field, which takes what becomes the field's value.
macro_rules! setters {
    ($($(#[$doc:meta])* $setter:ident($value:ident: $from:ty) $field:ident = $into:expr;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $setter(mut self, $value: $from) -> Self {
            self.$field = $into;
            self
        }
    )*};
}

impl SenderConfig {
    /// Sets the shared secrets, the likeliest first.
    #[must_use]
    pub fn with_secrets<T: Into<Secret>>(mut self, secrets: impl IntoIterator<Item = T>) -> Self {
        self.secrets = secrets.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the sender's public keys.
    #[must_use]
    pub fn with_public_keys<T: Into<String>>(mut self, keys: impl IntoIterator<Item = T>) -> Self {
        self.public_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the senders that may ask for permission to send.
    #[must_use]
    pub fn with_allow_origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        self.allow_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    setters! {
        /// Sets the public key that names an account.
        with_public_key(key: impl Into<String>) public_key = Some(key.into());
        /// Sets the address of this service as senders see it.
        with_public_url(url: impl Into<String>) public_url = Some(url.into());
        /// Sets whether the address is taken from forwarded headers.
        with_trust_forwarded_headers(trust: bool) trust_forwarded_headers = trust;
        /// Sets the token of a subscription.
        with_verify_token(token: impl Into<Secret>) verify_token = Some(token.into());
        /// Sets the header that holds the token.
        with_header(name: impl Into<String>) header = Some(name.into());
        /// Sets the id of the webhook at the sender.
        with_webhook_id(id: impl Into<String>) webhook_id = Some(id.into());
        /// Sets the address of the sender's keys.
        with_jwks_url(url: impl Into<String>) jwks_url = Some(url.into());
        /// Sets the issuer of tokens.
        with_issuer(issuer: impl Into<String>) issuer = Some(issuer.into());
        /// Sets the audience of tokens.
        with_audience(audience: impl Into<String>) audience = Some(audience.into());
        /// Sets the service account that the sender acts as.
        with_email(email: impl Into<String>) email = Some(email.into());
        /// Sets where certificates are, and what they must be.
        with_certificate(certificate: CertificateConfig) certificate = Some(certificate);
        /// Sets whether a secret that the sender offers while a webhook is made is accepted.
        with_accept_offered_secret(accept: bool) accept_offered_secret = accept;
        /// Sets how far a timestamp may be from now, in seconds and on both sides.
        with_tolerance_seconds(seconds: u64) tolerance_seconds = Some(seconds);
        /// Sets the largest body, in bytes.
        with_body_limit_bytes(bytes: usize) body_limit_bytes = Some(bytes);
    }
}

impl SenderConfig {
    pub(super) fn take_secrets(&mut self) -> Result<Secrets, ConfigError> {
        if self.secrets.is_empty() {
            return Err(ConfigError::missing("`secrets` is missing or empty"));
        }
        Ok(Secrets::new(std::mem::take(&mut self.secrets)))
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn take_public_keys(&mut self) -> Result<Secrets, ConfigError> {
        if self.public_keys.is_empty() {
            return Err(ConfigError::missing("`public_keys` is missing or empty"));
        }
        Ok(Secrets::new(std::mem::take(&mut self.public_keys)))
    }

    pub(super) fn take_address(&mut self) -> Result<PublicAddress, ConfigError> {
        match (self.public_url.take(), std::mem::take(&mut self.trust_forwarded_headers)) {
            (Some(base), _) => Ok(base.into()),
            (None, true) => Ok(PublicAddress::from_forwarded_headers()),
            (None, false) => {
                Err(ConfigError::missing("the sender signs the address that it was given: set `public_url`"))
            }
        }
    }

    /// The keys at `jwks_url`, or at the sender's own address.
    #[cfg(feature = "jwt")]
    pub(super) fn take_jwks(&mut self, usual: Option<&str>) -> Result<crate::scheme::Jwks, ConfigError> {
        let url = self.jwks_url.take();
        let url = url.as_deref().or(usual).ok_or_else(|| ConfigError::missing("`jwks_url` is missing"))?;
        crate::scheme::Jwks::builder(url).build()
    }

    pub(super) fn take_tolerance(&mut self) -> Option<Tolerance> {
        self.tolerance_seconds.take().map(|seconds| Tolerance::within(Duration::from_secs(seconds)))
    }

    /// Refuses what no one took.
    pub(super) fn finish(self, sender: &str) -> Result<(), ConfigError> {
        let left = [
            ("secrets", !self.secrets.is_empty()),
            ("public_keys", !self.public_keys.is_empty()),
            ("public_key", self.public_key.is_some()),
            ("verify_token", self.verify_token.is_some()),
            ("header", self.header.is_some()),
            ("webhook_id", self.webhook_id.is_some()),
            ("jwks_url", self.jwks_url.is_some()),
            ("issuer", self.issuer.is_some()),
            ("audience", self.audience.is_some()),
            ("email", self.email.is_some()),
            ("certificate", self.certificate.is_some()),
            ("accept_offered_secret", self.accept_offered_secret),
            ("allow_origins", !self.allow_origins.is_empty()),
        ];
        match left.iter().find(|(_, left)| *left) {
            Some((name, _)) => Err(ConfigError::conflict(format!("`{name}` means nothing to {sender}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret_and_unknown_keys_are_refused() {
        let config: SenderConfig =
            serde_json::from_str(r#"{"secrets": ["hunter2"], "verify_token": "hunter3"}"#).unwrap();
        assert!(!format!("{config:?}").contains("hunter"));
        let fault = serde_json::from_str::<SenderConfig>("{\n\"sekrets\": []}").unwrap_err().to_string();
        assert!(fault.contains("unknown field `sekrets`") && fault.contains("line 2"), "{fault}");
    }

    #[test]
    fn what_means_nothing_to_a_sender_is_refused() {
        let secret = || SenderConfig::default().with_secrets(["s"]);
        let mut config = secret().with_tolerance_seconds(1);
        assert!(super::super::by_name("github", config.clone()).is_err(), "GitHub signs no time");
        assert!(super::super::by_name("stripe", config.clone()).is_ok());
        config.header = Some("x".to_owned());
        assert!(super::super::by_name("stripe", config).is_err());
        assert!(super::super::by_name("nobody", secret()).is_err());
    }
}
