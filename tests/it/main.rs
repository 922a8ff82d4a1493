//! Behaviour seen through real servers and clients over loopback.

mod cdr_manager;
#[cfg(feature = "dedup")]
mod dedup;
#[cfg(feature = "redis")]
mod dedup_redis;
#[cfg(feature = "redis")]
mod redis_server;
mod support;
