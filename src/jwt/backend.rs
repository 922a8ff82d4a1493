//! The cryptography of the crate `jsonwebtoken`: checked when a provider is built, and used for
//! public keys.
//!
//! jsonwebtoken takes its back end from the process: the one that the program installed, else the
//! only one that is compiled in. If two are compiled in and none is installed, its first use
//! panics. This crate compiles in one of them (aws-lc), so a program that uses the other gets into
//! that state by enabling the feature `jwt`. It learns that when it builds a provider, not by its
//! first token.

use std::panic::catch_unwind;
use std::sync::OnceLock;

use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use crate::config::ConfigError;

/// The proof that jsonwebtoken has a back end that works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend(());

impl Backend {
    /// Verifies a known token. This settles the process's back end, so a program that installs one
    /// does it before.
    ///
    /// jsonwebtoken has no way to ask for a back end but to use it, hence the caught panic. In a
    /// program that aborts on panic it ends here, at its start, with jsonwebtoken's own
    /// message.
    pub(crate) fn prove() -> Result<Self, ConfigError> {
        /// What the process has does not change once it was asked for.
        static WORKS: OnceLock<bool> = OnceLock::new();
        if *WORKS.get_or_init(|| catch_unwind(known_answer).unwrap_or(false)) {
            return Ok(Self(()));
        }
        Err(ConfigError::unavailable(
            "jsonwebtoken has no usable cryptography: both of its back ends are compiled in and none is chosen; \
             call jsonwebtoken::crypto::CryptoProvider::install_default first",
        ))
    }
}

/// RFC 4231, case 2.
fn known_answer() -> bool {
    let key = DecodingKey::from_secret(b"Jefe");
    let signature = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM";
    crypto::verify(signature, b"what do ya want for nothing?", &key, Algorithm::HS256).unwrap_or(false)
}

/// A public key and its one algorithm.
#[derive(Clone)]
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl PublicKey {
    /// A key of RSA, by the members `n` and `e` of its JWK. `None` where they are not base64url.
    pub(crate) fn rsa(_: Backend, algorithm: Algorithm, n: &str, e: &str) -> Option<Self> {
        Some(Self { algorithm, key: DecodingKey::from_rsa_components(n, e).ok()? })
    }

    /// A key of ECDSA, by the members `x` and `y` of its JWK. `None` where they are not base64url.
    pub(crate) fn ec(_: Backend, algorithm: Algorithm, x: &str, y: &str) -> Option<Self> {
        Some(Self { algorithm, key: DecodingKey::from_ec_components(x, y).ok()? })
    }

    /// A key of Ed25519, by the member `x` of its JWK. `None` where it is not base64url.
    pub(crate) fn ed25519(_: Backend, x: &str) -> Option<Self> {
        Some(Self { algorithm: Algorithm::EdDSA, key: DecodingKey::from_ed_components(x).ok()? })
    }

    #[cfg(test)]
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key made a signature. `None` where the signature is not base64url, or the key
    /// is none.
    pub(crate) fn made(&self, signature: &[u8], message: &[u8]) -> Option<bool> {
        crypto::verify(std::str::from_utf8(signature).ok()?, message, &self.key, self.algorithm).ok()
    }
}

/// Returns the algorithm of a token's signature, if it is made by a private key.
#[cfg(any(feature = "asymmetric", feature = "testing"))]
pub(crate) fn of_signature(algorithm: Algorithm) -> Option<crate::algorithm::Algorithm> {
    use crate::algorithm::Algorithm as Own;

    Some(match algorithm {
        Algorithm::RS256 => Own::RsaPkcs1Sha256,
        Algorithm::RS384 => Own::RsaPkcs1Sha384,
        Algorithm::RS512 => Own::RsaPkcs1Sha512,
        Algorithm::PS256 => Own::RsaPssSha256,
        Algorithm::PS384 => Own::RsaPssSha384,
        Algorithm::PS512 => Own::RsaPssSha512,
        Algorithm::ES256 => Own::EcdsaP256Fixed,
        Algorithm::ES384 => Own::EcdsaP384Fixed,
        Algorithm::EdDSA => Own::Ed25519,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_back_end_that_is_compiled_in_works() {
        assert!(Backend::prove().is_ok());
    }
}
