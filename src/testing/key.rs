//! Key pairs, for senders that sign with a private key.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::encoding::Encoding;
use crate::scheme::Scheme;
use crate::time::{Clock as _, SystemClock};

use crate::sign::SignError;

/// A key pair that plays the sender. Feature `asymmetric`.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use tower_webhook::testing::{self, SigningKey};
/// use tower_webhook::senders;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = SigningKey::ed25519()?;
/// let discord = senders::discord(key.public_key())?;
/// let request = Request::post("/discord").body(r#"{"type":2}"#)?;
/// let request = testing::sign_with(&discord, &key, request)?;
/// assert!(request.headers().contains_key("x-signature-ed25519"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Pair>,
    public_key: String,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// A new Ed25519 key pair.
    ///
    /// # Errors
    ///
    /// Where the system has no random numbers.
    pub fn ed25519() -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::generate().map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::Ed25519(pair)))
    }

    /// A new ECDSA P-256 key pair.
    ///
    /// # Errors
    ///
    /// Where the system has no random numbers.
    pub fn ecdsa_p256() -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::EcdsaP256(pair)))
    }

    /// A new RSA key pair of 2048 bits, which takes a moment.
    ///
    /// # Errors
    ///
    /// Where the system has no random numbers.
    pub fn rsa() -> Result<Self, SignError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::Rsa(pair)))
    }

    fn new(public_key: &PublicKeyX509Der<'_>, pair: Pair) -> Self {
        Self { pair: Arc::new(pair), public_key: Encoding::Base64.encode(public_key.as_ref()) }
    }

    /// The public key: its SubjectPublicKeyInfo in base64, which every sender with public keys takes.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Pair::EcdsaP256(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

fn no_key(_: aws_lc_rs::error::Unspecified) -> SignError {
    SignError("a key pair could not be made")
}

/// Signs a request as its sender would sign it now, with this private key.
///
/// # Errors
///
/// Where the scheme does not verify by a public key, or by one of another algorithm.
pub fn sign_with(
    scheme: &Scheme,
    key: &SigningKey,
    request: Request<impl Into<Bytes>>,
) -> Result<Request<Full<Bytes>>, SignError> {
    sign_with_at(scheme, key, request, SystemClock.now())
}

/// As [`sign_with`], at another time.
///
/// # Errors
///
/// As [`sign_with`].
pub fn sign_with_at(
    scheme: &Scheme,
    key: &SigningKey,
    request: Request<impl Into<Bytes>>,
    now: SystemTime,
) -> Result<Request<Full<Bytes>>, SignError> {
    let sign = |message: &[u8]| key.sign(message);
    scheme.sign_request(request.map(Into::into), now, Some(&sign)).map(|request| request.map(Full::new))
}
