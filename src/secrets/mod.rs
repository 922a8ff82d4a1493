//! Secrets: what they are made of, several at once, and looked up by request.

mod lookup;
mod ring;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::config::ConfigError;
use crate::encoding::Encoding;

#[cfg(feature = "asymmetric")]
pub(crate) use lookup::DECOY;
pub use lookup::Head;
pub(crate) use lookup::{Find, Keys, KeysFor};
pub(crate) use ring::Ring;

/// How many secrets are tried on one request. Rotation needs two, a few more cost a MAC each; a look-up that returns
/// hundreds would let every stranger's request cost hundreds of MACs.
pub const MAX_SECRETS: usize = 8;

/// One shared secret. It is wiped from memory when dropped, and `Debug` prints no part of it.
///
/// A secret made from text is what the sender's portal shows; the provider knows whether that text is the key itself
/// or an encoding of it. Where you hold the key's own bytes, say so with [`Secret::from_bytes`], [`Secret::from_hex`] or
/// [`Secret::from_base64`]: they are used as they are.
///
/// ```
/// use tower_webhook::Secret;
///
/// let secret = Secret::new("s3cret");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(Secret::from_hex("not hex").is_err());
/// ```
#[derive(Clone)]
pub struct Secret(Material);

#[derive(Clone)]
enum Material {
    Text(Zeroizing<String>),
    Bytes(Zeroizing<Vec<u8>>),
}

impl Secret {
    /// The text that the sender shows or was given. That it is not empty is checked when a provider is built from it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Material::Text(Zeroizing::new(text.into())))
    }

    /// The key's own bytes.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Material::Bytes(Zeroizing::new(bytes.into())))
    }

    /// The key's bytes in hexadecimal, either case.
    ///
    /// # Errors
    ///
    /// Where the text is not hexadecimal.
    pub fn from_hex(text: &str) -> Result<Self, ConfigError> {
        Self::decoded(Encoding::HexAnyCase, text.as_bytes(), "a secret is not hexadecimal")
    }

    /// The key's bytes in standard base64, padded.
    ///
    /// # Errors
    ///
    /// Where the text is not base64.
    pub fn from_base64(text: &str) -> Result<Self, ConfigError> {
        Self::decoded(Encoding::Base64, text.as_bytes(), "a secret is not base64")
    }

    fn decoded(encoding: Encoding, text: &[u8], fault: &'static str) -> Result<Self, ConfigError> {
        encoding.decode(text).map(Self::from_bytes).ok_or(ConfigError::key(fault))
    }

    /// The key's bytes, by the rule of the sender for secrets that are text.
    pub(crate) fn key(&self, format: KeyFormat) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let key = match &self.0 {
            Material::Bytes(bytes) => bytes.clone(),
            Material::Text(text) => format.decode(text)?,
        };
        match key.is_empty() {
            true => Err(ConfigError::key("a secret is empty")),
            false => Ok(key),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A text, as with [`Secret::new`].
impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// A text, as with [`Secret::new`].
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A text, as with [`Secret::new`].
impl From<&String> for Secret {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

/// A text, as with [`Secret::new`].
impl From<Cow<'_, str>> for Secret {
    fn from(text: Cow<'_, str>) -> Self {
        Self::new(text)
    }
}

/// The key's own bytes, as with [`Secret::from_bytes`].
impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes)
    }
}

/// The key's own bytes, as with [`Secret::from_bytes`].
impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self::from_bytes(bytes)
    }
}

/// A text, as with [`Secret::new`].
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// How a sender's secret text stands for key bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyFormat {
    /// The text's own bytes, the commonest rule, even where the text looks like an encoding.
    #[default]
    Text,
    /// Hexadecimal, either case.
    Hex,
    /// Standard base64, padded.
    Base64,
    /// `whsec_` and then base64, as Standard Webhooks writes keys of 24 to 64 bytes.
    StandardWebhooks,
}

impl KeyFormat {
    fn decode(self, text: &str) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let decoded = match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Hex => Encoding::HexAnyCase.decode(text.as_bytes()),
            Self::Base64 => Encoding::Base64.decode(text.as_bytes()),
            Self::StandardWebhooks => text
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
                Self::StandardWebhooks => "a secret is not whsec_ followed by the base64 of 24 to 64 bytes",
            })
        })
    }
}

/// The secrets that a sender may sign with: one, several while they are rotated, or looked up by request.
///
/// Anything that is a secret converts into it, so providers take `"text"`, a [`Secret`] or [`Secrets`] alike.
///
/// ```
/// use tower_webhook::{Head, Secret, Secrets};
///
/// // While secrets rotate, any of them verifies; the delivery says which one did.
/// let rotating = Secrets::new(["the new one", "the old one"]);
///
/// // One secret a tenant, found by the request's head. An empty answer is an unknown tenant: it is refused as a wrong
/// // signature would be. An error is ours, and answered 503.
/// let tenants = Secrets::lookup(|head: Head| async move {
///     let secret = match head.uri.path() {
///         "/webhooks/acme" => Some(Secret::new("the secret of acme")),
///         _ => None,
///     };
///     Ok::<_, std::io::Error>(secret)
/// });
/// ```
#[derive(Clone)]
pub struct Secrets(Source);

#[derive(Clone)]
enum Source {
    Fixed(Vec<Secret>),
    Lookup(lookup::Lookup),
}

impl Secrets {
    /// Secrets that are all valid at the same time, the likeliest first. At least one and at most [`MAX_SECRETS`]; a
    /// provider refuses to be built from anything else.
    #[must_use]
    pub fn new<T: Into<Secret>>(secrets: impl IntoIterator<Item = T>) -> Self {
        Self(Source::Fixed(secrets.into_iter().map(Into::into).collect()))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Fixed(secrets) => write!(f, "Secrets({})", secrets.len()),
            Source::Lookup(_) => f.write_str("Secrets(lookup)"),
        }
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self::new([secret])
    }
}

impl From<&Secret> for Secrets {
    fn from(secret: &Secret) -> Self {
        Self::new([secret.clone()])
    }
}

impl From<&str> for Secrets {
    fn from(secret: &str) -> Self {
        Self::new([secret])
    }
}

impl From<String> for Secrets {
    fn from(secret: String) -> Self {
        Self::new([secret])
    }
}

impl From<&String> for Secrets {
    fn from(secret: &String) -> Self {
        Self::new([secret])
    }
}

/// Secrets that are all valid at the same time.
impl<T: Into<Secret>, const N: usize> From<[T; N]> for Secrets {
    fn from(secrets: [T; N]) -> Self {
        Self::new(secrets)
    }
}

/// Secrets that are all valid at the same time.
impl<T: Into<Secret>> From<Vec<T>> for Secrets {
    fn from(secrets: Vec<T>) -> Self {
        Self::new(secrets)
    }
}

/// Secrets that are all valid at the same time.
impl<T: Clone + Into<Secret>> From<&[T]> for Secrets {
    fn from(secrets: &[T]) -> Self {
        Self::new(secrets.iter().cloned())
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
        assert_eq!(key(&Secret::new(standard), KeyFormat::StandardWebhooks).unwrap().len(), 24);
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_", "whsec_!!"] {
            assert!(key(&Secret::new(bad), KeyFormat::StandardWebhooks).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_part_of_a_secret() {
        let secrets = Secrets::new([Secret::new("hunter2"), Secret::from_bytes(*b"hunter2")]);
        assert!(!format!("{secrets:?} {:?}", Secret::new("hunter2")).contains("hunter"));
    }
}
