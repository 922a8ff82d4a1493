//! Confirming a subscription.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;

use crate::fetch::{self, Cache, CacheLimits, Fetch, Fresh};
use crate::rejection::{BoxError, Reason, Rejection};

use super::message::Confirmation;

/// How long a token is remembered as confirmed, which is how long tokens are valid.
const CONFIRMED_FOR: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// The longest subscription name accepted from AWS: a topic's name and a UUID.
const MAX_SUBSCRIPTION_LEN: usize = 512;

/// How to handle a verified request to confirm a subscription to an allowed topic.
///
/// # Examples
///
/// ```
/// use tower_webhook::sns::Confirm;
///
/// let by_hand = Confirm::callback(|confirmation| async move {
///     println!("to subscribe to {}, visit {}", confirmation.topic_arn(), confirmation.subscribe_url());
///     Ok::<_, std::io::Error>(())
/// });
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Confirm {
    /// Confirm it with AWS, once for each token. The response is 200 if AWS accepted, otherwise
    /// 503, so that SNS asks again.
    #[default]
    Automatic,
    /// Hand it to the handler, as a [`Confirmation`] or [`Message`](super::Message).
    Manual,
    /// Hand it to a function: see [`callback`](Self::callback).
    Callback(Callback),
    /// Answer it with 200 and do nothing else.
    Ignore,
}

impl Confirm {
    /// Hands verified confirmations to this function, for example to notify an operator or to
    /// confirm with an AWS client. The response is 200 if the function succeeded, otherwise
    /// 503, and SNS sends the confirmation again. The same confirmation can arrive several
    /// times.
    pub fn callback<F, Fut, E>(call: F) -> Self
    where
        F: Fn(Confirmation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::Callback(Callback(Arc::new(move |confirmation| {
            let called = call(confirmation);
            Box::pin(async move { called.await.map_err(Into::into) })
        })))
    }
}

/// A function that takes confirmations: see [`Confirm::callback`].
#[derive(Clone)]
pub struct Callback(Arc<dyn Fn(Confirmation) -> CallbackFuture + Send + Sync>);

type CallbackFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

impl Callback {
    pub(super) async fn call(self, confirmation: Confirmation) -> Result<(), Rejection> {
        (self.0)(confirmation).await.map_err(|error| failed("the callback failed").with_source(error))
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback(..)")
    }
}

/// How to handle a verified notice that the endpoint was unsubscribed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsubscribe {
    /// Hand it to the handler, as [`Unsubscribed`](super::Unsubscribed) or
    /// [`Message`](super::Message). A handler that takes only notifications refuses it with
    /// 422, which does no harm: it is logged, and SNS doesn't send it again.
    #[default]
    Deliver,
    /// Subscribe the endpoint again, as [`Confirm::Automatic`] does, for endpoints that must not be
    /// unsubscribed by the link in a notification.
    Resubscribe,
    /// Answer it with 200 and do nothing else.
    Ignore,
}

/// Confirms subscriptions, each once.
#[derive(Debug)]
pub(super) struct Confirmations(Cache<()>);

impl Confirmations {
    /// A failure may be retried at once: SNS asks again after 20 seconds, or at once with
    /// credentials. Only verified confirmations of allowed topics get here, so they are few.
    pub(super) fn new() -> Self {
        Self(Cache::new(CacheLimits { failure: Duration::ZERO, ..CacheLimits::DEFAULT }))
    }

    /// Confirms with AWS, unless that was done before.
    pub(super) async fn confirm(&self, fetch: Arc<dyn Fetch>, link: Uri, now: SystemTime) -> Result<(), Rejection> {
        let key = link.to_string();
        let load = || async move {
            let answer = fetch::get(&*fetch, link, Reason::ConfirmationFailed).await?;
            match subscription(&answer) {
                Some(_) => Ok(Fresh { value: (), refresh: now + CONFIRMED_FOR, until: now + CONFIRMED_FOR }),
                None => Err(failed("the response names no subscription")),
            }
        };
        let confirmed = match self.0.find(&key, now, load) {
            Ok(confirmed) => confirmed.wait().await,
            Err(rejection) => Err(rejection),
        };
        match confirmed {
            Ok(_) => Ok(()),
            Err(rejection) if rejection.reason() == Reason::ConfirmationFailed => Err(rejection),
            Err(rejection) => Err(failed("too many confirmations at once").with_source(rejection)),
        }
    }
}

/// Returns the name of the subscription in AWS's response,
/// `<ConfirmSubscriptionResponse
/// ..><ConfirmSubscriptionResult><SubscriptionArn>arn:..</SubscriptionArn>..`. Nothing else is
/// read, so this needs no XML parser: no entity or comment fits the name's alphabet.
fn subscription(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, result) = text.split_once("<ConfirmSubscriptionResult>")?;
    let (result, _) = result.split_once("</ConfirmSubscriptionResult>")?;
    let (_, name) = result.split_once("<SubscriptionArn>")?;
    let (name, _) = name.split_once("</SubscriptionArn>")?;
    let name = name.trim();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.'));
    (plain && name.len() <= MAX_SUBSCRIPTION_LEN && name.starts_with("arn:") && name.split(':').count() == 7)
        .then_some(name)
}

fn failed(detail: &'static str) -> Rejection {
    Rejection::new(Reason::ConfirmationFailed).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_subscription_is_an_answer() {
        let answer = r#"<?xml version="1.0"?>
            <ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ConfirmSubscriptionResult>
            <SubscriptionArn>arn:aws:sns:us-west-2:123456789012:MyTopic:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55</SubscriptionArn>
            </ConfirmSubscriptionResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
            </ConfirmSubscriptionResponse>"#;
        let name = "arn:aws:sns:us-west-2:123456789012:MyTopic:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55";
        assert_eq!(subscription(answer.as_bytes()), Some(name));
        for bad in [
            "",
            "ok",
            name,
            "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>",
            &answer.replace(name, ""),
            &answer.replace(name, "pending confirmation"),
            &answer.replace(name, "arn:aws:sns:us-west-2:123456789012:MyTopic"),
            &answer.replace(name, "<!-- arn:a:b:c:d:e:f -->"),
            &answer.replace(name, &format!("{name}{}", "0".repeat(500))),
            &answer.replace("</ConfirmSubscriptionResult>", ""),
        ] {
            assert_eq!(subscription(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(subscription(b"\xff"), None);
    }
}
