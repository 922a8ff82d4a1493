//! Behaviour seen through real servers and clients over loopback.

mod cdr_manager;
#[cfg(feature = "sns")]
mod sns;
mod support;
