//! How to connect.

use std::fmt;
use std::sync::Arc;

use redis::TlsCertificates;

use crate::config::ConfigError;
use crate::observe;

use super::link::Link;
use super::target::{Target, eviction};
use super::{DEFAULT_PREFIX, RedisStore};

/// Settings of a [`RedisStore`] that matter when it connects, made by [`RedisStore::builder`].
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::RedisStore;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder()
///     .with_prefix("shop:")
///     .with_roots(std::fs::read("our-ca.pem")?)
///     .connect("rediss://shop:password@redis.internal")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisBuilder {
    prefix: Arc<str>,
    roots: Option<TlsCertificates>,
}

impl RedisBuilder {
    pub(super) fn new() -> Self {
        Self { prefix: DEFAULT_PREFIX.into(), roots: None }
    }

    /// Sets the prefix of all keys. The default is [`DEFAULT_PREFIX`].
    ///
    /// It is set here rather than by [`RedisStore::with_prefix`] where the user's permissions cover no other prefix: connecting
    /// writes and removes a key to see that it may.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into().into();
        self
    }

    /// Sets the root certificates that TLS trusts, in PEM, instead of Mozilla's.
    #[must_use]
    pub fn with_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(TlsCertificates { client_tls: None, root_cert: Some(pem.into()) });
        self
    }

    /// Connects as [`RedisStore::connect`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub async fn connect(self, url: impl AsRef<str>) -> Result<RedisStore, ConfigError> {
        let target = Target::server(url.as_ref(), self.roots)?;
        connected(self.prefix, target).await
    }

    /// Sets up a store as [`RedisStore::connect_lazily`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub fn connect_lazily(self, url: impl AsRef<str>) -> Result<RedisStore, ConfigError> {
        let target = Target::server(url.as_ref(), self.roots)?;
        Ok(RedisStore { link: Link::to(target), prefix: self.prefix })
    }

    /// Connects as [`RedisStore::connect_cluster`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub async fn connect_cluster(
        self,
        urls: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<RedisStore, ConfigError> {
        let target = Target::cluster(urls, self.roots)?;
        connected(self.prefix, target).await
    }

    /// Connects as [`RedisStore::connect_sentinel`] does.
    ///
    /// # Errors
    ///
    /// Returns an error under the same conditions.
    pub async fn connect_sentinel(
        self,
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master: impl AsRef<str>,
    ) -> Result<RedisStore, ConfigError> {
        let target = Target::sentinel(urls, master.as_ref(), self.roots)?;
        connected(self.prefix, target).await
    }
}

async fn connected(prefix: Arc<str>, target: Target) -> Result<RedisStore, ConfigError> {
    let link = Link::to(target);
    let wire = link.connect(&prefix).await?;
    if let Some(policy) = eviction(&*wire).await {
        observe::store_evicts(&policy);
    }
    Ok(RedisStore { link, prefix })
}

/// Prints no certificate.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
