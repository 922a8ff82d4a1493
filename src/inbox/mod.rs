//! A durable inbox: a delivery is stored before its sender gets the 2xx, and handled until that succeeds.
#![allow(dead_code, reason = "the service and the worker that use it come next")]

mod record;

pub use record::{Entry, MAX_ORDER_KEY, RECORD_VERSION, Seal, UniqueKey};
