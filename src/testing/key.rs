//! Key pairs for senders that sign with a private key.

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
use crate::scheme::{Scheme, Signer};
use crate::sign::SignError;
use crate::time::{Clock as _, SystemClock};

/// A key pair that plays the sender. Feature `asymmetric`.
///
/// # Examples
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
    pair: Arc<PrivateKey>,
    public_key: String,
}

enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Generates an Ed25519 key pair.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub fn ed25519() -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::generate().map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, PrivateKey::Ed25519(pair)))
    }

    /// Generates an ECDSA P-256 key pair.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub fn ecdsa_p256() -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, PrivateKey::EcdsaP256(pair)))
    }

    /// Generates an RSA key pair of 2048 bits, which takes a moment.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub fn rsa() -> Result<Self, SignError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, PrivateKey::Rsa(pair)))
    }

    /// Reads a private key in PEM (PKCS #8): Ed25519, ECDSA P-256, or RSA of 2048 bits and more.
    ///
    /// # Errors
    ///
    /// Returns an error if the text isn't such a key.
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let unfit = || SignError::new("the private key is not one of Ed25519, P-256 or RSA in PEM (PKCS #8)");
        let base64 = pem.split("-----").nth(2).ok_or_else(unfit)?.replace(['\r', '\n'], "");
        let der = zeroize::Zeroizing::new(Encoding::Base64.decode(base64.as_bytes()).ok_or_else(unfit)?);
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            let public_key = pair.public_key().as_der().map_err(no_key)?;
            return Ok(Self::new(&public_key, PrivateKey::Ed25519(pair)));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der) {
            let public_key = pair.public_key().as_der().map_err(no_key)?;
            return Ok(Self::new(&public_key, PrivateKey::EcdsaP256(pair)));
        }
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| unfit())?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, PrivateKey::Rsa(pair)))
    }

    fn new(public_key: &PublicKeyX509Der<'_>, pair: PrivateKey) -> Self {
        Self { pair: Arc::new(pair), public_key: Encoding::Base64.encode(public_key.as_ref()) }
    }

    /// Returns the public key: its SubjectPublicKeyInfo in base64, which every sender with public
    /// keys accepts.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Returns the public key as a JSON web key set (RFC 7517), for senders whose keys are fetched.
    /// It is `None` for Ed25519.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn jwks(&self) -> Option<String> {
        let base64 = |bytes: &[u8]| Encoding::Base64Url.encode(bytes);
        let kid = crate::jwt::TEST_KID;
        let key = match &*self.pair {
            PrivateKey::Ed25519(_) => return None,
            PrivateKey::EcdsaP256(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at(32);
                serde_json::json!({ "kid": kid, "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            PrivateKey::Rsa(pair) => {
                let modulus = pair.public_key().modulus().big_endian_without_leading_zero();
                let exponent = pair.public_key().exponent().big_endian_without_leading_zero();
                serde_json::json!({ "kid": kid, "kty": "RSA", "n": base64(modulus), "e": base64(exponent) })
            }
        };
        Some(serde_json::json!({ "keys": [key] }).to_string())
    }

    /// Returns a new certificate of the public key in PEM, issued by a root of its own. It is
    /// `None` for keys that are not RSA. Feature `testing-certificates`.
    #[cfg(feature = "testing-certificates")]
    #[must_use]
    pub fn certificate(&self) -> Option<String> {
        use aws_lc_rs::encoding::Pkcs8V1Der;

        let PrivateKey::Rsa(pair) = &*self.pair else { return None };
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
            PrivateKey::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            PrivateKey::EcdsaP256(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            PrivateKey::Rsa(pair) => {
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
    SignError::new("no key pair could be generated")
}

/// Signs a request as its sender would sign it now, with this private key.
///
/// # Errors
///
/// Returns an error if the scheme doesn't verify with a public key, or with one of another
/// algorithm.
pub fn sign_with(
    scheme: &Scheme,
    key: &SigningKey,
    request: Request<impl Into<Bytes>>,
) -> Result<Request<Full<Bytes>>, SignError> {
    sign_with_at(scheme, key, request, SystemClock.now())
}

/// Signs a request as its sender would sign it at this time, with this private key.
///
/// # Errors
///
/// Returns the errors of [`sign_with`].
pub fn sign_with_at(
    scheme: &Scheme,
    key: &SigningKey,
    request: Request<impl Into<Bytes>>,
    now: SystemTime,
) -> Result<Request<Full<Bytes>>, SignError> {
    sign_request(scheme, key, request.map(Into::into), now).map(|request| request.map(Full::new))
}

pub(super) fn sign_request(
    scheme: &Scheme,
    key: &SigningKey,
    request: Request<Bytes>,
    now: SystemTime,
) -> Result<Request<Bytes>, SignError> {
    let sign = |message: &[u8]| key.sign(message).ok_or_else(|| SignError::new("the key cannot sign"));
    scheme.sign_request(request, now, &Signer::PrivateKey(&sign))
}
