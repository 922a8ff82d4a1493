//! Behaviour seen through real servers and clients over loopback.

mod api;
mod bounds;
mod cdr_manager;
mod composition;
#[cfg(feature = "jwt")]
mod connect;
#[cfg(feature = "dedup")]
mod dedup;
#[cfg(feature = "redis")]
mod dedup_redis;
mod dependencies;
mod docs;
mod endpoint;
#[cfg(all(feature = "client", feature = "jwt", feature = "redis", feature = "sns"))]
mod gateway;
mod handshakes;
mod hostile;
mod hyper;
#[cfg(feature = "inbox")]
mod inbox;
mod ip_allow;
mod layers;
mod operators;
mod programs;
mod ranks;
#[cfg(feature = "redis")]
mod redis_server;
mod secrets;
#[cfg(all(feature = "client", feature = "jwt", feature = "sns"))]
mod sender_table;
#[cfg(all(feature = "client", feature = "jwt", feature = "sns"))]
mod sender_vectors;
// Each sender, so it needs each feature that a sender needs.
#[cfg(all(feature = "client", feature = "jwt", feature = "sns"))]
mod senders;
#[cfg(feature = "sns")]
mod sns;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
