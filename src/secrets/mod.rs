//! Secrets: one, several during rotation, or looked up by request.

mod cache;
mod head;
mod keyring;
mod lookup;
mod name;
mod print;
mod secret;
mod source;
mod table;
mod token;

pub use cache::CachePolicy;
pub use head::Head;
pub(crate) use head::HeadRef;
pub(crate) use keyring::{Keyring, KeysFor, MatchedKey, SenderKey, TriedKeys};
pub(crate) use lookup::Keys;
pub use lookup::Secrets;
pub(crate) use print::KeyPrint;
pub use secret::{KeyFormat, MAX_SECRETS, Secret};
#[cfg(feature = "asymmetric")]
pub(crate) use source::DECOY;
pub(crate) use token::Token;
