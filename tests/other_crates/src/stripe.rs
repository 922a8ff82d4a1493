use axum::{Router, routing::post};
use stripe_webhook::{Event, EventObject};
use tower_webhook::{ConfigError, Json, Webhook, WebhookLayer, senders};

async fn on_event(Webhook(Json(event)): Webhook<Json<Event>>) -> String {
    match event.data.object {
        EventObject::CustomerCreated(customer) => customer.email.unwrap_or_default(),
        _ => event.type_.to_string(),
    }
}

pub fn app(secret: &str) -> Result<Router, ConfigError> {
    let stripe = WebhookLayer::new(senders::stripe(secret)?);
    Ok(Router::new().route("/stripe", post(on_event).layer(stripe)))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tower_webhook::{senders, testing};

    use crate::{forge, send};

    #[tokio::test]
    async fn stripes_events() {
        let app = super::app("whsec_s").unwrap();
        let body = include_str!("../bodies/stripe-customer-created.json");
        // Stripe's crate signs too: one more witness of the rule.
        let signature = stripe_webhook::Webhook::generate_test_header(body, "whsec_s", None);
        let theirs = Request::post("/stripe").header("stripe-signature", signature).body(body.into()).unwrap();
        assert_eq!(send(&app, theirs).await, (200, "jennyrosen@example.com".to_owned()));
        let ours = || {
            let request = Request::post("/stripe").body(body).unwrap();
            testing::sign(&senders::stripe("whsec_s").unwrap(), request).unwrap()
        };
        assert_eq!(send(&app, ours()).await.0, 200);
        forge(&app, ours()).await;
    }
}
