//! `CdrManager::new` may fail, and its `?` is missing.

use tower_webhook::{CdrManager, ConfigError, WebhookLayer};

fn main() -> Result<(), ConfigError> {
    let _layer = WebhookLayer::new(CdrManager::new("the key from the portal"));
    Ok(())
}
