//! Errors of a configuration.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error in how a layer, a provider or a secret was set up.
///
/// It is found at set-up, never while requests are served. The message names the setting at fault and never holds a secret.
///
/// # Examples
///
/// ```
/// use tower_webhook::{ConfigError, ConfigErrorKind};
///
/// let error = ConfigError::invalid("the tenant's region is not one of ours");
/// assert_eq!(error.kind(), ConfigErrorKind::Invalid);
/// assert_eq!(error.to_string(), "the tenant's region is not one of ours");
/// ```
#[derive(Clone)]
pub struct ConfigError {
    kind: ConfigErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kind of a [`ConfigError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// A required setting is missing.
    Missing,
    /// A setting has the wrong form.
    Invalid,
    /// Two settings exclude each other, or one makes no sense here.
    Conflict,
    /// A secret, key or certificate cannot be used.
    Key,
    /// Something outside the configuration is missing: a server, a cryptographic back end.
    Unavailable,
}

impl ConfigError {
    /// Creates an error of this kind.
    pub fn new(kind: ConfigErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Creates an error for a required setting that is missing.
    pub fn missing(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ConfigErrorKind::Missing, message)
    }

    /// Creates an error for a setting that has the wrong form.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ConfigErrorKind::Invalid, message)
    }

    /// Creates an error for settings that exclude each other.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ConfigErrorKind::Conflict, message)
    }

    /// Creates an error for a secret, key or certificate that cannot be used.
    pub fn key(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ConfigErrorKind::Key, message)
    }

    /// Creates an error for something missing outside the configuration.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ConfigErrorKind::Unavailable, message)
    }

    /// Sets the error that caused this one. It must hold no secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_never_repeats_display() {
        let error = ConfigError::unavailable("the store cannot be reached").with_source("connection refused");
        assert_eq!(error.to_string(), "the store cannot be reached");
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }
}
