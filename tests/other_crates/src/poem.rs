use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use poem::endpoint::TowerCompatExt as _;
use poem::{IntoEndpoint, Route, post};
use serde_json::Value;
use tower::{Layer as _, service_fn};
use tower_webhook::{ConfigError, Json, Webhook, WebhookLayer, senders};

async fn on_push(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match Webhook::<Json<Value>>::from_extensions(request.extensions()) {
        Ok(Webhook(Json(push))) => Response::new(push["ref"].to_string().into()),
        Err(rejection) => rejection.into_http_response().map(Full::new),
    })
}

pub fn app(secret: &str) -> Result<impl IntoEndpoint, ConfigError> {
    let github = WebhookLayer::new(senders::github(secret)?);
    Ok(Route::new().at("/github", post(github.layer(service_fn(on_push)).compat())))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use poem::{Endpoint as _, IntoEndpoint as _, IntoResponse as _};
    use tower_webhook::{senders, testing};

    #[tokio::test]
    async fn poem_takes_the_layer_as_an_endpoint() {
        let app = super::app("s").unwrap().into_endpoint();
        for (secret, status, text) in [("s", 200, "\"main\""), ("other", 401, "")] {
            let request = Request::post("/github").body(r#"{"ref":"main"}"#).unwrap();
            let signed = testing::sign(&senders::github(secret).unwrap(), request).unwrap();
            let (head, body) = signed.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let request = poem::Request::builder().method(head.method).uri(head.uri);
            let request = head.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let response = app.call(request.body(body)).await.unwrap().into_response();
            assert_eq!(response.status().as_u16(), status);
            let said = response.into_body().into_string().await.unwrap();
            assert!(status != 200 || said == text, "{said}");
        }
    }
}
