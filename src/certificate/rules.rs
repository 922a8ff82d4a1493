//! Judging a certificate, and the key in it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
};
use http::Uri;
use http::uri::{Authority, Scheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::config::ConfigError;
use crate::fetch::Fresh;
use crate::public_key::Verifies;

use super::{CertificateConfig, CertificateName};

/// How long a certificate is used before it is fetched again. It serves until it expires, even if
/// its host is down.
const REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a certificate serves whose validity isn't checked.
const UNCHECKED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The most certificates taken from one response: SNS sends one, and a chain to a root has two or
/// three more.
const MAX_CERTIFICATES: usize = 4;
/// The shortest RSA key that senders use today.
const DEFAULT_MIN_KEY_BITS: usize = 2048;
/// The lengths of RSA keys that signatures can be verified with.
const KEY_BITS: std::ops::RangeInclusive<usize> = 1024..=8192;

/// What a certificate must be: a [`CertificateConfig`] that was checked.
#[derive(Clone)]
pub(crate) struct CertificateRules {
    pub(crate) origin: Option<Origin>,
    pub(crate) pinned_urls: Vec<String>,
    name: CertificateName,
    check_validity: bool,
    /// If set, a chain to one of these is required.
    anchors: Option<Vec<TrustAnchor<'static>>>,
    min_key_bits: usize,
    allow_self_signed: bool,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl Origin {
    fn parse(origin: &str) -> Option<Self> {
        let parts = origin.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.filter(|it| *it == Scheme::HTTP || *it == Scheme::HTTPS)?;
        let authority = parts.authority.filter(|it| !it.as_str().contains('@'))?;
        parts.path_and_query.is_none_or(|path| path == "/").then_some(Self { scheme, authority })
    }
}

impl CertificateRules {
    /// Checks a configuration.
    pub(crate) fn new(config: &CertificateConfig) -> Result<Self, ConfigError> {
        let min_key_bits = config.min_key_bits.unwrap_or(DEFAULT_MIN_KEY_BITS);
        if !KEY_BITS.contains(&min_key_bits) {
            return Err(ConfigError::key("the shortest RSA key of a certificate must have 1024 to 8192 bits"));
        }
        let is_url = |url: &String| url.parse::<Uri>().is_ok_and(|url| url.host().is_some() && url.scheme().is_some());
        if let Some(bad) = config.pinned_urls.iter().find(|url| !is_url(url)) {
            return Err(ConfigError::invalid(format!("{bad:?} in the certificates' `pinned_urls` is not a URL")));
        }
        let fault = || ConfigError::invalid("the certificates' origin is not one such as http://127.0.0.1:4566");
        let origin = config.origin.as_deref().map(|origin| Origin::parse(origin).ok_or_else(fault));
        Ok(Self {
            origin: origin.transpose()?,
            pinned_urls: config.pinned_urls.clone(),
            name: config.name.clone(),
            check_validity: config.check_validity.unwrap_or(true),
            anchors: config.roots.as_deref().map(anchors).transpose()?,
            min_key_bits,
            allow_self_signed: config.allow_self_signed.unwrap_or(false),
        })
    }

    /// Returns whether certificates are fetched over plain http.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.scheme == Scheme::HTTP)
    }

    /// Judges what was fetched. `documented` are the names of which the sender documents that the
    /// certificate has one; any name is right if there are none. The error says which rule it
    /// breaks.
    pub(crate) fn judge(
        &self,
        pem: &[u8],
        documented: &[String],
        now: SystemTime,
    ) -> Result<Fresh<CertificateKey>, &'static str> {
        if !pem.starts_with(b"-----BEGIN CERTIFICATE-----") {
            return Err("it is not a PEM certificate");
        }
        let ders = CertificateDer::pem_slice_iter(pem).take(MAX_CERTIFICATES).collect::<Result<Vec<_>, _>>();
        let ders = ders.map_err(|_| "it is not a PEM certificate")?;
        let Some((leaf, intermediates)) = ders.split_first() else { return Err("it is not a PEM certificate") };
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Err("it is not an X.509 certificate");
        };

        let (mut until, mut chain_time) = (now + UNCHECKED, now);
        if self.check_validity {
            let (not_before, not_after) = validity(&certificate).ok_or("its validity cannot be read")?;
            if now < not_before || not_after <= now {
                return Err("it is not valid at this time");
            }
            until = not_after;
        } else if let Some((not_before, _)) = validity(&certificate) {
            // A chain is judged at some time: without a check of the validity, when the certificate was new.
            chain_time = not_before;
        }
        let names = match &self.name {
            CertificateName::Documented => documented,
            CertificateName::Any => &[],
            CertificateName::Exactly(name) => std::slice::from_ref(name),
        };
        if !names.is_empty() && !names.iter().any(|name| has_name(&certificate, name)) {
            return Err("it has another name");
        }
        if !self.allow_self_signed && certificate.subject().as_raw() == certificate.issuer().as_raw() {
            return Err("it is signed by itself");
        }
        let info = certificate.public_key();
        let Ok(PublicKey::RSA(rsa)) = info.parsed() else { return Err("its key is not an RSA key") };
        if bits(rsa.modulus) < self.min_key_bits {
            return Err("its RSA key is too short");
        }
        self.judge_chain(leaf, intermediates, chain_time)?;
        let key = CertificateKey::new(info.raw).ok_or("its RSA key cannot be used")?;
        // Well before the end, so that a host that is down then has time to come back.
        let remaining = until.duration_since(now).unwrap_or_default();
        Ok(Fresh { value: key, refresh: now + REFRESH.min(remaining / 2), until })
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

/// Returns the trust anchors in a PEM text.
pub(crate) fn anchors(pem: &str) -> Result<Vec<TrustAnchor<'static>>, ConfigError> {
    let fault = || ConfigError::key("the roots are not one or more PEM certificates");
    let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| fault())?;
    let anchors = ders.iter().map(|der| webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()));
    let anchors: Vec<_> = anchors.collect::<Result<_, _>>().map_err(|_| fault())?;
    if anchors.is_empty() {
        return Err(fault());
    }
    Ok(anchors)
}

/// The key of a certificate, parsed once.
pub(crate) struct CertificateKey {
    sha1: ParsedPublicKey,
    sha256: ParsedPublicKey,
}

impl CertificateKey {
    /// The length of the key was judged with its certificate, so the algorithms with the wider
    /// range serve here.
    fn new(der: &[u8]) -> Option<Self> {
        Some(Self {
            sha1: ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, der).ok()?,
            sha256: ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, der).ok()?,
        })
    }

    /// Returns whether this key made the RSA signature over this digest, a SHA-1 or a SHA-256.
    pub(crate) fn verifies_digest(&self, digest: &Digest, signature: &[u8]) -> bool {
        let key = if digest.algorithm() == &SHA1_FOR_LEGACY_USE_ONLY { &self.sha1 } else { &self.sha256 };
        key.verify_digest_sig(digest, signature).is_ok()
    }
}

/// By RSA with SHA-256.
impl Verifies for CertificateKey {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.sha256.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateKey").finish_non_exhaustive()
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Option<(SystemTime, SystemTime)> {
    let time = |seconds: i64| UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?));
    let validity = certificate.validity();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

/// Returns whether the name is a DNS name among the alternatives or, in a certificate without any,
/// the common name.
fn has_name(certificate: &X509Certificate<'_>, name: &str) -> bool {
    match certificate.subject_alternative_name() {
        Ok(Some(alternatives)) => alternatives
            .value
            .general_names
            .iter()
            .any(|it| matches!(it, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name))),
        Ok(None) => {
            let mut names = certificate.subject().iter_common_name();
            // Compared as bytes, since old certificates hold a Teletex string.
            let first = names.next().map(|it| it.as_slice());
            names.next().is_none() && first.is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
        }
        Err(_) => false,
    }
}

/// Returns the length of a number in bits, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_alone() {
        for good in ["http://127.0.0.1:4566", "https://a.test", "http://[::1]:1/"] {
            let rules = CertificateRules::new(&CertificateConfig::default().with_insecure_origin(good)).unwrap();
            assert_eq!(rules.is_plain_http(), good.starts_with("http:"));
        }
        for bad in ["", "127.0.0.1", "/x", "ftp://a", "http://u@a", "http://a/x", "http://a/?x", "a b"] {
            let config = CertificateConfig::default().with_insecure_origin(bad);
            assert!(CertificateRules::new(&config).is_err(), "{bad}");
        }
    }

    #[test]
    fn leading_zeros_do_not_make_a_number_longer() {
        for (number, len) in [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80], 8), (&[0, 0, 1, 0], 9)] {
            assert_eq!(bits(number), len, "{number:?}");
        }
    }
}
