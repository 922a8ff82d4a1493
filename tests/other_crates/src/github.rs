use axum::{Router, routing::post};
use octocrab::models::webhook_events::{WebhookEvent, WebhookEventPayload};
use tower_webhook::{ConfigError, Delivery, ParseLayer, Parsed, Webhook, WebhookLayer, senders};

fn event(delivery: &Delivery) -> Result<WebhookEvent, serde_json::Error> {
    WebhookEvent::try_from_header_and_body(delivery.event().unwrap_or_default(), delivery.body())
}

async fn on_event(Webhook(Parsed(event)): Webhook<Parsed<WebhookEvent>>) -> String {
    match event.specific {
        WebhookEventPayload::Push(push) => format!("{} to {}", push.commits.len(), push.r#ref),
        _ => format!("{:?}", event.kind),
    }
}

pub fn app(secret: &str) -> Result<Router, ConfigError> {
    let github = WebhookLayer::new(senders::github(secret)?);
    Ok(Router::new().route("/github", post(on_event).layer((github, ParseLayer::new(event)))))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use tower_webhook::{senders, testing};

    use crate::{forge, send};

    fn signed(event: &str, body: &'static str) -> Request<Full<Bytes>> {
        let request = Request::post("/github").header("x-github-event", event).body(body).unwrap();
        testing::sign(&senders::github("s").unwrap(), request).unwrap()
    }

    #[tokio::test]
    async fn octocrabs_events() {
        let app = super::app("s").unwrap();
        let push = include_str!("../bodies/github-push.json");
        let to = "1 to refs/heads/main".to_owned();
        assert_eq!(send(&app, signed("push", push)).await, (200, to));
        let ping = include_str!("../bodies/github-ping.json");
        assert_eq!(send(&app, signed("ping", ping)).await, (200, "Ping".to_owned()));
        forge(&app, signed("push", push)).await;
        assert_eq!(send(&app, signed("push", ping)).await.0, 422, "it is of another event");
    }
}
