//! An SNS in the process: key, certificate, topic and subscriptions.

mod key;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;

use crate::encoding::Encoding;
use crate::fetch::{Fetch, FetchFuture};
use crate::senders::sns::{Envelope, MessageType, SignatureVersion};
use crate::time::{Clock as _, SystemClock, TimeFormat};

use super::{Sign, SignError};

use key::FakeKey;

/// The default topic.
const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";
const HOST: &str = "sns.us-west-2.amazonaws.com";
const CERTIFICATE_PATH: &str = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";

/// An SNS in the process. It signs messages of all types and versions with its own key, and it is
/// the [`Fetch`] that serves its certificate and confirms subscriptions. Nothing touches a network.
/// Feature `testing-sns`.
///
/// Creating one takes a moment, since it generates an RSA key. Clones share everything.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_webhook::testing::FakeSns;
/// use tower_webhook::{Sns, WebhookLayer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = FakeSns::new();
/// let sns = Sns::builder().topic(fake.topic_arn()).fetch(fake.clone()).build()?;
/// let layer = WebhookLayer::new(sns);
///
/// let confirmation = fake.subscription_confirmation().post("/webhooks/sns");
/// let notification = fake.notification(r#"{"iccid":"8901"}"#).subject("usage").post("/webhooks/sns");
/// // Send both through the layer, which confirms the first one with `fake`.
/// assert_eq!(fake.confirmed(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeSns(Arc<FakeSnsState>);

struct FakeSnsState {
    key: FakeKey,
    messages: AtomicU64,
    certificates_served: AtomicU64,
    confirmations_served: AtomicU64,
    confirmed: Mutex<BTreeSet<String>>,
}

impl FakeSns {
    /// Creates an SNS with a new key.
    ///
    /// # Panics
    ///
    /// Panics if no key can be generated, which only happens on a broken system.
    #[must_use]
    pub fn new() -> Self {
        let key = FakeKey::generate().unwrap_or_else(|fault| panic!("no key can be generated: {fault}"));
        Self(Arc::new(FakeSnsState {
            key,
            messages: AtomicU64::new(0),
            certificates_served: AtomicU64::new(0),
            confirmations_served: AtomicU64::new(0),
            confirmed: Mutex::default(),
        }))
    }

    /// Returns the topic that messages come from by default.
    #[must_use]
    pub fn topic_arn(&self) -> &'static str {
        TOPIC
    }

    /// Returns the certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.0.key.certificate_pem
    }

    /// Returns the issuer's certificate in PEM, for
    /// [`CertificateConfig::with_roots`](crate::senders::CertificateConfig::with_roots).
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.0.key.root_pem
    }

    /// Returns how often the certificate was fetched.
    #[must_use]
    pub fn certificates_served(&self) -> u64 {
        self.0.certificates_served.load(Relaxed)
    }

    /// Returns how often a subscription was confirmed, including repetitions.
    #[must_use]
    pub fn confirmations_served(&self) -> u64 {
        self.0.confirmations_served.load(Relaxed)
    }

    /// Returns how many subscriptions are confirmed.
    #[must_use]
    pub fn confirmed(&self) -> usize {
        self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Creates a notification.
    #[must_use]
    pub fn notification(&self, message: impl Into<String>) -> FakeMessage {
        let mut it = self.message(MessageType::Notification, message.into());
        let unsubscribe = format!("https://{HOST}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:2bcfbf39");
        it.envelope.unsubscribe_url = Some(unsubscribe.into());
        it
    }

    /// Creates a request to confirm a new subscription.
    #[must_use]
    pub fn subscription_confirmation(&self) -> FakeMessage {
        self.confirmation(MessageType::SubscriptionConfirmation, "You have chosen to subscribe to the topic")
    }

    /// Creates the notice that the subscription ended.
    #[must_use]
    pub fn unsubscribe_confirmation(&self) -> FakeMessage {
        self.confirmation(MessageType::UnsubscribeConfirmation, "You have chosen to deactivate the subscription")
    }

    fn confirmation(&self, kind: MessageType, message: &str) -> FakeMessage {
        let mut it = self.message(kind, message.to_owned());
        let token = format!("{:0256x}", it.number);
        let url = format!("https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={token}");
        it.envelope.subscribe_url = Some(url.into());
        it.envelope.token = Some(token.into());
        it
    }

    fn message(&self, kind: MessageType, message: String) -> FakeMessage {
        let number = self.0.messages.fetch_add(1, Relaxed) + 1;
        let envelope = Envelope {
            r#type: Some(kind.as_str().into()),
            message_id: Some(format!("22b80b92-fdea-4c2c-8f9d-{number:012x}").into()),
            topic_arn: Some(TOPIC.into()),
            message: Some(message.into()),
            signing_cert_url: Some(format!("https://{HOST}{CERTIFICATE_PATH}").into()),
            ..Envelope::default()
        };
        let it = FakeMessage { sns: self.clone(), kind, number, version: SignatureVersion::V2, envelope };
        it.at(SystemClock.now())
    }

    fn answer(&self, uri: &Uri) -> Response<Bytes> {
        let query = uri.query().unwrap_or_default();
        let (status, body) = if uri.path() == CERTIFICATE_PATH {
            self.0.certificates_served.fetch_add(1, Relaxed);
            (StatusCode::OK, self.certificate_pem().to_owned())
        } else if let Some(subscription) = query.strip_prefix("Action=ConfirmSubscription&") {
            self.0.confirmations_served.fetch_add(1, Relaxed);
            self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner).insert(subscription.to_owned());
            let arn = format!("{TOPIC}:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55");
            let xml = format!(
                "<ConfirmSubscriptionResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
                 <ConfirmSubscriptionResult><SubscriptionArn>{arn}</SubscriptionArn></ConfirmSubscriptionResult>\
                 </ConfirmSubscriptionResponse>"
            );
            (StatusCode::OK, xml)
        } else {
            (StatusCode::NOT_FOUND, String::new())
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        response
    }
}

impl Default for FakeSns {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeSns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSns").finish_non_exhaustive()
    }
}

/// Serves the certificate and confirms subscriptions. Anything else is a 404.
impl Fetch for FakeSns {
    fn get(&self, uri: Uri) -> FetchFuture {
        let answer = self.answer(&uri);
        Box::pin(async move { Ok(answer) })
    }
}

/// Wraps the request's body in a notification.
impl Sign for FakeSns {
    fn sign_at(&self, request: Request<Bytes>, now: SystemTime) -> Result<Request<Bytes>, SignError> {
        let (mut head, body) = request.into_parts();
        let text = std::str::from_utf8(&body).map_err(|_| SignError::new("the message is not UTF-8"))?;
        let (signed, body) = self.notification(text).at(now).request("/").into_parts();
        head.headers.extend(signed.headers);
        Ok(Request::from_parts(head, body))
    }
}

/// A message to be sent.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_webhook::sns::SignatureVersion;
/// use tower_webhook::testing::FakeSns;
///
/// let message = FakeSns::new()
///     .notification("hello")
///     .version(SignatureVersion::V1)
///     .at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
/// assert!(message.json().contains(r#""Timestamp": "2027-01-15T08:00:00.000Z""#));
/// ```
#[derive(Clone)]
pub struct FakeMessage {
    sns: FakeSns,
    kind: MessageType,
    number: u64,
    version: SignatureVersion,
    envelope: Envelope<'static>,
}

impl FakeMessage {
    /// Sets the subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.envelope.subject = Some(Cow::Owned(subject.into()));
        self
    }

    /// Sets the signature's version. The default is [`SignatureVersion::V2`].
    #[must_use]
    pub fn version(mut self, version: SignatureVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets the time. The default is now.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        let millis = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
        let text = TimeFormat::Rfc3339.format(time).unwrap_or_default();
        self.envelope.timestamp = text.get(..19).map(|seconds| format!("{seconds}.{millis:03}Z").into());
        self
    }

    /// Sets the topic.
    #[must_use]
    pub fn topic(mut self, arn: impl Into<String>) -> Self {
        self.envelope.topic_arn = Some(Cow::Owned(arn.into()));
        self
    }

    /// Sets the URL of the certificate.
    #[must_use]
    pub fn signing_cert_url(mut self, url: impl Into<String>) -> Self {
        self.envelope.signing_cert_url = Some(Cow::Owned(url.into()));
        self
    }

    /// Returns the signed JSON.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be signed, which only happens on a broken system.
    #[must_use]
    pub fn json(&self) -> String {
        let mut envelope = self.envelope.clone();
        let digest = envelope.digest(self.kind, self.version);
        let signature = self.sns.0.key.sign(self.version, &digest);
        let signature = signature.unwrap_or_else(|fault| panic!("the message cannot be signed: {fault}"));
        envelope.signature = Some(Encoding::Base64.encode(&signature).into());
        envelope.signature_version = Some(self.version.as_str().into());
        serde_json::to_string_pretty(&envelope).unwrap_or_default()
    }

    /// Returns the request that SNS would send to this path.
    ///
    /// # Panics
    ///
    /// Panics if `path` is not one, or if the message cannot be signed.
    #[must_use]
    pub fn post(&self, path: &str) -> Request<Full<Bytes>> {
        self.request(path).map(Full::new)
    }

    fn request(&self, path: &str) -> Request<Bytes> {
        let header = |member: &Option<Cow<'static, str>>| member.as_deref().unwrap_or_default().to_owned();
        Request::post(path)
            .header("content-type", "text/plain; charset=UTF-8")
            .header("user-agent", "Amazon Simple Notification Service Agent")
            .header("x-amz-sns-message-type", self.kind.as_str())
            .header("x-amz-sns-message-id", header(&self.envelope.message_id))
            .header("x-amz-sns-topic-arn", header(&self.envelope.topic_arn))
            .body(Bytes::from(self.json()))
            .unwrap_or_else(|fault| panic!("the path is malformed: {fault}"))
    }
}

impl fmt::Debug for FakeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeMessage").field("kind", &self.kind).field("version", &self.version).finish_non_exhaustive()
    }
}
