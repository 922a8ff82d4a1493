//! Standard Webhooks, and the senders that sign as its specification says.

use crate::config::ConfigError;
use crate::scheme::{Scheme, SchemeBuilder, header, json};
use crate::secrets::{KeyFormat, Secrets};

use super::config::SenderConfig;
use super::knowledge;

/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), signed
/// with a shared secret (`v1`).
///
/// Secrets are `whsec_` and base64. A sender that uses key pairs as well (`v1a`) is added by
/// [`Scheme::or`] and `standard_webhooks_signed`, with the feature `asymmetric`.
///
/// # Errors
///
/// Returns an error if a secret is missing or not in this form.
pub fn standard_webhooks(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    family("webhook").secret(secrets).with_behavior(knowledge::standard_webhooks).build("standard_webhooks")
}

/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), signed
/// with a key pair (`v1a`, Ed25519). Feature `asymmetric`.
///
/// Keys are `whpk_` and base64.
///
/// # Errors
///
/// Returns an error if a key is missing or not in this form.
#[cfg(feature = "asymmetric")]
pub fn standard_webhooks_signed(public_keys: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    frame(Scheme::ed25519(), "webhook")
        .signature(header("webhook-signature").list(' ').prefix("v1a,").base64())
        .with_public_key(public_keys)
        .with_behavior(knowledge::standard_webhooks)
        .build("standard_webhooks")
}

/// [Svix](https://docs.svix.com/receiving/verifying-payloads/how-manual), which signs as Standard Webhooks do, in headers of
/// its own name or in the common ones, but never in a mixture.
///
/// # Errors
///
/// Returns an error if a secret is missing or not `whsec_` and base64.
pub fn svix(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    family("svix").or(family("webhook")).secret(secrets).with_behavior(knowledge::svix).build("svix")
}

/// A sender that signs as Standard Webhooks say, with headers of this name.
#[inline]
pub(super) fn family(name: &str) -> SchemeBuilder {
    frame(Scheme::hmac_sha256(), name)
        .signature(header(format!("{name}-signature")).list(' ').prefix("v1,").base64())
        .with_key_format(KeyFormat::StandardWebhooks)
}

#[inline]
fn frame(scheme: SchemeBuilder, name: &str) -> SchemeBuilder {
    scheme
        .timestamp(header(format!("{name}-timestamp")).unix_seconds())
        .id(header(format!("{name}-id")))
        .signed("{id}.{timestamp}.{body}")
        .event(json("/type"))
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    #[cfg(feature = "asymmetric")]
    if !config.public_keys.is_empty() {
        let signed = standard_webhooks_signed(config.take_public_keys()?)?;
        if config.secrets.is_empty() {
            return Ok(signed);
        }
        return Ok(standard_webhooks(config.take_secrets()?)?.or(signed));
    }
    standard_webhooks(config.take_secrets()?)
}
