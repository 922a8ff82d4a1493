//! Certificates that a signature names: where they may be, and what they must be.

mod config;
#[cfg(feature = "certificates")]
#[cfg_attr(not(feature = "sns"), allow(dead_code, reason = "each sender uses a part"))]
mod rules;

pub use config::{CertificateConfig, CertificateName};
#[cfg(all(feature = "certificates", feature = "jwt"))]
pub(crate) use rules::anchors;
#[cfg(feature = "certificates")]
#[cfg_attr(not(feature = "sns"), allow(unused_imports, reason = "each sender uses a part"))]
pub(crate) use rules::{CertificateKey, CertificateRules, Origin};
