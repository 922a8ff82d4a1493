//! What the head of a request says. None of it is signed, so it only ever leads to a refusal.

use http::header::HeaderName;
use http::request::Parts;

use crate::headers::{LONGEST_HEADER, single};
use crate::rejection::{Reason, Rejection};

use super::envelope::{Checked, MessageType};

pub(super) const MESSAGE_TYPE: HeaderName = HeaderName::from_static("x-amz-sns-message-type");
pub(super) const MESSAGE_ID: HeaderName = HeaderName::from_static("x-amz-sns-message-id");
pub(super) const TOPIC_ARN: HeaderName = HeaderName::from_static("x-amz-sns-topic-arn");
pub(super) const RAW_DELIVERY: HeaderName = HeaderName::from_static("x-amz-sns-rawdelivery");

/// The headers that SNS adds.
pub(super) struct Heading<'a> {
    kind: Option<MessageType>,
    pub(super) message_id: Option<&'a str>,
    pub(super) topic_arn: Option<&'a str>,
    raw: bool,
}

impl<'a> Heading<'a> {
    pub(super) fn of(head: &'a Parts) -> Result<Self, Rejection> {
        let value = |name: &HeaderName| match single(head, name, LONGEST_HEADER)? {
            Some(value) => value.to_str().map(Some).map_err(|_| Rejection::from(Reason::MalformedHeader)),
            None => Ok(None),
        };
        let malformed = |detail| Rejection::new(Reason::MalformedHeader).with_detail(detail);
        let kind = value(&MESSAGE_TYPE)?
            .map(|kind| MessageType::parse(kind).ok_or_else(|| malformed("an unknown x-amz-sns-message-type")))
            .transpose()?;
        let raw = match value(&RAW_DELIVERY)? {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(malformed("x-amz-sns-rawdelivery is neither true nor false")),
        };
        Ok(Self { kind, message_id: value(&MESSAGE_ID)?, topic_arn: value(&TOPIC_ARN)?, raw })
    }

    /// Whether the body is the payload alone. Confirmations are never sent so.
    pub(super) fn is_raw(&self) -> bool {
        self.raw && matches!(self.kind, None | Some(MessageType::Notification))
    }

    /// Refuses a body that says something else. A header that is absent says nothing.
    pub(super) fn agree(&self, checked: &Checked<'_>) -> Result<(), Rejection> {
        let differs = self.kind.is_some_and(|kind| kind != checked.kind)
            || self.message_id.is_some_and(|id| id != checked.message_id)
            || self.topic_arn.is_some_and(|arn| arn != checked.topic.as_str());
        match differs {
            true => Err(Rejection::new(Reason::BodyMismatch).with_detail("its headers say something else")),
            false => Ok(()),
        }
    }
}
