use axum::{Router, routing::post};
use lambda_http::Error;
use serde_json::Value;
use tower_webhook::{ConfigError, Form, Json, Webhook, WebhookLayer, senders};

async fn on_push(Webhook(Json(push)): Webhook<Json<Value>>) -> String {
    push["ref"].to_string()
}

async fn on_sms(Webhook(Form(fields)): Webhook<Form<Vec<(String, String)>>>) -> String {
    format!("{} fields", fields.len())
}

pub fn app(secret: &str, auth_token: &str) -> Result<Router, ConfigError> {
    let github = WebhookLayer::new(senders::github(secret)?);
    // Twilio signs the address that it was given. Behind a custom domain, the function sees another one.
    let twilio = WebhookLayer::new(senders::twilio(auth_token, "https://hooks.example.com")?);
    Ok(Router::new().route("/github", post(on_push).layer(github)).route("/twilio", post(on_sms).layer(twilio)))
}

#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Error> {
    let [secret, auth_token] = ["GITHUB_SECRET", "TWILIO_AUTH_TOKEN"].map(std::env::var);
    lambda_http::run(app(&secret?, &auth_token?)?).await
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use axum::Router;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt as _, Full};
    use lambda_http::request::LambdaRequest;
    use lambda_http::{Adapter, Context, LambdaEvent};
    use serde_json::{Map, Value, json};
    use tower::ServiceExt as _;
    use tower_webhook::{senders, testing};

    /// With it, `lambda_http` leaves the stage out of the path.
    const IGNORE_STAGE: &str = "AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH";

    const FORMS: [fn(Sent, &str) -> Value; 4] = [function_url, rest_api, http_api, load_balancer];

    /// What Lambda gets of a request.
    struct Sent {
        path: String,
        query: String,
        headers: Map<String, Value>,
        body: String,
        is_base64: bool,
    }

    async fn sent(request: Request<Full<Bytes>>, is_base64: bool) -> Sent {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = if is_base64 { BASE64_STANDARD.encode(body) } else { String::from_utf8(body.to_vec()).unwrap() };
        let headers =
            head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        Sent { path, query, headers, body, is_base64 }
    }

    // The events are those of AWS' documents, with the request in them.

    fn function_url(sent: Sent, _: &str) -> Value {
        version_2(sent, "$default", "id.lambda-url.eu-west-2.on.aws")
    }

    fn http_api(sent: Sent, stage: &str) -> Value {
        version_2(sent, stage, "id.execute-api.us-east-1.amazonaws.com")
    }

    fn version_2(sent: Sent, stage: &str, domain: &str) -> Value {
        let Sent { path, query, headers, body, is_base64 } = sent;
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": with_host(headers, domain),
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "id",
                "domainName": domain,
                "domainPrefix": "id",
                "http": {
                    "method": "POST",
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "65.78.31.245",
                    "userAgent": "agent",
                },
                "requestId": "MIZRNhJtIAMEMDw=",
                "routeKey": "$default",
                "stage": stage,
                "time": "11/Jan/2023:11:45:34 +0000",
                "timeEpoch": 1673437534837_u64,
            },
            "body": body,
            "isBase64Encoded": is_base64,
        })
    }

    fn rest_api(sent: Sent, stage: &str) -> Value {
        let Sent { path, query, headers, body, is_base64 } = sent;
        let headers = with_host(headers, "wt6mne2s9k.execute-api.us-west-2.amazonaws.com");
        let lists: Map<_, _> = headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
        json!({
            "resource": "/{proxy+}",
            "path": path,
            "httpMethod": "POST",
            "headers": headers,
            "multiValueHeaders": lists,
            "queryStringParameters": single(&query),
            "multiValueQueryStringParameters": null,
            "pathParameters": {"proxy": path.trim_start_matches('/')},
            "stageVariables": null,
            "requestContext": {
                "accountId": "123456789012",
                "resourceId": "us4z18",
                "stage": stage,
                "requestId": "41b45ea3-70b5-11e6-b7bd-69b5aaebc7d9",
                "requestTimeEpoch": 1583798639428_u64,
                "identity": {"sourceIp": "192.168.100.1", "userAgent": "agent"},
                "resourcePath": "/{proxy+}",
                "httpMethod": "POST",
                "apiId": "wt6mne2s9k",
                "path": format!("/{stage}{path}"),
            },
            "body": body,
            "isBase64Encoded": is_base64,
        })
    }

    fn load_balancer(sent: Sent, _: &str) -> Value {
        let Sent { path, query, headers, body, is_base64 } = sent;
        let group = "arn:aws:elasticloadbalancing:region:123456789012:targetgroup/my-target-group/6d0ecf831eec9f09";
        json!({
            "requestContext": {"elb": {"targetGroupArn": group}},
            "httpMethod": "POST",
            "path": path,
            "queryStringParameters": single(&query),
            "headers": with_host(headers, "lambda-846800462-us-east-2.elb.amazonaws.com"),
            "isBase64Encoded": is_base64,
            "body": body,
        })
    }

    fn with_host(mut headers: Map<String, Value>, host: &str) -> Map<String, Value> {
        headers.insert("host".to_owned(), host.into());
        headers.insert("x-forwarded-proto".to_owned(), "https".into());
        headers.insert("x-forwarded-port".to_owned(), "443".into());
        headers.insert("x-amzn-trace-id".to_owned(), "Root=1-5eb33c07-de25b420912dee103a5db434".into());
        headers
    }

    fn single(query: &str) -> Value {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
    }

    /// As the runtime calls the service. Returns the status and the body of Lambda's own answer.
    async fn invoke(app: Router, event: Value) -> (u64, String) {
        let request: LambdaRequest = serde_json::from_str(&event.to_string()).unwrap();
        let answer = Adapter::from(app).oneshot(LambdaEvent::new(request, Context::default())).await.unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())
    }

    fn app() -> Router {
        super::app("s", "token").unwrap()
    }

    fn push() -> Request<Full<Bytes>> {
        let request = Request::post("/github?a=1").header("x-github-event", "push");
        testing::sign(&senders::github("s").unwrap(), request.body(r#"{"ref": "é"}"#).unwrap()).unwrap()
    }

    fn sms() -> Request<Full<Bytes>> {
        let request = Request::post("/twilio").header("content-type", "application/x-www-form-urlencoded");
        let twilio = senders::twilio("token", "https://hooks.example.com").unwrap();
        testing::sign(&twilio, request.body("From=%2B15551234&Body=a+b").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn each_form_of_event_is_verified_with_and_without_base64() {
        for form in FORMS {
            for is_base64 in [false, true] {
                let genuine = form(sent(push(), is_base64).await, "$default");
                assert_eq!(invoke(app(), genuine.clone()).await, (200, "\"é\"".to_owned()), "{genuine}");
                let mut forged = genuine;
                forged["body"] = if is_base64 { BASE64_STANDARD.encode("{}") } else { "{}".to_owned() }.into();
                assert_eq!(invoke(app(), forged).await.0, 401);
                let genuine = form(sent(sms(), is_base64).await, "$default");
                assert_eq!(invoke(app(), genuine).await, (200, "2 fields".to_owned()));
            }
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_arrive_as_they_were_signed() {
        async fn length(body: Bytes) -> String {
            body.len().to_string()
        }

        let github = senders::github("s").unwrap();
        let layer = tower_webhook::WebhookLayer::new(github.clone());
        let app = Router::new().route("/", axum::routing::post(length).layer(layer));
        for form in FORMS {
            let request = Request::post("/").body(Bytes::from_static(b"\xff\x00\xfe")).unwrap();
            let event = form(sent(testing::sign(&github, request).unwrap(), true).await, "$default");
            assert_eq!(invoke(app.clone(), event).await, (200, "3".to_owned()));
        }
    }

    #[tokio::test]
    async fn a_stage_is_part_of_the_path() {
        if std::env::var_os(IGNORE_STAGE).is_some() {
            return;
        }
        let staged = Router::new().nest("/prod", app());
        for form in [rest_api, http_api] {
            let event = form(sent(push(), true).await, "prod");
            assert_eq!(invoke(staged.clone(), event.clone()).await.0, 200);
            assert_eq!(invoke(app(), event).await.0, 404);
            // A custom domain leaves it out, so that the sender signs another address.
            assert_eq!(invoke(staged.clone(), form(sent(sms(), true).await, "prod")).await.0, 401);
        }
    }

    #[tokio::test]
    async fn behind_a_custom_domain_the_stage_is_left_out() {
        if std::env::var_os(IGNORE_STAGE).is_none() {
            // The variable is read for each event, and is the process'.
            let mut again = Command::new(std::env::current_exe().unwrap());
            again
                .args(["--exact", "lambda::tests::behind_a_custom_domain_the_stage_is_left_out"])
                .env(IGNORE_STAGE, "true");
            let ended = again.output().unwrap();
            let told = String::from_utf8(ended.stdout).unwrap();
            assert!(ended.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        for form in [rest_api, http_api] {
            assert_eq!(invoke(app(), form(sent(push(), true).await, "prod")).await.0, 200);
            assert_eq!(invoke(app(), form(sent(sms(), true).await, "prod")).await.0, 200);
        }
    }
}
