//! The address that a sender was given.

use std::fmt;

use crate::config::ConfigError;
use crate::public_url::PublicUrl;
use crate::scheme::SchemeBuilder;

/// The address that a sender was given, for senders that sign it.
///
/// ```
/// use tower_webhook::senders::{self, PublicAddress};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let square = senders::square("the signature key", "https://hooks.example.com")?;
/// // Behind a proxy that writes X-Forwarded-Proto and X-Forwarded-Host, and that nobody can go round:
/// let square = senders::square("the signature key", PublicAddress::from_forwarded_headers())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PublicAddress(Option<String>);

/// Prints no address, which may hold a password.
impl fmt::Debug for PublicAddress {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "PublicAddress(..)" } else { "PublicAddress(forwarded)" })
    }
}

impl PublicAddress {
    /// Takes the address from what the proxy in front of this service says: see
    /// [`with_trusted_forwarded_headers`](crate::scheme::SchemeBuilder::with_trusted_forwarded_headers).
    #[must_use]
    #[inline]
    pub fn from_forwarded_headers() -> Self {
        Self(None)
    }

    #[inline]
    pub(super) fn set(&self, scheme: SchemeBuilder) -> SchemeBuilder {
        match &self.0 {
            Some(base) => scheme.with_public_url(base),
            None => scheme.with_trusted_forwarded_headers(),
        }
    }

    #[inline]
    pub(super) fn resolve(&self) -> Result<PublicUrl, ConfigError> {
        self.0.as_deref().map_or(Ok(PublicUrl::Forwarded), PublicUrl::base)
    }
}

impl<T: Into<String>> From<T> for PublicAddress {
    #[inline]
    fn from(base: T) -> Self {
        Self(Some(base.into()))
    }
}
