//! The web hook of CloudEvents.

use crate::config::ConfigError;
use crate::scheme::{Handshake, Scheme, bearer, header};
use crate::secrets::Secrets;

use super::{SenderConfig, knowledge};

/// The [CloudEvents web hook](https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md), with a bearer token.
///
/// Add [`Handshake::allow_origins`] by [`Scheme::with_handshake`] for senders that ask for permission first. Event and id are
/// those of the binary form, in unsigned headers. The id is `ce-source`, a space and `ce-id`: by the specification, only the two
/// together name an event.
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn cloudevents(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::token(bearer())
        .event(header("ce-type"))
        .id(header("ce-id").scoped_by(header("ce-source")))
        .secret(secrets)
        .with_behavior(*knowledge::of("cloudevents"))
        .build("cloudevents")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let scheme = cloudevents(config.take_secrets()?)?;
    let origins = std::mem::take(&mut config.allow_origins);
    Ok(if origins.is_empty() { scheme } else { scheme.with_handshake(Handshake::allow_origins(origins, None)) })
}
