//! Meta: WhatsApp, Messenger, Instagram, Pages.

use http::Method;
use http::request::Parts;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::answer::Answer;
use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::scheme::{Handshake, Scheme, echo, header, json, query_parameter};
use crate::secrets::{KeyFormat, Secret, Secrets, Token};
use crate::text::Text;

use super::{SenderConfig, knowledge};

/// [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started): WhatsApp, Messenger, Instagram, Pages.
///
/// The secret is the app secret. To answer the subscription, add [`Handshake::subscribe`] by
/// [`Scheme::with_handshake`]. The older `X-Hub-Signature` (SHA-1) is ignored.
///
/// A body in which each event has the id of a message, as WhatsApp's messages and statuses, and
/// Messenger's and Instagram's messages do, comes once; an equal one is a repetition. Any other
/// body may come twice for two events, and both are handled.
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
        .with_identity(identity)
        .secret(secrets)
        .with_behavior(knowledge::meta)
        .build("meta")
}

#[inline]
pub(super) fn from_config(config: &mut SenderConfig) -> Result<Scheme, ConfigError> {
    let scheme = meta(config.take_secrets()?)?;
    Ok(match config.verify_token.take() {
        Some(token) => scheme.with_handshake(Handshake::subscribe(token)?),
        None => scheme,
    })
}

impl Handshake {
    /// Answers a GET with `hub.mode=subscribe` and this `hub.verify_token` with the
    /// `hub.challenge`, and one with another token with 403: how Meta's products subscribe.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is empty.
    pub fn subscribe(verify_token: impl Into<Secret>) -> Result<Self, ConfigError> {
        let token = Token::of(&verify_token.into().key(KeyFormat::Text)?);
        let recognizes = |head: &Parts| head.method == Method::GET && query_parameter(head, "hub.mode").is_some();
        Ok(Self::head("GET with query `hub.mode`", recognizes, move |head| subscribe(head, &token)))
    }
}

#[inline]
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

#[derive(Deserialize)]
struct Notice {
    entry: Vec<Entry>,
}

/// What happened to one account: messages of Messenger and Instagram, or changes, which hold those
/// of WhatsApp.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    messaging: Vec<Messaging>,
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Messaging {
    message: MessengerMessage,
}

#[derive(Deserialize)]
struct MessengerMessage {
    mid: String,
}

#[derive(Deserialize)]
struct Change {
    value: ChangeValue,
}

#[derive(Deserialize)]
struct ChangeValue {
    #[serde(default)]
    messages: Vec<WhatsAppMessage>,
    #[serde(default)]
    statuses: Vec<WhatsAppStatus>,
}

#[derive(Deserialize)]
struct WhatsAppMessage {
    id: String,
}

/// A message has each status once, at a time of its own.
#[derive(Deserialize)]
struct WhatsAppStatus {
    id: String,
    #[serde(rename = "status")]
    _status: IgnoredAny,
    #[serde(rename = "timestamp")]
    _timestamp: IgnoredAny,
}

impl Entry {
    /// Returns whether each event in it has a message's id.
    #[inline]
    fn is_named(&self) -> bool {
        !(self.messaging.is_empty() && self.changes.is_empty())
            && self.messaging.iter().all(|event| !event.message.mid.is_empty())
            && self.changes.iter().all(|change| change.value.is_named())
    }
}

impl ChangeValue {
    #[inline]
    fn is_named(&self) -> bool {
        !(self.messages.is_empty() && self.statuses.is_empty())
            && self.messages.iter().all(|message| !message.id.is_empty())
            && self.statuses.iter().all(|status| !status.id.is_empty())
    }
}

/// The body, if each event in it has a message's id. The id alone would not do: a message that was
/// read, changed or taken back comes with the same.
#[inline]
fn identity(body: &[u8]) -> Option<Text> {
    let notice: Notice = serde_json::from_slice(body).ok()?;
    let is_named = !notice.entry.is_empty() && notice.entry.iter().all(Entry::is_named);
    Some(std::str::from_utf8(body).ok().filter(|_| is_named)?.to_owned().into())
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

    #[test]
    fn a_body_is_its_own_name_where_each_event_in_it_has_a_messages_id() {
        let message = r#"{"value":{"messages":[{"id":"wamid.1","type":"text"}]},"field":"messages"}"#;
        let status = r#"{"value":{"statuses":[{"id":"wamid.1","status":"read","timestamp":"17"}]}}"#;
        let entry = |inner: &str| format!(r#"{{"object":"x","entry":[{{"id":"1",{inner}}}]}}"#);
        for (named, is_named) in [
            (format!(r#""changes":[{message}]"#), true),
            (format!(r#""changes":[{message},{status}]"#), true),
            (format!(r#""changes":[{message},{{"value":{{"item":"like"}},"field":"feed"}}]"#), false),
            (r#""changes":[{"value":{"statuses":[{"id":"wamid.1","status":"read"}]}}]"#.to_owned(), false),
            (r#""changes":[{"value":{"messages":[{"id":""}]}}]"#.to_owned(), false),
            (r#""messaging":[{"message":{"mid":"m_1","text":"a"}}]"#.to_owned(), true),
            (r#""messaging":[{"message":{"mid":"m_1"}},{"read":{"watermark":1}}]"#.to_owned(), false),
            (r#""messaging":[],"changes":[]"#.to_owned(), false),
            (r#""time":1"#.to_owned(), false),
        ] {
            let body = entry(&named);
            assert_eq!(identity(body.as_bytes()).as_deref(), is_named.then_some(&*body), "{body}");
        }
        assert_eq!(identity(br#"{"object":"page","entry":[]}"#), None);
        assert_eq!(identity(b"[]"), None);
    }
}
