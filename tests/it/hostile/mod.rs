//! What strangers send on purpose: forgeries, malformed input, broken connections, more than memory holds.

mod chance;
mod clients;
mod forgery;
mod properties;
mod subjects;
mod wire;
