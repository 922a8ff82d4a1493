//! Requests signed as their sender signs them.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::scheme::Scheme;
#[cfg(feature = "jwt")]
use crate::senders::Connect;
use crate::sign::{Sign, SignError, Signer};
use crate::time::{Clock as _, SystemClock};

/// Signs a request as its sender would sign it now, with the first of the provider's secrets.
///
/// # Examples
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
/// Returns an error if the provider cannot sign, because it has no fixed secret or no private key.
pub fn sign<P: Sign>(provider: &P, request: Request<impl Into<Bytes>>) -> Result<Request<Full<Bytes>>, SignError> {
    sign_at(provider, request, SystemClock.now())
}

/// Signs a request as its sender would sign it at this time.
///
/// # Errors
///
/// Returns the errors of [`sign`].
pub fn sign_at<P: Sign>(
    provider: &P,
    request: Request<impl Into<Bytes>>,
    now: SystemTime,
) -> Result<Request<Full<Bytes>>, SignError> {
    provider.sign_at(request.map(Into::into), now).map(|request| request.map(Full::new))
}

/// Signs a request as a sender of a shared token would. A scheme holds only the token's digest, so
/// the test names the token.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_webhook::{senders, testing};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gitlab = senders::gitlab("s3cret")?;
/// let request = testing::sign_with_token(&gitlab, "s3cret", Request::post("/").body("{}")?)?;
/// assert_eq!(request.headers()["x-gitlab-token"], "s3cret");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if the scheme does not verify by a token.
pub fn sign_with_token(
    scheme: &Scheme,
    token: &str,
    request: Request<impl Into<Bytes>>,
) -> Result<Request<Full<Bytes>>, SignError> {
    // Schemes of tokens have no time.
    let request = scheme.sign_request(request.map(Into::into), SystemClock.now(), &Signer::Token(token))?;
    Ok(request.map(Full::new))
}

impl Sign for Scheme {
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError> {
        self.sign_request(request, now, &Signer::Secret)
    }
}

/// The members of the body become claims, and the token expires after ten minutes. Ids that the
/// provider expects are added if they are missing. A GET is sent without its body once the members
/// are in the token.
#[cfg(feature = "jwt")]
impl Sign for Connect {
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError> {
        self.sign_request(request, now)
    }
}
