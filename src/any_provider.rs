//! A provider that is chosen at run time.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

use crate::behavior::Behavior;
use crate::facts::Facts;
use crate::maybe_ready::MaybeReady;
use crate::provider::{Begin, Outcome, Provider, Recognition, RecognizedBy, delegate};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::Clock;

/// A type-erased [`Provider`], for senders that are chosen at run time. Clones share it.
///
/// It costs one more allocation per request than the provider itself.
///
/// # Examples
///
/// ```
/// use tower_webhook::{AnyProvider, CdrManager, ConfigError, WebhookLayer, senders};
///
/// fn sender(name: &str, secret: &str) -> Result<AnyProvider, ConfigError> {
///     Ok(match name {
///         "cdr_manager" => AnyProvider::new(CdrManager::new(secret)?),
///         _ => AnyProvider::new(senders::github(secret)?),
///     })
/// }
///
/// # fn main() -> Result<(), ConfigError> {
/// let layer = WebhookLayer::new(sender("github", "the secret of the webhook")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AnyProvider {
    provider: Arc<dyn Provider<Verification = AnyVerification>>,
    body_limit: usize,
}

/// The state of a verification by an [`AnyProvider`].
pub struct AnyVerification(Box<dyn Any + Send>);

impl AnyProvider {
    /// Erases the type of a provider.
    pub fn new(provider: impl Provider) -> Self {
        Self { body_limit: provider.body_limit(), provider: Arc::new(Erased(provider)) }
    }

    /// Sets another limit for the body than the provider's own, in bytes.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        Self { body_limit: bytes, ..self }
    }
}

fn erase<V: Send + 'static>(begun: Begin<V>) -> Result<Begin<AnyVerification>, Rejection> {
    Ok(match begun {
        Begin::Verify(verification) => Begin::Verify(AnyVerification(Box::new(verification))),
        Begin::Answer(answer) => Begin::Answer(answer),
    })
}

/// A provider whose verifications have no type.
struct Erased<P>(P);

impl<P: Provider> Provider for Erased<P> {
    type Verification = AnyVerification;

    delegate! {
        self => self.0;
        name, body_limit, behavior, facts, recognizes, recognized_by, recognizes_body, shares_head, refuse, clues
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<AnyVerification>>, Rejection> {
        self.0.begin(head, clock)?.and_then(erase)
    }

    fn begin_shared(
        &self,
        head: &Arc<Parts>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begin<AnyVerification>>, Rejection> {
        self.0.begin_shared(head, clock)?.and_then(erase)
    }

    fn receive(&self, verification: &mut AnyVerification, head: &Parts, chunk: &[u8]) {
        if let Some(verification) = verification.0.downcast_mut() {
            self.0.receive(verification, head, chunk);
        }
    }

    fn finish(
        &self,
        verification: &mut AnyVerification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        // Another provider's verification: a bug in whatever drives this one, and never a success.
        let foreign = || Rejection::new(Reason::NoDelivery).with_detail("another provider began this verification");
        self.0.finish(verification.0.downcast_mut().ok_or_else(foreign)?, head, body, rest)
    }
}

impl Provider for AnyProvider {
    type Verification = AnyVerification;

    delegate! {
        self => self.provider;
        name, behavior, recognizes, recognized_by, recognizes_body, begin, shares_head, begin_shared, receive, finish, refuse, clues
    }

    fn body_limit(&self) -> usize {
        self.body_limit
    }

    #[inline]
    fn facts(&self) -> Vec<Facts> {
        let mut facts = self.provider.facts();
        if self.body_limit != self.provider.body_limit() {
            facts.iter_mut().for_each(|facts| facts.body_limit = self.body_limit);
        }
        facts
    }
}

impl fmt::Debug for AnyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyProvider").field(self.provider.name()).finish()
    }
}

impl fmt::Debug for AnyVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyVerification(..)")
    }
}
