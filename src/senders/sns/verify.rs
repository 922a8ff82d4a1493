//! The verification of one request.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::Digest;
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, Uri};

use crate::answer::Answer;
use crate::delivery::{Signed, Verified};
use crate::fetch::{self, Found, Fresh};
use crate::provider::{MaybeReady, Outcome};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;

use super::address::{confirmation_url, is_certificate_url};
use super::basic::Access;
use super::certificate::SigningKey;
use super::confirm::{Confirm, Unsubscribe};
use super::envelope::{Checked, Envelope, MessageType, SignatureVersion};
use super::message::{Confirmation, Handshake, Message, Notification, Unsubscribed};
use super::{Heading, Plan, TopicArn};

/// A request being verified by [`Sns`](super::Sns). The signature covers members of the JSON in an order of its own, so nothing
/// is done before the whole body is there.
pub struct SnsVerification {
    now: SystemTime,
    access: Access,
}

impl SnsVerification {
    pub(super) fn new(now: SystemTime, access: Access) -> Self {
        Self { now, access }
    }
}

impl fmt::Debug for SnsVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsVerification").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Plan {
    pub(super) fn finish(
        self: &Arc<Self>,
        verification: &SnsVerification,
        head: &Parts,
        body: &Bytes,
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        match verification.access {
            Access::Granted => self.judge(head, body, verification.now),
            Access::Challenge => Ok(self.challenge(head, body, verification.now)),
        }
    }

    /// SNS's first attempt, without credentials. Its body was received so that the connection can carry the second one. Only
    /// a confirmation may be acted upon, and whatever comes of that, the answer is the challenge.
    fn challenge(self: &Arc<Self>, head: &Parts, body: &Bytes, now: SystemTime) -> MaybeReady<Outcome> {
        let challenge = Outcome::Answer(self.basic.challenge());
        let confirms = self.confirm_unauthenticated
            && Heading::of(head).is_ok_and(|heading| !heading.is_raw())
            && Envelope::parse(body)
                .is_ok_and(|it| it.r#type.as_deref() == Some(MessageType::SubscriptionConfirmation.as_str()));
        match confirms.then(|| self.judge(head, body, now)) {
            Some(Ok(MaybeReady::Pending(pending))) => MaybeReady::pending(async move {
                let _ = pending.await;
                Ok(challenge)
            }),
            _ => challenge.into(),
        }
    }

    fn judge(self: &Arc<Self>, head: &Parts, body: &Bytes, now: SystemTime) -> Result<MaybeReady<Outcome>, Rejection> {
        let heading = Heading::of(head)?;
        if heading.is_raw() {
            return self.raw(&heading, body).map(Into::into);
        }
        let envelope = Envelope::parse(body)?;
        let checked = envelope.check()?;
        heading.agree(&checked)?;
        self.check_topic(checked.topic)?;
        self.check_age(checked.timestamp, now)?;
        self.check_version(checked.version)?;
        let url = checked.signing_cert_url;
        let local = self.certificates.local.as_ref();
        if !is_certificate_url(url, checked.topic, local) {
            return Err(Rejection::new(Reason::MalformedSignature)
                .with_detail("its SigningCertURL is not one of the topic's region"));
        }
        let claim = Claim {
            digest: envelope.digest(checked.kind, checked.version),
            version: checked.version,
            message: self.message(&envelope, &checked)?,
            signature: checked.signature,
        };
        let found = match self.find_key(url, claim.message.topic(), now) {
            Found::Now(key) => match claim.is_signed_by(&*key?) {
                true => return Ok(self.act(claim.message, now)),
                // The key may have changed under its address: emulators do that with each start.
                false => self.find_key_again(url, claim.message.topic(), now),
            },
            later => Some(later),
        };
        let found = found.ok_or(Reason::SignatureMismatch)?;
        Ok(MaybeReady::pending(claim.verify_after(found, self.clone(), now)))
    }
}

/// A message that claims to be signed.
struct Claim {
    digest: Digest,
    version: SignatureVersion,
    signature: Vec<u8>,
    message: Message,
}

impl Claim {
    fn is_signed_by(&self, key: &SigningKey) -> bool {
        key.verify(self.version, &self.digest, &self.signature)
    }

    async fn verify_after(
        self,
        found: Found<SigningKey>,
        plan: Arc<Plan>,
        now: SystemTime,
    ) -> Result<Outcome, Rejection> {
        let key = match found {
            Found::Now(key) => key?,
            Found::Later(flight) => flight.await?,
        };
        if !self.is_signed_by(&key) {
            return Err(Reason::SignatureMismatch.into());
        }
        plan.act(self.message, now).wait().await
    }
}

impl Plan {
    fn find_key(self: &Arc<Self>, url: &str, topic: &str, now: SystemTime) -> Found<SigningKey> {
        self.keys.find(url, now, || self.clone().load_key(url.to_owned(), topic.to_owned(), now))
    }

    fn find_key_again(self: &Arc<Self>, url: &str, topic: &str, now: SystemTime) -> Option<Found<SigningKey>> {
        self.keys.refetch(url, now, || self.clone().load_key(url.to_owned(), topic.to_owned(), now))
    }

    async fn load_key(
        self: Arc<Self>,
        url: String,
        topic: String,
        now: SystemTime,
    ) -> Result<Fresh<SigningKey>, Rejection> {
        let unusable = |detail| Rejection::new(Reason::KeyUnavailable).with_detail(detail);
        let uri = url.parse().map_err(|_| unusable("the certificate's address is not one"))?;
        let pem = fetch::get(&*self.fetch, uri, Reason::KeyUnavailable).await?;
        let topic = TopicArn::parse(&topic).ok_or_else(|| unusable("the topic is not one"))?;
        self.certificates
            .judge(&pem, topic, now)
            .map_err(|fault| unusable("the certificate is not acceptable").with_source(fault))
    }

    /// What the handler gets, or what is needed to confirm.
    fn message(&self, envelope: &Envelope<'_>, checked: &Checked<'_>) -> Result<Message, Rejection> {
        let handshake = || {
            let link = confirmation_url(checked.topic, checked.token, self.certificates.local.as_ref());
            let link = link.ok_or_else(|| Rejection::new(Reason::MalformedBody))?;
            Ok::<_, Rejection>(Handshake {
                topic_arn: checked.topic.as_str().to_owned(),
                message_id: checked.message_id.to_owned(),
                timestamp: checked.timestamp,
                token: checked.token.to_owned(),
                link: link.to_string(),
            })
        };
        Ok(match checked.kind {
            MessageType::Notification => Message::Notification(Notification {
                message: checked.message.to_owned(),
                subject: checked.subject.map(str::to_owned),
                message_id: checked.message_id.to_owned(),
                topic_arn: checked.topic.as_str().to_owned(),
                timestamp: Some(checked.timestamp),
                unsubscribe_url: envelope.unsubscribe_url.as_deref().map(str::to_owned),
                attributes: envelope.message_attributes.map(|attributes| attributes.get().to_owned()),
            }),
            MessageType::SubscriptionConfirmation => Message::Confirmation(Confirmation(handshake()?)),
            MessageType::UnsubscribeConfirmation => Message::Unsubscribed(Unsubscribed(handshake()?)),
        })
    }

    /// Acts on a genuine message.
    fn act(self: &Arc<Self>, message: Message, now: SystemTime) -> MaybeReady<Outcome> {
        let received = || Outcome::Answer(Answer::empty(StatusCode::OK)).into();
        match (&message, &self.confirm, self.unsubscribe) {
            (Message::Confirmation(it), Confirm::Automatic, _) => self.confirm(&it.0.link, now),
            (Message::Unsubscribed(it), _, Unsubscribe::Resubscribe) => self.confirm(&it.0.link, now),
            (Message::Confirmation(it), Confirm::Callback(callback), _) => {
                let called = callback.clone().call(it.clone());
                MaybeReady::pending(
                    async move { called.await.map(|()| Outcome::Answer(Answer::empty(StatusCode::OK))) },
                )
            }
            (Message::Confirmation(_), Confirm::Ignore, _) => received(),
            (Message::Unsubscribed(_), _, Unsubscribe::Ignore) => received(),
            _ => Outcome::Deliver(self.verified(message)).into(),
        }
    }

    fn confirm(self: &Arc<Self>, link: &str, now: SystemTime) -> MaybeReady<Outcome> {
        let (plan, link) = (self.clone(), link.parse::<Uri>());
        MaybeReady::pending(async move {
            let link = link.map_err(|_| Rejection::new(Reason::ConfirmationFailed))?;
            plan.confirmations.confirm(plan.fetch.clone(), link, now).await?;
            Ok(Outcome::Answer(Answer::empty(StatusCode::OK)))
        })
    }

    fn verified(&self, message: Message) -> Verified {
        let (kind, id, timestamp) = match &message {
            Message::Notification(it) => (MessageType::Notification, &it.message_id, it.timestamp),
            Message::Confirmation(it) => {
                (MessageType::SubscriptionConfirmation, &it.0.message_id, Some(it.0.timestamp))
            }
            Message::Unsubscribed(it) => (MessageType::UnsubscribeConfirmation, &it.0.message_id, Some(it.0.timestamp)),
        };
        // The members of the JSON that matter are signed, but not the body as a whole.
        let signed = Signed { timestamp: true, id: true, event: true, ..Signed::default() };
        Verified::new(signed)
            .with_id(Some(id.clone().into()))
            .with_event(Some(kind.as_str().into()))
            .with_timestamp(timestamp)
            .with_body_fields(self.in_body.clone())
            .with_parsed(message)
    }

    /// A raw delivery: the payload alone, about which SNS signs nothing. Another proof was demanded when it was switched on.
    fn raw(&self, heading: &Heading<'_>, body: &Bytes) -> Result<Outcome, Rejection> {
        let id = heading.message_id.map(|id| Text::from(id.to_owned()));
        let verified = Verified::new(Signed::default())
            .with_id(id)
            .with_event(Some(MessageType::Notification.as_str().into()))
            .with_body_fields(self.in_body.clone());
        // A payload that is not text can still be had as bytes.
        Ok(Outcome::Deliver(match std::str::from_utf8(body) {
            Err(_) => verified,
            Ok(text) => verified.with_parsed(Message::Notification(Notification {
                message: text.to_owned(),
                subject: None,
                message_id: heading.message_id.unwrap_or_default().to_owned(),
                topic_arn: heading.topic_arn.unwrap_or_default().to_owned(),
                timestamp: None,
                unsubscribe_url: None,
                attributes: None,
            })),
        }))
    }
}
