//! What a sender is: the trait that the layer drives, and the senders that have rules of their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::request::Parts;

use crate::answer::Answer;
use crate::delivery::Verified;
use crate::reject::Rejection;
use crate::text::Text;
use crate::time::Clock;

mod any_of;
pub mod cdr_manager;
#[cfg(feature = "jwt")]
pub mod connect;
#[cfg(feature = "sns")]
pub mod pce;
pub mod senders;
#[cfg(feature = "sns")]
pub mod sns;
#[cfg(feature = "sns")]
pub mod telna;

pub use any_of::{AnyOf, AnyVerification};
pub use cdr_manager::CdrManager;
#[cfg(feature = "jwt")]
pub use connect::Connect;
#[cfg(feature = "sns")]
pub use sns::Sns;

/// The largest body taken unless the sender or the user says otherwise: 1 MiB, four times what the most generous
/// queue-backed sender (SNS) publishes, and little enough that a thousand requests at once fit in a small machine.
pub const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;

/// A sender of webhooks: its rules, and the keys it signs with.
///
/// Most senders are a [`Scheme`](crate::Scheme) of a few lines. The trait is for those whose rules need code. A provider does no
/// input or output of its own on the way to a verdict, except through futures that it returns; the clock is handed to it.
///
/// A sender that proves itself by the certificate of its connection, for which the server left a name in the extensions:
///
/// ```
/// use bytes::Bytes;
/// use http::request::Parts;
/// use tower_webhook::provider::{Begin, Outcome, Provider};
/// use tower_webhook::{Clock, Reason, Rejection, Signed, Text, Verified, WebhookLayer};
///
/// /// Put into the extensions by a server that has checked the peer's certificate.
/// #[derive(Clone, PartialEq)]
/// struct Peer(&'static str);
///
/// struct Acme(Text);
///
/// impl Provider for Acme {
///     type Verification = ();
///
///     fn name(&self) -> &Text {
///         &self.0
///     }
///
///     fn recognizes(&self, head: &Parts) -> bool {
///         head.extensions.get() == Some(&Peer("acme.example.test"))
///     }
///
///     fn begin(&self, head: &Parts, _: &dyn Clock) -> Result<Begin<()>, Rejection> {
///         match self.recognizes(head) {
///             true => Ok(Begin::Verify(())),
///             false => Err(Reason::MissingSignature.into()),
///         }
///     }
///
///     fn finish(&self, (): &mut (), _: &Parts, _: &Bytes, _: &[u8]) -> Result<Outcome, Rejection> {
///         // The connection covers everything that came over it.
///         let mut signed = Signed::default();
///         signed.body = true;
///         Ok(Outcome::Deliver(Verified::new(signed)))
///     }
/// }
///
/// let layer = WebhookLayer::new(Acme("acme".into()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a webhook provider",
    note = "a provider is made by `CdrManager::new(..)?`, `Scheme::hmac_sha256()..build(..)?` and the like; is a `?` missing?"
)]
pub trait Provider: Send + Sync + 'static {
    /// What is known of one request while it is verified.
    type Verification: Send + 'static;

    /// The provider's name, in `snake_case`: in deliveries, logs and metrics.
    fn name(&self) -> &Text;

    /// The largest body that the sender is expected to send, in bytes. The layer's own setting goes before it.
    fn body_limit(&self) -> usize {
        DEFAULT_BODY_LIMIT
    }

    /// Whether the head bears this sender's marks, so that several senders can share a route. It says nothing about
    /// whether the request is genuine.
    fn recognizes(&self, head: &Parts) -> bool;

    /// Judges the head, before the first byte of the body is read. Everything that can be refused by the head alone is
    /// refused here. The clock is there for senders that sign a time; others need not look at it.
    ///
    /// # Errors
    ///
    /// The rejection, where the head is not acceptable.
    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<Begin<Self::Verification>, Rejection>;

    /// Takes the next bytes of the body, in order, while more may be on their way. How they are split has no meaning, and
    /// a body that is there at once is given to [`finish`](Self::finish) alone. Unless it is overridden, nothing is done before
    /// the whole body is there.
    fn receive(&self, verification: &mut Self::Verification, head: &Parts, chunk: &[u8]) {
        let _ = (verification, head, chunk);
    }

    /// Decides, once the whole body is there. `rest` is the end of it that [`receive`](Self::receive) was not given. It is
    /// called once for a verification, by reference because one may be large.
    ///
    /// # Errors
    ///
    /// The rejection, where the request is not genuine or not acceptable.
    fn finish(
        &self,
        verification: &mut Self::Verification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<Outcome, Rejection>;
}

/// What follows from the head of a request.
#[non_exhaustive]
pub enum Begin<V> {
    /// The body is to be received and verified.
    Verify(V),
    /// As `Verify`, once something has been looked up.
    Pending(Pending<V>),
    /// The sender's protocol demands this answer; the handler is not called.
    Answer(Answer),
}

impl<V> fmt::Debug for Begin<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verify(_) => "Verify(..)",
            Self::Pending(_) => "Pending(..)",
            Self::Answer(_) => "Answer(..)",
        })
    }
}

/// What is known after a look-up or a fetch.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Rejection>> + Send>>;

/// The end of a verification that did not refuse.
#[non_exhaustive]
pub enum Outcome {
    /// The request is genuine: the handler is called.
    Deliver(Verified),
    /// The sender's protocol demands this answer; the handler is not called.
    Answer(Answer),
    /// It will be known once something has been fetched.
    Pending(Pending<Outcome>),
}

impl Outcome {
    /// The outcome, once nothing of it is pending.
    ///
    /// # Errors
    ///
    /// The rejection that what was pending came to.
    pub async fn settled(mut self) -> Result<Self, Rejection> {
        while let Self::Pending(pending) = self {
            self = pending.await?;
        }
        Ok(self)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(verified) => f.debug_tuple("Deliver").field(verified).finish(),
            Self::Answer(answer) => f.debug_tuple("Answer").field(answer).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}
