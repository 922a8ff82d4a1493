//! The algorithms of signatures that a public key verifies.

/// A signature algorithm. The scheme names it; a message never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "asymmetric"), allow(dead_code))]
pub(crate) enum Algorithm {
    Ed25519,
    /// ECDSA on P-256 with SHA-256, the signature in DER.
    EcdsaP256,
    /// The same, the signature as two numbers of 32 bytes.
    EcdsaP256Fixed,
    /// ECDSA on P-256 with SHA-1, the signature in DER.
    EcdsaP256Sha1,
    /// ECDSA on P-384 with SHA-384, the signature in DER.
    EcdsaP384,
    /// The same, the signature as two numbers of 48 bytes.
    EcdsaP384Fixed,
    /// RSA PKCS#1 v1.5, and below RSA-PSS, by keys of 2048 to 8192 bits.
    RsaPkcs1Sha256,
    RsaPkcs1Sha384,
    RsaPkcs1Sha512,
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
}

#[cfg_attr(not(feature = "asymmetric"), allow(dead_code))]
impl Algorithm {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256 => "ECDSA P-256 SHA-256",
            Self::EcdsaP256Fixed => "ECDSA P-256 SHA-256 (r and s)",
            Self::EcdsaP256Sha1 => "ECDSA P-256 SHA-1",
            Self::EcdsaP384 => "ECDSA P-384 SHA-384",
            Self::EcdsaP384Fixed => "ECDSA P-384 SHA-384 (r and s)",
            Self::RsaPkcs1Sha256 => "RSA PKCS#1 SHA-256",
            Self::RsaPkcs1Sha384 => "RSA PKCS#1 SHA-384",
            Self::RsaPkcs1Sha512 => "RSA PKCS#1 SHA-512",
            Self::RsaPssSha256 => "RSA-PSS SHA-256",
            Self::RsaPssSha384 => "RSA-PSS SHA-384",
            Self::RsaPssSha512 => "RSA-PSS SHA-512",
        }
    }

    /// The longest signature, in bytes.
    pub(crate) const fn longest_signature(self) -> usize {
        match self {
            Self::Ed25519 | Self::EcdsaP256Fixed => 64,
            Self::EcdsaP256 | Self::EcdsaP256Sha1 => 72,
            Self::EcdsaP384 => 104,
            Self::EcdsaP384Fixed => 96,
            _ => 1024,
        }
    }
}
