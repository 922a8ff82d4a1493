//! PayPal: a signature whose certificate is fetched.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::HeaderName;
use http::request::Parts;
use http::uri::{Authority, Scheme as UriScheme};
use http::{HeaderValue, Uri};

use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::fetch::{self, Cache, Fetch, Found, Rules};
use crate::headers::single;
use crate::pointer::member;
use crate::provider::BoxFuture;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{FetchKey, HeaderRule, Scheme, SchemeBuilder, Verifier, header, json};
use crate::senders::sns::certificate::{CertificateRules, SigningKey, anchors};

use super::SenderConfig;

/// The longest address of a certificate, as PayPal bounds it.
const MAX_URL: usize = 500;

/// The longest signature, in bytes: an RSA key of 4096 bits makes one of 512.
const MAX_SIGNATURE: usize = 512;

/// How long PayPal repeats a delivery.
const TOLERANCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// The hosts that PayPal's certificates are on.
const HOSTS: [&str; 2] = ["api.paypal.com", "api.sandbox.paypal.com"];

/// [PayPal](https://developer.paypal.com/api/rest/webhooks/rest/), for the webhook of this id. RSA with SHA-256, by a certificate
/// that is fetched from PayPal and kept. Feature `sns`, which brings the certificates.
///
/// What is signed is the transmission's id and time, the webhook's id and a CRC-32 of the body. **A CRC-32 is no digest**:
/// anyone who has seen one signed request can make another body with the same checksum. Fetch what matters by its id. The
/// tolerance is three days, for which PayPal repeats a delivery.
///
/// # Errors
///
/// Returns an error if the webhook's id is empty or not valid.
pub fn paypal(webhook_id: impl Into<String>, certificates: PayPalCertificates) -> Result<Scheme, ConfigError> {
    let webhook_id = webhook_id.into();
    if webhook_id.is_empty() || webhook_id.contains('|') {
        return Err(ConfigError::invalid("the webhook's id is empty or not valid"));
    }
    let rule = HeaderRule {
        signature: header("paypal-transmission-sig").base64().0?,
        lengths: 1..=MAX_SIGNATURE,
        // A checksum of 32 bits is as much as PayPal offers.
        covers: Signed::default().with_body(true).with_timestamp(true).with_id(true).with_event(true),
        about: (
            "RSA PKCS#1 SHA-256 by the certificate at `paypal-cert-url`,",
            format!("{{id}}|{{timestamp}}|{webhook_id}|{{crc32 of body}}"),
        ),
        text: Box::new(move |values| {
            let (id, time) = (values.id.unwrap_or_default(), values.timestamp.unwrap_or_default());
            let text = format!("{id}|{time}|{webhook_id}|{}", crc32fast::hash(values.body));
            Ok(vec![text.into_bytes().into()])
        }),
    };
    SchemeBuilder::fetched_rule(rule, certificates)
        .with_required_header("paypal-auth-algo", "SHA256withRSA")
        .timestamp(header("paypal-transmission-time").rfc3339().within(TOLERANCE))
        .id(header("paypal-transmission-id"))
        .event(json("/event_type"))
        .with_identity(|body| Some(member(body, "/id").ok()??.into()))
        .build("paypal")
}

impl FetchKey for PayPalCertificates {
    fn check(&self, head: &Parts) -> Result<(), Rejection> {
        self.address(head).map(|_| ())
    }

    fn fetch(&self, head: &Parts, now: SystemTime) -> BoxFuture<Result<Box<Verifier>, Rejection>> {
        let found = self.address(head).map(|uri| self.find(uri, now));
        Box::pin(async move {
            let key = match found? {
                Found::Now(key) => key?,
                Found::Later(flight) => flight.await?,
            };
            Ok(Box::new(move |message: &[u8], signature: &[u8]| key.verifies_sha256(message, signature))
                as Box<Verifier>)
        })
    }
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let id = config.webhook_id.take().ok_or_else(|| ConfigError::missing("`webhook_id` is missing"))?;
    paypal(id, config.take_paypal_certificates()?)
}

/// Where PayPal's certificates come from, and what they have to be.
///
/// By default they are fetched over https from PayPal's own hosts, which is what makes them PayPal's: their chain and their
/// name are not checked further. They have to be valid now, RSA of at least 2048 bits, and not signed by themselves.
#[derive(Clone)]
pub struct PayPalCertificates {
    fetch: Arc<dyn Fetch>,
    origin: Option<(UriScheme, Authority)>,
    name: Option<String>,
    check_validity: bool,
    rules: CertificateRules,
    keys: Cache<SigningKey>,
}

impl PayPalCertificates {
    /// Fetched by the default client. Feature `client`.
    ///
    /// # Errors
    ///
    /// Where the client cannot be set up.
    #[cfg(feature = "client")]
    pub fn new() -> Result<Self, ConfigError> {
        fetch::HttpsClient::new().map(Self::fetched_by)
    }

    /// Fetched by this client.
    #[must_use]
    pub fn fetched_by(fetch: impl Fetch) -> Self {
        Self {
            fetch: Arc::new(fetch),
            origin: None,
            name: None,
            check_validity: true,
            rules: CertificateRules::default(),
            keys: Cache::new(Rules::DEFAULT),
        }
    }

    /// Takes certificates from this origin and no other: an emulator. **Whoever answers there decides what is genuine.**
    ///
    /// # Errors
    ///
    /// Where it is not an origin such as `http://127.0.0.1:8080`.
    pub fn with_insecure_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        let uri: Uri = origin.parse().map_err(|_| ConfigError::invalid("the origin of certificates is not a URL"))?;
        let parts = uri.into_parts();
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) if bare && !authority.as_str().contains('@') => {
                self.origin = Some((scheme, authority));
                Ok(self)
            }
            _ => Err(ConfigError::conflict("the origin of certificates is not scheme, host and port alone")),
        }
    }

    /// The name that certificates have to bear.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Demands a chain to one of these certificates, in PEM.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn with_roots(mut self, pem: &[u8]) -> Result<Self, ConfigError> {
        self.rules.anchors = Some(anchors(pem)?);
        Ok(self)
    }

    /// Takes certificates before and after their time.
    #[must_use]
    pub fn with_insecure_ignored_validity(mut self) -> Self {
        self.check_validity = false;
        self
    }

    /// Takes shorter keys, of at least 1024 bits.
    #[must_use]
    pub fn with_insecure_min_key_bits(mut self, bits: usize) -> Self {
        self.rules.min_key_bits = bits.max(1024);
        self
    }

    /// Takes certificates that are signed by themselves.
    #[must_use]
    pub fn with_insecure_self_signed(mut self) -> Self {
        self.rules.allow_self_signed = true;
        self
    }

    /// Where the certificate is, if that is a place for it: scheme, host and port exactly, a plain path, nothing behind it.
    fn address(&self, head: &Parts) -> Result<Uri, Rejection> {
        const CERT_URL: HeaderName = HeaderName::from_static("paypal-cert-url");
        let elsewhere = || Rejection::new(Reason::MalformedSignature).with_detail("the certificate is not at PayPal");
        let value: &HeaderValue = single(head, &CERT_URL, MAX_URL)?.ok_or(Reason::MissingHeader)?;
        let text = value.to_str().map_err(|_| elsewhere())?;
        let uri: Uri = text.parse().map_err(|_| elsewhere())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(elsewhere()) };
        let at_home = match &self.origin {
            Some((own_scheme, own)) => scheme == own_scheme && authority == own,
            None => *scheme == UriScheme::HTTPS && HOSTS.contains(&authority.as_str()),
        };
        let plain = uri.query().is_none() && !text.contains(['#', '%', '\\']) && !uri.path().contains("..");
        if !(at_home && plain) {
            return Err(elsewhere());
        }
        Ok(uri)
    }

    fn find(&self, uri: Uri, now: SystemTime) -> Found<SigningKey> {
        let key = uri.to_string();
        self.keys.find(&key, now, || {
            let own = self.clone();
            async move {
                let unusable =
                    || Rejection::new(Reason::KeyUnavailable).with_detail("the certificate is not acceptable");
                let pem = fetch::get(&*own.fetch, uri, Reason::KeyUnavailable).await?;
                let judged = own.rules.judge_as(&pem, own.name.as_deref(), own.check_validity, now);
                judged.map_err(|fault| unusable().with_source(fault))
            }
        })
    }
}

impl fmt::Debug for PayPalCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayPalCertificates").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl SenderConfig {
    #[cfg(feature = "client")]
    fn take_paypal_certificates(&mut self) -> Result<PayPalCertificates, ConfigError> {
        let Some(certificate) = self.certificate.take() else { return PayPalCertificates::new() };
        let local = certificate.origin.as_deref().is_some_and(|origin| origin.starts_with("http://"));
        let mut own = if local {
            PayPalCertificates::fetched_by(fetch::HttpsClient::with_insecure_plain_http()?)
        } else {
            PayPalCertificates::new()?
        };
        if let Some(origin) = &certificate.origin {
            own = own.with_insecure_origin(origin)?;
        }
        if let Some(roots) = &certificate.roots {
            own = own.with_roots(roots.as_bytes())?;
        }
        if let Some(bits) = certificate.min_key_bits {
            own = own.with_insecure_min_key_bits(bits);
        }
        if certificate.check_validity == Some(false) {
            own = own.with_insecure_ignored_validity();
        }
        if certificate.allow_self_signed == Some(true) {
            own = own.with_insecure_self_signed();
        }
        own.name = certificate.name;
        Ok(own)
    }

    #[cfg(not(feature = "client"))]
    fn take_paypal_certificates(&mut self) -> Result<PayPalCertificates, ConfigError> {
        Err(ConfigError::missing("fetching certificates by configuration needs the feature `client`"))
    }
}
