//! Effectively-once handlers: a repeated delivery is answered without calling the handler again.
//!
//! Most senders deliver at least once: they repeat what wasn't answered in time. Anyone who has
//! seen a signed request can send it again, too, while its timestamp is fresh. Put a
//! [`DedupLayer`](crate::DedupLayer) between the webhook layer and the handler to let each delivery
//! through once:
//!
//! ```
//! # #[cfg(feature = "memory-store")] {
//! use tower::ServiceBuilder;
//! use tower_webhook::{DedupLayer, MemoryStore, WebhookLayer, senders};
//!
//! # fn layers() -> Result<(), tower_webhook::ConfigError> {
//! let layers = ServiceBuilder::new()
//!     .layer(WebhookLayer::new(senders::github("the secret of the webhook")?))
//!     .layer(DedupLayer::new(MemoryStore::default()));
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # What happens to a delivery
//!
//! | the delivery is | the handler | the sender is answered |
//! |---|---|---|
//! | new | is called once the [store](Store) has granted a claim | what the handler answers |
//! | being handled, here or in another replica | isn't called | 503 with `Retry-After`, or [another status](crate::DedupLayer::with_in_flight_status) |
//! | handled already | isn't called | what the handler answered the first time, with `webhook-duplicate: true` |
//! | told from others by nothing, or from a sender that acts on the answer | is called | what the handler answers |
//!
//! A 2xx *commits* the claim: the delivery counts as handled for the
//! [retention](crate::DedupLayer::with_retention). Any other answer, an error, a panic, and a
//! future dropped because the client went away *release* it, so that a repetition is handled. A
//! process that dies can do neither: its claim ends with the
//! [lease](crate::DedupLayer::with_lease), which is renewed while a handler works (feature `tokio`,
//! on by default).
//!
//! # Guarantees and limits
//!
//! While the store keeps what it was told, no two handlers work on one delivery at the same time,
//! and none starts after one has succeeded. A handler can still start twice: it fails half-way and
//! the sender repeats the delivery, its process dies, or the store loses its memory (a Redis
//! restarted without persistence, a replica promoted before it had the write). So whatever a
//! handler does before it fails should be repeatable.
//!
//! If the store doesn't answer, the delivery is [refused](StoreFailure::Refuse) with 503, or
//! [handled](StoreFailure::Admit) where its sender is known never to repeat one. If only the commit
//! fails, after a handler that succeeded, the handler's 2xx is answered anyway: the work is done,
//! and a 503 would ask for it again. The failure is reported, and the commit is tried again in the
//! background for four minutes, of up to 1024 deliveries at a time (feature `tokio`). If it never
//! succeeds, a repetition after the lease is handled again. So is a release that fails, until the
//! lease ends: a sender whose last try comes before that would find the claim, and lose the
//! delivery.
//!
//! # Which deliveries are the same
//!
//! [`Delivery::identity`](crate::Delivery::identity) tells by what a delivery is told from others:
//! an id that its sender signs, or one that is as well proven as the body; an unsigned id together
//! with all that is signed; or all that is signed alone, where the sender's row says why its bodies
//! are unique. If nothing does, each delivery is handled. Equal bytes are no repetition, unless you
//! ask for [replay protection](crate::DedupLayer::with_replay_protection).
//!
//! The [key](Key::of) is a digest of the identity, the provider's name and which secret verified,
//! so tenants and endpoints with secrets of their own are apart. If several share a secret,
//! separate them with [`DedupLayer::with_name`](crate::DedupLayer::with_name) or
//! [`DedupLayer::with_key`](crate::DedupLayer::with_key):
//!
//! ```
//! # #[cfg(feature = "memory-store")] {
//! use tower_webhook::dedup::Key;
//! use tower_webhook::{DedupLayer, MemoryStore};
//!
//! let layer = DedupLayer::new(MemoryStore::default())
//!     .with_key(|delivery, head| Some(Key::of(delivery)?.within(head.headers.get("x-tenant")?.as_bytes())));
//! # }
//! ```

mod answer;
mod claim_guard;
mod erased;
mod future;
mod key;
pub(crate) mod layer;
#[cfg(feature = "memory-store")]
pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "tokio")]
mod run_to_end;
mod service;
mod settlement;
mod shared;
mod store;

pub use answer::DoneAnswer;
pub use future::DedupFuture;
pub use key::{ClaimToken, Key};
pub use layer::{
    DEFAULT_ANSWER_LIMIT, DEFAULT_LEASE, DEFAULT_RETENTION, DEFAULT_STORE_TIMEOUT, MAX_ANSWER_LIMIT, MAX_RETENTION,
};
#[cfg(feature = "memory-store")]
pub use memory::DEFAULT_CAPACITY;
#[cfg(feature = "redis")]
pub use redis::{DEFAULT_PREFIX, RedisBuilder};
#[cfg(feature = "tokio")]
pub use run_to_end::{RunToEnd, RunToEndFuture, RunToEndLayer};
pub use service::DedupService;
pub use shared::StoreFailure;
pub use store::{Claim, Store, StoreError};
