//! Behaviour seen through real servers and clients over loopback.

mod cdr_manager;
mod compile_fail;
mod composition;
mod endpoint;
mod hyper;
mod programs;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
