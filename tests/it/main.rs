//! Behaviour seen through real servers and clients over loopback.

mod bounds;
mod cdr_manager;
#[cfg(feature = "jwt")]
mod connect;
#[cfg(feature = "dedup")]
mod dedup;
mod docs;
mod endpoint;
mod ip_allow;
mod layers;
mod operators;
mod ranks;
mod secrets;
mod senders;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
