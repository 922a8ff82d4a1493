//! A sender whose rules are one async function.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::behavior::Behavior;
use crate::config::ConfigError;
use crate::delivery::Verified;
use crate::maybe_ready::MaybeReady;
use crate::provider::{Begin, Outcome, Provider, Recognition};
use crate::rejection::Rejection;
use crate::text::Text;
use crate::time::Clock;

/// The rules of a sender, as one async function. A [`Verifier`] makes a provider of it.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
///
/// use bytes::Bytes;
/// use http::request::Parts;
/// use tower_webhook::{Reason, Rejection, Signed, Verified, Verifier, Verify, WebhookLayer};
///
/// /// Asks Acme whether it sent this.
/// struct Acme;
///
/// impl Verify for Acme {
///     async fn verify(&self, head: &Parts, body: &Bytes, _now: SystemTime) -> Result<Verified, Rejection> {
///         let receipt = head.headers.get("acme-receipt").ok_or(Reason::MissingSignature)?;
///         if !ask_acme(receipt.as_bytes(), body).await {
///             return Err(Reason::SignatureMismatch.into());
///         }
///         Ok(Verified::new(Signed::default().with_body(true)))
///     }
/// }
/// # async fn ask_acme(_: &[u8], _: &[u8]) -> bool { true }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = WebhookLayer::new(Verifier::new("acme", Acme)?);
/// # Ok(())
/// # }
/// ```
pub trait Verify: Send + Sync + 'static {
    /// Verifies a request whose body is complete and within its limit.
    ///
    /// # Errors
    ///
    /// Returns the rejection if the request is not genuine or not acceptable.
    fn verify(
        &self,
        head: &Parts,
        body: &Bytes,
        now: SystemTime,
    ) -> impl Future<Output = Result<Verified, Rejection>> + Send;
}

/// A [`Provider`] whose rules are a [`Verify`]. Clones share it.
///
/// It verifies a request once the whole body is there, and clones the head for that. For thousands
/// of requests per second, prefer a [`Scheme`](crate::Scheme).
pub struct Verifier<V> {
    name: Text,
    body_limit: Option<usize>,
    behavior: Behavior,
    rules: Arc<V>,
}

impl<V: Verify> Verifier<V> {
    /// Creates a provider of this name, in `snake_case`.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not `snake_case`.
    pub fn new(name: impl Into<Text>, rules: V) -> Result<Self, ConfigError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { name, body_limit: None, behavior: Behavior::UNKNOWN, rules: Arc::new(rules) })
    }

    /// Sets the largest body that is accepted, in bytes. The default is the largest that
    /// [`with_behavior`](Self::with_behavior) names, but at least
    /// [`DEFAULT_BODY_LIMIT`](crate::provider::DEFAULT_BODY_LIMIT).
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Sets how the sender behaves around its requests. By default nothing is known.
    #[must_use]
    pub fn with_behavior(mut self, behavior: Behavior) -> Self {
        self.behavior = behavior;
        self
    }
}

/// Checks the name of a provider: it becomes a label in metrics and a part of keys.
pub(crate) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        return Err(ConfigError::invalid("a provider's name is snake_case: a to z, 0 to 9 and _"));
    }
    Ok(())
}

impl<V: Verify> Provider for Verifier<V> {
    /// The time at which the head arrived.
    type Verification = SystemTime;

    fn name(&self) -> &Text {
        &self.name
    }

    fn body_limit(&self) -> usize {
        self.body_limit.unwrap_or(self.behavior.body_limit())
    }

    fn behavior(&self) -> &Behavior {
        &self.behavior
    }

    fn recognizes(&self, _: &Parts) -> Recognition {
        Recognition::Perhaps
    }

    fn begin(&self, _: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<SystemTime>>, Rejection> {
        Ok(Begin::Verify(clock.now()).into())
    }

    fn finish(
        &self,
        now: &mut SystemTime,
        head: &Parts,
        body: &Bytes,
        _: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let (rules, head, body, now) = (self.rules.clone(), head.clone(), body.clone(), *now);
        Ok(MaybeReady::pending(async move { rules.verify(&head, &body, now).await.map(Outcome::Deliver) }))
    }
}

impl<V> Clone for Verifier<V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            body_limit: self.body_limit,
            behavior: self.behavior,
            rules: self.rules.clone(),
        }
    }
}

impl<V> fmt::Debug for Verifier<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("name", &self.name).finish_non_exhaustive()
    }
}
