use aws_lambda_events::{s3::S3Event, ses::SimpleEmailService, sns::CloudWatchAlarmPayload};
use axum::{Router, routing::post};
use tower_webhook::{Sns, Webhook, WebhookLayer, sns::Notification};

async fn on_alarm(Webhook(alarm): Webhook<Notification<CloudWatchAlarmPayload>>) -> String {
    format!("{} is {}", alarm.message.alarm_name, alarm.message.new_state_value)
}

async fn on_object(Webhook(event): Webhook<Notification<S3Event>>) -> String {
    event.message.records.iter().filter_map(|record| record.s3.object.key.as_deref()).collect()
}

async fn on_mail(Webhook(mail): Webhook<Notification<SimpleEmailService>>) -> String {
    mail.message.mail.common_headers.subject.unwrap_or_default()
}

pub fn app(sns: Sns) -> Router {
    Router::new()
        .route("/alarms", post(on_alarm))
        .route("/objects", post(on_object))
        .route("/mails", post(on_mail))
        .layer(WebhookLayer::new(sns))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower_webhook::Sns;
    use tower_webhook::testing::FakeSns;

    use crate::send;

    #[tokio::test]
    async fn awss_events_in_sns() {
        let fake = FakeSns::new();
        let app = super::app(Sns::builder().topic(fake.topic_arn()).fetch(fake.clone()).build().unwrap());
        for (path, body, seen) in [
            ("/alarms", include_str!("../bodies/cloudwatch-alarm.json"), "EXAMPLE is ALARM"),
            ("/objects", include_str!("../bodies/s3-object-created.json"), "Happy%20Face.jpg"),
            ("/mails", include_str!("../bodies/ses-received.json"), "Test Subject"),
        ] {
            let request = fake.notification(body).post(path);
            assert_eq!(send(&app, request.clone()).await, (200, seen.to_owned()));
            let (head, signed) = request.into_parts();
            let signed = signed.collect().await.unwrap().to_bytes();
            let forged = String::from_utf8(signed.to_vec()).unwrap().replace(r#""Message": "{"#, r#""Message": " {"#);
            assert!(forged.as_bytes() != signed);
            assert_eq!(send(&app, http::Request::from_parts(head, forged.into())).await.0, 401);
            assert_eq!(send(&app, fake.notification("{}").post(path)).await.0, 422);
        }
    }
}
