//! What would have verified a request that was refused.

mod bodies;
mod clock;
mod diagnosis;
mod heads;
mod hints;
mod json_text;
mod search;
mod settings;
mod trial;

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use serde::Serialize;

use crate::any_provider::AnyProvider;
use crate::config::ConfigError;
use crate::provider::Provider;
use crate::rejection::Rejection;
use crate::secrets::{Secret, Secrets};
use crate::senders::SenderConfig;

pub use diagnosis::Diagnosis;

/// Finds out what would have verified a request that was refused.
///
/// It changes the request, the secrets and the clock in the ways in which they go wrong in
/// practice, one by one and two at a time, and has the sender itself verify each. What verifies
/// shows what is wrong. No request gets through by that, and no secret is in an explanation.
///
/// The work for one request is bounded: see [`MAX_TRIALS`](Self::MAX_TRIALS) and
/// [`MAX_BYTES`](Self::MAX_BYTES).
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use tower_webhook::inspect::{Explainer, Mistake};
/// use tower_webhook::{Clock, SystemClock, senders};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The body was signed without spaces, and a proxy wrote it anew.
/// let (head, body) = Request::post("/hooks")
///     .header("x-hub-signature-256", "sha256=36bd2c04d7fd26eeabe8e21a2c4d9d7c2cdb1ab7d8c8c8bb7a59df1d07f2dd0c")
///     .body(Bytes::from(r#"{"ref": "main"}"#))?
///     .into_parts();
/// let explainer = Explainer::new(senders::github("s3cret")?);
/// let explanation = explainer.explain(&head, Some(&body), SystemClock.now()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Explainer {
    provider: AnyProvider,
    /// What the provider was made from, so that it can be made with other settings.
    config: Option<SenderConfig>,
    other_secrets: Vec<(Cow<'static, str>, Secret)>,
    other_senders: Vec<(Cow<'static, str>, AnyProvider)>,
}

impl Explainer {
    /// The most verifications that are tried for one request.
    pub const MAX_TRIALS: usize = 2000;

    /// The most bytes that are verified for one request, over all trials: a tenth of a second's
    /// work.
    pub const MAX_BYTES: usize = 32 * 1024 * 1024;

    /// Creates an explainer for this sender. Other secrets and addresses can be tried for the
    /// senders that are built in; for others, only other requests.
    pub fn new(provider: impl Provider) -> Self {
        Self {
            provider: AnyProvider::new(provider),
            config: None,
            other_secrets: Vec::new(),
            other_senders: Vec::new(),
        }
    }

    /// Creates an explainer for the sender with this configuration, so that other settings can be
    /// tried.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SenderConfig::build`].
    pub fn from_config(config: SenderConfig) -> Result<Self, ConfigError> {
        Ok(Self::new(config.clone().build()?).with_config(config))
    }

    /// Sets what the provider was made from, so that other settings can be tried.
    #[must_use]
    pub fn with_config(mut self, config: SenderConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Adds secrets that aren't accepted, such as one that was replaced, or that of another
    /// environment. `name` is what an explanation calls them.
    #[must_use]
    pub fn with_other_secrets(mut self, name: impl Into<Cow<'static, str>>, secrets: impl Into<Secrets>) -> Self {
        let (name, secrets) = (name.into(), secrets.into());
        self.other_secrets.extend(secrets.fixed().iter().map(|secret| (name.clone(), secret.clone())));
        self
    }

    /// Adds a sender that is expected elsewhere, such as on another route. `name` is what an
    /// explanation calls it.
    #[must_use]
    pub fn with_other_sender(mut self, name: impl Into<Cow<'static, str>>, provider: impl Provider) -> Self {
        self.other_senders.push((name.into(), AnyProvider::new(provider)));
        self
    }

    /// Explains why this request is refused at this time, or returns `None` if nothing would have
    /// verified. Without a body, only what the head shows is explained.
    pub async fn explain(&self, head: &Parts, body: Option<&Bytes>, now: SystemTime) -> Option<Explanation> {
        search::explain(self, head, body, now, None).await
    }

    /// Explains a rejection of this request: see [`explain`](Self::explain).
    pub async fn explain_rejection(
        &self,
        rejection: &Rejection,
        head: &Parts,
        body: Option<&Bytes>,
        now: SystemTime,
    ) -> Option<Explanation> {
        search::explain(self, head, body, now, Some(rejection)).await
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Why a request was refused, and what would fix it.
///
/// It displays as one line, the causes first, and then the cures. It holds no secret, no signature
/// and no part of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    #[serde(rename = "proven")]
    is_proven: bool,
    findings: Vec<Finding>,
}

impl Explanation {
    fn proven(findings: Vec<Finding>) -> Self {
        Self { is_proven: true, findings }
    }

    fn likely(finding: Finding) -> Self {
        Self { is_proven: false, findings: vec![finding] }
    }

    /// Returns whether the request verified without these mistakes. Otherwise the explanation is
    /// what the request looks like.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Returns the mistakes: one, or two that came together.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns whether this mistake is among them.
    #[must_use]
    pub fn has(&self, mistake: Mistake) -> bool {
        self.findings.iter().any(|finding| finding.mistake == mistake)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_proven {
            f.write_str("probably ")?;
        }
        let mut separator = "";
        for finding in &self.findings {
            write!(f, "{separator}{}", finding.cause)?;
            separator = ", and ";
        }
        separator = ": ";
        for finding in &self.findings {
            write!(f, "{separator}{}", finding.cure)?;
            separator = "; ";
        }
        Ok(())
    }
}

/// One mistake: its cause, and its cure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    mistake: Mistake,
    cause: Cow<'static, str>,
    cure: Cow<'static, str>,
}

impl Finding {
    fn new(mistake: Mistake, cause: impl Into<Cow<'static, str>>, cure: impl Into<Cow<'static, str>>) -> Self {
        Self { mistake, cause: cause.into(), cure: cure.into() }
    }

    /// Returns the kind of mistake.
    #[must_use]
    pub fn mistake(&self) -> Mistake {
        self.mistake
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

macro_rules! mistakes {
    ($($(#[$doc:meta])* $mistake:ident = $name:literal,)*) => {
        /// A kind of mistake that gets genuine requests refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Mistake {
            $($(#[$doc])* $mistake,)*
        }

        impl Mistake {
            /// All mistakes, for tables.
            pub const ALL: &'static [Self] = &[$(Self::$mistake,)*];

            /// Returns the name, in `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$mistake => $name,)*
                }
            }
        }
    };
}

mistakes! {
    /// The body was parsed and written anew: its spaces, keys, escapes or numbers differ.
    BodyReserialized = "body_reserialized",
    /// A line break, white space or a byte order mark at an end of the body.
    BodyEdges = "body_edges",
    /// The body was compressed, decompressed or encoded.
    BodyCoding = "body_coding",
    /// The secret is used as text where it is base64, or the like.
    SecretEncoding = "secret_encoding",
    /// The secret has white space or quotes around it.
    SecretWhiteSpace = "secret_white_space",
    /// The secret is that of another environment.
    OtherEnvironment = "other_environment",
    /// The sender signs with a secret that was replaced, or that belongs elsewhere.
    OtherSecret = "other_secret",
    /// The signature is in another encoding, alphabet or padding, or lacks its prefix.
    SignatureEncoding = "signature_encoding",
    /// The clock of this machine or of the sender is wrong, or the request was held up.
    Clock = "clock",
    /// The address that was signed isn't the one that is known here.
    Address = "address",
    /// The signature is in another header.
    OtherHeader = "other_header",
    /// A header came twice, or a proxy joined two.
    JoinedHeaders = "joined_headers",
    /// The request is from another sender than the route expects.
    OtherSender = "other_sender",
    /// The request is for another route.
    OtherRoute = "other_route",
    /// The request is for another topic, account, audience or webhook.
    OtherRecipient = "other_recipient",
    /// Something in front of the layer has read or changed the request.
    LayerOrder = "layer_order",
    /// The request isn't a delivery: a browser, a scanner, a redirect.
    NoWebhook = "no_webhook",
    /// The request verifies now: a secret or a key has come in the meantime.
    Passing = "passing",
}
