//! An allow-list of peer addresses, for senders that publish theirs.
//!
//! ```
//! use tower_webhook::IpAllowList;
//!
//! # fn main() -> Result<(), tower_webhook::ConfigError> {
//! let only_the_platform = IpAllowList::new(["192.0.2.10", "2001:db8::/32"])?;
//! # Ok(())
//! # }
//! ```
//!
//! An address is no proof of who sends: put the list in front of a [`WebhookLayer`](crate::WebhookLayer), never in its place.

mod layer;
mod peer;
mod service;

pub use layer::IpAllowList;
pub use service::{IpAllowListFuture, IpAllowListService};
