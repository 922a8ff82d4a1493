//! Alone in its file, for the choice of a back end is one of the whole process.

use jsonwebtoken::crypto::rust_crypto;
use tower_webhook::Connect;

#[test]
fn with_a_back_end_installed_a_provider_is_built() {
    rust_crypto::DEFAULT_PROVIDER.install_default().unwrap();
    assert!(Connect::new("a secret").is_ok());
}
