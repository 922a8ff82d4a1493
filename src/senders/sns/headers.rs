//! The headers that SNS adds. None of them is signed, so they only ever lead to a rejection.

use http::header::HeaderName;
use http::request::Parts;

use crate::headers::{LONGEST_HEADER, single};
use crate::rejection::{Reason, Rejection};

use super::message::{Message, MessageType};

pub(super) const MESSAGE_TYPE: HeaderName = HeaderName::from_static("x-amz-sns-message-type");
const MESSAGE_ID: HeaderName = HeaderName::from_static("x-amz-sns-message-id");
const TOPIC_ARN: HeaderName = HeaderName::from_static("x-amz-sns-topic-arn");
const RAW_DELIVERY: HeaderName = HeaderName::from_static("x-amz-sns-rawdelivery");

/// The headers that SNS adds.
pub(super) struct SnsHeaders<'a> {
    kind: Option<MessageType>,
    pub(super) message_id: Option<&'a str>,
    pub(super) topic_arn: Option<&'a str>,
    raw: bool,
}

impl<'a> SnsHeaders<'a> {
    pub(super) fn are_present(head: &Parts) -> bool {
        head.headers.contains_key(MESSAGE_TYPE)
    }

    pub(super) fn of(head: &'a Parts) -> Result<Self, Rejection> {
        let malformed = |detail| Rejection::new(Reason::MalformedHeader).with_detail(detail);
        let value = |name: &HeaderName| match single(head, name, LONGEST_HEADER)? {
            Some(value) => value.to_str().map(Some).map_err(|_| malformed("a header of SNS is not ASCII")),
            None => Ok(None),
        };
        let kind = value(&MESSAGE_TYPE)?
            .map(|kind| MessageType::parse(kind).ok_or_else(|| malformed("unknown x-amz-sns-message-type")))
            .transpose()?;
        let raw = match value(&RAW_DELIVERY)? {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(malformed("x-amz-sns-rawdelivery is neither true nor false")),
        };
        Ok(Self { kind, message_id: value(&MESSAGE_ID)?, topic_arn: value(&TOPIC_ARN)?, raw })
    }

    /// Returns whether the body is the payload alone. Confirmations are never sent that way.
    pub(super) fn is_raw(&self) -> bool {
        self.raw && matches!(self.kind, None | Some(MessageType::Notification))
    }

    /// Refuses a message that contradicts a header.
    pub(super) fn check(&self, message: &Message) -> Result<(), Rejection> {
        let contradicts = self.kind.is_some_and(|kind| kind != message.kind())
            || self.message_id.is_some_and(|id| id != message.id())
            || self.topic_arn.is_some_and(|arn| arn != message.topic());
        if contradicts {
            return Err(Rejection::new(Reason::BodyMismatch).with_detail("the message contradicts a header of SNS"));
        }
        Ok(())
    }
}
