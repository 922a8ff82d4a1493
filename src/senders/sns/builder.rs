//! What of SNS to accept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::fetch::{Cache, Fetch, Rules};
use crate::text::Text;
use crate::time::Tolerance;

use super::basic::Basic;
use super::certificate::{CertificateRules, anchors};
use super::confirm::{Confirm, Confirmations, Unsubscribe};
use super::topics::Topics;
use super::{LocalSns, Plan, RawAccess, Sns};

/// How old a message may be: SNS's longest retry schedule takes 3600 seconds, and five minutes are for the clocks, which is
/// also how far its time may lie ahead.
pub const DEFAULT_TOLERANCE: Tolerance =
    Tolerance::past_and_future(Duration::from_secs(65 * 60), Duration::from_secs(5 * 60));

/// The least secret taken in a path, in characters: 16 of base64 are 96 bits.
const SHORTEST_PATH_SECRET: usize = 16;

/// The bounds of RSA keys that can be verified with.
const KEY_BITS: std::ops::RangeInclusive<usize> = 1024..=8192;

/// Builds [`Sns`]; nothing is checked before [`build`](Self::build).
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
pub struct SnsBuilder {
    name: Text,
    topics: Topics,
    basic: Basic,
    confirm_unauthenticated: bool,
    raw: Option<RawProof>,
    tolerance: Option<Tolerance>,
    version_2_only: bool,
    roots: Option<Vec<u8>>,
    certificates: CertificateRules,
    confirm: Confirm,
    unsubscribe: Unsubscribe,
    fetch: Option<Arc<dyn Fetch>>,
    in_body: BodyFields,
}

/// What proves a raw delivery, which SNS does not sign.
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
    /// The last segment of the path that the endpoint was subscribed with: at least 16 letters, digits, `-` and `_`.
    SecretPath(String),
    /// Something **before this layer** has proven that the request comes from SNS: a client certificate, an allow-list of
    /// addresses. The layer itself lets every raw delivery with an allowed topic's name in its header pass.
    InsecureUnlessProvenInFront,
}

/// Prints no part of the secret.
impl fmt::Debug for RawProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BasicAuth => "BasicAuth",
            Self::SecretPath(_) => "SecretPath(..)",
            Self::InsecureUnlessProvenInFront => "InsecureUnlessProvenInFront",
        })
    }
}

impl SnsBuilder {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name: name.into(),
            topics: Topics::default(),
            basic: Basic::default(),
            confirm_unauthenticated: false,
            raw: None,
            tolerance: Some(DEFAULT_TOLERANCE),
            version_2_only: false,
            roots: None,
            certificates: CertificateRules::default(),
            confirm: Confirm::default(),
            unsubscribe: Unsubscribe::default(),
            fetch: None,
            in_body: BodyFields::new(),
        }
    }

    /// Allows a topic, by its full name (ARN). At least one topic or account is required.
    #[must_use]
    pub fn topic(mut self, arn: impl Into<String>) -> Self {
        self.topics.add_topic(arn.into());
        self
    }

    /// Allows several topics.
    #[must_use]
    pub fn topics(self, arns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        arns.into_iter().fold(self, Self::topic)
    }

    /// Allows every topic of an AWS account, by its number of 12 digits.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.topics.add_account(account.into());
        self
    }

    /// Allows every topic there is. **Anyone with an AWS account can then send you messages that verify**, so the handler
    /// has to look at [`Notification::topic_arn`](super::Notification::topic_arn) itself.
    #[must_use]
    pub fn insecure_any_topic(mut self) -> Self {
        self.topics.allow_any();
        self
    }

    /// What is done with requests to confirm a subscription. [`Confirm::Automatic`] unless it is set.
    #[must_use]
    pub fn confirm(mut self, confirm: Confirm) -> Self {
        self.confirm = confirm;
        self
    }

    /// What is done when the endpoint was unsubscribed. [`Unsubscribe::Deliver`] unless it is set.
    #[must_use]
    pub fn unsubscribe(mut self, unsubscribe: Unsubscribe) -> Self {
        self.unsubscribe = unsubscribe;
        self
    }

    /// Demands HTTP Basic credentials as well: those in the URL that the endpoint is subscribed with,
    /// `https://user:password@host/`. SNS sends them once it was answered 401, which this layer does. While they rotate,
    /// this can be called for each of up to [`MAX_SECRETS`](crate::MAX_SECRETS).
    ///
    /// Do not set it for a subscription without credentials: its messages would be lost.
    #[must_use]
    pub fn basic_auth(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.basic.accept(user.as_ref(), password.as_ref());
        self
    }

    /// The realm of the challenge for credentials. It is `webhook` unless it is set.
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.basic.set_realm(realm.into());
        self
    }

    /// Confirms a subscription even where its confirmation comes without the Basic credentials, once its signature and topic
    /// are verified. The answer is the challenge all the same. It means nothing without [`basic_auth`](Self::basic_auth).
    #[must_use]
    pub fn confirm_unauthenticated(mut self) -> Self {
        self.confirm_unauthenticated = true;
        self
    }

    /// Takes raw deliveries (a setting of the subscription), whose body is the payload alone. Amazon does not sign them, so
    /// another proof is required.
    #[must_use]
    pub fn raw_delivery(mut self, proof: RawProof) -> Self {
        self.raw = Some(proof);
        self
    }

    /// How far a message's time may be from now. [`DEFAULT_TOLERANCE`] unless it is set; less than the retry schedule of the
    /// topic loses messages.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Takes messages of any age: a copy of one is then good for as long as its certificate.
    #[must_use]
    pub fn insecure_any_age(mut self) -> Self {
        self.tolerance = None;
        self
    }

    /// Refuses messages that are signed with SHA-1. Set the topic's attribute `SignatureVersion` to 2 first.
    #[must_use]
    pub fn require_signature_version_2(mut self) -> Self {
        self.version_2_only = true;
        self
    }

    /// Requires that the certificate chains to one of these (PEM, one or more), which may be roots or intermediates.
    ///
    /// Amazon serves the certificate alone, so these have to hold what it was issued by. Without this, the anchor of trust is
    /// the TLS connection to SNS's own host, as in Amazon's own libraries.
    #[must_use]
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Takes certificates with RSA keys as short as this, in bits; 1024 at the least. Amazon uses 2048 since 2013.
    #[must_use]
    pub fn insecure_min_key_bits(mut self, bits: usize) -> Self {
        self.certificates.min_key_bits = bits;
        self
    }

    /// Takes certificates that nobody but themselves vouches for, as emulators have them.
    #[must_use]
    pub fn insecure_allow_self_signed(mut self) -> Self {
        self.certificates.allow_self_signed = true;
        self
    }

    /// Talks to this SNS in place of Amazon's: for tests and emulators. See [`LocalSns`].
    #[must_use]
    pub fn insecure_local(mut self, local: LocalSns) -> Self {
        self.certificates.local = Some(local);
        self
    }

    /// Fetches certificates and confirms subscriptions by this in place of `HttpsClient`.
    #[must_use]
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    pub(crate) fn in_body(mut self, find: BodyFields) -> Self {
        self.in_body = find;
        self
    }

    /// Checks all of it.
    ///
    /// # Errors
    ///
    /// Where no topic or account is allowed, where one of them is malformed, where raw delivery has no proof, where there is
    /// nothing to fetch with (neither [`fetch`](Self::fetch) nor the feature `client`), and where something else is empty or
    /// contradicts itself. The message names the fault.
    pub fn build(mut self) -> Result<Sns, ConfigError> {
        self.topics.check()?;
        self.basic.check()?;
        if !KEY_BITS.contains(&self.certificates.min_key_bits) {
            return Err(ConfigError::key("the least RSA key is 1024 to 8192 bits long"));
        }
        if let Some(roots) = &self.roots {
            self.certificates.anchors = Some(anchors(roots)?);
        }
        if let Some(local) = &self.certificates.local {
            local.check()?;
        }
        let raw = self.raw.take().map(|proof| proof.check(&self.basic)).transpose()?;
        let fetch = match self.fetch.take() {
            Some(fetch) => fetch,
            None => default_fetch(self.certificates.local.as_ref())?,
        };
        Ok(Sns(Arc::new(Plan {
            name: self.name,
            topics: self.topics,
            basic: self.basic,
            confirm_unauthenticated: self.confirm_unauthenticated,
            raw,
            tolerance: self.tolerance,
            version_2_only: self.version_2_only,
            certificates: self.certificates,
            keys: Cache::new(Rules::DEFAULT),
            confirm: self.confirm,
            unsubscribe: self.unsubscribe,
            confirmations: Confirmations::new(),
            fetch,
            in_body: self.in_body.shared(),
        })))
    }
}

impl RawProof {
    fn check(self, basic: &Basic) -> Result<RawAccess, ConfigError> {
        match self {
            Self::BasicAuth if !basic.is_used() => {
                Err(ConfigError::missing("raw delivery is to be proven by Basic credentials, but none are set"))
            }
            Self::SecretPath(secret) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                match secret.len() >= SHORTEST_PATH_SECRET && secret.bytes().all(fits) {
                    true => Ok(RawAccess::SecretPath(Zeroizing::new(secret))),
                    false => Err(ConfigError::invalid(
                        "the secret path of raw delivery is not at least 16 letters, digits, - and _",
                    )),
                }
            }
            Self::BasicAuth | Self::InsecureUnlessProvenInFront => Ok(RawAccess::Proven),
        }
    }
}

#[cfg(feature = "client")]
fn default_fetch(local: Option<&LocalSns>) -> Result<Arc<dyn Fetch>, ConfigError> {
    use crate::fetch::HttpsClient;

    Ok(Arc::new(match local.is_some_and(LocalSns::is_plain_http) {
        true => HttpsClient::with_insecure_plain_http()?,
        false => HttpsClient::new()?,
    }))
}

#[cfg(not(feature = "client"))]
fn default_fetch(_: Option<&LocalSns>) -> Result<Arc<dyn Fetch>, ConfigError> {
    Err(ConfigError::missing(
        "there is nothing to fetch certificates with: pass a fetcher or enable the feature `client`",
    ))
}

impl fmt::Debug for SnsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsBuilder")
            .field("name", &self.name)
            .field("topics", &self.topics)
            .field("basic", &self.basic)
            .field("raw", &self.raw)
            .field("confirm", &self.confirm)
            .finish_non_exhaustive()
    }
}
