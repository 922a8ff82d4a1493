//! Effectively-once handlers: the repetitions of a delivery are answered without calling the handler again.
//!
//! Senders deliver at least once: they repeat what was not answered in time, and whoever has seen a signed request can send
//! it again while its timestamp is fresh. [`DedupLayer`] stands between the webhook layer and the handler and lets each
//! delivery through once:
//!
//! ```
//! use tower::ServiceBuilder;
//! use tower_webhook::{CdrManager, DedupLayer, MemoryStore, WebhookLayer};
//!
//! # fn main() -> Result<(), tower_webhook::ConfigError> {
//! let layers = ServiceBuilder::new()
//!     .layer(WebhookLayer::new(CdrManager::new("the key from the portal")?))
//!     .layer(DedupLayer::new(MemoryStore::default()));
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to a delivery
//!
//! | it is | the handler | the sender is answered |
//! |---|---|---|
//! | new | is called once the [store](Store) has granted a claim | what the handler answers |
//! | being handled at this moment, here or in another replica | is not called | 503 with `Retry-After`, or [409](DedupLayer::conflict_while_in_flight) |
//! | handled already | is not called | the status of then, no body, `webhook-duplicate: true` |
//!
//! A 2xx *commits* the claim: the delivery counts as handled for the [retention](DedupLayer::with_retention). Any other
//! answer, an error, a panic, and a future dropped because the client went away *release* it, so that the sender's next try is
//! handled. A process that dies can do neither: its claim ends with the [lease](DedupLayer::with_lease), which is renewed
//! while a handler works (feature `tokio`, on by default).
//!
//! # What it promises, and what it cannot
//!
//! While the store keeps what it was told, no two handlers work on one delivery at the same time, and none after one
//! succeeded. A handler can still start twice: it fails half-way and the sender tries again, its process dies, or the store
//! lost its memory (a Redis restarted without persistence, a replica promoted before it had the write). So what a handler does
//! before it fails should be repeatable.
//!
//! Where the store does not answer, the default [refuses](StoreFailure::Refuse) with 503. Where only the commit fails,
//! after a handler that succeeded, the handler's 2xx is answered all the same: the work is done, and a 503 would ask for it
//! again. It is counted as a store failure, and a repetition after the lease is then handled again.
//!
//! # Which deliveries are the same
//!
//! The key is a digest of the provider's name and [`Delivery::identity`](crate::Delivery::identity): the id that the sender
//! signs, or the whole body where it signs none. Two genuine deliveries of the same bytes are then one. What a sender does not
//! sign is never part of it, since anybody could change it to have a copy handled again. See [`Key::of`].
//!
//! Where several tenants share a layer, one could choose an id that another will use. Tell them apart by
//! [`DedupLayer::with_key`]:
//!
//! ```
//! use tower_webhook::dedup::Key;
//! use tower_webhook::{DedupLayer, MemoryStore};
//!
//! let layer = DedupLayer::new(MemoryStore::default())
//!     .with_key(|delivery, head| Some(Key::of(delivery)?.within(head.headers.get("x-tenant")?.as_bytes())));
//! ```

mod erased;
mod future;
mod held;
mod key;
mod layer;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod service;
mod store;

pub use future::DedupFuture;
pub use key::{Key, Token};
pub use layer::{DEFAULT_LEASE, DEFAULT_RETENTION, DEFAULT_STORE_TIMEOUT, DedupLayer, LONGEST_RETENTION, StoreFailure};
pub use memory::{DEFAULT_CAPACITY, MemoryStore};
#[cfg(feature = "redis")]
pub use redis::{DEFAULT_PREFIX, RedisBuilder, RedisStore};
pub use service::DedupService;
pub use store::{Claim, Store, StoreError};
