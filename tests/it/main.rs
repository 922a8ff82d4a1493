//! Behaviour seen through real servers and clients over loopback.

mod bounds;
mod cdr_manager;
#[cfg(feature = "cli")]
#[allow(clippy::disallowed_methods, reason = "a process lives by the system's clock")]
mod command;
mod composition;
#[cfg(feature = "jwt")]
mod connect;
#[cfg(feature = "memory-store")]
mod dedup;
#[cfg(all(feature = "memory-store", feature = "redis"))]
mod dedup_redis;
// Whatever has a secret is behind some feature.
#[cfg(all(
    feature = "client",
    feature = "jwt",
    feature = "memory-store",
    feature = "paypal",
    feature = "postgres",
    feature = "redis",
    feature = "testing-sns"
))]
#[allow(clippy::disallowed_methods, reason = "the senders sign now, and so does the layer judge")]
mod debug;
mod design;
mod details;
mod docs;
mod endpoint;
mod events;
#[cfg(all(
    feature = "client",
    feature = "inspect",
    feature = "jwt",
    feature = "paypal",
    feature = "testing-certificates"
))]
mod explain;
#[cfg(all(
    feature = "client",
    feature = "jwt",
    feature = "memory-store",
    feature = "paypal",
    feature = "postgres",
    feature = "redis",
    feature = "sns",
    feature = "sqlite"
))]
mod gateway;
mod guides;
mod handshakes;
mod hostile;
mod hyper;
#[allow(clippy::disallowed_methods, reason = "the senders sign now, and so does the layer judge")]
mod identity;
#[cfg(feature = "inbox")]
#[allow(clippy::disallowed_methods, reason = "processes that are killed and restarted live by the system's clock")]
mod inbox;
#[cfg(all(feature = "inspect", feature = "sqlite"))]
mod inspect;
mod ip_allow;
// The senders that speak it, too.
#[cfg(all(feature = "client", feature = "jwt", feature = "paypal", feature = "testing-certificates"))]
mod language;
mod layers;
#[cfg(all(feature = "memory-store", feature = "sqlite"))]
#[allow(clippy::disallowed_methods, reason = "what a worker does is due by the system's clock")]
mod observability;
mod operators;
mod programs;
mod protected;
mod ranks;
#[cfg(all(feature = "memory-store", feature = "redis"))]
mod redis_connect;
#[cfg(all(feature = "memory-store", feature = "redis"))]
mod redis_failover;
#[cfg(all(feature = "memory-store", feature = "redis"))]
mod redis_server;
mod secrets;
#[cfg(all(feature = "client", feature = "jwt", feature = "paypal"))]
mod sender_table;
#[cfg(all(feature = "client", feature = "jwt", feature = "paypal"))]
mod sender_vectors;
// Each sender, so it needs each feature that a sender needs.
#[cfg(all(feature = "client", feature = "jwt", feature = "paypal", feature = "testing-certificates"))]
mod senders;
#[cfg(feature = "testing-sns")]
mod sns;
mod support;
#[cfg(feature = "tonic")]
mod tonic;
