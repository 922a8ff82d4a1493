//! Requests signed as their sender would sign them.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::provider::CdrManager;
use crate::scheme::Scheme;
use crate::time::{Clock as _, SystemClock};

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

/// Signs a request as its sender would sign it now, with the first of the provider's secrets.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use tower_webhook::{CdrManager, testing};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = CdrManager::new("Jefe")?;
/// let request = Request::post("/webhooks/cdr").body("what do ya want for nothing?")?;
/// let request = testing::sign(&provider, request)?;
/// assert_eq!(
///     request.headers()["x-cdr-signature"],
///     "Fkt6e/z4GeLjlfvnO1bgo4e9ZCIugx/WECcM1+olBVSXWL91wFqZSm0DT2X48Ob9yuqxo01Ka0tjbgcKOLznNw==",
/// );
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Where the provider cannot sign, because it holds no fixed secret or no private key.
pub fn sign<P: Sign>(provider: &P, request: Request<impl Into<Bytes>>) -> Result<Request<Full<Bytes>>, SignError> {
    sign_at(provider, request, SystemClock.now())
}

/// As [`sign`], at another time.
///
/// # Errors
///
/// As [`sign`].
pub fn sign_at<P: Sign>(
    provider: &P,
    request: Request<impl Into<Bytes>>,
    now: SystemTime,
) -> Result<Request<Full<Bytes>>, SignError> {
    provider.sign_at(request.map(Into::into), now).map(|request| request.map(Full::new))
}

impl Sign for Scheme {
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError> {
        self.sign_request(request, now, None)
    }
}

impl Sign for CdrManager {
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError> {
        self.scheme().sign_at(request, now)
    }
}
