//! Behaviour seen through real servers and clients over loopback.

mod cdr_manager;
mod senders;
mod support;
