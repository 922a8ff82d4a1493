use axum::{Router, routing::post};
use tower_webhook::{ConfigError, Json, Webhook, WebhookLayer, senders};
use twilight_model::application::interaction::{Interaction, InteractionData};
use twilight_model::http::interaction::{InteractionResponse, InteractionResponseData, InteractionResponseType};

/// The answer is in the response. The layer has answered Discord's pings itself.
async fn on_interaction(Webhook(Json(interaction)): Webhook<Json<Interaction>>) -> axum::Json<InteractionResponse> {
    let content = match interaction.data {
        Some(InteractionData::ApplicationCommand(command)) => format!("/{}", command.name),
        _ => "not a command".to_owned(),
    };
    axum::Json(InteractionResponse {
        kind: InteractionResponseType::ChannelMessageWithSource,
        data: Some(InteractionResponseData { content: Some(content), ..InteractionResponseData::default() }),
    })
}

pub fn app(public_key: &str) -> Result<Router, ConfigError> {
    let discord = WebhookLayer::new(senders::discord(public_key)?);
    Ok(Router::new().route("/discord", post(on_interaction).layer(discord)))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::{Value, json};
    use tower_webhook::senders;
    use tower_webhook::testing::{self, SigningKey};

    use crate::{forge, send};

    #[tokio::test]
    async fn twilights_interactions() {
        let key = SigningKey::ed25519().unwrap();
        let app = super::app(key.public_key()).unwrap();
        let signed = |body: &'static str| {
            let request = Request::post("/discord").body(body).unwrap();
            testing::sign_with(&senders::discord(key.public_key()).unwrap(), &key, request).unwrap()
        };
        let command = include_str!("../bodies/discord-command.json");
        let (status, reply) = send(&app, signed(command)).await;
        assert_eq!(status, 200, "{reply}");
        assert_eq!(
            serde_json::from_str::<Value>(&reply).unwrap(),
            json!({"type": 4, "data": {"content": "/cardsearch"}})
        );
        assert_eq!(send(&app, signed(r#"{"type":1}"#)).await, (200, r#"{"type":1}"#.to_owned()));
        forge(&app, signed(command)).await;
    }
}
