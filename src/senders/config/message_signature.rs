//! What an HTTP Message Signature must be, as data.

#[cfg(feature = "asymmetric")]
use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::scheme::SchemeBuilder;
#[cfg(feature = "asymmetric")]
use crate::scheme::{MessageRules, Scheme};
#[cfg(feature = "asymmetric")]
use crate::time::Tolerance;

/// The rules of [`MessageRules`](crate::scheme::MessageRules).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "asymmetric"), allow(dead_code, reason = "read in every configuration"))]
pub(super) struct MessageSignature {
    algorithm: Algorithm,
    covering: Option<Vec<String>>,
    tag: Option<String>,
    tolerance_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    HmacSha256,
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    RsaPssSha512,
    #[serde(rename = "rsa_v1_5_sha256")]
    RsaPkcs1Sha256,
}

impl MessageSignature {
    /// Returns whether the keys are secrets.
    pub(super) fn is_shared(&self) -> bool {
        self.algorithm == Algorithm::HmacSha256
    }

    #[cfg(not(feature = "asymmetric"))]
    pub(super) fn builder(self) -> Result<SchemeBuilder, ConfigError> {
        Err(ConfigError::unavailable("this algorithm needs the feature `asymmetric`"))
    }

    #[cfg(feature = "asymmetric")]
    pub(super) fn builder(self) -> Result<SchemeBuilder, ConfigError> {
        let mut rules = match self.algorithm {
            Algorithm::HmacSha256 => MessageRules::hmac_sha256(),
            Algorithm::Ed25519 => MessageRules::ed25519(),
            Algorithm::EcdsaP256 => MessageRules::ecdsa_p256(),
            Algorithm::EcdsaP384 => MessageRules::ecdsa_p384(),
            Algorithm::RsaPssSha512 => MessageRules::rsa_pss_sha512(),
            Algorithm::RsaPkcs1Sha256 => MessageRules::rsa_v1_5_sha256(),
        };
        if let Some(components) = self.covering {
            rules = rules.covering(components);
        }
        if let Some(tag) = self.tag {
            rules = rules.with_tag(tag);
        }
        if let Some(seconds) = self.tolerance_seconds {
            rules = rules.with_tolerance(Tolerance::within(Duration::from_secs(seconds)));
        }
        Ok(Scheme::message_signature(rules))
    }
}
