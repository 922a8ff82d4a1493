//! Behaviour seen through real servers and clients over loopback.

mod bounds;
mod cdr_manager;
mod compile_fail;
mod composition;
#[cfg(feature = "jwt")]
mod connect;
#[cfg(feature = "dedup")]
mod dedup;
mod docs;
mod endpoint;
mod hyper;
mod ip_allow;
mod layers;
mod operators;
mod programs;
mod ranks;
mod secrets;
mod senders;
#[cfg(feature = "sns")]
mod sns;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
