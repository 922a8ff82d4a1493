use axum::{Router, routing::post};
use cloudevents::{AttributesReader as _, Event, binding::http::to_event, message};
use tower_webhook::{ConfigError, Delivery, ParseLayer, Parsed, Webhook, WebhookLayer, senders};

/// The structured form is in the body, the binary form has its attributes in headers.
fn event(delivery: &Delivery) -> Result<Event, message::Error> {
    to_event(&delivery.headers().cloned().unwrap_or_default(), delivery.body().to_vec())
}

async fn on_event(Webhook(Parsed(event)): Webhook<Parsed<Event>>) -> String {
    format!("{} of {}", event.id(), event.ty())
}

pub fn app(token: &str) -> Result<Router, ConfigError> {
    let sender = WebhookLayer::new(senders::cloudevents(token)?).keep_headers();
    Ok(Router::new().route("/events", post(on_event).layer((sender, ParseLayer::new(event)))))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http::header::CONTENT_TYPE;
    use http_body_util::Full;
    use tower_webhook::{senders, testing};

    use crate::send;

    fn signed(token: &str, request: http::request::Builder, body: &'static str) -> Request<Full<Bytes>> {
        testing::sign_with_token(&senders::cloudevents(token).unwrap(), token, request.body(body).unwrap()).unwrap()
    }

    /// The examples of CloudEvents' HTTP binding.
    #[tokio::test]
    async fn the_sdks_events() {
        let app = super::app("s3cret").unwrap();
        let binary = || {
            Request::post("/events")
                .header("ce-specversion", "1.0")
                .header("ce-type", "com.example.someevent")
                .header("ce-time", "2018-04-05T03:56:24Z")
                .header("ce-id", "1234-1234-1234")
                .header("ce-source", "/mycontext/subcontext")
                .header(CONTENT_TYPE, "application/json; charset=utf-8")
        };
        let seen = (200, "1234-1234-1234 of com.example.someevent".to_owned());
        assert_eq!(send(&app, signed("s3cret", binary(), r#"{"a":1}"#)).await, seen);
        let structured = || Request::post("/events").header(CONTENT_TYPE, "application/cloudevents+json");
        let body = r#"{"specversion":"1.0","type":"com.example.someevent","id":"1234-1234-1234","source":"/mycontext/subcontext","data":{"a":1}}"#;
        assert_eq!(send(&app, signed("s3cret", structured(), body)).await, seen);
        assert_eq!(send(&app, signed("guessed", structured(), body)).await.0, 401);
        assert_eq!(send(&app, signed("s3cret", structured(), "{}")).await.0, 422);
    }
}
