//! Testing what stands behind the layer: requests signed as their sender would, a clock that stands still, bodies that
//! misbehave. Feature `testing`; it belongs into `[dev-dependencies]`.

mod body;
mod clock;
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "inbox")]
mod inbox_suite;
#[cfg(feature = "asymmetric")]
mod key;
mod sign;
#[cfg(feature = "sns")]
mod sns;
#[cfg(feature = "dedup")]
mod store_suite;

pub use crate::sign::{Sign, SignError};
pub use body::{ScriptedBody, Step};
pub use clock::ManualClock;
#[cfg(feature = "inbox")]
pub use inbox_suite::inbox_suite;
#[cfg(feature = "inbox")]
#[doc(hidden)]
pub use inbox_suite::{inbox_entry, inbox_record_is_whole};
#[cfg(feature = "asymmetric")]
pub use key::{SigningKey, sign_with, sign_with_at};
pub use sign::{sign, sign_at};
#[cfg(feature = "sns")]
pub use sns::{FakeMessage, FakeSns};
#[cfg(feature = "dedup")]
pub use store_suite::store_suite;
