//! What can be wrong with a configuration.

use std::borrow::Cow;

/// A fault in how a layer, a provider or a secret was set up, found when it is built and never later.
///
/// The message names the fault and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(Cow<'static, str>);

impl ConfigError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}
