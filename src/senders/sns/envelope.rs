//! The JSON around a message, and the text that SNS signs.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::digest::{self, Digest};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::encoding::Encoding;
use crate::rejection::{Reason, Rejection};
use crate::time::TimeFormat;

use super::address::{Emulator, confirmation_url};
use super::arn::TopicArn;
#[cfg(feature = "inbox")]
use super::message::RAW;
use super::message::{Confirmation, Message, MessageType, Notification, SubscriptionLink, Unsubscribed};

/// The longest token accepted; genuine ones have up to 256 characters.
const MAX_TOKEN_LEN: usize = 512;
/// The longest URL accepted; genuine ones have some 500 characters.
const MAX_URL_LEN: usize = 2048;
/// The longest signature accepted, in base64: that of a key of 8192 bits, the longest that is
/// verified.
const MAX_SIGNATURE_LEN: usize = Encoding::Base64.text_len(1024);

/// How a message is signed: RSA PKCS #1 v1.5 with one of two hashes. It is an attribute of the
/// topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// SHA-1, the default of topics.
    V1,
    /// SHA-256.
    V2,
}

impl SignatureVersion {
    #[cfg_attr(not(feature = "testing-sns"), allow(dead_code))]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
        }
    }

    fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::V1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::V2 => &digest::SHA256,
        }
    }
}

/// The members of the JSON, borrowed from the body unless they contain an escape. A member that
/// occurs twice, has another type or is null is refused; only `Subject` may be null. Unknown
/// members are ignored.
///
/// A message that Lambda handed on spells two names differently, and says that it has no subject by
/// a null.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) r#type: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) message_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) topic_arn: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) message: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text", rename = "SubscribeURL", skip_serializing_if = "Option::is_none")]
    pub(crate) subscribe_url: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) signature_version: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text")]
    pub(crate) signature: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text", rename = "SigningCertURL", alias = "SigningCertUrl")]
    pub(crate) signing_cert_url: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        deserialize_with = "text",
        rename = "UnsubscribeURL",
        alias = "UnsubscribeUrl",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) unsubscribe_url: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "raw", skip_serializing_if = "Option::is_none")]
    pub(crate) message_attributes: Option<&'a RawValue>,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    deserializer.deserialize_str(TextVisitor).map(Some)
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct NullableVisitor;

    impl<'de> Visitor<'de> for NullableVisitor {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or null")
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            text(deserializer)
        }
    }

    deserializer.deserialize_option(NullableVisitor)
}

/// Reads a string without a copy where it has no escape, which `Cow`'s own implementation does not.
struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A message whose form was checked, so that its signed text can be read in one way only. Its
/// signature wasn't.
pub(super) struct Unverified<'a> {
    pub(super) topic: TopicArn<'a>,
    pub(super) timestamp: SystemTime,
    pub(super) version: SignatureVersion,
    pub(super) signature: Vec<u8>,
    pub(super) signing_cert_url: &'a str,
    pub(super) message: Message,
}

impl<'a> Envelope<'a> {
    /// Reads a body. The parser's own error isn't kept, since it may quote the body.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))?;
        // serde would read an array of strings as a struct too.
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(malformed("the body is not a JSON object"));
        }
        serde_json::from_str(text).map_err(|_| malformed("the body is not the JSON of an SNS message"))
    }

    /// Checks the form of everything that is signed, and of the signature.
    pub(super) fn check(&'a self, emulator: Option<&Emulator>) -> Result<Unverified<'a>, Rejection> {
        let required = |member: &'a Option<Cow<'a, str>>, detail| member.as_deref().ok_or_else(|| malformed(detail));
        let kind = required(&self.r#type, "Type is missing")?;
        let kind = MessageType::parse(kind).ok_or_else(|| malformed("Type is unknown"))?;
        let topic = required(&self.topic_arn, "TopicArn is missing")?;
        let topic = TopicArn::parse(topic).ok_or_else(|| malformed("TopicArn is not the name of a topic"))?;
        let message_id = required(&self.message_id, "MessageId is missing")?;
        if !is_uuid(message_id) {
            return Err(malformed("MessageId is not a UUID"));
        }
        let message = required(&self.message, "Message is missing")?;
        let timestamp_text = required(&self.timestamp, "Timestamp is missing")?;
        let timestamp =
            TimeFormat::Rfc3339.parse(timestamp_text.as_bytes()).filter(|_| timestamp_text.ends_with('Z')).ok_or_else(
                || Rejection::new(Reason::MalformedTimestamp).with_detail("Timestamp is not RFC 3339 in UTC"),
            )?;
        let subject = self.subject.as_deref().filter(|_| kind == MessageType::Notification);
        if subject.is_some_and(is_ambiguous) {
            return Err(malformed("Subject could be read as other members"));
        }
        let token = match (kind, &self.token, &self.subscribe_url) {
            (MessageType::Notification, None, None) => "",
            (MessageType::Notification, ..) => return Err(malformed("a Notification has a Token or SubscribeURL")),
            (_, Some(token), Some(url)) if is_token(token) && is_url(url) => &**token,
            _ => return Err(malformed("Token or SubscribeURL is missing or malformed")),
        };
        let version = match required(&self.signature_version, "SignatureVersion is missing")? {
            "1" => SignatureVersion::V1,
            "2" => SignatureVersion::V2,
            _ => return Err(Rejection::new(Reason::UnacceptableAlgorithm).with_detail("unknown SignatureVersion")),
        };
        let signature = self.signature.as_deref();
        let signature =
            signature.ok_or_else(|| Rejection::new(Reason::MissingSignature).with_detail("Signature is missing"))?;
        let signature = match signature.len() {
            1..=MAX_SIGNATURE_LEN => Encoding::Base64.decode(signature.as_bytes()),
            _ => None,
        };
        let signature = signature.ok_or_else(|| {
            Rejection::new(Reason::MalformedSignature).with_detail("Signature is not base64, or too long")
        })?;
        let signing_cert_url = required(&self.signing_cert_url, "SigningCertURL is missing")?;

        let link = || {
            let url = confirmation_url(topic, token, emulator).ok_or_else(|| malformed("Token does not fit a URL"))?;
            Ok::<_, Rejection>(SubscriptionLink {
                topic_arn: topic.as_str().to_owned(),
                message_id: message_id.to_owned(),
                timestamp,
                token: token.to_owned(),
                url: url.to_string(),
            })
        };
        let message = match kind {
            MessageType::Notification => Message::Notification(Notification {
                message: message.to_owned(),
                subject: subject.map(str::to_owned),
                message_id: message_id.to_owned(),
                topic_arn: topic.as_str().to_owned(),
                timestamp: Some(timestamp),
                unsubscribe_url: self.unsubscribe_url.as_deref().map(str::to_owned),
                attributes: self.message_attributes.map(|attributes| attributes.get().to_owned()),
            }),
            MessageType::SubscriptionConfirmation => Message::Confirmation(Confirmation(link()?)),
            MessageType::UnsubscribeConfirmation => Message::Unsubscribed(Unsubscribed(link()?)),
        };
        Ok(Unverified { topic, timestamp, version, signature, signing_cert_url, message })
    }
}

#[cfg(feature = "inbox")]
impl Message {
    /// Undoes [`beside_the_body`](Self::beside_the_body).
    pub(crate) fn restore(beside: &[u8], id: Option<&str>, body: &[u8]) -> Option<Self> {
        let beside = std::str::from_utf8(beside).ok()?;
        if let Some(topic) = beside.strip_prefix(RAW) {
            let text = std::str::from_utf8(body).ok()?;
            return Some(Self::Notification(Notification::raw(text, id.unwrap_or_default(), topic)));
        }
        let envelope = Envelope::parse(body).ok()?;
        let mut message = envelope.check(None).ok()?.message;
        if let Self::Confirmation(Confirmation(link)) | Self::Unsubscribed(Unsubscribed(link)) = &mut message {
            link.url = beside.to_owned();
        }
        Some(message)
    }
}

impl Envelope<'_> {
    /// Returns the digest of the text that is signed in a message of this type. The text itself is
    /// never built.
    pub(crate) fn digest(&self, kind: MessageType, version: SignatureVersion) -> Digest {
        let mut context = digest::Context::new(version.hash());
        for (name, value) in self.signed_members(kind) {
            for piece in [name, "\n", value, "\n"] {
                context.update(piece.as_bytes());
            }
        }
        context.finish()
    }

    /// Returns the members that are signed, in their order, as far as they are present.
    fn signed_members(&self, kind: MessageType) -> impl Iterator<Item = (&'static str, &str)> {
        let only = |member, wanted: bool| if wanted { member } else { &None };
        let is_notification = kind == MessageType::Notification;
        [
            ("Message", &self.message),
            ("MessageId", &self.message_id),
            ("Subject", only(&self.subject, is_notification)),
            ("SubscribeURL", only(&self.subscribe_url, !is_notification)),
            ("Timestamp", &self.timestamp),
            ("Token", only(&self.token, !is_notification)),
            ("TopicArn", &self.topic_arn),
            ("Type", &self.r#type),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

fn malformed(detail: &'static str) -> Rejection {
    Rejection::new(Reason::MalformedBody).with_detail(detail)
}

fn is_uuid(text: &str) -> bool {
    let is_at = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_at)
}

/// Returns whether a token has no character with a meaning in a query.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (1..=MAX_TOKEN_LEN).contains(&text.len()) && text.bytes().all(fits)
}

fn is_url(text: &str) -> bool {
    text.len() <= MAX_URL_LEN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The signed text separates its members by line feeds and escapes none, so a line feed in a value
/// can move the boundary between two members without changing the text. Only Message and Subject
/// may contain one, and a Message ends at the last line `MessageId`. So there are two readings only
/// if the Subject contains such a line.
fn is_ambiguous(subject: &str) -> bool {
    subject.contains('\n') && subject.split('\n').any(|line| line == "MessageId")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"Type":"Notification","MessageId":"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn":"arn:aws:sns:us-west-2:123456789012:MyTopic","Subject":"","Message":"Hello \"w\u00f6rld\"\n",
        "Timestamp":"2012-05-02T00:54:06.655Z","SignatureVersion":"1","Signature":"AAAA","SigningCertURL":"u",
        "UnsubscribeURL":"x","MessageAttributes":{"a":{"Type":"String","Value":"1"}},"New":{"Type":[null]}}"#;

    fn check(json: &str) -> Result<String, Reason> {
        let envelope = Envelope::parse(json.as_bytes()).map_err(|rejection| rejection.reason())?;
        let unverified = envelope.check(None).map_err(|rejection| rejection.reason())?;
        Ok(envelope
            .signed_members(unverified.message.kind())
            .map(|(name, value)| format!("{name}\n{value}\n"))
            .collect())
    }

    #[test]
    fn escapes_are_decoded_and_an_empty_subject_is_signed() {
        assert_eq!(
            check(GOOD).unwrap(),
            "Message\nHello \"w\u{f6}rld\"\n\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\nSubject\n\nTimestamp\n\
             2012-05-02T00:54:06.655Z\nTopicArn\narn:aws:sns:us-west-2:123456789012:MyTopic\nType\nNotification\n"
        );
    }

    #[test]
    fn a_message_that_lambda_handed_on_is_read_alike() {
        let lambda = GOOD
            .replace(r#""Subject":"""#, r#""Subject":null"#)
            .replace("SigningCertURL", "SigningCertUrl")
            .replace("UnsubscribeURL", "UnsubscribeUrl");
        assert_eq!(check(&lambda), check(&GOOD.replace(r#""Subject":"","#, "")));
        let envelope = Envelope::parse(lambda.as_bytes()).unwrap();
        assert_eq!((envelope.signing_cert_url.as_deref(), envelope.unsubscribe_url.as_deref()), (Some("u"), Some("x")));
    }

    #[test]
    fn confirmations_sign_their_token() {
        let confirmation = GOOD
            .replace("Notification", "UnsubscribeConfirmation")
            .replace(r#""Subject":"""#, r#""Token":"0aF","SubscribeURL":"https://x/?y""#);
        assert!(check(&confirmation).unwrap().contains("\nSubscribeURL\nhttps://x/?y\nTimestamp\n"));
        assert!(check(&confirmation).unwrap().contains("\nToken\n0aF\nTopicArn\n"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use Reason as R;
        for (from, to, reason) in [
            (r#"{"Type""#, r#"{"Type":"Notification","Type""#, R::MalformedBody),
            (r#"{"Type""#, r#"{"Message":"twice","Type""#, R::MalformedBody),
            (r#"{"Type""#, r#"{"Messag\u0065":"twice","Type""#, R::MalformedBody),
            (r#"{"Type""#, "\u{feff}{\"Type\"", R::MalformedBody),
            (r#"{"Type""#, r#"[{"Type""#, R::MalformedBody),
            ("}}", "}}x", R::MalformedBody),
            ("Notification", "notification", R::MalformedBody),
            ("Notification", "Notification\\n", R::MalformedBody),
            ("\"Notification\"", "null", R::MalformedBody),
            ("\"Notification\"", "[\"Notification\"]", R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":null,"Subject":"""#, R::MalformedBody),
            (r#""Message":"Hello \"w\u00f6rld\"\n""#, r#""Message":null"#, R::MalformedBody),
            (r#""SigningCertURL":"u""#, r#""SigningCertURL":"u","SigningCertUrl":"u""#, R::MalformedBody),
            (r#""SigningCertURL":"u""#, r#""SigningCertUrl":"v","SigningCertURL":"u""#, R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":7"#, R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":"a\nMessageId\nb""#, R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":"MessageId\nb""#, R::MalformedBody),
            (r#""Subject":"""#, r#""Token":"00""#, R::MalformedBody),
            (r#""Subject":"""#, r#""SubscribeURL":"https://x""#, R::MalformedBody),
            ("Hello", "\\ud800", R::MalformedBody),
            ("-bdfb0c7bf324", "-bdfb0c7bf32", R::MalformedBody),
            ("-bdfb0c7bf324", "-bdfb0c7bf32\\n", R::MalformedBody),
            (":MyTopic", ":My\\nTopic", R::MalformedBody),
            ("2012-05-02T00:54:06.655Z", "2012-05-02T00:54:06.655+00:00", R::MalformedTimestamp),
            ("2012-05-02T00:54:06.655Z", "2012-05-02T00:54:06.655Z\\n", R::MalformedTimestamp),
            ("\"Signature\":\"AAAA\",", "", R::MissingSignature),
            ("AAAA", "", R::MalformedSignature),
            ("AAAA", "AAAA\\n", R::MalformedSignature),
            ("AAAA", "AAAAA", R::MalformedSignature),
            ("\"SignatureVersion\":\"1\"", "\"SignatureVersion\":\"3\"", R::UnacceptableAlgorithm),
            ("\"SignatureVersion\":\"1\"", "\"SignatureVersion\":1", R::MalformedBody),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(check(&GOOD.replacen(from, to, 1)), Err(reason), "{to}");
        }
        for member in ["Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "SigningCertURL"] {
            let without = GOOD.replace(&format!("\"{member}\""), "\"Other\"");
            assert!(check(&without).is_err(), "{member}");
        }
        assert!(Envelope::parse(b"{\"Message\":\"\xff\"}").is_err());
        assert!(Envelope::parse(b"{\"Other\":\"\xff\"}").is_err());
        assert!(Envelope::parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(Envelope::parse(format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes()).is_err());
    }

    #[test]
    fn a_subject_of_several_lines_is_taken() {
        assert!(check(&GOOD.replace(r#""Subject":"""#, r#""Subject":"a\nb MessageId\r\nc""#)).is_ok());
        assert!(check(&GOOD.replace("Hello", r"x\nMessageId\ny\nSubject\nz")).is_ok());
    }

    /// All texts of up to this many lines of the words that boundaries between members consist of.
    fn texts(most_lines: usize) -> Vec<String> {
        let words = ["MessageId", "Subject", ID, "x"];
        let mut all: Vec<String> = words.map(String::from).into();
        let mut last = all.clone();
        for _ in 1..most_lines {
            last = last.iter().flat_map(|text| words.map(|word| format!("{text}\n{word}"))).collect();
            all.extend_from_slice(&last);
        }
        all
    }

    const ID: &str = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324";
    const OTHER_ID: &str = "32b80b92-fdea-4c2c-8f9d-bdfb0c7bf324";

    /// Counts the signed texts that stand for two notifications, among those that `accepts` lets
    /// through.
    fn collisions(accepts: impl Fn(&Envelope<'_>) -> bool) -> usize {
        let mut seen = std::collections::HashSet::new();
        let subjects: Vec<_> = std::iter::once(None).chain(texts(2).into_iter().map(Some)).collect();
        let mut collisions = 0;
        for message in &texts(4) {
            for subject in &subjects {
                for id in [ID, OTHER_ID] {
                    let mut envelope = Envelope::parse(GOOD.as_bytes()).unwrap();
                    envelope.message = Some(message.into());
                    envelope.message_id = Some(id.into());
                    envelope.subject = subject.as_deref().map(Cow::from);
                    if accepts(&envelope) {
                        let members = envelope.signed_members(MessageType::Notification);
                        let text: String = members.map(|(name, value)| format!("{name}\n{value}\n")).collect();
                        collisions += usize::from(!seen.insert(text));
                    }
                }
            }
        }
        collisions
    }

    #[test]
    fn no_signed_text_stands_for_two_messages() {
        assert!(collisions(|_| true) > 0, "without the check there are such texts");
        assert_eq!(collisions(|envelope| envelope.check(None).is_ok()), 0);
    }
}
