//! Telna Cronus Flex: events of the portal's SIM cards and packages, through AWS SNS.
//!
//! Source: <https://flex-developer.telna.com/reference/setting-up-webhooks>.

use super::sns::SnsBuilder;

/// The webhooks of the Telna Cronus Flex portal.
///
/// To receive them:
///
/// 1. Ask Telna to enable webhooks for your account, and give them the https URL of your endpoint.
/// 2. Telna tells you the topic's full name, or subscribes your endpoint at once. Until you know
///    the topic, an endpoint with [`Confirm::Ignore`](super::sns::Confirm::Ignore) and
///    [`account`](SnsBuilder::account) logs it. Allow it with [`topic`](SnsBuilder::topic).
/// 3. This crate confirms the subscription; with [`Confirm::Manual`](super::sns::Confirm::Manual)
///    an operator opens the link. Events start some hours later.
/// 4. Answer events with exactly **200**.
///
/// Telna documents the payload event by event (<https://flex-developer.telna.com/reference/webhook-package-usage-alert-event>),
/// so you define its type: `Webhook<Notification<T>>`. Telna doesn't say whether its subscriptions
/// use raw delivery. If yours does, enable it with another proof by
/// [`raw_delivery`](SnsBuilder::raw_delivery); the handler stays the same.
///
/// # Examples
///
/// ```
/// use tower_webhook::sns::Notification;
/// use tower_webhook::{Webhook, WebhookLayer, telna};
///
/// async fn on_event(Webhook(event): Webhook<Notification<serde_json::Value>>) {
///     println!("{}", event.message);
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let flex = telna::CronusFlex::builder().topic("arn:aws:sns:us-west-2:123456789012:MyTopic");
/// # let flex = flex.fetch(fetch);
/// let layer = WebhookLayer::new(flex.build()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CronusFlex;

impl CronusFlex {
    /// Returns a builder. A topic is required.
    pub fn builder() -> SnsBuilder {
        SnsBuilder::new("telna_cronus_flex")
    }
}
