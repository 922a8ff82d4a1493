//! The verification of one request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use aws_lc_rs::digest::Digest;
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, Uri};

use crate::answer::Answer;
use crate::delivery::{Signed, Verified};
use crate::fetch::{self, Found, Fresh};
use crate::provider::{Outcome, Verification};
use crate::reject::{Reason, Rejection};
use crate::text::Text;

use super::address::{confirmation_url, is_certificate_url};
use super::basic::Access;
use super::certificate::SigningKey;
use super::confirm::{Confirm, Unsubscribe};
use super::envelope::{Checked, Envelope, MessageType, SignatureVersion};
use super::message::{Confirmation, Handshake, Message, Notification, Unsubscribed};
use super::{Heading, Plan, TopicArn};

/// A request being verified by [`Sns`](super::Sns).
pub struct SnsVerification {
    plan: Arc<Plan>,
    now: SystemTime,
    access: Access,
}

impl SnsVerification {
    pub(super) fn new(plan: Arc<Plan>, now: SystemTime, access: Access) -> Self {
        Self { plan, now, access }
    }
}

impl fmt::Debug for SnsVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsVerification").field("access", &self.access).finish_non_exhaustive()
    }
}

/// The verdict on a request: at once where the certificate is at hand, otherwise after a fetch.
pub struct SnsVerdict(Step);

enum Step {
    Now(Option<Result<Outcome, Rejection>>),
    Later(Later),
}

type Later = Pin<Box<dyn Future<Output = Result<Outcome, Rejection>> + Send>>;

impl Step {
    fn now(result: Result<Outcome, Rejection>) -> Self {
        Self::Now(Some(result))
    }
}

impl Future for SnsVerdict {
    type Output = Result<Outcome, Rejection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Step::Now(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => panic!("an SNS verdict was polled after it was ready"),
            },
            Step::Later(later) => later.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for SnsVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsVerdict").finish_non_exhaustive()
    }
}

impl Verification for SnsVerification {
    type Verdict = SnsVerdict;

    /// The signature covers members of the JSON in an order of its own, so nothing can be done before the whole is there.
    fn receive(&mut self, _chunk: &[u8]) {}

    fn finish(self, head: &Parts, body: &Bytes) -> SnsVerdict {
        SnsVerdict(match self.access {
            Access::Granted => self.judge(head, body).unwrap_or_else(|rejection| Step::now(Err(rejection))),
            Access::Challenge => self.challenge(head, body),
        })
    }
}

impl SnsVerification {
    /// SNS's first attempt, without credentials. Its body was received so that the connection can carry the second one. Only
    /// a confirmation may be acted upon, and whatever comes of that, the answer is the challenge.
    fn challenge(self, head: &Parts, body: &Bytes) -> Step {
        let challenge = Outcome::Answer(self.plan.basic.challenge());
        let confirms = self.plan.confirm_unauthenticated
            && Heading::of(head).is_ok_and(|heading| !heading.is_raw())
            && Envelope::parse(body)
                .is_ok_and(|it| it.r#type.as_deref() == Some(MessageType::SubscriptionConfirmation.as_str()));
        match confirms.then(|| self.judge(head, body)) {
            Some(Ok(Step::Later(later))) => Step::Later(Box::pin(async move {
                let _ = later.await;
                Ok(challenge)
            })),
            _ => Step::now(Ok(challenge)),
        }
    }

    fn judge(self, head: &Parts, body: &Bytes) -> Result<Step, Rejection> {
        let heading = Heading::of(head)?;
        if heading.is_raw() {
            return self.plan.raw(&heading, body).map(|outcome| Step::now(Ok(outcome)));
        }
        let envelope = Envelope::parse(body)?;
        let checked = envelope.check()?;
        heading.agree(&checked)?;
        let plan = &self.plan;
        plan.check_topic(checked.topic)?;
        plan.check_age(checked.timestamp, self.now)?;
        plan.check_version(checked.version)?;
        let url = checked.signing_cert_url;
        let local = plan.certificates.local.as_ref();
        if !is_certificate_url(url, checked.topic, local) {
            return Err(Rejection::new(Reason::MalformedSignature)
                .with_detail("its SigningCertURL is not one of the topic's region"));
        }
        let claim = Claim {
            digest: envelope.digest(checked.kind, checked.version),
            version: checked.version,
            message: plan.message(&envelope, &checked)?,
            signature: checked.signature,
        };
        let now = self.now;
        let found = match self.plan.find_key(url, claim.message.topic(), now) {
            Found::Now(key) => match claim.is_signed_by(&*key?) {
                true => return Ok(self.plan.act(claim.message, now)),
                // The key may have changed under its address: emulators do that with each start.
                false => self.plan.find_key_again(url, claim.message.topic(), now),
            },
            later => Some(later),
        };
        let found = found.ok_or(Reason::SignatureMismatch)?;
        Ok(Step::Later(Box::pin(claim.verify_after(found, self.plan, now))))
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
        match plan.act(self.message, now) {
            Step::Now(Some(result)) => result,
            Step::Now(None) => Err(Rejection::new(Reason::ConfirmationFailed)),
            Step::Later(later) => later.await,
        }
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
    fn act(self: &Arc<Self>, message: Message, now: SystemTime) -> Step {
        let received = || Step::now(Ok(Outcome::Answer(Answer::empty(StatusCode::OK))));
        match (&message, &self.confirm, self.unsubscribe) {
            (Message::Confirmation(it), Confirm::Automatic, _) => self.confirm(&it.0.link, now),
            (Message::Unsubscribed(it), _, Unsubscribe::Resubscribe) => self.confirm(&it.0.link, now),
            (Message::Confirmation(it), Confirm::Callback(callback), _) => {
                let called = callback.clone().call(it.clone());
                Step::Later(Box::pin(
                    async move { called.await.map(|()| Outcome::Answer(Answer::empty(StatusCode::OK))) },
                ))
            }
            (Message::Confirmation(_), Confirm::Ignore, _) => received(),
            (Message::Unsubscribed(_), _, Unsubscribe::Ignore) => received(),
            _ => Step::now(Ok(Outcome::Deliver(self.verified(message)))),
        }
    }

    fn confirm(self: &Arc<Self>, link: &str, now: SystemTime) -> Step {
        let (plan, link) = (self.clone(), link.parse::<Uri>());
        Step::Later(Box::pin(async move {
            let link = link.map_err(|_| Rejection::new(Reason::ConfirmationFailed))?;
            plan.confirmations.confirm(plan.fetch.clone(), link, now).await?;
            Ok(Outcome::Answer(Answer::empty(StatusCode::OK)))
        }))
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
            .with_identity(self.identity.clone())
            .with_parsed(message)
    }

    /// A raw delivery: the payload alone, about which SNS signs nothing. Another proof was demanded when it was switched on.
    fn raw(&self, heading: &Heading<'_>, body: &Bytes) -> Result<Outcome, Rejection> {
        let id = heading.message_id.map(|id| Text::from(id.to_owned()));
        let verified = Verified::new(Signed::default())
            .with_id(id)
            .with_event(Some(MessageType::Notification.as_str().into()))
            .with_identity(self.identity.clone());
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
