//! What tells one key from another without giving it away.

use std::fmt;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::secret::{KeyMaterial, Secret};

/// What every key signs to be told from others. No sender signs it.
const LABEL: &[u8] = b"tower-webhook: which key this is";

/// The fingerprint of a key: the start of an HMAC by it, of which nobody can get back to the key.
/// It tells apart deliveries of tenants and endpoints that share a sender's name.
//
// Aligned, so that the processor copies it as it was written, and not in parts that it would have to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
pub(crate) struct KeyPrint([u8; 8]);

impl KeyPrint {
    pub(super) fn of(secret: &Secret) -> Self {
        let key: &[u8] = match secret.material() {
            KeyMaterial::Text(text) => text.as_bytes(),
            KeyMaterial::Bytes(bytes) => bytes,
        };
        let mut print = [0; 8];
        // An HMAC takes keys of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
            mac.update(LABEL);
            print.copy_from_slice(&mac.finalize().into_bytes()[..8]);
        }
        Self(print)
    }

    #[cfg_attr(not(feature = "dedup"), allow(dead_code))]
    pub(crate) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// It is in no log: a short secret could be found by it.
impl fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPrint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_none_is_shown() {
        let [one, same, other] = ["hunter2", "hunter2", "hunter3"].map(|text| KeyPrint::of(&Secret::new(text)));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(one, KeyPrint::of(&Secret::from_bytes(*b"hunter2")));
        assert_eq!(format!("{one:?}"), "KeyPrint(..)");
    }
}
