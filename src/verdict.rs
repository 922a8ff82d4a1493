//! What a layer in observe mode would have done.

use crate::rejection::Rejection;

/// The verdict of a layer in [observe mode](crate::WebhookLayer::observe_only), in the extensions of the request that it
/// let through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Genuine: the extensions hold a [`Delivery`](crate::Delivery) too.
    Verified,
    /// The layer would have answered without calling the handler, as the sender's protocol demands.
    Answered,
    /// The layer would have refused.
    Rejected(Rejection),
}
