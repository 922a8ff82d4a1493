//! Public keys of senders, parsed once. Feature `asymmetric`.

use std::sync::Arc;

use aws_lc_rs::signature as backend;
use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use crate::algorithm::Algorithm;
use crate::config::ConfigError;
use crate::encoding::Encoding;
use crate::secrets::{DECOY, KeyFormat, Keyring, Secret, SenderKey};

impl Algorithm {
    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ed25519 => &backend::ED25519,
            Self::EcdsaP256 => &backend::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP256Fixed => &backend::ECDSA_P256_SHA256_FIXED,
            Self::EcdsaP256Sha1 => &backend::ECDSA_P256_SHA1_ASN1,
            Self::EcdsaP384 => &backend::ECDSA_P384_SHA384_ASN1,
            Self::EcdsaP384Fixed => &backend::ECDSA_P384_SHA384_FIXED,
            Self::RsaPkcs1Sha256 => &backend::RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPkcs1Sha384 => &backend::RSA_PKCS1_2048_8192_SHA384,
            Self::RsaPkcs1Sha512 => &backend::RSA_PKCS1_2048_8192_SHA512,
            Self::RsaPssSha256 => &backend::RSA_PSS_2048_8192_SHA256,
            Self::RsaPssSha384 => &backend::RSA_PSS_2048_8192_SHA384,
            Self::RsaPssSha512 => &backend::RSA_PSS_2048_8192_SHA512,
        }
    }

    /// The key tried where the tenant is unknown, so that the refusal costs what it usually costs.
    const fn decoy(self) -> &'static str {
        match self {
            // RFC 8032, section 7.1, test 1.
            Self::Ed25519 => "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            // The base points of the curves, whose private key is 1.
            Self::EcdsaP256 | Self::EcdsaP256Fixed | Self::EcdsaP256Sha1 => {
                "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
            }
            Self::EcdsaP384 | Self::EcdsaP384Fixed => {
                "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
            }
            _ => include_str!("decoy_rsa.txt"),
        }
    }
}

/// A public key, parsed once.
#[derive(Clone)]
pub(crate) struct PublicKey(Arc<ParsedPublicKey>);

impl SenderKey for PublicKey {}

impl PublicKey {
    /// Reads a key in any of the forms that portals show: PEM, base64 or hexadecimal of the
    /// SubjectPublicKeyInfo or of the bare key, `whpk_` and base64.
    pub(crate) fn new(algorithm: Algorithm, key: &Secret) -> Result<Self, ConfigError> {
        let bytes = key.key(KeyFormat::Text)?;
        let invalid = || ConfigError::key(format!("a public key is not a valid {} key", algorithm.name()));
        let parse = |der: &[u8]| Self::from_der(algorithm, der).ok_or_else(invalid);
        if *bytes == *DECOY {
            return parse(&decode(algorithm.decoy()).unwrap_or_default());
        }
        match std::str::from_utf8(&bytes).ok().and_then(decode) {
            Some(der) => parse(&der),
            None => parse(&bytes),
        }
    }

    /// Reads a SubjectPublicKeyInfo, or a bare key.
    pub(crate) fn from_der(algorithm: Algorithm, der: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(algorithm.verification(), der).ok().map(|key| Self(Arc::new(key)))
    }
}

/// A key that verifies signatures of its one algorithm.
pub(crate) trait Verifies: Send + Sync + 'static {
    /// Returns whether this key made the signature over this message.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool;
}

impl Verifies for PublicKey {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        return SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok().map(|key| key.to_vec());
    }
    let text = text.strip_prefix("whpk_").unwrap_or(text).as_bytes();
    // A key in base64 is never hexadecimal alone: 32 bytes and more have 44 characters and more, one of
    // them padding or the 0x30 of an SPKI as a capital letter.
    Encoding::HexAnyCase.decode(text).or_else(|| Encoding::Base64.decode(text))
}

/// The most verifications of one request: two signatures, as a sender lists that rotates, by as
/// many keys as there can be. Each costs some 70 microseconds, and anyone can list signatures. What
/// lies beyond is answered like any other mismatch, so that the answer tells nothing of how many
/// keys a tenant has.
const MAX_VERIFICATIONS: usize = 16;

/// Returns the position of a key that made one of the signatures.
pub(crate) fn matching_key(ring: &Keyring<PublicKey>, message: &[u8], signatures: &[Vec<u8>]) -> Option<usize> {
    let pairs =
        signatures.iter().flat_map(|signature| ring.iter().enumerate().map(move |(at, key)| (at, key, signature)));
    let mut pairs = pairs.take(MAX_VERIFICATIONS);
    pairs.find(|(_, key, signature)| key.verifies(message, signature)).map(|(at, ..)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPKI: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

    #[test]
    fn keys_are_read_in_every_form() {
        let raw = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let bytes = hex::decode(raw).unwrap();
        let base64 = Encoding::Base64.encode(&bytes);
        let whpk = format!("whpk_{base64}");
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        // As a text file from Windows has it, and with an explanation before it.
        let crlf = format!("the key of 2026\r\n{}", pem.replace('\n', "\r\n"));
        for text in [raw, &base64, &whpk, pem, pem.trim_end(), &crlf["the key of 2026\r\n".len()..]] {
            assert!(PublicKey::new(Algorithm::Ed25519, &Secret::new(text)).is_ok(), "{text}");
        }
        assert!(PublicKey::new(Algorithm::Ed25519, &Secret::from_bytes(bytes)).is_ok());
        let spki = Encoding::Base64.decode(SPKI.as_bytes()).unwrap();
        assert!(PublicKey::new(Algorithm::EcdsaP256, &Secret::new(SPKI)).is_ok());
        assert!(PublicKey::new(Algorithm::EcdsaP256, &Secret::from_bytes(spki.clone())).is_ok());
        assert!(PublicKey::new(Algorithm::EcdsaP256, &Secret::new(hex::encode(&spki[26..]))).is_ok());
        for (algorithm, bad) in [
            (Algorithm::Ed25519, SPKI),
            (Algorithm::EcdsaP256, raw),
            (Algorithm::Ed25519, ""),
            (Algorithm::Ed25519, &raw[2..]),
            (Algorithm::RsaPkcs1Sha256, SPKI),
        ] {
            assert!(PublicKey::new(algorithm, &Secret::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_algorithm_has_a_key_for_unknown_tenants() {
        for algorithm in [
            Algorithm::Ed25519,
            Algorithm::EcdsaP256,
            Algorithm::EcdsaP256Fixed,
            Algorithm::EcdsaP256Sha1,
            Algorithm::EcdsaP384,
            Algorithm::EcdsaP384Fixed,
            Algorithm::RsaPkcs1Sha256,
            Algorithm::RsaPkcs1Sha384,
            Algorithm::RsaPkcs1Sha512,
            Algorithm::RsaPssSha256,
            Algorithm::RsaPssSha384,
            Algorithm::RsaPssSha512,
        ] {
            assert!(PublicKey::new(algorithm, &Secret::from_bytes(DECOY)).is_ok(), "{algorithm:?}");
        }
    }

    #[test]
    fn many_signatures_by_many_keys_cost_a_bounded_number_of_verifications() {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

        let pairs: Vec<_> = (0..8).map(|_| Ed25519KeyPair::generate().unwrap()).collect();
        let key =
            |pair: &Ed25519KeyPair| PublicKey::new(Algorithm::Ed25519, &Secret::from_bytes(pair.public_key().as_ref()));
        let ring = |len: usize| Keyring::new(pairs[..len].iter().map(key)).unwrap().unwrap();
        let genuine = |key: usize| pairs[key].sign(b"text").as_ref().to_vec();
        let junk = vec![0; 64];
        assert_eq!(matching_key(&ring(8), b"text", &[junk.clone(), genuine(7)]), Some(7));
        assert_eq!(matching_key(&ring(1), b"text", &[vec![junk.clone(); 15], vec![genuine(0)]].concat()), Some(0));
        assert_eq!(matching_key(&ring(8), b"text", &[junk.clone(), junk, genuine(0)]), None);
    }

    #[test]
    fn a_bent_signature_is_refused() {
        let key = PublicKey::new(Algorithm::EcdsaP256, &Secret::new(SPKI)).unwrap();
        let body = br#"1600112502[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]
"#;
        let message = body.strip_suffix(b"\n").unwrap();
        let message = [message, b"\r\n"].concat();
        let signature = Encoding::Base64
            .decode(b"MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=")
            .unwrap();
        assert!(key.verifies(&message, &signature));
        let mut trailing = signature.clone();
        trailing.push(0);
        let long_form = [&[0x30, 0x81, 0x45][..], &signature[2..]].concat();
        let zero_r = [&[0x30, 0x26, 2, 1, 0][..], &signature[36..]].concat();
        for bad in [trailing, long_form, zero_r, Vec::new(), signature[..signature.len() - 1].to_vec()] {
            assert!(!key.verifies(&message, &bad), "{bad:02x?}");
        }
    }
}
