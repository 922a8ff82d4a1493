//! One shared secret, and how its text stands for a key.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::config::ConfigError;
use crate::encoding::Encoding;

/// How many secrets are tried on one request. Rotation needs two, and a few more cost a MAC each. A
/// look-up that returns hundreds would make each request of an attacker cost hundreds of MACs.
pub const MAX_SECRETS: usize = 8;

/// A shared secret. It is wiped from memory when its last clone is dropped, and `Debug` prints no
/// part of it.
///
/// Clones share the key that is made of it. So a look-up that returns a clone of a secret which the
/// program keeps costs no key for each request.
///
/// A secret made from text is what the sender's portal shows. The provider knows whether that text
/// is the key itself or an encoding of it. If you have the bytes of the key, use
/// [`Secret::from_bytes`], [`Secret::from_hex`] or [`Secret::from_base64`]: they are used as they are.
///
/// # Examples
///
/// ```
/// use tower_webhook::Secret;
///
/// let secret = Secret::new("s3cret");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(Secret::from_hex("not hex").is_err());
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Kept>);

/// What the clones of a secret share.
struct Kept {
    material: KeyMaterial,
    /// The keys that the first provider has made of it.
    made: OnceLock<Box<dyn Any + Send + Sync>>,
}

#[derive(Clone)]
pub(super) enum KeyMaterial {
    Text(Zeroizing<String>),
    Bytes(Zeroizing<Vec<u8>>),
}

impl Secret {
    /// Creates a secret from the text that the sender shows or was given. Emptiness is checked when
    /// the provider is built.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(KeyMaterial::Text(Zeroizing::new(text.into())))
    }

    /// Creates a secret from the bytes of the key.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(KeyMaterial::Bytes(Zeroizing::new(bytes.into())))
    }

    #[inline]
    fn of(material: KeyMaterial) -> Self {
        Self(Arc::new(Kept { material, made: OnceLock::new() }))
    }

    pub(super) fn material(&self) -> &KeyMaterial {
        &self.0.material
    }

    /// Returns where the keys are kept that a provider has made of it.
    pub(super) fn made(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.0.made
    }

    /// Creates a secret from the bytes of the key in hexadecimal, in either case.
    ///
    /// # Errors
    ///
    /// Returns an error if the text isn't hexadecimal.
    #[inline]
    pub fn from_hex(text: &str) -> Result<Self, ConfigError> {
        Self::decoded(Encoding::HexAnyCase, text.as_bytes(), "a secret is not hexadecimal")
    }

    /// Creates a secret from the bytes of the key in standard base64, padded.
    ///
    /// # Errors
    ///
    /// Returns an error if the text isn't base64.
    #[inline]
    pub fn from_base64(text: &str) -> Result<Self, ConfigError> {
        Self::decoded(Encoding::Base64, text.as_bytes(), "a secret is not base64")
    }

    #[inline]
    fn decoded(encoding: Encoding, text: &[u8], fault: &'static str) -> Result<Self, ConfigError> {
        encoding.decode(text).map(Self::from_bytes).ok_or(ConfigError::key(fault))
    }

    /// Returns the text that the secret was made from, if it was.
    pub(super) fn text(&self) -> Option<&str> {
        match self.material() {
            KeyMaterial::Text(text) => Some(text),
            KeyMaterial::Bytes(_) => None,
        }
    }

    /// Returns the secret as text, if it is one.
    #[cfg(all(feature = "inspect", feature = "testing"))]
    #[inline]
    pub(crate) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self.material() {
            KeyMaterial::Text(text) => Some(Cow::Borrowed(text)),
            KeyMaterial::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        }
    }

    /// Returns the text that the secret was made from, or the bytes of the key.
    #[cfg(feature = "inspect")]
    pub(crate) fn as_given(&self) -> Result<&str, &[u8]> {
        match self.material() {
            KeyMaterial::Text(text) => Ok(text),
            KeyMaterial::Bytes(bytes) => Err(bytes),
        }
    }

    /// Returns the bytes of the key, by the sender's rule for secrets that are text.
    #[inline]
    pub(crate) fn key(&self, format: KeyFormat) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        self.key_by(|text| format.decode(text))
    }

    /// Returns the bytes of the key, which are those of a text that is the key itself.
    pub(crate) fn plain_key(&self) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        self.key_by(|text| Ok(Zeroizing::new(text.as_bytes().to_vec())))
    }

    fn key_by(
        &self,
        decode: impl FnOnce(&str) -> Result<Zeroizing<Vec<u8>>, ConfigError>,
    ) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let key = match self.material() {
            KeyMaterial::Bytes(bytes) => bytes.clone(),
            KeyMaterial::Text(text) => decode(text)?,
        };
        if key.is_empty() {
            return Err(ConfigError::key("a secret is empty"));
        }
        Ok(key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Creates a secret from text, as [`Secret::new`] does.
impl From<&str> for Secret {
    #[inline]
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Creates a secret from text, as [`Secret::new`] does.
impl From<String> for Secret {
    #[inline]
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// Creates a secret from text, as [`Secret::new`] does.
impl From<&String> for Secret {
    #[inline]
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

/// Creates a secret from text, as [`Secret::new`] does.
impl From<Cow<'_, str>> for Secret {
    #[inline]
    fn from(text: Cow<'_, str>) -> Self {
        Self::new(text)
    }
}

/// Creates a secret from the bytes of a key, as [`Secret::from_bytes`] does.
impl From<Vec<u8>> for Secret {
    #[inline]
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes)
    }
}

/// Creates a secret from the bytes of a key, as [`Secret::from_bytes`] does.
impl From<&[u8]> for Secret {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self::from_bytes(bytes)
    }
}

/// Creates a secret from text, as [`Secret::new`] does.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// How the text of a secret becomes the bytes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyFormat {
    /// The text's own bytes, even if the text looks like an encoding. The most common rule.
    #[default]
    Text,
    /// Hexadecimal, either case.
    Hex,
    /// Standard base64, padded.
    Base64,
    /// `whsec_`, or `v1,whsec_`, followed by base64, as Standard Webhooks writes keys of 24 to 64
    /// bytes.
    StandardWebhooks,
}

impl KeyFormat {
    #[inline]
    fn decode(self, text: &str) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let decoded = match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Hex => Encoding::HexAnyCase.decode(text.as_bytes()),
            Self::Base64 => Encoding::Base64.decode(text.as_bytes()),
            // Supabase shows its secrets with the version in front.
            Self::StandardWebhooks => text
                .strip_prefix("v1,")
                .unwrap_or(text)
                .strip_prefix("whsec_")
                .and_then(|rest| Encoding::Base64.decode(rest.as_bytes()))
                .map(Zeroizing::new)
                .filter(|key| (24..=64).contains(&key.len()))
                .map(|mut key| std::mem::take(&mut *key)),
        };
        decoded.map(Zeroizing::new).ok_or_else(|| {
            ConfigError::key(match self {
                Self::Text => "a secret is not text",
                Self::Hex => "a secret is not hexadecimal",
                Self::Base64 => "a secret is not base64",
                Self::StandardWebhooks => {
                    "a secret is not whsec_ followed by the base64 of 24 to 64 bytes; a text that is the key itself, as \
                     Polar's, is given by Secret::from_bytes"
                },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_gives_no_key() {
        for secret in [Secret::new(""), Secret::from_bytes([]), Secret::from_hex("").unwrap()] {
            assert_eq!(secret.key(KeyFormat::Text).unwrap_err().to_string(), "a secret is empty");
        }
        assert!(Secret::new("").key(KeyFormat::Base64).is_err());
    }

    #[test]
    fn text_is_decoded_by_the_senders_rule_and_bytes_are_not() {
        let key = |secret: &Secret, format| secret.key(format).map(|key| key.to_vec());
        assert_eq!(key(&Secret::new("6162"), KeyFormat::Text).unwrap(), b"6162");
        assert_eq!(key(&Secret::new("6162"), KeyFormat::Hex).unwrap(), b"ab");
        assert_eq!(key(&Secret::new("YWI="), KeyFormat::Base64).unwrap(), b"ab");
        assert_eq!(key(&Secret::from_base64("YWI=").unwrap(), KeyFormat::Hex).unwrap(), b"ab");
        let standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let plain = key(&Secret::new(standard), KeyFormat::StandardWebhooks).unwrap();
        assert_eq!(plain.len(), 24);
        let versioned = Secret::new(format!("v1,{standard}"));
        assert_eq!(key(&versioned, KeyFormat::StandardWebhooks).unwrap(), plain);
        for bad in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_",
            "whsec_!!",
            "v1,",
            "v2,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert!(key(&Secret::new(bad), KeyFormat::StandardWebhooks).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_part_of_a_secret() {
        let secrets = [Secret::new("hunter2"), Secret::from_bytes(*b"hunter2")];
        assert!(!format!("{secrets:?}").contains("hunter"));
    }
}
