//! Certificates and keys from the network: one bounded GET, a client for it, a cache in front of
//! it.

mod admission;
mod cache;
#[cfg(feature = "client")]
mod client;
mod get;
mod rate_limit;

use std::sync::Arc;

use crate::config::ConfigError;

pub(crate) use cache::{Cache, CacheLimits, Fresh};
#[cfg(feature = "client")]
pub use client::{HttpsClient, HttpsClientBuilder};
pub(crate) use get::get;
pub use get::{FETCH_TIMEOUT, Fetch, FetchFuture, MAX_FETCHED};

/// Returns the client for a provider that was given none.
#[cfg(feature = "client")]
pub(crate) fn default_client(plain_http: bool) -> Result<Arc<dyn Fetch>, ConfigError> {
    let client = HttpsClient::builder();
    let client = if plain_http { client.insecure_plain_http() } else { client };
    Ok(Arc::new(client.build()?))
}

/// Returns the client for a provider that was given none.
#[cfg(not(feature = "client"))]
pub(crate) fn default_client(_: bool) -> Result<Arc<dyn Fetch>, ConfigError> {
    Err(ConfigError::missing("there is no client to fetch with: set one by `fetch`, or enable the feature `client`"))
}
