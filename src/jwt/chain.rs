//! Certificates that a token brings, and the roots that they must lead to. Feature `certificates`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::algorithm::Algorithm;
use crate::certificate::anchors;
use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::public_key::PublicKey;
use crate::rejection::{Reason, Rejection};

use super::malformed;

/// The most certificates in a token. Apple sends three.
const MAX_CERTIFICATES: usize = 5;

/// The roots to one of which the certificates of a token must lead, each signed by the next and
/// valid now.
///
/// # Examples
///
/// ```
/// use tower_webhook::scheme::ChainRoots;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// // A root that the token brings along, by the SHA-256 of its certificate.
/// let roots = ChainRoots::pinned(["63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ChainRoots {
    anchors: Vec<TrustAnchor<'static>>,
    pinned: Vec<[u8; 32]>,
    /// Extensions that the first certificate and the one after it must have.
    extensions: Option<[&'static str; 2]>,
}

impl ChainRoots {
    /// Takes certificates in PEM, one or more.
    ///
    /// # Errors
    ///
    /// Returns an error if the text isn't that.
    pub fn from_pem(pem: &str) -> Result<Self, ConfigError> {
        Ok(Self { anchors: anchors(pem)?, ..Self::default() })
    }

    /// Takes those certificates of the token whose SHA-256 is one of these, in hexadecimal.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, or one of them isn't a SHA-256.
    pub fn pinned<T: AsRef<str>>(digests: impl IntoIterator<Item = T>) -> Result<Self, ConfigError> {
        let fault = || ConfigError::key("a pinned root is not a SHA-256 in hexadecimal");
        let mut pinned = Vec::new();
        for digest in digests {
            let mut bytes = [0; 32];
            if !Encoding::HexAnyCase.decode_exact(digest.as_ref().as_bytes(), &mut bytes) {
                return Err(fault());
            }
            pinned.push(bytes);
        }
        if pinned.is_empty() {
            return Err(fault());
        }
        Ok(Self { pinned, ..Self::default() })
    }

    /// Requires an extension of the first certificate, and one of the second.
    pub(crate) fn with_extensions(mut self, oids: [&'static str; 2]) -> Self {
        self.extensions = Some(oids);
        self
    }

    /// Returns the key of the first certificate, if there is a chain from it.
    pub(crate) fn key(&self, algorithm: Algorithm, x5c: &[String], now: SystemTime) -> Result<PublicKey, Rejection> {
        if x5c.is_empty() || x5c.len() > MAX_CERTIFICATES {
            return Err(malformed(format!("the token's x5c is not 1 to {MAX_CERTIFICATES} certificates")));
        }
        let ders: Option<Vec<_>> =
            x5c.iter().map(|text| Encoding::Base64.decode(text.as_bytes()).map(CertificateDer::from)).collect();
        let ders = ders.ok_or_else(|| malformed("a certificate in the token's x5c is not base64"))?;
        self.judge(algorithm, &ders, now).map_err(|fault| {
            let detail = format!("the token's certificates: {fault}");
            Rejection::new(Reason::SignatureMismatch).with_detail(detail)
        })
    }

    fn judge(
        &self,
        algorithm: Algorithm,
        ders: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<PublicKey, &'static str> {
        let (leaf, others) = ders.split_first().ok_or("there are none")?;
        let pinned = others.iter().filter(|der| self.pinned.iter().any(|pin| Sha256::digest(der)[..] == pin[..]));
        let pinned = pinned.map(|der| webpki::anchor_from_trusted_cert(der).map_err(|_| "the root cannot be read"));
        let pinned: Vec<_> = pinned.collect::<Result<_, _>>()?;
        let anchors: Vec<_> = self.anchors.iter().cloned().chain(pinned).collect();
        let fault = "they lead to none of the roots, or are not valid at this time";
        let since_epoch = now.duration_since(UNIX_EPOCH).map_err(|_| fault)?;
        let end_entity = webpki::EndEntityCert::try_from(leaf).map_err(|_| "the first cannot be read")?;
        end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                others,
                UnixTime::since_unix_epoch(since_epoch),
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|_| fault)?;
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| "the first cannot be read")?;
        if let Some([own, issuers]) = self.extensions {
            let (_, issuer) = others
                .first()
                .and_then(|der| X509Certificate::from_der(der).ok())
                .ok_or("the second is missing or cannot be read")?;
            if !has_extension(&certificate, own) || !has_extension(&issuer, issuers) {
                return Err("they are for something else");
            }
        }
        PublicKey::from_der(algorithm, certificate.public_key().raw).ok_or("the key of the first is of another kind")
    }
}

fn has_extension(certificate: &X509Certificate<'_>, oid: &str) -> bool {
    certificate.extensions().iter().any(|extension| extension.oid.to_id_string() == oid)
}

impl fmt::Debug for ChainRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainRoots").field("pinned", &self.pinned.len()).finish_non_exhaustive()
    }
}
