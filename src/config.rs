//! Errors of a configuration.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

/// An error in how a layer, a provider or a secret was set up.
///
/// It is found at set-up, never while requests are served. The message names the setting at fault
/// and never holds a secret.
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
    /// A JSON pointer; empty if it is not known.
    setting: String,
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
        Self { kind, message: message.into(), setting: String::new(), source: None }
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

    /// Names the setting at fault, or the one that holds what was named before.
    #[must_use]
    #[inline]
    pub(crate) fn with_setting(mut self, key: &str) -> Self {
        self.setting.insert_str(0, key);
        self.setting.insert(0, '/');
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ConfigErrorKind {
        self.kind
    }

    /// Returns the setting at fault, if it is known: the JSON pointer in a configuration that was
    /// read from data, such as `/scheme/signature`.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        Some(&*self.setting).filter(|setting| !setting.is_empty())
    }

    /// Adds to the message where the setting at fault stands in a JSON text, as `at line 3 column
    /// 17`. `pointer` leads to the configuration in the text; it is empty if the text is the
    /// configuration. A setting that is missing stands where its object does.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::senders::SenderConfig;
    ///
    /// let file = "{\"senders\": [\n  {\"provider\": \"github\", \"secrets\": [\"s3cret\"], \"header\": \"x\"}]}";
    /// # #[derive(serde::Deserialize)]
    /// # struct File { senders: Vec<SenderConfig> }
    /// let mut senders = serde_json::from_str::<File>(file).unwrap().senders;
    /// let error = senders.remove(0).build().unwrap_err().located_in(file, "/senders/0");
    /// assert_eq!(error.to_string(), "`header` means nothing to github at line 2 column 59");
    /// ```
    #[must_use]
    #[inline]
    pub fn located_in(mut self, json: &str, pointer: &str) -> Self {
        let offset = offset_of(json, &format!("{pointer}{}", self.setting));
        let before = &json.as_bytes()[..offset];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        self.message = format!("{} at line {line} column {column}", self.message).into();
        self
    }
}

/// Returns where the value at a pointer begins, or the last value on the way that is there.
#[inline]
fn offset_of(json: &str, pointer: &str) -> usize {
    let mut at = json;
    for part in pointer.split('/').skip(1) {
        let next = match part.parse::<usize>() {
            Ok(index) => serde_json::from_str::<Vec<&RawValue>>(at).ok().and_then(|list| list.get(index).copied()),
            Err(_) => serde_json::from_str::<HashMap<Cow<'_, str>, &RawValue>>(at)
                .ok()
                .and_then(|members| members.get(part).copied()),
        };
        let Some(next) = next else { break };
        at = next.get();
    }
    // Each is a part of the whole text.
    at.as_ptr() as usize - json.as_ptr() as usize
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
            .field("setting", &self.setting)
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
