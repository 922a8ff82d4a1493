//! AWS SNS over HTTP(S): messages of the topics that you allow, verified, confirmed, typed.
//!
//! Source: <https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html>.

mod address;
mod arn;
mod basic;
mod builder;
pub(crate) mod certificate;
mod confirm;
mod envelope;
mod heading;
mod message;
mod topics;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::body_fields::BodyFields;
use crate::fetch::{Cache, Fetch};
use crate::rejection::{Reason, Rejection};
use crate::scheme::wrong_method;
use crate::text::Text;
use crate::time::{Clock, Tolerance};

use crate::provider::{Begin, MaybeReady, Outcome, Provider, Recognition};

use arn::TopicArn;
use basic::{Access, Basic};
use certificate::{CertificateRules, SigningKey};
use confirm::Confirmations;
use heading::Heading;
use topics::Topics;

pub use address::LocalSns;
pub use builder::{DEFAULT_TOLERANCE, RawProof, SnsBuilder};

pub use confirm::{Callback, Confirm, Unsubscribe};
pub(crate) use envelope::Envelope;
pub use envelope::{MessageType, SignatureVersion};
pub(crate) use message::message;
pub use message::{Attribute, Confirmation, Message, Notification, Unsubscribed};
pub use verify::SnsVerification;

/// The largest body that SNS sends: a message has up to 256 KiB, and JSON writes some bytes as six.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// AWS SNS.
///
/// Anyone can subscribe your endpoint to a topic of theirs, and Amazon signs that, so at least one topic or account has to
/// be allowed. Subscriptions to allowed topics are confirmed with AWS unless [`Confirm`] says otherwise; the handler
/// gets notifications.
///
/// SNS repeats a message after a 5xx, a 429 or 15 seconds, and drops it after any other 4xx. Whatever cannot be had here,
/// such as the certificate, is therefore answered 503.
///
/// ```
/// use serde::Deserialize;
/// use tower_webhook::sns::{Confirm, Notification};
/// use tower_webhook::{Sns, Webhook, WebhookLayer};
///
/// #[derive(Deserialize)]
/// struct Usage {
///     iccid: String,
/// }
///
/// async fn on_usage(Webhook(usage): Webhook<Notification<Usage>>) {
///     println!("{}", usage.message.iccid);
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let sns = Sns::builder()
///     .topic("arn:aws:sns:us-west-2:123456789012:MyTopic")
///     .confirm(Confirm::Automatic)
/// #   .fetch(fetch)
///     .build()?;
/// let layer = WebhookLayer::new(sns);
/// # Ok(())
/// # }
/// ```
///
/// A clone shares everything, the certificates included.
#[derive(Clone)]
pub struct Sns(Arc<Plan>);

/// All that is known before the first request, and what is kept between them.
struct Plan {
    name: Text,
    topics: Topics,
    basic: Basic,
    confirm_unauthenticated: bool,
    raw: Option<RawAccess>,
    tolerance: Option<Tolerance>,
    version_2_only: bool,
    certificates: CertificateRules,
    keys: Cache<SigningKey>,
    confirm: Confirm,
    unsubscribe: Unsubscribe,
    confirmations: Confirmations,
    fetch: Arc<dyn Fetch>,
    in_body: Option<Arc<BodyFields>>,
}

/// What lets a raw delivery in.
enum RawAccess {
    /// The Basic credentials, or a layer in front: nothing more to do here.
    Proven,
    /// The last segment of the path.
    SecretPath(Zeroizing<String>),
}

impl Sns {
    /// Says what to accept.
    #[must_use]
    pub fn builder() -> SnsBuilder {
        SnsBuilder::new("aws_sns")
    }
}

impl Provider for Sns {
    type Verification = SnsVerification;

    fn name(&self) -> &Text {
        &self.0.name
    }

    fn body_limit(&self) -> usize {
        BODY_LIMIT
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        head.headers.contains_key(heading::MESSAGE_TYPE).into()
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<SnsVerification>>, Rejection> {
        if head.method != Method::POST {
            return Err(wrong_method(&[Method::POST]));
        }
        let plan = &self.0;
        let heading = Heading::of(head)?;
        let access = plan.basic.access(head)?;
        if access == Access::Granted {
            plan.check_heading(&heading, head)?;
        }
        Ok(Begin::Verify(SnsVerification::new(clock.now(), access)).into())
    }

    fn finish(
        &self,
        verification: &mut SnsVerification,
        head: &Parts,
        body: &Bytes,
        _: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        self.0.finish(verification, head, body)
    }
}

impl Plan {
    /// Refuses by the head alone what its body could not save.
    fn check_heading(&self, heading: &Heading<'_>, head: &Parts) -> Result<(), Rejection> {
        let topic = heading.topic_arn.map(|arn| {
            TopicArn::parse(arn).ok_or_else(|| {
                Rejection::new(Reason::MalformedHeader).with_detail("x-amz-sns-topic-arn is not the name of a topic")
            })
        });
        match topic.transpose()? {
            Some(topic) => self.check_topic(topic)?,
            None if heading.is_raw() => {
                return Err(Rejection::new(Reason::MissingHeader).with_detail("a raw delivery without its topic"));
            }
            None => {}
        }
        match &self.raw {
            _ if !heading.is_raw() => Ok(()),
            None => Err(Rejection::new(Reason::MissingSignature).with_detail("raw delivery is not switched on")),
            Some(RawAccess::Proven) => Ok(()),
            Some(RawAccess::SecretPath(secret)) => {
                let given = head.uri.path().rsplit('/').next().unwrap_or_default();
                match given.as_bytes().ct_eq(secret.as_bytes()).into() {
                    true => Ok(()),
                    false => Err(Rejection::new(Reason::SignatureMismatch).with_detail("the secret path is wrong")),
                }
            }
        }
    }

    fn check_topic(&self, topic: TopicArn<'_>) -> Result<(), Rejection> {
        match self.topics.allow(topic) {
            true => Ok(()),
            false => Err(Rejection::new(Reason::NotForUs).with_detail("the topic is not one of those allowed")),
        }
    }

    fn check_age(&self, timestamp: SystemTime, now: SystemTime) -> Result<(), Rejection> {
        match self.tolerance {
            Some(tolerance) => Ok(tolerance.check(timestamp, now)?),
            None => Ok(()),
        }
    }

    fn check_version(&self, version: SignatureVersion) -> Result<(), Rejection> {
        match self.version_2_only && version != SignatureVersion::V2 {
            true => Err(Rejection::new(Reason::UnacceptableAlgorithm).with_detail("SignatureVersion 2 is required")),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Sns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sns")
            .field("name", &self.0.name)
            .field("topics", &self.0.topics)
            .field("confirm", &self.0.confirm)
            .finish_non_exhaustive()
    }
}
