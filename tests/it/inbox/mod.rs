//! The inbox and its stores, with real files, disks and servers.

#[cfg(feature = "sqlite")]
mod broken;
// Needs what the example needs.
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
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_server;
#[cfg(feature = "sqlite")]
mod receiver;
#[cfg(feature = "sqlite")]
mod sqlite;
