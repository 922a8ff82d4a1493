//! Verifying a message, and acting on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::SystemTime;

use aws_lc_rs::digest::Digest;
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, Uri};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::body_fields::BodyFields;
use crate::certificate::{CertificateKey, CertificateRules};
use crate::delivery::{Signed, Verified};
use crate::fetch::{self, Cache, Fetch, Fresh};
use crate::provider::{MaybeReady, Outcome};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::Tolerance;
use crate::uri::requested_uri;

use super::address::{Emulator, certificate_url};
use super::arn::TopicArn;
use super::basic_auth::{Access, BasicAuth};
use super::confirm::{Confirm, Confirmations, Unsubscribe};
use super::envelope::{Envelope, SignatureVersion};
use super::headers::SnsHeaders;
use super::message::{Message, MessageType, Notification};
use super::topics::Topics;

/// Our side of the subscriptions: the settings, and what is kept between requests.
pub(super) struct Subscriber {
    pub(super) name: Text,
    pub(super) topics: Topics,
    pub(super) basic_auth: BasicAuth,
    pub(super) confirm_unauthenticated: bool,
    /// How many challenges were given since the last request with right credentials.
    pub(super) unanswered: AtomicU32,
    pub(super) raw: Option<RawAccess>,
    pub(super) tolerance: Option<Tolerance>,
    pub(super) version_2_only: bool,
    pub(super) certificates: CertificateRules,
    pub(super) emulator: Option<Emulator>,
    pub(super) keys: Cache<CertificateKey>,
    pub(super) confirm: Confirm,
    pub(super) unsubscribe: Unsubscribe,
    pub(super) confirmations: Confirmations,
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) body_fields: Option<Arc<BodyFields>>,
}

/// How a raw delivery is proven.
pub(super) enum RawAccess {
    /// By the Basic credentials, or by something in front of the layer. There is nothing more to
    /// check here.
    Proven,
    /// By the last segment of the path.
    SecretPath(Zeroizing<String>),
}

/// A message that was not verified yet, with what that takes.
struct SignedMessage {
    message: Message,
    digest: Digest,
    signature: Vec<u8>,
}

impl SignedMessage {
    fn is_signed_by(&self, key: &CertificateKey) -> bool {
        key.verifies_digest(&self.digest, &self.signature)
    }
}

impl Subscriber {
    pub(super) fn name(&self) -> &Text {
        &self.name
    }

    /// Refuses by the head alone what no body could save.
    pub(super) fn check_head(&self, head: &Parts) -> Result<Access, Rejection> {
        let headers = SnsHeaders::of(head)?;
        let access = self.basic_auth.access(head)?;
        if access == Access::Granted {
            self.unanswered.store(0, Relaxed);
            self.check_headers(&headers, head)?;
        }
        Ok(access)
    }

    fn check_headers(&self, headers: &SnsHeaders<'_>, head: &Parts) -> Result<(), Rejection> {
        match headers.topic_arn {
            Some(arn) => {
                let malformed = || {
                    Rejection::new(Reason::MalformedHeader)
                        .with_detail("x-amz-sns-topic-arn is not the name of a topic")
                };
                self.check_topic(TopicArn::parse(arn).ok_or_else(malformed)?)?;
            }
            None if headers.is_raw() => {
                return Err(
                    Rejection::new(Reason::MissingHeader).with_detail("a raw delivery has no x-amz-sns-topic-arn")
                );
            }
            None => {}
        }
        if !headers.is_raw() {
            return Ok(());
        }
        match &self.raw {
            None => Err(Rejection::new(Reason::MissingSignature).with_detail("raw delivery is not enabled")),
            Some(RawAccess::Proven) => Ok(()),
            Some(RawAccess::SecretPath(secret)) => {
                let given = requested_uri(head).path().rsplit('/').next().unwrap_or_default();
                if bool::from(given.as_bytes().ct_eq(secret.as_bytes())) {
                    Ok(())
                } else {
                    Err(Rejection::new(Reason::SignatureMismatch).with_detail("the secret path is wrong"))
                }
            }
        }
    }

    fn check_topic(&self, topic: TopicArn<'_>) -> Result<(), Rejection> {
        if self.topics.allow(topic) {
            return Ok(());
        }
        // Its characters and its length were checked, so it can be logged.
        Err(Rejection::new(Reason::NotForUs)
            .with_detail(format!("{topic} is none of the allowed `topics` or `accounts`")))
    }

    fn check_age(&self, timestamp: SystemTime, now: SystemTime) -> Result<(), Rejection> {
        self.tolerance.map_or(Ok(()), |tolerance| tolerance.check("Timestamp, when it was published,", timestamp, now))
    }

    fn check_version(&self, version: SignatureVersion) -> Result<(), Rejection> {
        if self.version_2_only && version != SignatureVersion::V2 {
            return Err(Rejection::new(Reason::UnacceptableAlgorithm).with_detail("SignatureVersion 2 is required"));
        }
        Ok(())
    }

    /// Answers SNS's first attempt, which has no credentials. Its body was received so that the
    /// connection can carry the second one. Only a confirmation may be acted on.
    ///
    /// The response is the challenge even if the confirmation is refused, as another one would tell
    /// which topics are allowed; the refusal is reported. Failures on our side are told, so
    /// that SNS asks again.
    pub(super) fn challenge(
        self: &Arc<Self>,
        head: &Parts,
        body: &Bytes,
        now: SystemTime,
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let confirms = self.confirm_unauthenticated
            && SnsHeaders::of(head).is_ok_and(|headers| !headers.is_raw())
            && Envelope::parse(body)
                .is_ok_and(|it| it.r#type.as_deref() == Some(MessageType::SubscriptionConfirmation.as_str()));
        if !confirms {
            return Ok(Outcome::Answer(self.count_challenge(self.basic_auth.challenge())).into());
        }
        let challenge = self.basic_auth.challenge();
        let settle = |verdict| match verdict {
            Ok(Outcome::Answer(_)) => Ok(Outcome::Answer(challenge)),
            // The handler confirms by hand, so it answers too.
            Ok(delivery) => Ok(delivery),
            Err(rejection) if Rejection::reason(&rejection).is_transient() => Err(rejection),
            Err(rejection) => Ok(Outcome::Answer(challenge.with_report(rejection))),
        };
        match self.verify(head, body, now) {
            Ok(MaybeReady::Ready(outcome)) => settle(Ok(outcome)).map(Into::into),
            Ok(MaybeReady::Pending(pending)) => Ok(MaybeReady::pending(async move { settle(pending.await) })),
            Err(rejection) => settle(Err(rejection)).map(Into::into),
        }
    }

    /// Counts a challenge, and reports the fourth, eighth, sixteenth in a row: it seems that the
    /// endpoint was subscribed without credentials, so that SNS drops every message.
    fn count_challenge(&self, challenge: Answer) -> Answer {
        let unanswered = self.unanswered.fetch_add(1, Relaxed).saturating_add(1);
        if unanswered < 4 || !unanswered.is_power_of_two() {
            return challenge;
        }
        challenge.with_report(Rejection::new(Reason::MissingSignature).with_detail(format!(
            "{unanswered} requests in a row had no Basic credentials: is the endpoint subscribed as https://user:password@..?"
        )))
    }

    /// Verifies a message and acts on it.
    pub(super) fn verify(
        self: &Arc<Self>,
        head: &Parts,
        body: &Bytes,
        now: SystemTime,
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let headers = SnsHeaders::of(head)?;
        if headers.is_raw() {
            return Ok(Outcome::Deliver(self.verified_raw(&headers, body)).into());
        }
        let envelope = Envelope::parse(body)?;
        let unverified = envelope.check(self.emulator.as_ref())?;
        headers.check(&unverified.message)?;
        self.check_topic(unverified.topic)?;
        self.check_age(unverified.timestamp, now)?;
        self.check_version(unverified.version)?;
        let topic = unverified.topic;
        let url = certificate_url(unverified.signing_cert_url, topic, self.emulator.as_ref());
        let url = &*url.ok_or_else(|| self.misplaced(topic))?;
        let load = || self.clone().load_key(url.to_owned(), topic.signers(), now);
        let signed = SignedMessage {
            digest: envelope.digest(unverified.message.kind(), unverified.version),
            message: unverified.message,
            signature: unverified.signature,
        };
        let key = match self.keys.find(url, now, load)? {
            MaybeReady::Ready(key) => {
                if signed.is_signed_by(&key) {
                    return Ok(self.act(signed.message, now));
                }
                // The key behind the URL may have changed: emulators have a new one after each start.
                self.keys.refetch(url, now, load)?.ok_or(Reason::SignatureMismatch)?
            }
            pending => pending,
        };
        let subscriber = self.clone();
        Ok(MaybeReady::pending(async move {
            if !signed.is_signed_by(&*key.wait().await?) {
                return Err(Reason::SignatureMismatch.into());
            }
            subscriber.act(signed.message, now).wait().await
        }))
    }

    fn misplaced(&self, topic: TopicArn<'_>) -> Rejection {
        Rejection::new(Reason::MalformedSignature).with_detail(match &self.emulator {
            None => format!(
                "SigningCertURL is not that of a certificate at {}, the host of the topic's region",
                topic.host()
            ),
            Some(_) => "SigningCertURL is not that of a certificate under the configured `path_prefix`".to_owned(),
        })
    }

    async fn load_key(
        self: Arc<Self>,
        url: String,
        signers: Vec<String>,
        now: SystemTime,
    ) -> Result<Fresh<CertificateKey>, Rejection> {
        let unusable = |detail| Rejection::new(Reason::KeyUnavailable).with_detail(detail);
        let uri = url.parse().map_err(|_| unusable("SigningCertURL is not a URL"))?;
        let pem = fetch::get(&*self.fetch, uri, Reason::KeyUnavailable).await?;
        self.certificates
            .judge(&pem, &signers, now)
            .map_err(|fault| unusable("the certificate is not acceptable").with_source(fault))
    }

    /// Acts on a genuine message.
    fn act(self: &Arc<Self>, message: Message, now: SystemTime) -> MaybeReady<Outcome> {
        let received = || Outcome::Answer(Answer::empty(StatusCode::OK));
        match (&message, &self.confirm, self.unsubscribe) {
            (Message::Confirmation(it), Confirm::Automatic, _) => self.confirm(&it.0.url, now),
            (Message::Unsubscribed(it), _, Unsubscribe::Resubscribe) => self.confirm(&it.0.url, now),
            (Message::Confirmation(it), Confirm::Callback(callback), _) => {
                let called = callback.clone().call(it.clone());
                MaybeReady::pending(async move { called.await.map(|()| received()) })
            }
            (Message::Confirmation(_), Confirm::Ignore, _) => received().into(),
            (Message::Unsubscribed(_), _, Unsubscribe::Ignore) => received().into(),
            _ => Outcome::Deliver(self.verified(message)).into(),
        }
    }

    fn confirm(self: &Arc<Self>, url: &str, now: SystemTime) -> MaybeReady<Outcome> {
        let (subscriber, url) = (self.clone(), url.parse::<Uri>());
        MaybeReady::pending(async move {
            let url = url.map_err(|_| Rejection::new(Reason::ConfirmationFailed))?;
            subscriber.confirmations.confirm(subscriber.fetch.clone(), url, now).await?;
            Ok(Outcome::Answer(Answer::empty(StatusCode::OK)))
        })
    }

    fn verified(&self, message: Message) -> Verified {
        let timestamp = match &message {
            Message::Notification(it) => it.timestamp,
            Message::Confirmation(it) => Some(it.timestamp()),
            Message::Unsubscribed(it) => Some(it.timestamp()),
        };
        // The members of the JSON that matter are signed, but not the body as a whole.
        let signed = Signed::default().with_timestamp(true).with_id(true).with_event(true);
        Verified::new(signed)
            .with_id(Some(message.id().to_owned().into()))
            .with_event(Some(message.kind().as_str().into()))
            .with_timestamp(timestamp)
            .with_fresh_for(self.tolerance.map(Tolerance::width))
            .with_body_fields(self.body_fields.clone())
            .with_parsed(message)
    }

    /// A raw delivery is the payload alone, and SNS signs nothing about it. Its proof was checked
    /// with the head.
    fn verified_raw(&self, headers: &SnsHeaders<'_>, body: &Bytes) -> Verified {
        let verified = Verified::new(Signed::default())
            .with_id(headers.message_id.map(|id| Text::from(id.to_owned())))
            .with_event(Some(MessageType::Notification.as_str().into()))
            .with_body_fields(self.body_fields.clone());
        // A payload that is not UTF-8 is delivered too, as bytes only.
        match std::str::from_utf8(body) {
            Err(_) => verified,
            Ok(text) => verified.with_parsed(Message::Notification(Notification::raw(
                text,
                headers.message_id.unwrap_or_default(),
                headers.topic_arn.unwrap_or_default(),
            ))),
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("name", &self.name)
            .field("topics", &self.topics)
            .field("confirm", &self.confirm)
            .finish_non_exhaustive()
    }
}
