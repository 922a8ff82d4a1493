//! Key pairs for senders that sign with a private key.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as backend, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sha1::{Digest as _, Sha1};

use crate::algorithm::Algorithm;
use crate::encoding::Encoding;
use crate::scheme::Scheme;
use crate::sign::{PrivateKey, SignError, Signer};
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
    pair: Arc<Pair>,
    public_key: String,
    #[cfg(feature = "testing-certificates")]
    certificates: Option<Arc<Certificates>>,
}

/// The certificates of a key.
#[cfg(feature = "testing-certificates")]
struct Certificates {
    /// From that of the key to the root, in base64.
    chain: Vec<String>,
    /// The root, in PEM.
    root: String,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
    EcdsaP384(EcdsaKeyPair),
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
        Ok(Self::new(&public_key, Pair::Ed25519(pair)))
    }

    /// Generates an ECDSA P-256 key pair.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub fn ecdsa_p256() -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::generate(&backend::ECDSA_P256_SHA256_ASN1_SIGNING).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::EcdsaP256(pair)))
    }

    /// Generates an ECDSA P-384 key pair.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub fn ecdsa_p384() -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::generate(&backend::ECDSA_P384_SHA384_ASN1_SIGNING).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::EcdsaP384(pair)))
    }

    /// Generates an RSA key pair of 2048 bits, which takes a moment.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub fn rsa() -> Result<Self, SignError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(no_key)?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::Rsa(pair)))
    }

    /// Reads a private key in PEM (PKCS #8): Ed25519, ECDSA P-256 or P-384, or RSA of 2048 bits and
    /// more.
    ///
    /// # Errors
    ///
    /// Returns an error if the text isn't such a key.
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let unfit = || SignError::new("the private key is not one of Ed25519, P-256, P-384 or RSA in PEM (PKCS #8)");
        let base64 = pem.split("-----").nth(2).ok_or_else(unfit)?.replace(['\r', '\n'], "");
        let der = zeroize::Zeroizing::new(Encoding::Base64.decode(base64.as_bytes()).ok_or_else(unfit)?);
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            let public_key = pair.public_key().as_der().map_err(no_key)?;
            return Ok(Self::new(&public_key, Pair::Ed25519(pair)));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&backend::ECDSA_P256_SHA256_ASN1_SIGNING, &der) {
            let public_key = pair.public_key().as_der().map_err(no_key)?;
            return Ok(Self::new(&public_key, Pair::EcdsaP256(pair)));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&backend::ECDSA_P384_SHA384_ASN1_SIGNING, &der) {
            let public_key = pair.public_key().as_der().map_err(no_key)?;
            return Ok(Self::new(&public_key, Pair::EcdsaP384(pair)));
        }
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| unfit())?;
        let public_key = pair.public_key().as_der().map_err(no_key)?;
        Ok(Self::new(&public_key, Pair::Rsa(pair)))
    }

    fn new(public_key: &PublicKeyX509Der<'_>, pair: Pair) -> Self {
        Self {
            pair: Arc::new(pair),
            public_key: Encoding::Base64.encode(public_key.as_ref()),
            #[cfg(feature = "testing-certificates")]
            certificates: None,
        }
    }

    /// Returns the public key: its SubjectPublicKeyInfo in base64, which every sender with public
    /// keys accepts.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Returns the public key as a JSON web key set (RFC 7517), for senders whose keys are fetched.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn jwks(&self) -> Option<String> {
        let base64 = |bytes: &[u8]| Encoding::Base64Url.encode(bytes);
        let kid = crate::jwt::TEST_KID;
        let key = match &*self.pair {
            Pair::Ed25519(pair) => {
                let x = base64(pair.public_key().as_ref());
                serde_json::json!({ "kid": kid, "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            Pair::EcdsaP256(pair) | Pair::EcdsaP384(pair) => {
                let point = pair.public_key().as_ref().get(1..)?;
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                serde_json::json!({ "kid": kid, "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
            }
            Pair::Rsa(pair) => {
                let modulus = pair.public_key().modulus().big_endian_without_leading_zero();
                let exponent = pair.public_key().exponent().big_endian_without_leading_zero();
                serde_json::json!({ "kid": kid, "kty": "RSA", "n": base64(modulus), "e": base64(exponent) })
            }
        };
        Some(serde_json::json!({ "keys": [key] }).to_string())
    }

    /// Adds certificates: one of this key, an intermediate one and a root, which tokens bring in
    /// `x5c`. Each of the first two gets an extension of this OID, by which some senders mark
    /// theirs. Feature `testing-certificates`.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is RSA, or the system has no random numbers.
    #[cfg(feature = "testing-certificates")]
    pub fn with_certificates(self, extensions: [Vec<u64>; 2]) -> Result<Self, SignError> {
        use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};

        let fault = |_| SignError::new("no certificates could be made");
        let no_key = || SignError::new("only keys of ECDSA get certificates");
        let (Pair::EcdsaP256(pair) | Pair::EcdsaP384(pair)) = &*self.pair else { return Err(no_key()) };
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| no_key())?;
        let own = KeyPair::try_from(pkcs8.as_ref()).map_err(fault)?;
        let params = |name: &str, oid: &[u64], is_ca: bool| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            if is_ca {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            if !oid.is_empty() {
                // NULL, as there is nothing to say beside the mark.
                params.custom_extensions.push(CustomExtension::from_oid_content(oid, vec![5, 0]));
            }
            params
        };
        let root_key = KeyPair::generate().map_err(fault)?;
        let root_params = params("Test Root", &[], true);
        let root = root_params.self_signed(&root_key).map_err(fault)?;
        let root_issuer = Issuer::new(root_params, root_key);
        let between_key = KeyPair::generate().map_err(fault)?;
        let between_params = params("Test Intermediate", &extensions[1], true);
        let between = between_params.signed_by(&between_key, &root_issuer).map_err(fault)?;
        let issuer = Issuer::new(between_params, between_key);
        let leaf = params("Test", &extensions[0], false).signed_by(&own, &issuer).map_err(fault)?;
        let chain = [&leaf, &between, &root].map(|it| Encoding::Base64.encode(it.der())).to_vec();
        Ok(Self { certificates: Some(Arc::new(Certificates { chain, root: root.pem() })), ..self })
    }

    /// Returns the root of the [certificates](Self::with_certificates) in PEM, if there are any.
    /// Feature `testing-certificates`.
    #[cfg(feature = "testing-certificates")]
    #[must_use]
    pub fn root(&self) -> Option<&str> {
        self.certificates.as_ref().map(|it| &*it.root)
    }

    /// Returns a new certificate of the public key in PEM, issued by a root of its own. It is
    /// `None` for keys that are not RSA. Feature `testing-certificates`.
    #[cfg(feature = "testing-certificates")]
    #[must_use]
    pub fn certificate(&self) -> Option<String> {
        use aws_lc_rs::encoding::Pkcs8V1Der;

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
}

impl PrivateKey for SigningKey {
    #[cfg(feature = "testing-certificates")]
    fn chain(&self) -> Option<Vec<String>> {
        self.certificates.as_ref().map(|it| it.chain.clone())
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let signature = match (&*self.pair, algorithm) {
            (Pair::Ed25519(pair), Algorithm::Ed25519) => Some(pair.sign(message).as_ref().to_vec()),
            (Pair::EcdsaP256(pair), Algorithm::EcdsaP256Sha1) => {
                // Of a digest that is shorter than the numbers of the curve, the value alone counts.
                let mut digest = [0; 32];
                digest[12..].copy_from_slice(&Sha1::digest(message));
                let digest = digest::Digest::import_less_safe(&digest, &digest::SHA256);
                digest.and_then(|digest| pair.sign_digest(&digest)).ok().map(|signature| signature.as_ref().to_vec())
            }
            (Pair::EcdsaP256(pair), Algorithm::EcdsaP256 | Algorithm::EcdsaP256Fixed)
            | (Pair::EcdsaP384(pair), Algorithm::EcdsaP384 | Algorithm::EcdsaP384Fixed) => {
                let der = pair.sign(&random, message).ok();
                der.and_then(|der| match algorithm {
                    Algorithm::EcdsaP256Fixed => fixed(der.as_ref(), 32),
                    Algorithm::EcdsaP384Fixed => fixed(der.as_ref(), 48),
                    _ => Some(der.as_ref().to_vec()),
                })
            }
            (Pair::Rsa(pair), algorithm) => rsa(algorithm).and_then(|encoding| {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).ok().map(|()| signature)
            }),
            _ => None,
        };
        signature.ok_or_else(|| SignError::new("the key makes no signatures of this algorithm"))
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::RsaPkcs1Sha256 => &backend::RSA_PKCS1_SHA256,
        Algorithm::RsaPkcs1Sha384 => &backend::RSA_PKCS1_SHA384,
        Algorithm::RsaPkcs1Sha512 => &backend::RSA_PKCS1_SHA512,
        Algorithm::RsaPssSha256 => &backend::RSA_PSS_SHA256,
        Algorithm::RsaPssSha384 => &backend::RSA_PSS_SHA384,
        Algorithm::RsaPssSha512 => &backend::RSA_PSS_SHA512,
        _ => return None,
    })
}

/// Returns an ECDSA signature in DER as two numbers of this length.
fn fixed(der: &[u8], len: usize) -> Option<Vec<u8>> {
    // P-256 and P-384 have signatures of less than 128 bytes, so that each length is one byte.
    let mut rest = der.get(2..)?;
    let mut out = Vec::new();
    for _ in 0..2 {
        let own = usize::from(*rest.get(1)?);
        let number = rest.get(2..2 + own)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        out.extend(std::iter::repeat_n(0, len.checked_sub(number.len())?));
        out.extend_from_slice(number);
        rest = &rest[2 + own..];
    }
    Some(out)
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
    scheme.sign_request(request, now, &Signer::PrivateKey(key))
}
