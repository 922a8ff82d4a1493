//! Paystack: a MAC of the body, or, in a newer form, MACs of the time and the body.

use crate::config::ConfigError;
use crate::scheme::{Scheme, header, json};
use crate::secrets::Secrets;

use super::{SenderConfig, knowledge};

/// [Paystack](https://paystack.com/docs/payments/webhooks/), which signs the body in `X-Paystack-Signature`. SHA-512.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn paystack(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha512()
        .signature(header("x-paystack-signature").hex())
        .event(json("/event"))
        .secret(secrets)
        .with_behavior(knowledge::paystack)
        .build("paystack")
}

/// Like [`paystack`], in the newer form `t=..,v1=<key>:<hex>`, which signs the time too and has a
/// signature for each active key. The tolerance is 300 seconds.
///
/// Not verified: Paystack's [sample](https://github.com/PaystackOSS/doc-code-snippets) shows the form. The name of its header is
/// not known to us, so you have to give it.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty, or the header's name is not valid.
pub fn paystack_in(name: &str, secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let entries = header(name).list(',');
    Scheme::hmac_sha512()
        .signature(entries.clone().prefix("v1=").hex().behind(':'))
        .timestamp(entries.prefix("t=").unix_seconds())
        .signed("{timestamp}.{body}")
        .event(json("/event"))
        .secret(secrets)
        .with_behavior(knowledge::paystack)
        .build("paystack")
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    match config.header.take() {
        Some(header) => paystack_in(&header, config.take_secrets()?),
        None => paystack(config.take_secrets()?),
    }
}
