//! Certificates that a signature names: where they may be, and what they must be.

mod config;
#[cfg(feature = "certificates")]
mod rules;

pub use config::{CertificateConfig, CertificateName};
#[cfg(feature = "certificates")]
pub(crate) use rules::{CertificateKey, CertificateRules, Origin};
