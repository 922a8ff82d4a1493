//! PayPal: a signature whose certificate is fetched.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use http::header::HeaderName;
use http::request::Parts;
use http::uri::Scheme as UriScheme;

use crate::certificate::{CertificateConfig, CertificateKey, CertificateRules};
use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::fetch::{self, Cache, CacheLimits, Fetch};
use crate::headers::required;
use crate::key_lookup::FetchKey;
use crate::provider::{BoxFuture, MaybeReady};
use crate::public_key::Verifies;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Scheme, header, json};

use super::{SenderConfig, knowledge};

/// The longest address of a certificate, as PayPal bounds it.
const MAX_URL: usize = 500;

/// How long PayPal repeats a delivery.
const TOLERANCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// The hosts that PayPal's certificates are on.
const HOSTS: [&str; 2] = ["api.paypal.com", "api.sandbox.paypal.com"];

/// [PayPal](https://developer.paypal.com/api/rest/webhooks/rest/), for the webhook of this id. RSA with SHA-256, by a certificate
/// that is fetched from PayPal and cached. Feature `paypal`; the default client is the feature
/// `client`.
///
/// What is signed is the transmission's id and time, the webhook's id and a CRC-32 of the body. **A
/// CRC-32 is no digest**: anyone who has seen one signed request can make another body with the
/// same checksum. Fetch what matters by its id. The tolerance is three days, for which PayPal
/// repeats a delivery.
///
/// # Errors
///
/// Returns an error if the webhook's id is empty, if the certificates' settings contradict each
/// other, or if there is nothing to fetch certificates with.
pub fn paypal(webhook_id: impl Into<String>, certificates: PayPalCertificates) -> Result<Scheme, ConfigError> {
    let webhook_id = webhook_id.into();
    if webhook_id.is_empty() || webhook_id.contains(['|', '{', '}']) {
        return Err(ConfigError::invalid("the webhook's id is empty or not valid"));
    }
    Scheme::rsa_pkcs1_sha256()
        .fetched_keys(Arc::new(PayPalKeys::new(certificates)?))
        .signature(header("paypal-transmission-sig").base64())
        .signed(format!("{{id}}|{{timestamp}}|{webhook_id}|{{crc32 of body}}"))
        // A checksum of 32 bits is as much as PayPal offers.
        .with_piece("crc32 of body", Signed::default().with_body(true), |values| {
            Ok(crc32fast::hash(values.body).to_string().into_bytes())
        })
        .with_required_header("paypal-auth-algo", "SHA256withRSA")
        .timestamp(header("paypal-transmission-time").rfc3339().within(TOLERANCE))
        .id(header("paypal-transmission-id"))
        .event(json("/event_type"))
        .with_identity_at("/id")
        .with_behavior(knowledge::paypal)
        .build("paypal")
}

impl FetchKey for PayPalKeys {
    fn check(&self, head: &Parts) -> Result<(), Rejection> {
        self.address(head).map(|_| ())
    }

    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Arc<dyn Verifies>, Rejection>> {
        let found = self.address(head).and_then(|uri| self.find(uri, now));
        Box::pin(async move { Ok(found?.wait().await? as Arc<dyn Verifies>) })
    }

    #[cfg(feature = "testing")]
    fn describe(&self) -> String {
        ", by a certificate that is fetched".to_owned()
    }
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let id = config.webhook_id.take().ok_or_else(|| ConfigError::missing("`webhook_id` is missing"))?;
    let certificate = config.certificate.take().unwrap_or_default();
    paypal(id, PayPalCertificates::default().with_certificate(certificate))
}

/// How PayPal's certificates are fetched, and what they must be.
///
/// By default they are fetched over https from PayPal's own hosts, which is what makes them
/// PayPal's: their chain and their name are not checked further. They must be valid now, have an
/// RSA key of at least 2048 bits, and not be signed by themselves.
///
/// # Examples
///
/// ```
/// use tower_webhook::senders::{self, CertificateConfig, PayPalCertificates};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let certificates = PayPalCertificates::default()
/// #   .with_fetch(fetch)
///     .with_certificate(CertificateConfig::default().with_name("messageverificationcerts.paypal.com"));
/// let paypal = senders::paypal("WH-1", certificates)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct PayPalCertificates {
    fetch: Option<Arc<dyn Fetch>>,
    config: CertificateConfig,
}

impl PayPalCertificates {
    /// Sets the client that fetches certificates. With the feature `client`, the default is
    /// `HttpsClient`.
    #[must_use]
    pub fn with_fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Sets where certificates are and what they must be.
    #[must_use]
    pub fn with_certificate(mut self, config: CertificateConfig) -> Self {
        self.config = config;
        self
    }
}

impl fmt::Debug for PayPalCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayPalCertificates").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The keys of PayPal's certificates.
#[derive(Clone)]
struct PayPalKeys {
    fetch: Arc<dyn Fetch>,
    rules: CertificateRules,
    cache: Cache<CertificateKey>,
}

impl PayPalKeys {
    fn new(certificates: PayPalCertificates) -> Result<Self, ConfigError> {
        let PayPalCertificates { fetch, config } = certificates;
        if config.path_prefix.is_some() {
            return Err(ConfigError::conflict("`path_prefix` of certificates is for aws_sns"));
        }
        let rules = CertificateRules::new(&config)?;
        let fetch = fetch.map_or_else(|| fetch::default_client(rules.is_plain_http()), Ok)?;
        let cache = Cache::with_pinned(CacheLimits::DEFAULT, rules.pinned_urls.clone());
        Ok(Self { fetch, rules, cache })
    }

    /// Returns the certificate's URL if it may be there: exact scheme, host and port, a plain path,
    /// and nothing after it.
    fn address(&self, head: &Parts) -> Result<Uri, Rejection> {
        const CERT_URL: HeaderName = HeaderName::from_static("paypal-cert-url");
        let elsewhere = || Rejection::new(Reason::MalformedSignature).with_detail("the certificate is not at PayPal");
        let value = required(head, &CERT_URL, MAX_URL)?;
        let text = value.to_str().map_err(|_| elsewhere())?;
        let uri: Uri = text.parse().map_err(|_| elsewhere())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(elsewhere()) };
        let at_home = match &self.rules.origin {
            Some(origin) => *scheme == origin.scheme && *authority == origin.authority,
            None => *scheme == UriScheme::HTTPS && HOSTS.contains(&authority.as_str()),
        };
        let plain = uri.query().is_none() && !text.contains(['#', '%', '\\']) && !uri.path().contains("..");
        if at_home && plain { Ok(uri) } else { Err(elsewhere()) }
    }

    fn find(&self, uri: Uri, now: SystemTime) -> Result<MaybeReady<Arc<CertificateKey>>, Rejection> {
        let url = uri.to_string();
        self.cache.find(&url, now, || {
            let own = self.clone();
            async move {
                let pem = fetch::get(&*own.fetch, uri, Reason::KeyUnavailable).await?;
                own.rules.judge(&pem, &[], now).map_err(|fault| {
                    Rejection::new(Reason::KeyUnavailable)
                        .with_detail("the certificate is not acceptable")
                        .with_source(fault)
                })
            }
        })
    }
}
