//! The inbox and its stores, with real files, disks and servers.

#[cfg(feature = "sqlite")]
mod broken;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_server;
#[cfg(feature = "sqlite")]
mod receiver;
#[cfg(feature = "sqlite")]
mod sqlite;
