//! A durable inbox: a delivery is stored before its sender gets the 2xx, and handled until that succeeds.
#![allow(dead_code, reason = "the service and the worker that use it come next")]

#[cfg(feature = "postgres")]
pub mod postgres;
pub(crate) mod record;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;

pub use record::{Entry, MAX_ORDER_KEY, RECORD_VERSION, Seal, UniqueKey};
pub use store::{
    Attempt, CrashPolicy, DeliveryId, Detail, Erased, Failure, FailureKind, Filter, InboxError, InboxErrorKind,
    InboxStore, Lease, Listing, Outcome, Page, Pruned, Put, Reaped, Replay, Retention, State, Stats, Summary, Take,
    Taken, Token,
};
