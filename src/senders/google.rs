//! Google Cloud Pub/Sub push, and other senders with Google's OpenID tokens. Feature `jwt`.

use std::time::Duration;

use crate::config::ConfigError;
use crate::scheme::{Jwks, JwtRules, Scheme, bearer, json};
use crate::time::Tolerance;

use super::{SenderConfig, knowledge};

/// How far Google's clock may be from ours: its own figure.
const SKEW: Duration = Duration::from_secs(300);

/// Google's tokens hold for an hour and are used again within it.
const AGE: Duration = Duration::from_secs(3600 + 300);

/// Where Google publishes the keys of its tokens.
const KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// How Google names itself.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// [Google Cloud Pub/Sub push](https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions), and other senders that
/// prove themselves by one of Google's OpenID tokens. RS256. Feature `jwt`.
///
/// The token must be for this audience and of this service account, whose address must be verified.
/// **It says nothing about the body.** A delivery is told from others by `message.messageId`.
/// Pub/Sub takes 102, 200, 201, 202 and 204 for an acknowledgement, and nothing else.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::scheme::Jwks;
/// use tower_webhook::senders;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// # #[cfg(feature = "client")] {
/// let keys = Jwks::builder("https://www.googleapis.com/oauth2/v3/certs").build()?;
/// let google = senders::google_oidc(keys, "https://hooks.example.com/google", "pusher@project.iam.gserviceaccount.com")?;
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if audience or email is empty, or the process has no usable cryptography for
/// tokens.
pub fn google_oidc(keys: Jwks, audience: impl Into<String>, email: impl Into<String>) -> Result<Scheme, ConfigError> {
    by_issuers(keys, ISSUERS.map(str::to_owned).to_vec(), audience.into(), email.into())
}

fn by_issuers(keys: Jwks, issuers: Vec<String>, audience: String, email: String) -> Result<Scheme, ConfigError> {
    if audience.is_empty() || email.is_empty() || issuers.iter().any(String::is_empty) {
        return Err(ConfigError::invalid("the audience, the email or the issuer is empty"));
    }
    let issued = Tolerance::past_and_future(AGE, SKEW);
    let rules = JwtRules::rs256()
        .with_required_expiry()
        .with_issued_within(issued)
        .with_claim("iss", issuers)
        .with_audience(audience)
        .with_claim("email", [email])
        .with_true_claim("email_verified");
    Scheme::jwt(bearer(), rules)
        .with_jwks(keys)
        .id(json("/message/messageId"))
        .with_identity_at("/message/messageId")
        .with_behavior(knowledge::google_oidc)
        .build("google_oidc")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let keys = config.take_jwks(Some(KEYS))?;
    let missing = |name| move || ConfigError::missing(format!("`{name}` is missing"));
    let audience = config.audience.take().ok_or_else(missing("audience"))?;
    let email = config.email.take().ok_or_else(missing("email"))?;
    match config.issuer.take() {
        Some(issuer) => by_issuers(keys, vec![issuer], audience, email),
        None => google_oidc(keys, audience, email),
    }
}
