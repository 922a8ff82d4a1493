//! The explainer: what is known, and the question.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::any_provider::AnyProvider;
use crate::config::ConfigError;
use crate::provider::Provider;
use crate::rejection::Rejection;
use crate::secrets::Secrets;
use crate::senders::SenderConfig;

use super::explanation::Explanation;
use super::known::Known;
use super::{search, trial};

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
/// // The example of GitHub's document, with a line break that a proxy added.
/// let (head, body) = Request::post("/hooks")
///     .header("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
///     .body(Bytes::from("Hello, World!\n"))?
///     .into_parts();
/// let explainer = Explainer::new(senders::github("It's a Secret to Everybody")?);
/// let explanation = explainer.explain(&head, Some(&body), SystemClock.now()).await.expect("an explanation");
/// assert!(explanation.has(Mistake::BodyEdges));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Explainer(Known);

impl Explainer {
    /// The most verifications that are tried for one request.
    pub const MAX_TRIALS: usize = trial::MAX_TRIALS;

    /// The most bytes that are verified for one request, over all trials.
    pub const MAX_BYTES: usize = trial::MAX_BYTES;

    /// Creates an explainer for this sender. Other secrets and addresses are tried for
    /// [`Scheme`](crate::Scheme)s; for other providers, only other requests.
    pub fn new(provider: impl Provider) -> Self {
        Self(Known::new(AnyProvider::new(provider)))
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
        self.0.config = Some(config);
        self
    }

    /// Adds secrets that aren't accepted, such as one that was replaced, or that of another
    /// environment. `name` is what an explanation calls them.
    #[must_use]
    pub fn with_other_secrets(mut self, name: impl Into<Cow<'static, str>>, secrets: impl Into<Secrets>) -> Self {
        let (name, secrets) = (name.into(), secrets.into());
        self.0.other_secrets.extend(secrets.fixed().iter().map(|secret| (name.clone(), secret.clone())));
        self
    }

    /// Adds a sender that is expected elsewhere, such as on another route. `name` is what an
    /// explanation calls it.
    #[must_use]
    pub fn with_other_sender(mut self, name: impl Into<Cow<'static, str>>, provider: impl Provider) -> Self {
        self.0.other_senders.push((name.into(), AnyProvider::new(provider)));
        self
    }

    /// Explains why this request is refused at this time, or returns `None` if nothing would have
    /// verified. Without a body, only what the head shows is explained.
    pub async fn explain(&self, head: &Parts, body: Option<&Bytes>, now: SystemTime) -> Option<Explanation> {
        search::explain(&self.0, head, body, now, None).await
    }

    /// Explains a rejection of this request: see [`explain`](Self::explain).
    pub async fn explain_rejection(
        &self,
        rejection: &Rejection,
        head: &Parts,
        body: Option<&Bytes>,
        now: SystemTime,
    ) -> Option<Explanation> {
        search::explain(&self.0, head, body, now, Some(rejection)).await
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer").field("provider", &self.0.provider).finish_non_exhaustive()
    }
}
