//! A payload type of one's own is JSON unless it says otherwise: `Webhook<Order>` should be `Webhook<Json<Order>>`.

use tower_webhook::{Delivery, Rejection, Webhook};

#[derive(serde::Deserialize)]
struct Order {
    number: u32,
}

fn on_order(delivery: &Delivery) -> Result<u32, Rejection> {
    let Webhook(order) = Webhook::<Order>::from_delivery(delivery)?;
    Ok(order.number)
}

fn main() {
    let _ = on_order;
}
