//! What a sender is: the trait that the layer drives, and the senders that have rules of their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::answer::Answer;
use crate::delivery::Verified;
use crate::reject::Rejection;
use crate::text::Text;

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

pub use any_of::{AnyOf, AnyVerdict, AnyVerification};
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
/// input or output of its own on the way to a verdict, except through futures that it returns; the present time is
/// handed to it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a webhook provider",
    note = "a provider is made by `CdrManager::new(..)?`, `Scheme::hmac_sha256()..build(..)?` and the like; is a `?` missing?"
)]
pub trait Provider: Send + Sync + 'static {
    /// The verification of one request.
    type Verification: Verification;

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
    /// refused here.
    ///
    /// # Errors
    ///
    /// The rejection, where the head is not acceptable.
    fn begin(&self, head: &Parts, now: SystemTime) -> Result<Begin<Self::Verification>, Rejection>;
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

/// A verification that begins after a look-up.
pub type Pending<V> = Pin<Box<dyn Future<Output = Result<V, Rejection>> + Send>>;

/// The verification of one request, from the first byte of its body to a verdict.
pub trait Verification: Send + 'static {
    /// The verdict, at once for most senders, or after a fetch.
    type Verdict: Future<Output = Result<Outcome, Rejection>> + Send;

    /// Takes the next bytes of the body, in order, as they arrive. How they are split has no meaning.
    fn receive(&mut self, chunk: &[u8]);

    /// Decides, once the whole body is there: the same bytes that [`receive`](Self::receive) was given.
    fn finish(self, head: &Parts, body: &Bytes) -> Self::Verdict;
}

/// The end of a verification that did not refuse.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The request is genuine: the handler is called.
    Deliver(Verified),
    /// The sender's protocol demands this answer; the handler is not called.
    Answer(Answer),
}
