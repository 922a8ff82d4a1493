//! Alone in its file, for the choice of a back end is one of the whole process.

use tower_webhook::Connect;

#[test]
fn without_a_choice_of_back_end_a_provider_is_not_built_and_nothing_panics() {
    for _ in 0..2 {
        let error = Connect::new("a secret").unwrap_err();
        assert!(error.to_string().contains("CryptoProvider::install_default"), "{error}");
    }
}
