//! What the certificate that a message names has to be.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::config::ConfigError;
use crate::fetch::Fresh;

use super::SignatureVersion;
use super::address::LocalSns;
use super::arn::TopicArn;

/// How long a certificate is believed before it is fetched again, where it does not end before.
const LONGEST_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The certificates taken from one answer: SNS sends one, a chain to a root has two or three more.
const MOST_CERTIFICATES: usize = 4;
/// The least key that AWS uses today.
pub(super) const MIN_KEY_BITS: usize = 2048;

/// What a certificate has to be.
#[derive(Clone)]
pub(crate) struct CertificateRules {
    pub(crate) min_key_bits: usize,
    pub(crate) allow_self_signed: bool,
    /// Where set, a chain to one of these is required.
    pub(crate) anchors: Option<Vec<TrustAnchor<'static>>>,
    pub(super) local: Option<LocalSns>,
}

impl Default for CertificateRules {
    fn default() -> Self {
        Self { min_key_bits: MIN_KEY_BITS, allow_self_signed: false, anchors: None, local: None }
    }
}

/// A key that messages are signed with, parsed once.
pub(crate) struct SigningKey {
    sha1: ParsedPublicKey,
    sha256: ParsedPublicKey,
}

impl SigningKey {
    /// The length of the key is judged with its certificate, so the wider algorithms serve here.
    fn new(der: &[u8]) -> Option<Self> {
        Some(Self {
            sha1: ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, der).ok()?,
            sha256: ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, der).ok()?,
        })
    }

    /// Whether an RSA signature by SHA-256 of this text is by this key.
    pub(crate) fn verifies_sha256(&self, message: &[u8], signature: &[u8]) -> bool {
        self.sha256.verify_sig(message, signature).is_ok()
    }

    pub(super) fn verify(&self, version: SignatureVersion, digest: &Digest, signature: &[u8]) -> bool {
        let key = match version {
            SignatureVersion::V1 => &self.sha1,
            SignatureVersion::V2 => &self.sha256,
        };
        key.verify_digest_sig(digest, signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The trust anchors in a PEM text.
pub(crate) fn anchors(pem: &[u8]) -> Result<Vec<TrustAnchor<'static>>, ConfigError> {
    let fault = || ConfigError::key("the roots are not one or more PEM certificates");
    let ders: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| fault())?;
    let anchors = ders.iter().map(|der| webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()));
    let anchors: Vec<_> = anchors.collect::<Result<_, _>>().map_err(|_| fault())?;
    match anchors.is_empty() {
        true => Err(fault()),
        false => Ok(anchors),
    }
}

impl CertificateRules {
    /// Judges what was fetched for this topic. The error says which rule it breaks.
    pub(super) fn judge(
        &self,
        pem: &[u8],
        topic: TopicArn<'_>,
        now: SystemTime,
    ) -> Result<Fresh<SigningKey>, &'static str> {
        let check_validity = self.local.as_ref().is_none_or(|local| local.checks_validity());
        match self.local.as_ref().map(|local| local.name()) {
            None => self.judge_as(pem, Some(&topic.signer()), check_validity, now),
            Some(name) => self.judge_as(pem, name, check_validity, now),
        }
    }

    /// Judges what was fetched, with this name where one is demanded.
    pub(crate) fn judge_as(
        &self,
        pem: &[u8],
        name: Option<&str>,
        check_validity: bool,
        now: SystemTime,
    ) -> Result<Fresh<SigningKey>, &'static str> {
        if !pem.starts_with(b"-----BEGIN CERTIFICATE-----") {
            return Err("it is not a PEM certificate");
        }
        let ders = CertificateDer::pem_slice_iter(pem).take(MOST_CERTIFICATES).collect::<Result<Vec<_>, _>>();
        let ders = ders.map_err(|_| "it is not a PEM certificate")?;
        let Some((leaf, intermediates)) = ders.split_first() else { return Err("it is not a PEM certificate") };
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Err("it is not an X.509 certificate");
        };

        let kept = now + LONGEST_KEPT;
        let until = match check_validity {
            false => kept,
            true => {
                let (from, until) = validity(&certificate).ok_or("its validity cannot be read")?;
                if now < from || until <= now {
                    return Err("it is not valid at this time");
                }
                until.min(kept)
            }
        };
        let named = name.is_none_or(|name| bears_name(&certificate, name));
        if !named {
            return Err("it bears another name");
        }
        if !self.allow_self_signed && certificate.subject().as_raw() == certificate.issuer().as_raw() {
            return Err("it is signed by itself");
        }
        let info = certificate.public_key();
        let Ok(PublicKey::RSA(rsa)) = info.parsed() else { return Err("its key is not an RSA key") };
        if bits(rsa.modulus) < self.min_key_bits {
            return Err("its RSA key is too short");
        }
        let at = match check_validity {
            true => now,
            // A chain is judged at some time: where validity is not checked, when the certificate was new.
            false => validity(&certificate).map_or(now, |(from, _)| from),
        };
        self.judge_chain(leaf, intermediates, at)?;
        let key = SigningKey::new(info.raw).ok_or("its RSA key cannot be used")?;
        Ok(Fresh { value: key, until })
    }

    fn judge_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        at: SystemTime,
    ) -> Result<(), &'static str> {
        let Some(anchors) = &self.anchors else { return Ok(()) };
        let fault = "it does not chain to one of the roots";
        let since_epoch = at.duration_since(UNIX_EPOCH).map_err(|_| fault)?;
        let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|_| fault)?;
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            intermediates,
            UnixTime::since_unix_epoch(since_epoch),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map(|_| ())
        .map_err(|_| fault)
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Option<(SystemTime, SystemTime)> {
    let time = |seconds: i64| UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?));
    let validity = certificate.validity();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

/// Whether the name is a DNS name among the alternatives or, in a certificate without any, the common name.
fn bears_name(certificate: &X509Certificate<'_>, name: &str) -> bool {
    match certificate.subject_alternative_name() {
        Ok(Some(alternatives)) => alternatives
            .value
            .general_names
            .iter()
            .any(|it| matches!(it, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name))),
        Ok(None) => {
            let mut names = certificate.subject().iter_common_name();
            // The bytes, as old certificates write it as a Teletex string.
            let first = names.next().map(|it| it.as_slice());
            names.next().is_none() && first.is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
        }
        Err(_) => false,
    }
}

/// The length of a number that may be written with zeros before it.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_before_a_number_do_not_make_it_longer() {
        for (number, len) in [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80], 8), (&[0, 0, 1, 0], 9)] {
            assert_eq!(bits(number), len, "{number:?}");
        }
    }
}
