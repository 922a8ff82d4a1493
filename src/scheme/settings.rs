//! What a builder has gathered about one form of signing: all that a kind of proof knows of it.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use zeroize::Zeroizing;

#[cfg(feature = "asymmetric")]
use crate::algorithm::Algorithm;
use crate::body_fields::BodyFields;
use crate::config::ConfigError;
#[cfg(feature = "jwt")]
use crate::jwt::Jwks;
#[cfg(all(feature = "asymmetric", feature = "fetch"))]
use crate::key_lookup::{FetchKey, KeyLookup};
#[cfg(any(feature = "asymmetric", feature = "jwt"))]
use crate::place::Place;
use crate::place::Signature;
#[cfg(feature = "asymmetric")]
use crate::public_key::PublicKey;
use crate::public_url::PublicUrl;
use crate::secrets::{KeyFormat, Keys, Secret, Secrets, SenderKey};

use super::body_hash::BodyHash;
use super::fields::Fields;
use super::template::{CustomPiece, Written};

type DecodeKey = fn(&Secret, KeyFormat) -> Result<Zeroizing<Vec<u8>>, ConfigError>;

/// Returns an address that is signed, without what may be secret in it.
pub(crate) type ShowAddress = dyn Fn(&Parts) -> Option<String> + Send + Sync;

#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) methods: Vec<Method>,
    /// Chooses the requests that the form is for, if the methods don't: in words, and as a
    /// function.
    pub(crate) applies: Option<(&'static str, fn(&Parts) -> bool)>,
    pub(crate) fields: Fields,
    /// The fields of the body that the builder was given.
    pub(crate) in_body: Option<Arc<BodyFields>>,
    pub(crate) signature: Option<Signature>,
    /// What is signed, if that isn't the body alone.
    pub(crate) template: Option<Written>,
    pub(crate) pieces: Vec<Arc<CustomPiece>>,
    /// The address that a piece of the sender's own holds, for the operator.
    pub(crate) address: Option<Arc<ShowAddress>>,
    /// Whether the sender is known not to sign the body.
    pub(crate) body_unsigned: bool,
    pub(crate) body_hash: Option<BodyHash>,
    pub(crate) public_url: Option<PublicUrl>,
    /// How a secret stands for a key, if its text isn't the key itself, and what decodes it.
    pub(crate) key_format: Option<(KeyFormat, DecodeKey)>,
    pub(crate) secrets: Option<Secrets>,
    pub(crate) public_keys: Option<Secrets>,
    #[cfg(feature = "jwt")]
    pub(crate) jwks: Option<Jwks>,
    /// Where the id of the key is that made the signature.
    #[cfg(any(feature = "asymmetric", feature = "jwt"))]
    pub(crate) key_id: Option<Place>,
    #[cfg(all(feature = "asymmetric", feature = "fetch"))]
    pub(crate) key_lookup: Option<KeyLookup>,
    /// How the key is fetched that a request says where it is.
    #[cfg(all(feature = "asymmetric", feature = "fetch"))]
    pub(crate) fetched_keys: Option<Arc<dyn FetchKey>>,
}

impl Settings {
    /// Makes a key from each secret, by the bytes that it stands for.
    pub(crate) fn keys<K: SenderKey>(
        &self,
        make: impl Fn(&[u8]) -> Result<K, ConfigError> + Send + Sync + 'static,
    ) -> Result<Keys<K>, ConfigError> {
        if self.public_keys.is_some() {
            return Err(ConfigError::conflict("the scheme has secrets, so a public key means nothing"));
        }
        let format = self.key_format;
        let key = move |secret: &Secret| match format {
            Some((format, decode)) => decode(secret, format),
            None => secret.plain_key(),
        };
        let secrets = self.secrets.clone().ok_or_else(|| ConfigError::missing("there is no secret"))?;
        secrets.into_keys(move |secret| make(&key(secret)?))
    }

    #[cfg(feature = "asymmetric")]
    pub(crate) fn public_keys(&self, algorithm: Algorithm) -> Result<Keys<PublicKey>, ConfigError> {
        self.no_secrets()?;
        let keys = self.public_keys.clone().ok_or_else(|| ConfigError::missing("there is no public key"))?;
        keys.into_keys(move |key| PublicKey::new(algorithm, key))
    }

    #[cfg(any(feature = "asymmetric", feature = "jwt"))]
    pub(crate) fn no_secrets(&self) -> Result<(), ConfigError> {
        if self.secrets.is_some() {
            return Err(ConfigError::conflict("the scheme has public keys, so a secret means nothing"));
        }
        Ok(())
    }
}
