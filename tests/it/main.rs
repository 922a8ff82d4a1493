//! Behaviour seen through real servers and clients over loopback.

mod cdr_manager;
#[cfg(feature = "jwt")]
mod connect;
mod support;
