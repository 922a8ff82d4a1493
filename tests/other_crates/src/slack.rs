use axum::{Router, routing::post};
use slack_morphism::prelude::{SlackCommandEvent, SlackEventCallbackBody, SlackPushEvent};
use tower_webhook::{ConfigError, Form, Json, Webhook, WebhookLayer, senders};

async fn on_event(Webhook(Json(event)): Webhook<Json<SlackPushEvent>>) -> String {
    // The layer has answered Slack's `url_verification` itself.
    let SlackPushEvent::EventCallback(callback) = event else { return String::new() };
    match callback.event {
        SlackEventCallbackBody::AppMention(mention) => mention.content.text.unwrap_or_default(),
        _ => String::new(),
    }
}

async fn on_command(Webhook(Form(command)): Webhook<Form<SlackCommandEvent>>) -> String {
    format!("{} {}", command.command.0, command.text.unwrap_or_default())
}

pub fn app(signing_secret: &str) -> Result<Router, ConfigError> {
    let slack = WebhookLayer::new(senders::slack(signing_secret)?);
    Ok(Router::new().route("/events", post(on_event)).route("/commands", post(on_command)).layer(slack))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use tower_webhook::{senders, testing};

    use crate::{forge, send};

    fn signed(path: &str, content_type: &str, body: &'static str) -> Request<Full<Bytes>> {
        let request = Request::post(path).header("content-type", content_type).body(body).unwrap();
        testing::sign(&senders::slack("s").unwrap(), request).unwrap()
    }

    /// The examples of Slack's documents.
    #[tokio::test]
    async fn slack_morphisms_events_and_commands() {
        let app = super::app("s").unwrap();
        let event = || signed("/events", "application/json", include_str!("../bodies/slack-app-mention.json"));
        let text = "<@U0LAN0Z89> is it everything a river should be?".to_owned();
        assert_eq!(send(&app, event()).await, (200, text));
        forge(&app, event()).await;
        let form = "token=gIkuvaNzQIHg97ATvDxqgjtO&team_id=T0001&team_domain=example&enterprise_id=E0001&\
            enterprise_name=Globular%20Construct%20Inc&channel_id=C2147483705&channel_name=test&user_id=U2147483697&\
            user_name=Steve&command=/weather&text=94070&response_url=https://hooks.slack.com/commands/1234/5678&\
            trigger_id=13345224609.738474920.8088930838d88f008e0&api_app_id=A123456";
        let command = signed("/commands", "application/x-www-form-urlencoded", form);
        assert_eq!(send(&app, command).await, (200, "/weather 94070".to_owned()));
        let challenge = r#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
        let (status, reply) = send(&app, signed("/events", "application/json", challenge)).await;
        assert_eq!((status, reply.contains("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")), (200, true));
    }
}
