//! Senders as a few declarative lines: where the signature is, what it covers, how it is made.

#[cfg(feature = "jwt")]
pub(crate) mod jwt;
pub(crate) mod mac;
#[cfg(feature = "testing")]
mod sign;
mod signature;
pub(crate) mod source;
mod template;
mod timestamp;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::ChooseIdentity;
use crate::provider::{Begin, DEFAULT_BODY_LIMIT, Provider};
use crate::reject::{Reason, Rejection};
use crate::secret::{Find, KeyFormat, Keys, Secrets};
use crate::text::Text;

use mac::{Mac, MacKind};
use signature::SignaturePlan;
use source::Place;
use template::{Piece, Template};
use timestamp::TimestampPlan;
use verify::Claimed;

pub use signature::SignatureSpec;
pub(crate) use source::{LONGEST_HEADER, single};
pub use source::{Source, header};
pub use timestamp::TimestampSpec;
pub use verify::SchemeVerification;

/// A sender that is described rather than programmed.
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::scheme::header;
/// use tower_webhook::Scheme;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let acme = Scheme::hmac_sha256()
///     .signature(header("x-acme-signature").prefix("v1=").hex())
///     .timestamp(header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300)))
///     .signed("{timestamp}.{body}")
///     .id(header("x-acme-delivery"))
///     .event(header("x-acme-event"))
///     .secret("whatever Acme's portal shows")
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
///
/// A clone shares everything.
#[derive(Clone)]
pub struct Scheme(Arc<Plan>);

/// All that is known before the first request.
struct Plan {
    name: Text,
    methods: Vec<Method>,
    body_limit: usize,
    signature: SignaturePlan,
    timestamp: Option<TimestampPlan>,
    id: Option<Place>,
    event: Option<Place>,
    template: Template,
    identity: Option<Arc<ChooseIdentity>>,
    keys: Keys<Mac>,
}

impl Scheme {
    /// A sender that signs with HMAC-SHA256.
    #[must_use]
    pub fn hmac_sha256() -> SchemeBuilder {
        SchemeBuilder::new(MacKind::Sha256)
    }

    /// A sender that signs with HMAC-SHA512.
    #[must_use]
    pub fn hmac_sha512() -> SchemeBuilder {
        SchemeBuilder::new(MacKind::Sha512)
    }

    /// A sender that signs with HMAC-SHA1. No forgery of it is known, but nobody should choose it today.
    #[must_use]
    pub fn hmac_sha1_for_legacy_senders_only() -> SchemeBuilder {
        SchemeBuilder::new(MacKind::Sha1)
    }
}

impl Provider for Scheme {
    type Verification = SchemeVerification;

    fn name(&self) -> &Text {
        &self.0.name
    }

    fn body_limit(&self) -> usize {
        self.0.body_limit
    }

    fn recognizes(&self, head: &Parts) -> bool {
        self.0.signature.place.is_present(head)
    }

    fn begin(&self, head: &Parts, now: SystemTime) -> Result<Begin<SchemeVerification>, Rejection> {
        let plan = &self.0;
        if !plan.methods.contains(&head.method) {
            return Err(wrong_method(&plan.methods));
        }
        let claimed = Claimed::read(plan, head, now)?;
        Ok(match plan.keys.find(head, None) {
            Find::Now(keys) => Begin::Verify(SchemeVerification::new(plan.clone(), claimed, head, keys)),
            Find::Later { head, keys } => {
                let plan = plan.clone();
                Begin::Pending(Box::pin(async move { Ok(SchemeVerification::new(plan, claimed, &head, keys.await?)) }))
            }
        })
    }
}

/// The refusal of a method that is not one of these.
pub(crate) fn wrong_method(methods: &[Method]) -> Rejection {
    let allowed = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let rejection = Rejection::new(Reason::MethodNotAllowed);
    match allowed.try_into() {
        Ok(allowed) => rejection.with_header(http::header::ALLOW, allowed),
        Err(_) => rejection,
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheme").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Builds a [`Scheme`]; nothing is checked before [`build`](Self::build).
#[derive(Clone)]
pub struct SchemeBuilder {
    kind: MacKind,
    methods: Vec<Method>,
    body_limit: usize,
    signature: Option<SignatureSpec>,
    timestamp: Option<TimestampSpec>,
    id: Option<Source>,
    event: Option<Source>,
    identity: Option<Arc<ChooseIdentity>>,
    template: &'static str,
    key_format: KeyFormat,
    secrets: Option<Secrets>,
}

impl SchemeBuilder {
    fn new(kind: MacKind) -> Self {
        Self {
            kind,
            methods: vec![Method::POST],
            body_limit: DEFAULT_BODY_LIMIT,
            signature: None,
            timestamp: None,
            id: None,
            event: None,
            identity: None,
            template: "{body}",
            key_format: KeyFormat::Text,
            secrets: None,
        }
    }

    /// Where the signature is. Required.
    #[must_use]
    pub fn signature(mut self, signature: SignatureSpec) -> Self {
        self.signature = Some(signature);
        self
    }

    /// Where the timestamp is, if the sender signs one. It must then be part of what is signed.
    #[must_use]
    pub fn timestamp(mut self, timestamp: TimestampSpec) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// What is signed: literal text, `{body}`, `{timestamp}`, `{id}`, `{method}`, `{path}` (with the query). The
    /// default is `{body}` alone.
    #[must_use]
    pub fn signed(mut self, template: &'static str) -> Self {
        self.template = template;
        self
    }

    /// Where the id of the event or delivery is. It is required in a request only where it is signed.
    #[must_use]
    pub fn id(mut self, id: Source) -> Self {
        self.id = Some(id);
        self
    }

    /// Where the event's name is.
    #[must_use]
    pub fn event(mut self, event: Source) -> Self {
        self.event = Some(event);
        self
    }

    /// Finds, in a verified body, the id that stays the same over the sender's retries, where the sender signs none in a
    /// header. It is only called where [`Delivery::identity`](crate::Delivery::identity) is.
    #[must_use]
    pub fn identity(mut self, choose: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.identity = Some(Arc::new(choose));
        self
    }

    /// The secret, or several.
    #[must_use]
    pub fn secret(mut self, secrets: impl Into<Secrets>) -> Self {
        self.secrets = Some(secrets.into());
        self
    }

    /// How the sender's secret text stands for key bytes. The default is the text itself.
    #[must_use]
    pub fn key_format(mut self, format: KeyFormat) -> Self {
        self.key_format = format;
        self
    }

    /// The methods that the sender uses. The default is `POST` alone.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// The largest body that the sender sends, in bytes. The default is [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Checks the scheme and gives it a name, in `snake_case`.
    ///
    /// # Errors
    ///
    /// Where something is missing, empty, undecodable or contradicts itself. The message names the fault.
    pub fn build(self, name: impl Into<Text>) -> Result<Scheme, ConfigError> {
        let name = name.into();
        if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(ConfigError::new("a provider's name is snake_case: a to z, 0 to 9 and _"));
        }
        if self.methods.is_empty() {
            return Err(ConfigError::new("the scheme accepts no method"));
        }
        let signature =
            self.signature.ok_or_else(|| ConfigError::new("the scheme does not say where the signature is"))?;
        let template = Template::parse(self.template)?;
        if template.has(&Piece::Timestamp) != self.timestamp.is_some() {
            return Err(ConfigError::new("a timestamp has to be both read and signed, or neither"));
        }
        if template.has(&Piece::Id) && self.id.is_none() {
            return Err(ConfigError::new("the scheme signs an id and does not say where it is"));
        }
        let secrets = self.secrets.ok_or_else(|| ConfigError::new("there is no secret"))?;
        let (kind, format) = (self.kind, self.key_format);
        Ok(Scheme(Arc::new(Plan {
            name,
            methods: self.methods,
            body_limit: self.body_limit,
            signature: signature.plan(kind.digest_len())?,
            timestamp: self.timestamp.map(TimestampSpec::plan).transpose()?,
            id: self.id.map(Source::place).transpose()?,
            event: self.event.map(Source::place).transpose()?,
            template,
            identity: self.identity,
            keys: secrets.into_keys(move |secret| Mac::new(kind, &secret.key(format)?))?,
        })))
    }
}

impl fmt::Debug for SchemeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeBuilder")
            .field("kind", &self.kind)
            .field("signature", &self.signature)
            .field("timestamp", &self.timestamp)
            .field("template", &self.template)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}
