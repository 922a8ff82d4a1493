//! What strangers send on purpose: forgeries, malformed input, broken connections, more than memory
//! holds.

pub(crate) mod chance;
mod clients;
#[cfg(all(feature = "tracing", feature = "metrics"))]
mod disclosure;
mod forgery;
mod properties;
mod recognition;
mod subjects;
mod wiped;
mod wire;
