//! Signing as a sender would, for tests: what a provider can say of it.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;

/// A provider that knows how its sender signs.
pub trait Sign {
    /// Adds to a request what its sender would add at this time, replacing what is there.
    ///
    /// # Errors
    ///
    /// Where the provider cannot sign, because it holds no fixed secret or no private key.
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError>;
}

/// Why a request could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SignError(pub(crate) &'static str);
