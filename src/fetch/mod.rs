//! Certificates and keys from the network: one bounded GET, a client for it, a cache in front of
//! it.

mod admission;
mod cache;
#[cfg(feature = "client")]
mod client;
mod get;
mod rate_limit;

use std::sync::Arc;
#[cfg(feature = "client")]
use std::sync::OnceLock;

use crate::config::ConfigError;

pub(crate) use cache::{Cache, CacheLimits, Fresh};
#[cfg(feature = "client")]
pub use client::{HttpsClient, HttpsClientBuilder};
pub(crate) use get::get;
pub use get::{FETCH_TIMEOUT, Fetch, FetchFuture, MAX_FETCHED};

/// Returns the client for a provider that was given none.
#[cfg(feature = "client")]
pub(crate) fn default_client(plain_http: bool) -> Result<Arc<dyn Fetch>, ConfigError> {
    // A client reads the system's roots, which takes some 9 ms and 100 KiB: a thousand topics share
    // one.
    static SHARED: OnceLock<Arc<HttpsClient>> = OnceLock::new();
    if plain_http {
        return Ok(Arc::new(HttpsClient::builder().insecure_plain_http().build()?));
    }
    if let Some(shared) = SHARED.get() {
        return Ok(shared.clone());
    }
    let client = Arc::new(HttpsClient::builder().without_idle_connections().build()?);
    Ok(SHARED.get_or_init(|| client).clone())
}

/// Returns the client for a provider that was given none.
#[cfg(not(feature = "client"))]
pub(crate) fn default_client(_: bool) -> Result<Arc<dyn Fetch>, ConfigError> {
    Err(ConfigError::missing("there is no client to fetch with: set one by `fetch`, or enable the feature `client`"))
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use super::*;

    #[test]
    fn providers_that_are_given_no_client_share_one() {
        let at = |plain_http| Arc::as_ptr(&default_client(plain_http).unwrap()).cast::<()>();
        assert_eq!(at(false), at(false));
        let plain = default_client(true).unwrap();
        assert_ne!(Arc::as_ptr(&plain).cast::<()>(), at(false), "what plain HTTP is allowed for is for tests");
    }
}
