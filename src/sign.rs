//! Signing as a sender would, for tests.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;

/// A provider that knows how its sender signs.
pub trait Sign {
    /// Adds to a request what its sender would add at this time, replacing what is there.
    ///
    /// # Errors
    ///
    /// Returns an error if the provider cannot sign, because it holds no fixed secret or no private key.
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError>;
}

/// An error of [`Sign`]: why a request could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed: {0}")]
pub struct SignError(Cow<'static, str>);

impl SignError {
    /// Creates an error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}
