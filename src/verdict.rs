//! The verdict of a layer in observe mode.

use crate::rejection::Rejection;

/// The verdict of a layer in [observe mode](crate::WebhookLayer::observe_only), in the extensions
/// of the request that it let through.
///
/// # Examples
///
/// ```
/// use tower_webhook::Verdict;
///
/// fn log(extensions: &http::Extensions) {
///     if let Some(Verdict::Rejected(rejection)) = extensions.get() {
///         eprintln!("would have been refused: {rejection}");
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The request is genuine. The extensions hold a [`Delivery`](crate::Delivery) as well.
    Verified,
    /// The layer would have answered itself, as the sender's protocol demands.
    Answered,
    /// The layer would have refused the request.
    Rejected(Rejection),
}
