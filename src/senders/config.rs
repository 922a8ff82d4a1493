//! A sender's configuration, as a file or a database holds it.

use std::time::Duration;

use serde::Deserialize;

use crate::certificate::CertificateConfig;
use crate::config::ConfigError;
use crate::secrets::{Secret, Secrets};
use crate::time::Tolerance;

use super::PublicAddress;

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
/// let mut config = SenderConfig::default();
/// config.secrets = vec!["s3cret".into()];
/// config.verify_token = Some("t0ken".into());
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
    /// The sender's public keys: see [`SchemeBuilder::public_key`](crate::scheme::SchemeBuilder).
    pub public_keys: Vec<String>,
    /// The public key that names an account: `braintree`.
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
    /// How far a timestamp may be from now, in seconds and on both sides.
    pub tolerance_seconds: Option<u64>,
    /// The largest body, in bytes.
    pub body_limit_bytes: Option<usize>,
}

impl SenderConfig {
    pub(super) fn take_secrets(&mut self) -> Result<Secrets, ConfigError> {
        match self.secrets.is_empty() {
            true => Err(ConfigError::missing("`secrets` is missing or empty")),
            false => Ok(Secrets::new(std::mem::take(&mut self.secrets))),
        }
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn take_public_keys(&mut self) -> Result<Secrets, ConfigError> {
        match self.public_keys.is_empty() {
            true => Err(ConfigError::missing("`public_keys` is missing or empty")),
            false => Ok(Secrets::new(std::mem::take(&mut self.public_keys))),
        }
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
        ];
        match left.iter().find(|(_, left)| *left) {
            Some((name, _)) => Err(ConfigError::conflict(format!("`{name}` means nothing to {sender}"))),
            None => Ok(()),
        }
    }

    pub(super) fn sample_secret() -> Self {
        Self { secrets: vec![Secret::from_bytes(*b"a secret that everybody knows")], ..Self::default() }
    }

    pub(super) fn sample_address() -> Self {
        Self { public_url: Some("https://hooks.example.com".to_owned()), ..Self::sample_secret() }
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn sample_key() -> Self {
        // RFC 8032, section 7.1, test 1.
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        Self { public_keys: vec![key.into()], ..Self::default() }
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn sample_p256_key() -> Self {
        let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
        Self { public_keys: vec![key.into()], ..Self::default() }
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
        let mut config = SenderConfig::sample_secret();
        config.tolerance_seconds = Some(1);
        assert!(super::super::by_name("github", config.clone()).is_err(), "GitHub signs no time");
        assert!(super::super::by_name("stripe", config.clone()).is_ok());
        config.header = Some("x".to_owned());
        assert!(super::super::by_name("stripe", config).is_err());
        assert!(super::super::by_name("nobody", SenderConfig::sample_secret()).is_err());
    }
}
