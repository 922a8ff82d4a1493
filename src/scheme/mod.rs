//! Senders as a few declarative lines: where the signature is, what it covers, how it is made.

mod builder;
mod custom;
mod form;
mod handshake;
#[cfg(feature = "jwt")]
mod jwt;
mod mac;
mod place;
mod proof;
#[cfg(feature = "asymmetric")]
mod public_key;
#[cfg(feature = "testing")]
mod sign;
mod signature;
mod signed_text;
mod source;
mod template;
mod timestamp;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use crate::behavior::Behavior;
use crate::config::ConfigError;
use crate::mac::MacKind;
use crate::provider::{Begin, MaybeReady, Outcome, Provider, Recognition};
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{Clock, Tolerance};

use handshake::{AnswerUnsigned, Step};
use mac::MacProof;
use proof::{AnyAttempt, AnyForm};
#[cfg(feature = "asymmetric")]
use public_key::{Algorithm, PublicKeyProof};
use token::TokenProof;

#[allow(unused_imports, reason = "some are used only by senders behind features")]
pub(crate) use {
    custom::{HeaderRule, Item, Rule},
    form::wrong_method,
    handshake::{challenge_in, echo, member_is, object},
    signature::Signature,
    template::Values,
};

#[cfg(feature = "paypal")]
pub(crate) use custom::{FetchKey, Verifier};
#[cfg(all(feature = "testing", feature = "jwt", feature = "asymmetric"))]
pub(crate) use jwt::TEST_KID;
#[cfg(feature = "testing")]
#[allow(unused_imports, reason = "some are used only by senders behind features")]
pub(crate) use sign::{SignWith, Signer, Unsigned};

#[cfg(feature = "jwt")]
pub(crate) use jwt::JwtRules;

#[cfg(feature = "jwt")]
pub use crate::jwt::Jwks;
pub use builder::SchemeBuilder;
pub use handshake::Handshake;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use sign::SchemeFacts;
pub use signature::SignatureSpec;
pub(crate) use source::part;
pub use source::{Source, basic, bearer, form, header, json, numbered_headers, path_segment, query};
pub use timestamp::TimestampSpec;

/// A sender that is described in a few declarative lines.
///
/// # Examples
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
/// Clones share everything.
#[derive(Clone)]
pub struct Scheme(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    name: Text,
    body_limit: usize,
    behavior: Behavior,
    handshakes: Vec<Handshake>,
    /// The status of every permanent rejection, if it is always the same.
    refusal: Option<StatusCode>,
    /// The status of a request without a signature, if the sender then sends it again with one.
    unsigned: Option<StatusCode>,
    is_timed: bool,
    /// The forms in which the sender signs, the usual one first. There is at least one.
    forms: Vec<AnyForm>,
}

impl Scheme {
    /// A sender that signs with HMAC-SHA256.
    pub fn hmac_sha256() -> SchemeBuilder {
        Self::mac(MacKind::Sha256)
    }

    /// A sender that signs with HMAC-SHA512.
    pub fn hmac_sha512() -> SchemeBuilder {
        Self::mac(MacKind::Sha512)
    }

    /// A sender that signs with HMAC-SHA1. No forgery of it is known, but nobody should choose it today.
    pub fn hmac_sha1_for_legacy_senders_only() -> SchemeBuilder {
        Self::mac(MacKind::Sha1)
    }

    /// A sender that signs with SHA-256 of the secret followed by the text. This is **no** HMAC: whoever has seen one signed
    /// text can append to it and sign the result, without the secret. The body has to be one JSON value with nothing
    /// behind it, which closes that way for JSON.
    pub fn sha256_of_secret_and_text_for_legacy_senders_only() -> SchemeBuilder {
        Self::mac(MacKind::SecretThenTextSha256)
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
        SchemeBuilder::new(move |builder| builder.form(TokenProof::new(&place, builder)?))
    }

    /// A sender that signs with Ed25519. Keys are set by [`public_key`](SchemeBuilder::with_public_key).
    #[cfg(feature = "asymmetric")]
    pub fn ed25519() -> SchemeBuilder {
        Self::public(Algorithm::Ed25519)
    }

    /// A sender that signs with ECDSA on P-256 and SHA-256, the signature in DER. Keys are set by
    /// [`public_key`](SchemeBuilder::with_public_key).
    #[cfg(feature = "asymmetric")]
    pub fn ecdsa_p256() -> SchemeBuilder {
        Self::public(Algorithm::EcdsaP256)
    }

    /// A sender that signs with RSA PKCS#1 v1.5 and SHA-256, with keys of 2048 bits and more. Keys are set by
    /// [`public_key`](SchemeBuilder::with_public_key).
    #[cfg(feature = "asymmetric")]
    pub fn rsa_pkcs1_sha256() -> SchemeBuilder {
        Self::public(Algorithm::RsaPkcs1Sha256)
    }

    fn mac(kind: MacKind) -> SchemeBuilder {
        SchemeBuilder::new(move |builder| builder.form(MacProof::new(kind, builder)?))
    }

    #[cfg(feature = "asymmetric")]
    fn public(algorithm: Algorithm) -> SchemeBuilder {
        SchemeBuilder::new(move |builder| builder.form(PublicKeyProof::new(algorithm, builder)?))
    }

    /// Accepts what either of the two accepts: for a sender that is about to change how it signs. The handshakes are those of
    /// both, the body limit is the larger one, and everything else is that of the first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let other = Arc::unwrap_or_clone(other.0);
        self.with(|own| {
            own.body_limit = own.body_limit.max(other.body_limit);
            own.handshakes.extend(other.handshakes);
            own.is_timed |= other.is_timed;
            own.forms.extend(other.forms);
        })
    }

    /// Sets another tolerance of the timestamp than the sender's usual one.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme reads no timestamp.
    pub fn with_tolerance(self, tolerance: Tolerance) -> Result<Self, ConfigError> {
        let mut is_set = false;
        let scheme = self.with(|own| {
            for form in &mut own.forms {
                is_set |= form.set_tolerance(tolerance);
            }
        });
        if !is_set {
            return Err(ConfigError::conflict("this sender has no timestamp, so a tolerance means nothing"));
        }
        Ok(scheme)
    }

    /// Sets another limit for the body than the sender's usual one, in bytes.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.with(|own| own.body_limit = bytes)
    }

    /// Adds a handshake.
    #[must_use]
    pub fn with_handshake(self, handshake: Handshake) -> Self {
        self.with(|own| own.handshakes.push(handshake))
    }

    /// Sets which of the secrets, by its position in their list, answers the challenges of a sender that wants a MAC
    /// without signing its question: X, LinkedIn and Braintree. It has to be the one that the sender knows. The default is
    /// the first, and if there are fewer, the last one answers.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::{Secrets, senders};
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// // X still has the old secret. Deliveries by either are accepted.
    /// let x = senders::twitter(Secrets::new(["the new one", "the old one"]))?.with_challenge_key(1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_challenge_key(self, index: usize) -> Self {
        self.with(|own| own.handshakes.iter_mut().for_each(|handshake| handshake.by_key(index)))
    }

    /// Sets how the sender behaves around its requests.
    #[must_use]
    pub fn with_behavior(self, behavior: Behavior) -> Self {
        self.with(|own| own.behavior = behavior)
    }

    fn with(mut self, set: impl FnOnce(&mut Inner)) -> Self {
        set(Arc::make_mut(&mut self.0));
        self
    }
}

impl Provider for Scheme {
    type Verification = SchemeVerification;

    fn name(&self) -> &Text {
        &self.0.name
    }

    fn body_limit(&self) -> usize {
        self.0.body_limit
    }

    fn behavior(&self) -> &Behavior {
        &self.0.behavior
    }

    /// If the signature is in the body or the path, every request could be the sender's.
    fn recognizes(&self, head: &Parts) -> Recognition {
        if self.0.handshakes.iter().any(|handshake| handshake.recognizes(head)) {
            return Recognition::Yes;
        }
        let mut best = Recognition::No;
        for form in self.forms_for(head) {
            match form.recognizes(head) {
                Recognition::Yes => return Recognition::Yes,
                Recognition::Perhaps => best = Recognition::Perhaps,
                Recognition::No => {}
            }
        }
        best
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.forms_for(head).any(|form| form.recognizes_body(head, body))
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
        let inner = &*self.0;
        // Schemes without timestamps never read the clock.
        let now = if inner.is_timed { clock.now() } else { SystemTime::UNIX_EPOCH };
        for handshake in &inner.handshakes {
            match handshake.begin(head).transpose()? {
                None => {}
                Some(Step::Answer(answer)) => return answer.and_then(|answer| Ok(Begin::Answer(answer))),
                Some(Step::UnsignedBody(answer)) => {
                    return Ok(Begin::Verify(SchemeVerification(State::Question(answer))).into());
                }
            }
        }
        match &inner.forms[..] {
            // Nearly every request.
            [form] if form.is_for(head) => form.begin(head, now, |first| verify(first, Vec::new())),
            _ => self.begin_all(head, now),
        }
    }

    fn receive(&self, verification: &mut SchemeVerification, head: &Parts, chunk: &[u8]) {
        if let State::Verify { first, rest } = &mut verification.0 {
            std::iter::once(first).chain(rest).for_each(|attempt| attempt.receive(head, chunk));
        }
    }

    fn finish(
        &self,
        verification: &mut SchemeVerification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let handshakes = &self.0.handshakes;
        match &mut verification.0 {
            State::Question(answer) => Ok(Outcome::Answer(answer(body)?.ok_or(Reason::MissingSignature)?).into()),
            State::Verify { first, rest: others } if others.is_empty() => first.finish(handshakes, head, body, rest),
            State::Verify { first, rest: others } => {
                let finish = |attempt: &mut AnyAttempt| attempt.finish(handshakes, head, body, rest);
                best(finish(first), others.iter_mut().map(finish).collect())
            }
        }
    }

    /// Sets the one status that a sender looks for, and asks for a bearer token if that is the proof.
    fn refuse(&self, _: &Parts, rejection: Rejection) -> Rejection {
        let rejection = match (self.0.unsigned, self.0.refusal) {
            (Some(status), _) if rejection.reason() == Reason::MissingSignature => {
                rejection.with_documented_status(status)
            }
            (_, Some(status)) if !rejection.reason().is_transient() => rejection.with_status(status),
            _ => rejection,
        };
        match self.0.forms.first() {
            #[cfg(feature = "jwt")]
            Some(AnyForm::Jwt(form)) if form.proof.is_bearer() => crate::jwt::challenge(rejection),
            _ => rejection,
        }
    }
}

impl Scheme {
    fn forms_for<'a>(&'a self, head: &'a Parts) -> impl Iterator<Item = &'a AnyForm> {
        self.0.forms.iter().filter(|form| form.is_for(head))
    }

    /// Begins with every form that the head fits.
    fn begin_all(&self, head: &Parts, now: SystemTime) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
        let mut begun = Vec::new();
        let mut fault: Option<Rejection> = None;
        for form in self.forms_for(head) {
            match form.begin(head, now, |attempt| attempt) {
                Ok(attempt) => begun.push(attempt),
                // That something is wrong tells more than that something is missing.
                Err(rejection) => match &fault {
                    Some(first) if first.reason() != Reason::MissingSignature => {}
                    Some(_) if rejection.reason() == Reason::MissingSignature => {}
                    _ => fault = Some(rejection),
                },
            }
        }
        let mut begun = begun.into_iter();
        let Some(first) = begun.next() else {
            let methods = || self.0.forms.iter().flat_map(AnyForm::methods);
            return Err(match fault {
                Some(fault) => fault,
                None if methods().any(|method| *method == head.method) => Reason::MissingSignature.into(),
                None => wrong_method(methods()),
            });
        };
        let first = first.and_then(|first| Ok((first, Vec::new())))?;
        begun.fold(first, together).and_then(|(first, rest)| Ok(verify(first, rest)))
    }
}

type Attempts = (AnyAttempt, Vec<AnyAttempt>);

fn together(attempts: MaybeReady<Attempts>, next: MaybeReady<AnyAttempt>) -> MaybeReady<Attempts> {
    match (attempts, next) {
        (MaybeReady::Ready((first, mut rest)), MaybeReady::Ready(next)) => {
            rest.push(next);
            MaybeReady::Ready((first, rest))
        }
        (attempts, next) => MaybeReady::pending(async move {
            let (first, mut rest) = attempts.wait().await?;
            rest.push(next.wait().await?);
            Ok((first, rest))
        }),
    }
}

/// The verdict of all forms that were tried. All of them were, so that the time does not tell which one fitted.
fn best(
    first: Result<MaybeReady<Outcome>, Rejection>,
    others: Vec<Result<MaybeReady<Outcome>, Rejection>>,
) -> Result<MaybeReady<Outcome>, Rejection> {
    if !std::iter::once(&first).chain(&others).any(|verdict| matches!(verdict, Ok(MaybeReady::Pending(_)))) {
        return others.into_iter().fold(first, better);
    }
    Ok(MaybeReady::pending(async move {
        let mut verdict = settled(first).await;
        for other in others {
            verdict = better(verdict, settled(other).await);
        }
        verdict
    }))
}

async fn settled(verdict: Result<MaybeReady<Outcome>, Rejection>) -> Result<Outcome, Rejection> {
    verdict?.wait().await
}

/// Chooses the first verdict that accepts. Of two rejections, a failure of ours goes before a fault of the request.
fn better<T>(first: Result<T, Rejection>, second: Result<T, Rejection>) -> Result<T, Rejection> {
    match (first, second) {
        (Ok(outcome), _) | (Err(_), Ok(outcome)) => Ok(outcome),
        (Err(first), Err(second)) if !first.reason().is_transient() && second.reason().is_transient() => Err(second),
        (Err(first), Err(_)) => Err(first),
    }
}

/// A request being verified by a [`Scheme`].
pub struct SchemeVerification(State);

enum State {
    Verify {
        first: AnyAttempt,
        /// More than nothing if the head fits several forms of the scheme.
        rest: Vec<AnyAttempt>,
    },
    /// An unsigned body, which may be a question.
    Question(AnswerUnsigned),
}

#[inline]
fn verify(first: AnyAttempt, rest: Vec<AnyAttempt>) -> Begin<SchemeVerification> {
    Begin::Verify(SchemeVerification(State::Verify { first, rest }))
}

impl fmt::Debug for SchemeVerification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemeVerification").finish_non_exhaustive()
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheme").field("name", &self.0.name).finish_non_exhaustive()
    }
}
