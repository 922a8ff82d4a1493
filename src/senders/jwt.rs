//! Senders whose proof is a JSON web token.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};

use crate::config::ConfigError;
use crate::scheme::jwt::{Algorithm, Backend, TimeRules};
use crate::scheme::mac::{Mac, MacKind};
use crate::scheme::{Jwks, JwtKeys, JwtProof, Scheme, SchemeBuilder, json, member};
use crate::secrets::{KeyFormat, Secrets};
use crate::time::Tolerance;

use super::{Evidence, Sender, SenderConfig};

/// How far a token's time may be from now: Plaid's and Google's own figure, and ours for Vonage, which names none.
const SKEW: Duration = Duration::from_secs(300);

/// Google's tokens hold for an hour and are used again within it.
const GOOGLE_AGE: Duration = Duration::from_secs(3600 + 300);

/// Where Google publishes the keys of its tokens.
const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// How Google names itself.
const GOOGLE_ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Senders whose proof is a token.
pub(super) const JWT: &[Sender] = &[
    Sender {
        name: "plaid",
        title: "Plaid",
        document: "https://plaid.com/docs/api/webhooks/webhook-verification/",
        evidence: Evidence::Official,
        build: |config| plaid(config.take_jwks(None)?),
        sample: || SenderConfig { jwks_url: Some("https://keys.example.com".to_owned()), ..SenderConfig::default() },
    },
    Sender {
        name: "google_oidc",
        title: "Google Cloud Pub/Sub push",
        document: "https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions",
        evidence: Evidence::Official,
        build: |config| {
            let keys = config.take_jwks(Some(GOOGLE_KEYS))?;
            let missing = |name| move || ConfigError::missing(format!("`{name}` is missing"));
            let audience = config.audience.take().ok_or_else(missing("audience"))?;
            let email = config.email.take().ok_or_else(missing("email"))?;
            match config.issuer.take() {
                Some(issuer) => oidc(keys, vec![issuer], audience, email),
                None => google_oidc(keys, audience, email),
            }
        },
        sample: || SenderConfig {
            audience: Some("https://hooks.example.com/google".to_owned()),
            email: Some("pusher@project.iam.gserviceaccount.com".to_owned()),
            ..SenderConfig::default()
        },
    },
    Sender {
        name: "vonage",
        title: "Vonage",
        document: "https://developer.vonage.com/en/getting-started/concepts/webhooks",
        evidence: Evidence::Official,
        build: |config| vonage(config.take_secrets()?),
        sample: SenderConfig::sample_secret,
    },
];

/// [Plaid](https://plaid.com/docs/api/webhooks/webhook-verification/): a token in `Plaid-Verification` that holds the body's
/// SHA-256, ES256. Feature `jwt`.
///
/// Plaid's keys are asked for one by one, by a POST with your credentials: see [`Jwks::lookup`].
///
/// # Errors
///
/// Where the process has no usable cryptography for tokens.
pub fn plaid(keys: Jwks) -> Result<Scheme, ConfigError> {
    scheme(JwtProof {
        header: HeaderName::from_static("plaid-verification"),
        algorithm: Algorithm::ES256,
        keys: JwtKeys::Public(keys),
        times: TimeRules { leeway: SKEW, requires_exp: false, issued: Some(Tolerance::within(SKEW)) },
        body_hash: Some("request_body_sha256"),
        expected: Vec::new(),
        must_be_true: &[],
        id_claim: None,
    })?
    .event(json("/webhook_code"))
    .build("plaid")
}

/// [Google Cloud Pub/Sub push](https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions), and other senders that
/// prove themselves by one of Google's OpenID tokens. RS256. Feature `jwt`.
///
/// The token has to be for this audience and of this service account, whose address has to be verified. **It says nothing of
/// the body.** A delivery is told from others by `message.messageId`. Pub/Sub acknowledges on 102, 200, 201, 202 and 204
/// alone.
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
/// Where audience or email is empty, or the process has no usable cryptography for tokens.
pub fn google_oidc(keys: Jwks, audience: impl Into<String>, email: impl Into<String>) -> Result<Scheme, ConfigError> {
    oidc(keys, GOOGLE_ISSUERS.map(str::to_owned).to_vec(), audience.into(), email.into())
}

fn oidc(keys: Jwks, issuers: Vec<String>, audience: String, email: String) -> Result<Scheme, ConfigError> {
    if audience.is_empty() || email.is_empty() || issuers.iter().any(String::is_empty) {
        return Err(ConfigError::invalid("the audience, the email or the issuer is empty"));
    }
    let issued = Tolerance::past_and_future(GOOGLE_AGE, SKEW);
    scheme(JwtProof {
        header: AUTHORIZATION,
        algorithm: Algorithm::RS256,
        keys: JwtKeys::Public(keys),
        times: TimeRules { leeway: SKEW, requires_exp: true, issued: Some(issued) },
        body_hash: None,
        expected: vec![("iss", issuers), ("aud", vec![audience]), ("email", vec![email])],
        must_be_true: &["email_verified"],
        id_claim: None,
    })?
    .id(json("/message/messageId"))
    .identity(|body| Some(member(body, "/message/messageId").ok()??.into()))
    .build("google_oidc")
}

/// [Vonage](https://developer.vonage.com/en/getting-started/concepts/webhooks): a bearer token with the body's SHA-256, HS256,
/// signed with the account's signature secret. Feature `jwt`.
///
/// A GET has no body and no hash of one. The tolerance of 300 seconds is ours.
///
/// # Errors
///
/// Where a secret is missing or empty, or the process has no usable cryptography for tokens.
pub fn vonage(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    let keys = secrets.into().into_keys(|secret| Mac::new(MacKind::Sha256, &secret.key(KeyFormat::Text)?))?;
    scheme(JwtProof {
        header: AUTHORIZATION,
        algorithm: Algorithm::HS256,
        keys: JwtKeys::Shared(keys),
        times: TimeRules { leeway: SKEW, requires_exp: false, issued: Some(Tolerance::within(SKEW)) },
        body_hash: Some("payload_hash"),
        expected: vec![("iss", vec!["Vonage".to_owned()])],
        must_be_true: &[],
        id_claim: Some("jti"),
    })?
    .methods([Method::POST, Method::GET])
    .build("vonage")
}

fn scheme(proof: JwtProof) -> Result<SchemeBuilder, ConfigError> {
    Backend::prove()?;
    Ok(SchemeBuilder::jwt(proof))
}
