//! A key that signs like SNS, and its certificate.

use std::error::Error;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use num_bigint::BigUint;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
};
use x509_parser::asn1_rs::{FromDer, Integer, OctetString, Sequence};

use crate::senders::sns::SignatureVersion;

/// The prefix of a SHA-1 hash in the block that is signed: the algorithm's name in ASN.1 (RFC 8017,
/// section 9.2).
const SHA1_PREFIX: &[u8] = &[0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

pub(super) struct FakeKey {
    pair: RsaKeyPair,
    modulus: BigUint,
    private_exponent: BigUint,
    pub(super) certificate_pem: String,
    pub(super) root_pem: String,
}

impl FakeKey {
    pub(super) fn generate() -> Result<Self, Box<dyn Error>> {
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "Fake SNS Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate()?;
        let root_pem = root.self_signed(&root_key)?.pem();
        let root = Issuer::new(root, root_key);

        let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        let mut leaf = CertificateParams::new(["sns.amazonaws.com".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "sns.amazonaws.com");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate_pem = leaf.signed_by(&key, &root)?.pem();

        let pkcs8 = key.serialized_der();
        let (modulus, private_exponent) = private_numbers(pkcs8).ok_or("the key is not PKCS #8")?;
        Ok(Self { pair: RsaKeyPair::from_pkcs8(pkcs8)?, modulus, private_exponent, certificate_pem, root_pem })
    }

    pub(super) fn sign(&self, version: SignatureVersion, digest: &Digest) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        match version {
            SignatureVersion::V2 => self.pair.sign_digest(&RSA_PKCS1_SHA256, digest, &mut signature)?,
            SignatureVersion::V1 => self.sign_sha1(digest, &mut signature),
        }
        Ok(signature)
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-1, which aws-lc-rs doesn't offer. It is not
    /// constant-time, which a test key needn't be.
    fn sign_sha1(&self, digest: &Digest, signature: &mut [u8]) {
        let hash = digest.as_ref();
        let padding = signature.len() - 3 - SHA1_PREFIX.len() - hash.len();
        let block = [&[0, 1], &*vec![0xff; padding], &[0], SHA1_PREFIX, hash].concat();
        let number = BigUint::from_bytes_be(&block).modpow(&self.private_exponent, &self.modulus).to_bytes_be();
        let start = signature.len() - number.len();
        signature[start..].copy_from_slice(&number);
    }
}

/// Returns the modulus and the private exponent of a PKCS #8 key: the second and the fourth number
/// of the RSA key in it.
fn private_numbers(pkcs8: &[u8]) -> Option<(BigUint, BigUint)> {
    let (_, outer) = Sequence::from_der(pkcs8).ok()?;
    let (rest, _version) = Integer::from_der(&outer.content).ok()?;
    let (rest, _algorithm) = Sequence::from_der(rest).ok()?;
    let (_, key) = OctetString::from_der(rest).ok()?;
    let (_, key) = Sequence::from_der(key.as_ref()).ok()?;
    let (rest, _version) = Integer::from_der(&key.content).ok()?;
    let (rest, modulus) = Integer::from_der(rest).ok()?;
    let (rest, _public_exponent) = Integer::from_der(rest).ok()?;
    let (_, private_exponent) = Integer::from_der(rest).ok()?;
    let number = |integer: Integer<'_>| BigUint::from_bytes_be(integer.as_ref());
    Some((number(modulus), number(private_exponent)))
}
