//! Behaviour seen through real servers and clients over loopback.

mod api;
mod bounds;
mod cdr_manager;
mod compile_fail;
mod composition;
#[cfg(feature = "jwt")]
mod connect;
#[cfg(feature = "dedup")]
mod dedup;
mod dependencies;
mod docs;
mod endpoint;
mod hostile;
mod hyper;
mod ip_allow;
mod layers;
mod operators;
mod programs;
mod ranks;
mod secrets;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
