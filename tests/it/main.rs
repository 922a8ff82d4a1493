//! Behaviour seen through real servers and clients over loopback.

mod cdr_manager;
mod endpoint;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
