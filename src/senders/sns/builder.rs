//! The builder of [`Sns`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::body_fields::BodyFields;
use crate::certificate::{CertificateConfig, CertificateName, CertificateRules};
use crate::config::ConfigError;
use crate::fetch::{Cache, CacheLimits, Fetch, default_client};
use crate::text::Text;
use crate::time::Tolerance;

use super::Sns;
use super::address::Emulator;
use super::basic_auth::BasicAuth;
use super::confirm::{Confirm, Confirmations, Unsubscribe};
use super::subscriber::{RawAccess, Subscriber};
use super::topics::Topics;

/// The default tolerance: 8 hours in the past, 5 minutes in the future.
///
/// A message's time is that of its publication, not of the attempt. SNS holds messages back while
/// it throttles an endpoint, so even first attempts have come an hour late, and its longest retry
/// schedule takes another one. Eight hours leave room for that; a `DedupLayer`, which remembers
/// deliveries for longer, keeps copies of a message out. The five minutes are for the clocks.
pub const DEFAULT_TOLERANCE: Tolerance =
    Tolerance::past_and_future(Duration::from_secs(8 * 60 * 60), Duration::from_secs(5 * 60));

/// The shortest secret accepted in a path, in characters: 16 of base64 are 96 bits.
const MIN_PATH_SECRET_LEN: usize = 16;

/// A builder for [`Sns`]. Nothing is checked before [`build`](Self::build).
///
/// As on every builder of this crate, setters are nouns that name what is accepted. Finished
/// values, such as layers and stores, have setters named `with_*`.
///
/// # Examples
///
/// ```
/// use tower_webhook::Sns;
/// use tower_webhook::sns::{Confirm, Unsubscribe};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let sns = Sns::builder()
///     .topic("arn:aws:sns:us-west-2:123456789012:MyTopic")
///     .basic_auth("sns", "a long password")
///     .confirm(Confirm::Automatic)
///     .unsubscribe(Unsubscribe::Resubscribe)
///     .require_signature_version_2()
/// #   .fetch(fetch)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SnsBuilder {
    name: Text,
    topics: Topics,
    basic_auth: BasicAuth,
    confirm_unauthenticated: bool,
    raw: Option<RawProof>,
    tolerance: Option<Tolerance>,
    version_2_only: bool,
    certificates: CertificateConfig,
    confirm: Confirm,
    unsubscribe: Unsubscribe,
    fetch: Option<Arc<dyn Fetch>>,
    body_fields: BodyFields,
}

/// The proof of a raw delivery, which SNS doesn't sign.
///
/// # Examples
///
/// ```
/// use tower_webhook::Sns;
/// use tower_webhook::sns::RawProof;
///
/// // The endpoint is subscribed as https://example.test/webhooks/sns/q3XvTt8yRk2mWb0zJd5a
/// let sns = Sns::builder()
///     .topic("arn:aws:sns:us-west-2:123456789012:MyTopic")
///     .raw_delivery(RawProof::SecretPath("q3XvTt8yRk2mWb0zJd5a".into()));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum RawProof {
    /// The Basic credentials of [`basic_auth`](SnsBuilder::basic_auth).
    BasicAuth,
    /// The last segment of the path that the endpoint was subscribed with: at least 16 letters,
    /// digits, `-` and `_`.
    SecretPath(String),
    /// Something **in front of this layer** has proven that the request comes from SNS, such as a
    /// client certificate or an allow-list of addresses. The layer itself accepts every raw
    /// delivery whose header names an allowed topic.
    InsecureTrusted,
}

/// Doesn't print the secret.
impl fmt::Debug for RawProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BasicAuth => "BasicAuth",
            Self::SecretPath(_) => "SecretPath(..)",
            Self::InsecureTrusted => "InsecureTrusted",
        })
    }
}

impl Sns {
    /// Returns a builder.
    #[must_use]
    pub fn builder() -> SnsBuilder {
        SnsBuilder::new("aws_sns")
    }
}

impl SnsBuilder {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name: name.into(),
            topics: Topics::default(),
            basic_auth: BasicAuth::default(),
            confirm_unauthenticated: false,
            raw: None,
            tolerance: Some(DEFAULT_TOLERANCE),
            version_2_only: false,
            certificates: CertificateConfig::default(),
            confirm: Confirm::default(),
            unsubscribe: Unsubscribe::default(),
            fetch: None,
            body_fields: BodyFields::new(),
        }
    }

    /// Allows a topic, by its full name (ARN). At least one topic or account is required.
    pub fn topic(mut self, arn: impl Into<String>) -> Self {
        self.topics.add_topic(arn.into());
        self
    }

    /// Allows several topics.
    pub fn topics(self, arns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        arns.into_iter().fold(self, Self::topic)
    }

    /// Allows every topic of an AWS account, by its number of 12 digits.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.topics.add_account(account.into());
        self
    }

    /// Allows every topic. **Anyone with an AWS account can then send you messages that verify**,
    /// so the handler must check [`Notification::topic_arn`](super::Notification::topic_arn)
    /// itself.
    pub fn insecure_any_topic(mut self) -> Self {
        self.topics.allow_any();
        self
    }

    /// Sets how to handle requests to confirm a subscription. The default is
    /// [`Confirm::Automatic`].
    pub fn confirm(mut self, confirm: Confirm) -> Self {
        self.confirm = confirm;
        self
    }

    /// Sets how to handle the notice that the endpoint was unsubscribed. The default is
    /// [`Unsubscribe::Deliver`].
    pub fn unsubscribe(mut self, unsubscribe: Unsubscribe) -> Self {
        self.unsubscribe = unsubscribe;
        self
    }

    /// Requires HTTP Basic credentials as well: those in the URL that the endpoint is subscribed
    /// with, `https://user:password@host/`. SNS sends them once it gets a 401, which this layer answers. To rotate them, call this
    /// for each of up to [`MAX_SECRETS`](crate::MAX_SECRETS).
    ///
    /// Don't set it for a subscription without credentials: its messages would be lost. That is
    /// reported, as several requests in a row that had no credentials. The password may be empty, for an endpoint that is subscribed as `https://user@host/`.
    pub fn basic_auth(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.basic_auth.accept(user.as_ref(), password.as_ref());
        self
    }

    /// Sets the realm of the challenge for credentials. The default is `webhook`.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.basic_auth.set_realm(realm.into());
        self
    }

    /// Confirms a subscription even if its confirmation arrives without the Basic credentials, once
    /// its signature and topic are verified. The response is the challenge anyway, except for
    /// failures on our side, which are answered with 503, and with [`Confirm::Manual`], where
    /// the handler gets the confirmation and answers. This has no effect without
    /// [`basic_auth`](Self::basic_auth).
    pub fn confirm_unauthenticated(mut self) -> Self {
        self.confirm_unauthenticated = true;
        self
    }

    /// Accepts raw deliveries (a setting of the subscription), whose body is the payload alone.
    /// Amazon doesn't sign them, so they need another proof.
    pub fn raw_delivery(mut self, proof: RawProof) -> Self {
        self.raw = Some(proof);
        self
    }

    /// Sets how far a message's time may be from now. The default is [`DEFAULT_TOLERANCE`]. A
    /// message's time is that of its publication, so a tolerance of less than a few hours loses
    /// messages that SNS delivers late. Within the tolerance, only a `DedupLayer` (feature
    /// `dedup`) refuses a copy of a message.
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Accepts messages of any age. A copy of a message is then valid as long as its certificate.
    pub fn insecure_any_age(mut self) -> Self {
        self.tolerance = None;
        self
    }

    /// Refuses messages that are signed with SHA-1. Set the topic's attribute `SignatureVersion` to
    /// 2 first.
    pub fn require_signature_version_2(mut self) -> Self {
        self.version_2_only = true;
        self
    }

    /// Sets where certificates are and what they must be.
    ///
    /// By default the trust anchor is the TLS connection to SNS's own host, as in Amazon's own
    /// libraries. Amazon serves the certificate alone, so
    /// [`with_roots`](CertificateConfig::with_roots) must contain what it was issued by. With an
    /// [origin](CertificateConfig::with_insecure_origin), confirmations go there too.
    ///
    /// # Examples
    ///
    /// LocalStack:
    ///
    /// ```
    /// use tower_webhook::Sns;
    /// use tower_webhook::senders::CertificateConfig;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
    /// let local = CertificateConfig::default()
    ///     .with_insecure_origin("http://127.0.0.1:4566")
    ///     .with_path_prefix("/_aws/sns/")
    ///     .with_insecure_any_name()
    ///     .with_insecure_self_signed();
    /// let sns = Sns::builder().topic("arn:aws:sns:us-east-1:000000000000:MyTopic").certificates(local);
    /// # let sns = sns.fetch(fetch);
    /// let sns = sns.build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn certificates(mut self, certificates: CertificateConfig) -> Self {
        self.certificates = certificates;
        self
    }

    /// Sets the client that fetches certificates and confirms subscriptions. With the feature
    /// `client`, the default is `HttpsClient`.
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    pub(crate) fn body_fields(mut self, fields: BodyFields) -> Self {
        self.body_fields = fields;
        self
    }

    /// Checks the settings and builds the provider.
    ///
    /// # Errors
    ///
    /// Returns an error if no topic or account is allowed, if one of them is malformed, if raw
    /// delivery has no proof, if there is nothing to fetch with (neither [`fetch`](Self::fetch)
    /// nor the feature `client`), or if another setting is empty or contradicts one. The
    /// message names the fault.
    pub fn build(self) -> Result<Sns, ConfigError> {
        self.topics.check()?;
        self.basic_auth.check()?;
        let certificates = CertificateRules::new(&self.certificates)?;
        let emulator = self.emulator(&certificates)?;
        let raw = self.raw.map(|proof| proof.check(&self.basic_auth)).transpose()?;
        let fetch = self.fetch.map_or_else(|| default_client(certificates.is_plain_http()), Ok)?;
        let keys = Cache::with_pinned(CacheLimits::DEFAULT, certificates.pinned_urls.clone());
        Ok(Sns(Arc::new(Subscriber {
            name: self.name,
            topics: self.topics,
            basic_auth: self.basic_auth,
            confirm_unauthenticated: self.confirm_unauthenticated,
            unanswered: AtomicU32::new(0),
            raw,
            tolerance: self.tolerance,
            version_2_only: self.version_2_only,
            certificates,
            emulator,
            keys,
            confirm: self.confirm,
            unsubscribe: self.unsubscribe,
            confirmations: Confirmations::new(),
            fetch,
            body_fields: self.body_fields.shared(),
        })))
    }

    fn emulator(&self, rules: &CertificateRules) -> Result<Option<Emulator>, ConfigError> {
        let config = &self.certificates;
        if let Some(origin) = &rules.origin {
            return Emulator::new(origin.clone(), config).map(Some);
        }
        let is_strict = config.path_prefix.is_none()
            && config.name == CertificateName::Documented
            && config.check_validity != Some(false);
        if !is_strict {
            return Err(ConfigError::conflict(
                "`path_prefix`, `name` and `check_validity` of certificates need an `origin`",
            ));
        }
        Ok(None)
    }
}

impl RawProof {
    fn check(self, basic_auth: &BasicAuth) -> Result<RawAccess, ConfigError> {
        match self {
            Self::BasicAuth if !basic_auth.is_used() => {
                Err(ConfigError::missing("raw delivery is proven by Basic credentials, but none are set"))
            }
            Self::SecretPath(secret) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                if secret.len() < MIN_PATH_SECRET_LEN || !secret.bytes().all(fits) {
                    return Err(ConfigError::invalid(
                        "the secret path of raw delivery is not at least 16 letters, digits, - and _",
                    ));
                }
                Ok(RawAccess::SecretPath(Zeroizing::new(secret)))
            }
            Self::BasicAuth | Self::InsecureTrusted => Ok(RawAccess::Proven),
        }
    }
}

impl fmt::Debug for SnsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsBuilder")
            .field("name", &self.name)
            .field("topics", &self.topics)
            .field("basic_auth", &self.basic_auth)
            .field("raw", &self.raw)
            .field("confirm", &self.confirm)
            .finish_non_exhaustive()
    }
}
