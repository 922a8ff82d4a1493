//! Confirming a subscription.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;

use crate::fetch::{self, Cache, Fetch, Found, Fresh, Rules};
use crate::rejection::{BoxError, Reason, Rejection};

use super::message::Confirmation;

/// How long a token is remembered as confirmed: as long as tokens live.
const REMEMBERED: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// The longest subscription name taken from an answer: a topic's name and a UUID.
const LONGEST_SUBSCRIPTION: usize = 512;

/// What is done with a verified request to confirm a subscription to an allowed topic.
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
    /// It is confirmed with AWS, once for each token, and answered 200 when AWS has said so; otherwise 503, so that SNS
    /// asks again.
    #[default]
    Automatic,
    /// The handler gets it, as a [`Confirmation`] or [`Message`](super::Message), and gives the answer.
    Manual,
    /// It is handed to a function: see [`callback`](Self::callback).
    Callback(Callback),
    /// It is answered 200, and nothing else is done.
    Ignore,
}

impl Confirm {
    /// Hands verified confirmations to this function: to tell an operator, or to confirm with an AWS client. The answer is
    /// 200 once it succeeded, otherwise 503, and SNS sends the confirmation again. The same one can come several times.
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
pub struct Callback(Arc<dyn Fn(Confirmation) -> Called + Send + Sync>);

type Called = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

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

/// What is done with a verified notice that the endpoint was unsubscribed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsubscribe {
    /// The handler gets it, as [`Unsubscribed`](super::Unsubscribed) or [`Message`](super::Message), and gives the answer. A
    /// handler that takes notifications alone refuses it with 422, which does no harm: it is logged, and SNS does not
    /// send it again.
    #[default]
    Deliver,
    /// The endpoint is subscribed again, as by [`Confirm::Automatic`]: for endpoints that nobody is to unsubscribe by the
    /// link in a notification.
    Resubscribe,
    /// It is answered 200, and nothing else is done.
    Ignore,
}

/// Confirms subscriptions, each once.
#[derive(Debug)]
pub(super) struct Confirmations(Cache<()>);

impl Confirmations {
    /// A failed one may be tried again at once: SNS asks 20 seconds later, or at once with credentials. Only verified
    /// confirmations of allowed topics come here, so they are few.
    pub(super) fn new() -> Self {
        Self(Cache::new(Rules { failure: Duration::ZERO, ..Rules::DEFAULT }))
    }

    /// Confirms with AWS, unless this was done.
    pub(super) async fn confirm(&self, fetch: Arc<dyn Fetch>, link: Uri, now: SystemTime) -> Result<(), Rejection> {
        let key = link.to_string();
        let load = || async move {
            let answer = fetch::get(&*fetch, link, Reason::ConfirmationFailed).await?;
            match subscription(&answer) {
                Some(_) => Ok(Fresh { value: (), until: now + REMEMBERED }),
                None => Err(failed("the answer names no subscription")),
            }
        };
        let confirmed = match self.0.find(&key, now, load) {
            Found::Now(confirmed) => confirmed,
            Found::Later(flight) => flight.await,
        };
        match confirmed {
            Ok(_) => Ok(()),
            Err(rejection) if rejection.reason() == Reason::ConfirmationFailed => Err(rejection),
            Err(rejection) => Err(failed("too many confirmations at once").with_source(rejection)),
        }
    }
}

/// The name of the subscription in AWS's answer,
/// `<ConfirmSubscriptionResponse ..><ConfirmSubscriptionResult><SubscriptionArn>arn:..</SubscriptionArn>..`. It is the
/// only thing looked for, so no XML needs to be understood: no entity or comment fits its alphabet.
fn subscription(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, result) = text.split_once("<ConfirmSubscriptionResult>")?;
    let (result, _) = result.split_once("</ConfirmSubscriptionResult>")?;
    let (_, name) = result.split_once("<SubscriptionArn>")?;
    let (name, _) = name.split_once("</SubscriptionArn>")?;
    let name = name.trim();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.'));
    (plain && name.len() <= LONGEST_SUBSCRIPTION && name.starts_with("arn:") && name.split(':').count() == 7)
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
