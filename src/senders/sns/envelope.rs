//! The JSON that SNS wraps a message in, and the text that is signed about it.

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

use super::arn::TopicArn;

/// The longest token taken; genuine ones have up to 256 characters.
const LONGEST_TOKEN: usize = 512;
/// The longest address taken; genuine ones have some 500 characters.
const LONGEST_ADDRESS: usize = 2048;
/// The longest signature taken, in base64: that of a key of 8192 bits, the longest that is verified.
const LONGEST_SIGNATURE: usize = Encoding::Base64.text_len(1024);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageType {
    /// Something was published to the topic.
    Notification,
    /// An endpoint was subscribed to the topic; the subscription begins once it is confirmed.
    SubscriptionConfirmation,
    /// The endpoint was unsubscribed.
    UnsubscribeConfirmation,
}

impl MessageType {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Notification, Self::SubscriptionConfirmation, Self::UnsubscribeConfirmation]
            .into_iter()
            .find(|known| known.as_str() == name)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a message is signed: RSA PKCS #1 v1.5 with either hash. It is an attribute of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// SHA-1, the topics' default.
    V1,
    /// SHA-256.
    V2,
}

impl SignatureVersion {
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
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

/// The members of the JSON, borrowed from the body where no escape stands in them. A member that occurs twice, that is null
/// or of another type is refused; unknown ones are not looked at.
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
    #[serde(borrow, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
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
    #[serde(borrow, deserialize_with = "text", rename = "SigningCertURL")]
    pub(crate) signing_cert_url: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "text", rename = "UnsubscribeURL", skip_serializing_if = "Option::is_none")]
    pub(crate) unsubscribe_url: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "raw", skip_serializing_if = "Option::is_none")]
    pub(crate) message_attributes: Option<&'a RawValue>,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct Text;

    impl<'de> Visitor<'de> for Text {
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

    deserializer.deserialize_str(Text).map(Some)
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// An envelope whose every signed member has its own alphabet, so that the signed text can be read in one way only.
pub(super) struct Checked<'a> {
    pub(super) kind: MessageType,
    pub(super) topic: TopicArn<'a>,
    pub(super) message_id: &'a str,
    pub(super) message: &'a str,
    pub(super) subject: Option<&'a str>,
    pub(super) timestamp: SystemTime,
    /// Of a confirmation.
    pub(super) token: &'a str,
    pub(super) version: SignatureVersion,
    pub(super) signature: Vec<u8>,
    pub(super) signing_cert_url: &'a str,
}

impl<'a> Envelope<'a> {
    /// Reads a body. What was wrong with it is not kept: the parser's own error may quote it.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
        // An array of strings would be read as a struct too.
        match text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            true => serde_json::from_str(text).map_err(|_| malformed("it is not the JSON of an SNS message")),
            false => Err(malformed("it is not a JSON object")),
        }
    }

    /// Checks the form of everything that is signed, and of the signature.
    pub(super) fn check(&'a self) -> Result<Checked<'a>, Rejection> {
        let required = |member: &'a Option<Cow<'a, str>>, detail| member.as_deref().ok_or_else(|| malformed(detail));
        let kind = required(&self.r#type, "there is no Type")?;
        let kind = MessageType::parse(kind).ok_or_else(|| malformed("its Type is unknown"))?;
        let topic = required(&self.topic_arn, "there is no TopicArn")?;
        let topic = TopicArn::parse(topic).ok_or_else(|| malformed("its TopicArn is not a topic's"))?;
        let message_id = required(&self.message_id, "there is no MessageId")?;
        if !is_uuid(message_id) {
            return Err(malformed("its MessageId is not a UUID"));
        }
        let message = required(&self.message, "there is no Message")?;
        let timestamp_text = required(&self.timestamp, "there is no Timestamp")?;
        let timestamp = TimeFormat::Rfc3339
            .parse(timestamp_text.as_bytes())
            .filter(|_| timestamp_text.ends_with('Z'))
            .ok_or_else(|| Rejection::new(Reason::MalformedTimestamp))?;
        let subject = self.subject.as_deref().filter(|_| kind == MessageType::Notification);
        if subject.is_some_and(is_ambiguous) {
            return Err(malformed("its Subject could be read as other members"));
        }
        let token = match (kind, &self.token, &self.subscribe_url) {
            (MessageType::Notification, None, None) => "",
            (MessageType::Notification, ..) => return Err(malformed("it is a Notification with a Token")),
            (_, Some(token), Some(url)) if is_token(token) && is_address(url) => &**token,
            _ => return Err(malformed("its Token or SubscribeURL is missing or malformed")),
        };
        let version = match required(&self.signature_version, "there is no SignatureVersion")? {
            "1" => SignatureVersion::V1,
            "2" => SignatureVersion::V2,
            _ => return Err(Rejection::new(Reason::UnacceptableAlgorithm).with_detail("an unknown SignatureVersion")),
        };
        let signature = self.signature.as_deref().ok_or(Reason::MissingSignature)?;
        let signature = match signature.len() {
            1..=LONGEST_SIGNATURE => Encoding::Base64.decode(signature.as_bytes()),
            _ => None,
        };
        let signature = signature.ok_or(Reason::MalformedSignature)?;
        let signing_cert_url = required(&self.signing_cert_url, "there is no SigningCertURL")?;
        Ok(Checked {
            kind,
            topic,
            message_id,
            message,
            subject,
            timestamp,
            token,
            version,
            signature,
            signing_cert_url,
        })
    }
}

impl Envelope<'_> {
    /// The digest of the text that is signed about a message of this type, of which no copy is made.
    pub(crate) fn digest(&self, kind: MessageType, version: SignatureVersion) -> Digest {
        // The short members are put together here, as each piece that the hash function is given costs a call.
        let mut short = [0; 256];
        let mut len = 0;
        let mut context = digest::Context::new(version.hash());
        for (name, value) in self.signed_members(kind) {
            for piece in [name.as_bytes(), b"\n", value.as_bytes(), b"\n"] {
                if let Some(room) = short.get_mut(len..len + piece.len()) {
                    room.copy_from_slice(piece);
                    len += piece.len();
                } else {
                    context.update(&short[..len]);
                    context.update(piece);
                    len = 0;
                }
            }
        }
        context.update(&short[..len]);
        context.finish()
    }

    /// The members that are signed, in their order, as far as they are there.
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

/// Nothing that has a meaning in a query.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(fits)
}

fn is_address(text: &str) -> bool {
    text.len() <= LONGEST_ADDRESS && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The signed text separates its members by line feeds and escapes none, so one in a value can move the border between
/// two members while the text stays the same. All members but Message and Subject have forms without a line feed,
/// and a Message ends where the last line `MessageId` begins. So two readings exist only where the Subject holds such
/// a line.
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
        let checked = envelope.check().map_err(|rejection| rejection.reason())?;
        Ok(envelope.signed_members(checked.kind).map(|(name, value)| format!("{name}\n{value}\n")).collect())
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
            (r#""Subject":"""#, r#""Subject":null"#, R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":7"#, R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":"a\nMessageId\nb""#, R::MalformedBody),
            (r#""Subject":"""#, r#""Subject":"MessageId\nb""#, R::MalformedBody),
            (r#""Subject":"""#, r#""Token":"00""#, R::MalformedBody),
            (r#""Subject":"""#, r#""SubscribeURL":"https://x""#, R::MalformedBody),
            ("Hello", "\\ud800", R::MalformedBody),
            ("-bdfb0c7bf324", "-bdfb0c7bf32", R::MalformedBody),
            ("-bdfb0c7bf324", "-bdfb0c7bf32\\n", R::MalformedBody),
            (":MyTopic", ":My\\nTopic", R::MalformedBody),
            ("SigningCertURL", "SigningCertUrl", R::MalformedBody),
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

    /// All texts of up to this many lines over the words that borders between members are made of.
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

    /// How many signed texts stand for two notifications, among those that `accepts` lets through.
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
        assert_eq!(collisions(|envelope| envelope.check().is_ok()), 0);
    }
}
