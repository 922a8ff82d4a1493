//! Senders as a few declarative lines: where the signature is, what it covers, how it is made.

#[cfg(feature = "jwt")]
mod bearer;
mod builder;
mod claimed;
mod codes;
mod covers;
mod describe;
mod handshake;
#[cfg(feature = "jwt")]
mod jwks;
#[cfg(feature = "jwt")]
pub(crate) mod jwt;
pub(crate) mod mac;
mod place;
mod plan;
mod pointer;
#[cfg(feature = "asymmetric")]
mod public_key;
mod public_url;
#[cfg(feature = "testing")]
mod sign;
mod signature;
mod source;
mod start;
mod template;
mod timestamp;
mod token;
mod urlencoded;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;

use crate::config::ConfigError;
use crate::provider::{Begin, MaybeReady, Outcome, Provider, Recognition};
use crate::rejection::{Reason, Rejection};
use crate::secrets::KeysFor;
use crate::text::Text;
use crate::time::{Clock, Tolerance};

use handshake::Step;
use mac::MacKind;
use plan::{Plan, Proof};
#[cfg(feature = "asymmetric")]
use public_key::Algorithm;
use verify::{Attempt, Running};

#[allow(unused_imports, reason = "some are used by the senders behind features alone")]
pub(crate) use {
    handshake::{challenge_in, echo, member_is, object},
    mac::{Digest, Mac},
    place::{LONGEST_HEADER, single},
    plan::{Applies, Crafted, Item, wrong_method},
    pointer::member,
    template::{Computed, ComputedCovers, Piece, Values},
    urlencoded::{feed_sorted, field as form_field, is_form},
};

#[cfg(feature = "jwt")]
pub(crate) use bearer::{JwtKeys, JwtProof};
#[cfg(feature = "asymmetric")]
#[allow(unused_imports, reason = "for PayPal, which needs certificates")]
pub(crate) use plan::{Fetched, FindVerifier, Verifier};
#[cfg(all(feature = "testing", feature = "jwt", feature = "asymmetric"))]
pub(crate) use sign::TEST_KID;
#[cfg(feature = "testing")]
pub(crate) use urlencoded::encode as encode_form;

pub use builder::SchemeBuilder;
pub use describe::SchemeFacts;
pub use handshake::Handshake;
#[cfg(feature = "jwt")]
pub use jwks::{Jwks, JwksBuilder};
pub use signature::SignatureSpec;
pub use source::{Source, basic, bearer, form, header, json, numbered_headers, path_segment, query};
pub use timestamp::TimestampSpec;
pub use verify::SchemeVerification;

/// A sender that is described rather than programmed.
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::scheme::header;
/// use tower_webhook::Scheme;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let acme = Scheme::hmac_sha256()
///     .signature(header("x-acme-signature").prefix("v1=").hex())
///     .timestamp(header("x-acme-timestamp").unix_seconds().within(Duration::from_secs(300)))
///     .signed("{timestamp}.{body}")
///     .id(header("x-acme-delivery"))
///     .event(header("x-acme-event"))
///     .secret("whatever Acme's portal shows")
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
///
/// A clone shares everything.
#[derive(Clone)]
pub struct Scheme {
    first: Arc<Plan>,
    /// Other forms that the sender uses as well.
    rest: Arc<[Arc<Plan>]>,
}

impl Scheme {
    /// A sender that signs with HMAC-SHA256.
    pub fn hmac_sha256() -> SchemeBuilder {
        SchemeBuilder::mac(MacKind::Sha256)
    }

    /// A sender that signs with HMAC-SHA512.
    pub fn hmac_sha512() -> SchemeBuilder {
        SchemeBuilder::mac(MacKind::Sha512)
    }

    /// A sender that signs with HMAC-SHA1. No forgery of it is known, but nobody should choose it today.
    pub fn hmac_sha1_for_legacy_senders_only() -> SchemeBuilder {
        SchemeBuilder::mac(MacKind::Sha1)
    }

    /// A sender that signs with SHA-256 of the secret followed by the text. This is **no** HMAC: whoever has seen one signed
    /// text can append to it and sign the result, without the secret. The body has to be one JSON value with nothing
    /// behind it, which closes that way for JSON.
    pub fn sha256_of_secret_and_text_for_legacy_senders_only() -> SchemeBuilder {
        SchemeBuilder::mac(MacKind::SecretThenTextSha256)
    }

    /// A sender that repeats a shared secret at this place. It proves who sends and covers nothing: body and headers are
    /// as trustworthy as the connection.
    ///
    /// ```
    /// use tower_webhook::Scheme;
    /// use tower_webhook::scheme::header;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let acme = Scheme::token(header("x-acme-token")).secret("a long random text").build("acme")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn token(place: Source) -> SchemeBuilder {
        SchemeBuilder::token(place)
    }

    /// A sender that signs with Ed25519. Keys are set by [`public_key`](SchemeBuilder::public_key).
    #[cfg(feature = "asymmetric")]
    pub fn ed25519() -> SchemeBuilder {
        SchemeBuilder::public(Algorithm::Ed25519)
    }

    /// A sender that signs with ECDSA on P-256 and SHA-256, the signature in DER. Keys are set by
    /// [`public_key`](SchemeBuilder::public_key).
    #[cfg(feature = "asymmetric")]
    pub fn ecdsa_p256() -> SchemeBuilder {
        SchemeBuilder::public(Algorithm::EcdsaP256)
    }

    /// A sender that signs with RSA PKCS#1 v1.5 and SHA-256, with keys of 2048 bits and more. Keys are set by
    /// [`public_key`](SchemeBuilder::public_key).
    #[cfg(feature = "asymmetric")]
    pub fn rsa_pkcs1_sha256() -> SchemeBuilder {
        SchemeBuilder::public(Algorithm::RsaPkcs1Sha256)
    }

    /// A scheme that takes what either of the two takes: a sender that is about to change how it signs. Name, limit and
    /// handshakes are those of the first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let rest = self.rest.iter().cloned().chain([other.first]).chain(other.rest.iter().cloned());
        Self { rest: rest.collect(), first: self.first }
    }

    /// Another tolerance of the timestamp than the sender's usual one.
    ///
    /// # Errors
    ///
    /// Where the scheme reads no timestamp.
    pub fn with_tolerance(self, tolerance: Tolerance) -> Result<Self, ConfigError> {
        if self.plans().all(|plan| plan.tolerance().is_none()) {
            return Err(ConfigError::conflict("this sender has no timestamp, so a tolerance means nothing"));
        }
        Ok(self.with(|plan| {
            if let Some(own) = plan.tolerance_mut() {
                *own = tolerance;
            }
        }))
    }

    /// Another limit for the body than the sender's usual one, in bytes.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.with(|plan| plan.body_limit = bytes)
    }

    /// One more handshake.
    #[must_use]
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        Arc::make_mut(&mut self.first).handshakes.push(handshake);
        self
    }

    fn with(self, set: impl Fn(&mut Plan)) -> Self {
        let changed = |plan: &Arc<Plan>| {
            let mut plan = Plan::clone(plan);
            set(&mut plan);
            Arc::new(plan)
        };
        Self { first: changed(&self.first), rest: self.rest.iter().map(changed).collect() }
    }

    fn plans(&self) -> impl Iterator<Item = &Plan> {
        std::iter::once(&self.first).chain(self.rest.iter()).map(|plan| &**plan)
    }
}

impl Provider for Scheme {
    type Verification = SchemeVerification;

    fn name(&self) -> &Text {
        &self.first.name
    }

    fn body_limit(&self) -> usize {
        self.first.body_limit
    }

    /// Where the signature is in the body or the path, every request could be the sender's.
    fn recognizes(&self, head: &Parts) -> Recognition {
        if self.first.handshakes.iter().any(|handshake| handshake.recognizes(head)) {
            return Recognition::Yes;
        }
        let plans = self.plans().filter(|plan| plan.is_for(head));
        plans
            .map(|plan| plan.recognizes(head))
            .max_by_key(|found| match found {
                Recognition::Yes => 2,
                Recognition::Perhaps => 1,
                Recognition::No => 0,
            })
            .unwrap_or(Recognition::No)
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.plans().filter(|plan| plan.is_for(head)).any(|plan| plan.is_in_body(head, body))
    }

    fn refuse(&self, _: &Parts, rejection: Rejection) -> Rejection {
        self.first.refusal(rejection)
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
        // Where nobody looks at the time, a time that no timestamp is near saves the asking.
        let now = match self.plans().any(|plan| plan.is_timed) {
            true => clock.now(),
            false => SystemTime::UNIX_EPOCH,
        };
        for handshake in &self.first.handshakes {
            let Some(step) = handshake.begin(head) else { continue };
            return match step? {
                Step::Answer(answer) => Ok(Begin::Answer(answer).into()),
                Step::UnsignedBody(answer) => {
                    let running = Running::Unsigned(answer);
                    Ok(Begin::Verify(Attempt::without_claims(0, running, now).into()).into())
                }
                Step::Keyed { answer, challenge, label } => {
                    self.answer_by_key(head, move |mac| answer(mac, &challenge, &label))
                }
            };
        }
        match self.rest.is_empty() && self.first.is_for(head) {
            true => start::one(&self.first, head, now),
            false => start::any(self, head, now),
        }
    }

    fn receive(&self, verification: &mut SchemeVerification, head: &Parts, chunk: &[u8]) {
        for attempt in std::iter::once(&mut verification.first).chain(&mut verification.rest) {
            attempt.receive(self.form(attempt.form), head, chunk);
        }
    }

    fn finish(
        &self,
        verification: &mut SchemeVerification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let SchemeVerification { first, rest: others } = verification;
        if others.is_empty() {
            return first.finish(self.form(first.form), head, body, rest);
        }
        let finish = |attempt: &mut Attempt| attempt.finish(self.form(attempt.form), head, body, rest);
        verify::best(finish(first), others.iter_mut().map(finish).collect())
    }
}

impl Scheme {
    fn form(&self, index: usize) -> &Arc<Plan> {
        index.checked_sub(1).and_then(|index| self.rest.get(index)).unwrap_or(&self.first)
    }

    fn answer_by_key(
        &self,
        head: &Parts,
        answer: impl FnOnce(&Mac) -> Result<crate::Answer, Rejection> + Send + 'static,
    ) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
        let Proof::Mac { keys, .. } = &self.first.proof else { return Err(Reason::MethodNotAllowed.into()) };
        let first = |keys: KeysFor<Mac>| match (keys.known, keys.ring.into_iter().next()) {
            (true, Some(mac)) => Ok(mac),
            _ => Err(Rejection::new(Reason::UnknownTenant)),
        };
        match keys.find(head, None) {
            MaybeReady::Ready(keys) => answer(&first(keys)?).map(|answer| Begin::Answer(answer).into()),
            MaybeReady::Pending(keys) => {
                Ok(MaybeReady::pending(async move { answer(&first(keys.await?)?).map(Begin::Answer) }))
            }
        }
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheme").field("name", &self.first.name).finish_non_exhaustive()
    }
}
