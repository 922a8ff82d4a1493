//! A provider that is chosen at run time.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

use crate::behavior::Behavior;
#[cfg(feature = "inspect")]
use crate::clues::Clues;
use crate::maybe_ready::MaybeReady;
use crate::provider::{Begin, Outcome, Provider, Recognition};
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
    provider: Arc<dyn Erased>,
    body_limit: usize,
}

/// The state of a verification by an [`AnyProvider`].
pub struct AnyVerification(Box<dyn Any + Send>);

impl AnyProvider {
    /// Erases the type of a provider.
    pub fn new(provider: impl Provider) -> Self {
        Self { body_limit: provider.body_limit(), provider: Arc::new(provider) }
    }

    /// Sets another limit for the body than the provider's own, in bytes.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        Self { body_limit: bytes, ..self }
    }
}

/// [`Provider`] without its associated type.
trait Erased: Send + Sync {
    fn name(&self) -> &Text;
    fn behavior(&self) -> &Behavior;
    fn recognizes(&self, head: &Parts) -> Recognition;
    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool;
    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<AnyVerification>>, Rejection>;
    fn receive(&self, verification: &mut AnyVerification, head: &Parts, chunk: &[u8]);
    fn finish(
        &self,
        verification: &mut AnyVerification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection>;
    fn refuse(&self, head: &Parts, rejection: Rejection) -> Rejection;
    #[cfg(feature = "inspect")]
    fn clues(&self) -> Clues;
}

impl<P: Provider> Erased for P {
    fn name(&self) -> &Text {
        P::name(self)
    }

    fn behavior(&self) -> &Behavior {
        P::behavior(self)
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        P::recognizes(self, head)
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        P::recognizes_body(self, head, body)
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<AnyVerification>>, Rejection> {
        P::begin(self, head, clock)?.and_then(|begun| {
            Ok(match begun {
                Begin::Verify(verification) => Begin::Verify(AnyVerification(Box::new(verification))),
                Begin::Answer(answer) => Begin::Answer(answer),
            })
        })
    }

    fn receive(&self, verification: &mut AnyVerification, head: &Parts, chunk: &[u8]) {
        if let Some(verification) = verification.0.downcast_mut() {
            P::receive(self, verification, head, chunk);
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
        P::finish(self, verification.0.downcast_mut().ok_or_else(foreign)?, head, body, rest)
    }

    fn refuse(&self, head: &Parts, rejection: Rejection) -> Rejection {
        P::refuse(self, head, rejection)
    }

    #[cfg(feature = "inspect")]
    fn clues(&self) -> Clues {
        P::clues(self)
    }
}

impl Provider for AnyProvider {
    type Verification = AnyVerification;

    fn name(&self) -> &Text {
        self.provider.name()
    }

    fn body_limit(&self) -> usize {
        self.body_limit
    }

    fn behavior(&self) -> &Behavior {
        self.provider.behavior()
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        self.provider.recognizes(head)
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.provider.recognizes_body(head, body)
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<AnyVerification>>, Rejection> {
        self.provider.begin(head, clock)
    }

    fn receive(&self, verification: &mut AnyVerification, head: &Parts, chunk: &[u8]) {
        self.provider.receive(verification, head, chunk);
    }

    fn finish(
        &self,
        verification: &mut AnyVerification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        self.provider.finish(verification, head, body, rest)
    }

    fn refuse(&self, head: &Parts, rejection: Rejection) -> Rejection {
        self.provider.refuse(head, rejection)
    }

    #[cfg(feature = "inspect")]
    fn clues(&self) -> Clues {
        self.provider.clues()
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
