//! AWS SNS over HTTP(S): messages of the topics that you allow, verified, confirmed, typed.
//!
//! Source: <https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html>.

mod address;
mod arn;
mod basic_auth;
mod builder;
mod confirm;
mod envelope;
mod headers;
mod message;
mod subscriber;
mod topics;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use crate::provider::{Begin, Behavior, Facts, MaybeReady, Outcome, Provider, Recognition, RecognizedBy};
use crate::rejection::Rejection;
use crate::senders::knowledge;
use crate::text::Text;
use crate::time::Clock;

use basic_auth::Access;
use headers::{MESSAGE_TYPE, SnsHeaders};
use subscriber::Subscriber;

pub use builder::{DEFAULT_TOLERANCE, RawProof, SnsBuilder};
pub use confirm::{Callback, Confirm, Unsubscribe};
pub(crate) use envelope::Envelope;
pub use envelope::SignatureVersion;
pub(crate) use message::message;
pub use message::{Attribute, Confirmation, Message, MessageType, Notification, Unsubscribed};

/// The largest body that SNS sends: a message has up to 256 KiB, and JSON writes some bytes as six.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// AWS SNS.
///
/// Anyone can subscribe your endpoint to a topic of theirs, and Amazon signs that, so you must
/// allow at least one topic or account. By default, subscriptions to allowed topics are confirmed
/// with AWS (see [`Confirm`]), and the handler gets notifications.
///
/// SNS repeats a message after a 5xx, a 429 or 15 seconds, and drops it after any other 4xx.
/// Failures on our side, such as a certificate that cannot be fetched, are therefore answered with
/// 503.
///
/// Clones share everything, including the certificates.
///
/// # Examples
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
#[derive(Clone)]
pub struct Sns(Arc<Subscriber>);

/// The verification of one request by [`Sns`]. The signature covers members of the JSON in an order
/// of its own, so nothing is done before the whole body is there.
pub struct SnsVerification {
    now: SystemTime,
    access: Access,
}

impl Provider for Sns {
    type Verification = SnsVerification;

    fn name(&self) -> &Text {
        self.0.name()
    }

    fn body_limit(&self) -> usize {
        BODY_LIMIT
    }

    fn behavior(&self) -> &Behavior {
        knowledge::of(self.0.name())
    }

    fn facts(&self) -> Vec<Facts> {
        let is_in_body = self.0.body_fields.as_ref().is_some_and(|fields| fields.has_identity());
        let identity = if is_in_body { "an id in the body" } else { "`MessageId`" };
        vec![Facts::new(self.name().clone(), *self.behavior(), BODY_LIMIT).with_identity(identity)]
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        SnsHeaders::are_present(head).into()
    }

    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        Some(vec![RecognizedBy::Header(MESSAGE_TYPE)])
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<SnsVerification>>, Rejection> {
        if head.method != Method::POST {
            return Err(Rejection::wrong_method(&[Method::POST]));
        }
        let access = self.0.check_head(head)?;
        Ok(Begin::Verify(SnsVerification { now: clock.now(), access }).into())
    }

    fn finish(
        &self,
        verification: &mut SnsVerification,
        head: &Parts,
        body: &Bytes,
        _: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        match verification.access {
            Access::Granted => self.0.verify(head, body, verification.now),
            Access::Challenge => self.0.challenge(head, body, verification.now),
        }
    }
}

impl fmt::Debug for Sns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sns").field(&self.0).finish()
    }
}

impl fmt::Debug for SnsVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsVerification").field("access", &self.access).finish_non_exhaustive()
    }
}
