//! The public keys of a sender that names them by an id.

use std::fmt;

#[cfg(feature = "fetch")]
use crate::scheme::KeyLookup;
use crate::scheme::SchemeBuilder;
use crate::secrets::Secrets;

/// The public keys of a sender whose requests name theirs by an id: looked up by it, by a
/// `KeyLookup` (feature `fetch`), or a few that are all tried.
///
/// # Examples
///
/// ```
/// use tower_webhook::senders;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
/// let circle = senders::circle([KEY])?;
///
/// # #[cfg(feature = "fetch")] {
/// use tower_webhook::scheme::KeyLookup;
///
/// async fn ask_circle(id: String) -> Result<String, std::io::Error> {
///     // GET https://api.circle.com/v2/notifications/publicKey/{id}, and the member `publicKey` of the answer
/// #   Ok(id)
/// }
/// let circle = senders::circle(KeyLookup::new(ask_circle))?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PublicKeys(Source);

#[derive(Clone)]
enum Source {
    Given(Secrets),
    #[cfg(feature = "fetch")]
    ById(KeyLookup),
}

impl PublicKeys {
    pub(super) fn set(self, builder: SchemeBuilder) -> SchemeBuilder {
        match self.0 {
            Source::Given(keys) => builder.with_public_key(keys),
            #[cfg(feature = "fetch")]
            Source::ById(keys) => builder.with_keyid_lookup(keys),
        }
    }
}

impl From<Secrets> for PublicKeys {
    fn from(keys: Secrets) -> Self {
        Self(Source::Given(keys))
    }
}

impl From<&str> for PublicKeys {
    fn from(key: &str) -> Self {
        Self(Source::Given(key.into()))
    }
}

impl From<String> for PublicKeys {
    fn from(key: String) -> Self {
        Self(Source::Given(key.into()))
    }
}

impl<T: Into<crate::secrets::Secret>, const N: usize> From<[T; N]> for PublicKeys {
    fn from(keys: [T; N]) -> Self {
        Self(Source::Given(keys.into()))
    }
}

impl<T: Into<crate::secrets::Secret>> From<Vec<T>> for PublicKeys {
    fn from(keys: Vec<T>) -> Self {
        Self(Source::Given(keys.into()))
    }
}

#[cfg(feature = "fetch")]
impl From<KeyLookup> for PublicKeys {
    fn from(keys: KeyLookup) -> Self {
        Self(Source::ById(keys))
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKeys(..)")
    }
}
