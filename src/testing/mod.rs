//! Testing what stands behind the layer: requests signed as their sender would, a clock that stands still, bodies that
//! misbehave. Feature `testing`; it belongs into `[dev-dependencies]`.

mod body;
mod clock;
#[cfg(feature = "asymmetric")]
mod key;
mod sign;

pub use body::{ScriptedBody, Step};
pub use clock::ManualClock;
#[cfg(feature = "asymmetric")]
pub use key::{SigningKey, sign_with, sign_with_at};
pub use sign::{Sign, SignError, sign, sign_at};
