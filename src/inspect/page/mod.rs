//! A page over what is stored or recorded.

mod access;
mod export;
mod inspector;
mod routes;
mod source;

pub use access::MIN_INSPECTOR_TOKEN;
pub use inspector::Inspector;
#[cfg(feature = "inbox")]
pub(super) use inspector::beside;
