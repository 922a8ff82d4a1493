//! The stores of the inbox, with real files, disks and servers.

#[cfg(feature = "sqlite")]
mod sqlite;
