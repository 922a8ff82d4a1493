//! The settings, which a configuration may hold whether or not the feature `certificates` is
//! enabled.

use serde::{Deserialize, Deserializer};

/// Where a sender's certificates are fetched, and what they must be.
///
/// The default is the sender's own rule: the certificate is on the sender's own host, has the
/// sender's name if one is documented, is valid now, has an RSA key of at least 2048 bits, and
/// isn't signed by itself. Every setting whose name starts with `insecure` weakens that.
///
/// # Examples
///
/// ```
/// use tower_webhook::senders::CertificateConfig;
///
/// // LocalStack in place of AWS.
/// let local = CertificateConfig::default()
///     .with_insecure_origin("http://127.0.0.1:4566")
///     .with_path_prefix("/_aws/sns/")
///     .with_insecure_any_name()
///     .with_insecure_self_signed();
///
/// // The same from a file.
/// let local: CertificateConfig = serde_json::from_str(
///     r#"{"origin": "http://127.0.0.1:4566", "path_prefix": "/_aws/sns/", "name": null, "allow_self_signed": true}"#,
/// ).unwrap();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CertificateConfig {
    /// Scheme, host and port in place of the sender's own, for an emulator. **What answers there
    /// decides what is genuine.**
    pub origin: Option<String>,
    /// The path in front of a certificate's file name at [`origin`](Self::origin), for `aws_sns`.
    pub path_prefix: Option<String>,
    /// URLs of certificates that are fetched whatever the rate limit for unknown ones, which an
    /// attacker can use up.
    pub pinned_urls: Vec<String>,
    /// The name that a certificate must have. In a file, `null` stands for
    /// [`CertificateName::Any`].
    pub name: CertificateName,
    /// Whether a certificate must be valid now. It must by default.
    pub check_validity: Option<bool>,
    /// Certificates in PEM to one of which there must be a chain.
    pub roots: Option<String>,
    /// The length that an RSA key must have, in bits: 1024 to 8192, by default 2048. Less than that
    /// is a risk.
    pub min_key_bits: Option<usize>,
    /// Whether a certificate may be signed by itself, which is a risk.
    pub allow_self_signed: Option<bool>,
}

/// The name that a certificate must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateName {
    /// The one that the sender documents; any name if it documents none.
    #[default]
    Documented,
    /// Any name.
    Any,
    /// This DNS name.
    Exactly(String),
}

impl CertificateConfig {
    /// Fetches certificates from this origin, such as `http://127.0.0.1:4566`, in place of the sender's own hosts.
    ///
    /// **This replaces the trust anchor**: what answers there decides which requests are
    /// genuine. It is for tests and emulators on your own machine.
    #[must_use]
    pub fn with_insecure_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sets the path in front of a certificate's file name at the origin, for SNS. It is `/` by
    /// default.
    #[must_use]
    pub fn with_path_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.path_prefix = Some(prefix.into());
        self
    }

    /// Fetches the certificate at this URL whatever the rate limit for unknown ones, which an
    /// attacker who invents URLs can use up. Call it again to add another. The certificate is
    /// judged like any other; a sender that changes the URL, as SNS does about once a year, is
    /// served as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::senders::CertificateConfig;
    ///
    /// let url = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    /// let certificates = CertificateConfig::default().with_pinned_url(url);
    /// ```
    #[must_use]
    pub fn with_pinned_url(mut self, url: impl Into<String>) -> Self {
        self.pinned_urls.push(url.into());
        self
    }

    /// Requires this DNS name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = CertificateName::Exactly(name.into());
        self
    }

    /// Accepts certificates of any name.
    #[must_use]
    pub fn with_insecure_any_name(mut self) -> Self {
        self.name = CertificateName::Any;
        self
    }

    /// Accepts certificates outside their validity period.
    #[must_use]
    pub fn with_insecure_any_validity(mut self) -> Self {
        self.check_validity = Some(false);
        self
    }

    /// Requires a chain to one of these certificates (PEM, one or more), which may be roots or
    /// intermediates.
    #[must_use]
    pub fn with_roots(mut self, pem: impl Into<String>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Accepts RSA keys as short as this, in bits: at least 1024.
    #[must_use]
    pub fn with_insecure_min_key_bits(mut self, bits: usize) -> Self {
        self.min_key_bits = Some(bits);
        self
    }

    /// Accepts certificates that are signed by themselves, as emulators have them.
    #[must_use]
    pub fn with_insecure_self_signed(mut self) -> Self {
        self.allow_self_signed = Some(true);
        self
    }
}

/// A text or null.
impl<'de> Deserialize<'de> for CertificateName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        Ok(name.map_or(Self::Any, Self::Exactly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_no_name_from_a_null() {
        let name = |json| serde_json::from_str::<CertificateConfig>(json).unwrap().name;
        assert_eq!(name("{}"), CertificateName::Documented);
        assert_eq!(name(r#"{"name": null}"#), CertificateName::Any);
        assert_eq!(name(r#"{"name": "a.test"}"#), CertificateName::Exactly("a.test".into()));
        assert!(serde_json::from_str::<CertificateConfig>(r#"{"nmae": "a.test"}"#).is_err());
    }
}
