//! Tools for testing what is behind the layer: requests signed as their sender signs them, a clock
//! you move by hand, bodies that misbehave. Feature `testing`, which belongs into
//! `[dev-dependencies]`.
//!
//! The features `testing-certificates` (a certificate for a `SigningKey`) and `testing-sns`
//! (`FakeSns`) add what needs a C compiler.

mod body;
mod clock;
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "inbox")]
mod inbox_suite;
#[cfg(feature = "asymmetric")]
mod key;
mod protected;
#[cfg(feature = "inspect")]
mod sample;
mod scheme;
mod sign;
#[cfg(feature = "testing-sns")]
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
pub use protected::assert_protected;
#[cfg(feature = "inspect")]
pub use sample::SampleSender;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub use sample::sample_scheme;
#[doc(hidden)]
pub use scheme::{SchemeFacts, facts};
pub use sign::{sign, sign_at, sign_with_token};
#[cfg(feature = "testing-sns")]
pub use sns::{FakeMessage, FakeSns};
#[cfg(feature = "dedup")]
pub use store_suite::store_suite;
