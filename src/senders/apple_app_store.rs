//! App Store Server Notifications: a token in the body that brings its certificates. Features
//! `jwt` and `certificates`.

use crate::config::ConfigError;
use crate::pointer::member;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{ChainRoots, JwtRules, Scheme, json};

use super::{SenderConfig, knowledge};

/// The SHA-256 of the certificate "Apple Root CA - G3".
const ROOT: &str = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179";

/// What Apple marks the certificates with that sign for the App Store, and those that issue them.
/// Its root has issued others, which developers have the keys of.
const MARKS: [&str; 2] = ["1.2.840.113635.100.6.11.1", "1.2.840.113635.100.6.2.1"];

/// Where a notification names the app.
const BUNDLE_IDS: [&str; 4] =
    ["/data/bundleId", "/summary/bundleId", "/appData/bundleId", "/externalPurchaseToken/bundleId"];

/// [Apple App Store Server Notifications](https://developer.apple.com/documentation/appstoreservernotifications), version 2,
/// for the app of this bundle id. Features `jwt` and `certificates`.
///
/// The member `signedPayload` of the body is a token of ES256. It brings its certificates, which
/// must lead to Apple's root (pinned by its SHA-256) and be marked as those of the App Store.
/// **What it claims is what is proven**: take it as [`JwtClaims`](crate::scheme::JwtClaims). Other
/// apps' notifications are signed by the same key, so the bundle id is compared. Transactions
/// inside are tokens of their own, which this does not look at.
///
/// In a configuration, `audience` is the bundle id.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use tower_webhook::scheme::JwtClaims;
/// use tower_webhook::{Webhook, WebhookLayer, senders};
///
/// #[derive(Deserialize)]
/// struct Notification {
///     #[serde(rename = "notificationType")]
///     kind: String,
/// }
///
/// async fn on_notification(Webhook(JwtClaims(notification)): Webhook<JwtClaims<Notification>>) {
///     println!("{}", notification.kind);
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = WebhookLayer::new(senders::apple_app_store("com.example.app")?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if the bundle id is empty, or the process has no usable cryptography for
/// tokens.
pub fn apple_app_store(bundle_id: impl Into<String>) -> Result<Scheme, ConfigError> {
    apple_app_store_with_roots(bundle_id, ChainRoots::pinned([ROOT])?)
}

/// Like [`apple_app_store`], with other roots: for notifications that a test has signed.
///
/// # Errors
///
/// Returns the errors of [`apple_app_store`].
pub fn apple_app_store_with_roots(bundle_id: impl Into<String>, roots: ChainRoots) -> Result<Scheme, ConfigError> {
    let bundle_id = bundle_id.into();
    if bundle_id.is_empty() {
        return Err(ConfigError::invalid("the bundle id is empty"));
    }
    let rules = JwtRules::es256()
        .with_id_claim("notificationUUID")
        .with_event_claim("notificationType")
        .with_chain_to(roots.with_extensions(MARKS))
        .with_check(move |claims| check_app(claims, &bundle_id));
    Scheme::jwt(json("/signedPayload"), rules).with_behavior(knowledge::apple_app_store).build("apple_app_store")
}

fn check_app(claims: &[u8], bundle_id: &str) -> Result<(), Rejection> {
    let mut named = BUNDLE_IDS.iter().filter_map(|pointer| member(claims, pointer).ok().flatten()).peekable();
    if named.peek().is_some() && named.all(|named| named == bundle_id) {
        return Ok(());
    }
    Err(Rejection::new(Reason::NotForUs).with_detail("the token's bundleId is another one"))
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let missing = || ConfigError::missing("`audience`, which is the bundle id, is missing");
    let bundle_id = config.audience.take().ok_or_else(missing)?;
    match config.certificate.take().and_then(|certificate| certificate.roots) {
        Some(roots) => apple_app_store_with_roots(bundle_id, ChainRoots::from_pem(&roots)?),
        None => apple_app_store(bundle_id),
    }
}
