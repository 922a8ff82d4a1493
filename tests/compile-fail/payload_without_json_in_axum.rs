//! The same mistake in an axum handler.

use axum::Router;
use axum::routing::post;
use tower_webhook::{CdrManager, ConfigError, Webhook, WebhookLayer};

#[derive(serde::Deserialize)]
struct Order {
    number: u32,
}

#[axum::debug_handler]
async fn on_order(Webhook(order): Webhook<Order>) -> String {
    order.number.to_string()
}

fn main() -> Result<(), ConfigError> {
    let layer = WebhookLayer::new(CdrManager::new("the key from the portal")?);
    let _: Router = Router::new().route("/", post(on_order).layer(layer));
    Ok(())
}
