//! Meta: WhatsApp, Messenger, Instagram, Pages.

use http::Method;
use http::request::Parts;

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Handshake, Scheme, echo, header, json, query_parameter};
use crate::secrets::{KeyFormat, Secret, Secrets, Token};

use super::{SenderConfig, knowledge};

/// [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started): WhatsApp, Messenger, Instagram, Pages.
///
/// The secret is the app secret. To answer the subscription, add [`Handshake::subscribe`] by [`Scheme::with_handshake`]. The
/// older `X-Hub-Signature` (SHA-1) is ignored.
///
/// # Examples
///
/// ```
/// use tower_webhook::scheme::Handshake;
/// use tower_webhook::senders;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let meta = senders::meta("the app secret")?.with_handshake(Handshake::subscribe("the verify token")?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns an error if a secret is missing or empty.
pub fn meta(secrets: impl Into<Secrets>) -> Result<Scheme, ConfigError> {
    Scheme::hmac_sha256()
        .signature(header("x-hub-signature-256").prefix("sha256=").hex())
        .event(json("/object"))
        .secret(secrets)
        .with_behavior(*knowledge::of("meta"))
        .build("meta")
}

pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let scheme = meta(config.take_secrets()?)?;
    Ok(match config.verify_token.take() {
        Some(token) => scheme.with_handshake(Handshake::subscribe(token)?),
        None => scheme,
    })
}

impl Handshake {
    /// Answers a GET with `hub.mode=subscribe` and this `hub.verify_token` with the `hub.challenge`, and one with another
    /// token with 403: how Meta's products subscribe.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is empty.
    pub fn subscribe(verify_token: impl Into<Secret>) -> Result<Self, ConfigError> {
        let token = Token::of(&verify_token.into().key(KeyFormat::Text)?);
        let recognizes = |head: &Parts| head.method == Method::GET && query_parameter(head, "hub.mode").is_some();
        Ok(Self::head(recognizes, move |head| subscribe(head, &token)))
    }
}

fn subscribe(head: &Parts, token: &Token) -> Result<Answer, Rejection> {
    let given = query_parameter(head, "hub.verify_token").unwrap_or_else(|| Ok(String::new()))?;
    // The token is judged first: the answer to a wrong one is always the same.
    if !token.is(&Token::of(given.as_bytes())) {
        return Err(Rejection::new(Reason::NotForUs).with_detail("the verify token is another one"));
    }
    match (query_parameter(head, "hub.mode").transpose()?.as_deref(), query_parameter(head, "hub.challenge")) {
        (Some("subscribe"), Some(text)) => echo(&text?),
        _ => Err(Rejection::new(Reason::MalformedHeader).with_detail("it is no subscription")),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::scheme::ask;

    use super::*;

    #[test]
    fn a_subscription_needs_its_token() {
        let meta = Handshake::subscribe("tok").unwrap();
        let get = |query: &str| ask(&meta, http::Request::get(format!("/?{query}")));
        assert_eq!(
            get("hub.mode=subscribe&hub.verify_token=tok&hub.challenge=42"),
            Some(Ok((StatusCode::OK, "42".into())))
        );
        for bad in ["hub.verify_token=to&hub.challenge=42", "hub.challenge=42", "hub.verify_token=&hub.challenge=42"] {
            assert_eq!(get(&format!("hub.mode=subscribe&{bad}")), Some(Err(Reason::NotForUs)), "{bad}");
        }
        assert_eq!(get("hub.mode=x&hub.verify_token=tok&hub.challenge=42"), Some(Err(Reason::MalformedHeader)));
        assert_eq!(get("hub.challenge=42"), None);
    }
}
