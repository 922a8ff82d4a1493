//! Key pairs, for senders that sign with a private key.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::encoding::Encoding;
use crate::scheme::{Scheme, Signer};
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

    /// The public key as a JSON web key set (RFC 7517), for senders whose keys are fetched. `None` for Ed25519.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn jwks(&self) -> Option<String> {
        let base64 = |bytes: &[u8]| Encoding::Base64Url.encode(bytes);
        let kid = crate::scheme::TEST_KID;
        let key = match &*self.pair {
            Pair::Ed25519(_) => return None,
            Pair::EcdsaP256(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at(32);
                serde_json::json!({ "kid": kid, "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            Pair::Rsa(pair) => {
                let modulus = pair.public_key().modulus().big_endian_without_leading_zero();
                let exponent = pair.public_key().exponent().big_endian_without_leading_zero();
                serde_json::json!({ "kid": kid, "kty": "RSA", "n": base64(modulus), "e": base64(exponent) })
            }
        };
        Some(serde_json::json!({ "keys": [key] }).to_string())
    }

    /// A new certificate of the public key in PEM, signed by a root of its own. `None` for keys that are not RSA.
    #[must_use]
    pub fn certificate(&self) -> Option<String> {
        let Pair::Rsa(pair) = &*self.pair else { return None };
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
        let key = rcgen::KeyPair::try_from(pkcs8.as_ref()).ok()?;
        let named = |name: &str| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let mut root = named("Test Root");
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = rcgen::Issuer::new(root, rcgen::KeyPair::generate().ok()?);
        Some(named("messages.example.com").signed_by(&key, &root).ok()?.pem())
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
    SignError::new("a key pair could not be made")
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
    let sign = |message: &[u8]| key.sign(message).ok_or_else(|| SignError::new("the key cannot sign"));
    scheme.sign_request(request.map(Into::into), now, &Signer::PrivateKey(&sign)).map(|request| request.map(Full::new))
}
