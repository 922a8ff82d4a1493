//! Secrets: one, several during rotation, or looked up by request.

mod cache;
mod head;
mod keyring;
mod lookup;
mod print;
mod secret;
mod token;

pub use cache::CachePolicy;
pub use head::Head;
pub(crate) use keyring::{Keyring, KeysFor, MatchedKey, TriedKeys};
#[cfg(feature = "asymmetric")]
pub(crate) use lookup::DECOY;
pub(crate) use lookup::Keys;
pub use lookup::Secrets;
pub(crate) use print::KeyPrint;
pub use secret::{KeyFormat, MAX_SECRETS, Secret};
pub(crate) use token::Token;
