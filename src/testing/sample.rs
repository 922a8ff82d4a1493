//! Test events of any sender, made from its configuration.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::config::ConfigError;
use crate::provider::Provider as _;
use crate::scheme::Scheme;
use crate::secrets::Secret;
use crate::senders::{self, SenderConfig};
use crate::sign::{SignError, Signer};

#[cfg(feature = "asymmetric")]
use super::key::SigningKey;
#[cfg(feature = "jwt")]
use crate::senders::Connect;
#[cfg(feature = "jwt")]
use crate::sign::Sign as _;

/// A sender that sends test events.
///
/// # Examples
///
/// ```
/// use std::time::UNIX_EPOCH;
///
/// use http::Request;
/// use tower_webhook::senders::SenderConfig;
/// use tower_webhook::testing::SampleSender;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let github = SampleSender::new(SenderConfig::default().with_provider("github").with_secrets(["s3cret"]))?;
/// let request = github.sign(Request::post("/hooks").body(None)?, Some("push"), "d-1", UNIX_EPOCH)?;
/// assert_eq!(request.headers()["x-github-event"], "push");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SampleSender {
    sender: Kind,
    token: Option<Secret>,
    #[cfg(feature = "asymmetric")]
    key: Option<SigningKey>,
}

#[derive(Debug)]
enum Kind {
    Scheme(Scheme),
    #[cfg(feature = "jwt")]
    Connect(Box<Connect>),
}

impl SampleSender {
    /// Creates a sender from the configuration of its receiver.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SenderConfig::build`], and one if only the sender itself can sign.
    pub fn new(config: SenderConfig) -> Result<Self, ConfigError> {
        let token = config.secrets.first().cloned();
        let sender = match config.provider.as_deref() {
            #[cfg(feature = "jwt")]
            Some("cloudblue_connect") => Kind::Connect(Box::new(config.build_connect()?)),
            Some("aws_sns") => {
                return Err(ConfigError::unavailable("the certificates that SNS signs with are Amazon's own"));
            }
            _ => Kind::Scheme(config.build_any_scheme()?),
        };
        Ok(Self {
            sender,
            token,
            #[cfg(feature = "asymmetric")]
            key: None,
        })
    }

    /// Sets the private key, for senders that sign with one. The configuration has the public one.
    #[cfg(feature = "asymmetric")]
    #[must_use]
    pub fn with_key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Signs a request with this event and id, at the places where the sender has them. Without a
    /// body it gets a small one.
    ///
    /// # Errors
    ///
    /// Returns an error if the request cannot be signed.
    pub fn sign(
        &self,
        request: Request<Option<Bytes>>,
        event: Option<&str>,
        id: &str,
        now: SystemTime,
    ) -> Result<Request<Bytes>, SignError> {
        let event = event.unwrap_or("test");
        match &self.sender {
            #[cfg(feature = "jwt")]
            Kind::Connect(connect) => {
                let body = |body: Option<Bytes>| body.unwrap_or_else(|| Bytes::from_static(b"{}"));
                connect.sign_at(request.map(body), now)
            }
            Kind::Scheme(scheme) => {
                let mut request = scheme.sample(with_sample(scheme, request), event, id)?;
                let is_form = !matches!(request.body().first(), Some(b'{' | b'['));
                let default = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
                request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(default));
                #[cfg(feature = "asymmetric")]
                if let Some(key) = &self.key {
                    return super::key::sign_request(scheme, key, request, now);
                }
                let signed = scheme.sign_request(request.clone(), now, &Signer::Secret);
                match (signed, self.token.as_ref().and_then(Secret::as_text)) {
                    (Err(error), Some(token)) => {
                        scheme.sign_request(request, now, &Signer::Token(&token)).map_err(|_| error)
                    }
                    (signed, _) => signed,
                }
            }
        }
    }
}

/// Adds what a few senders sign besides an event and an id, unless it is there.
fn with_sample(scheme: &Scheme, mut request: Request<Option<Bytes>>) -> Request<Option<Bytes>> {
    let body: &[u8] = match scheme.name().as_str() {
        "adyen_payments" => {
            br#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"pspReference":"7914073381342284",
                "merchantAccountCode":"Test","merchantReference":"Test","amount":{"value":1130,"currency":"EUR"},
                "eventCode":"AUTHORISATION","success":"true"}}]}"#
        }
        "braintree" => b"bt_payload=PG5vdGlmaWNhdGlvbi8%2B%0A&bt_signature=",
        "contentful" => {
            let list =
                HeaderValue::from_static("x-contentful-topic,x-contentful-timestamp,x-contentful-signed-headers");
            request.headers_mut().entry("x-contentful-signed-headers").or_insert(list);
            return request;
        }
        "mandrill" => b"mandrill_events=%5B%5D",
        "mercado_pago" => {
            let id = HeaderValue::from_static("bb56a2f1-6aae-46ac-982e-9dcd3581d08e");
            request.headers_mut().entry("x-request-id").or_insert(id);
            request.headers_mut().entry("x-signature").or_insert(HeaderValue::from_static("ts=1704908010"));
            return request;
        }
        "twilio" => b"AccountSid=AC0&MessageSid=SM0&From=%2B15550100&Body=test",
        _ => return request,
    };
    request.body_mut().get_or_insert(Bytes::from_static(body));
    request
}

/// Returns the scheme of a sender with settings that belong to nobody, for what is known of it.
#[doc(hidden)]
#[must_use]
pub fn sample_scheme(name: &str) -> Option<Scheme> {
    senders::sample(name)
}
