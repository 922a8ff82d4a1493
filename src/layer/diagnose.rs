//! What a layer hands to the one who explains its rejections.

use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::any_provider::AnyProvider;
use crate::rejection::Rejection;

/// The largest body that is kept for a diagnosis. Most webhooks have a few kilobytes.
pub const MAX_DIAGNOSED: usize = 1024 * 1024;

/// Explains rejections to the operator. [`Diagnosis`](crate::inspect::Diagnosis) does.
pub trait Diagnose: Send + Sync + 'static {
    /// Returns whether this rejection is to be explained. It is called for each, before anything is
    /// copied.
    fn admits(&self, rejection: &Rejection, now: SystemTime) -> bool;

    /// Explains a rejection. It is called while the sender waits for its answer, so the work has to
    /// be done elsewhere.
    fn diagnose(&self, refused: Refused);
}

/// A request that was refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The sender that refused it.
    pub provider: AnyProvider,
    /// The head of the request.
    pub head: Parts,
    /// The body, if it was there at once or was received for the verification, and isn't longer
    /// than [`MAX_DIAGNOSED`].
    pub body: Option<Bytes>,
    /// Why it was refused.
    pub rejection: Rejection,
    /// When it was refused.
    pub now: SystemTime,
}
