//! Senders as a few declarative lines: where the signature is, what it covers, how it is made.

#[cfg(feature = "jwt")]
mod bearer;
mod builder;
mod describe;
mod handshake;
#[cfg(feature = "jwt")]
mod jwks;
#[cfg(feature = "jwt")]
pub(crate) mod jwt;
pub(crate) mod mac;
mod plan;
mod pointer;
#[cfg(feature = "asymmetric")]
mod public_key;
mod public_url;
#[cfg(feature = "testing")]
mod sign;
mod signature;
pub(crate) mod source;
mod template;
mod timestamp;
mod token;
mod urlencoded;
mod verify;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;

use crate::config::ConfigError;
use crate::provider::{Begin, Provider};
use crate::reject::{Reason, Rejection};
use crate::secret::{Find, Keys, KeysFor};
use crate::text::Text;
use crate::time::Tolerance;

use handshake::Step;
use mac::{MacKind, Macs};
use plan::{Plan, Proof};
#[cfg(feature = "asymmetric")]
use public_key::Algorithm;
use verify::{Attempt, Claimed, Running};

#[allow(unused_imports, reason = "some are used by the senders behind features alone")]
pub(crate) use {
    handshake::{challenge_in, echo, member_is, object},
    mac::{Digest, Mac},
    plan::{Applies, Crafted, Item, wrong_method},
    pointer::member,
    source::{LONGEST_HEADER, single},
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
pub use jwks::Jwks;
pub use signature::SignatureSpec;
pub use source::{Source, basic, bearer, form, header, json, numbered_headers, path_segment, query};
pub use timestamp::TimestampSpec;
pub use verify::{SchemeVerdict, SchemeVerification};

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
            return Err(ConfigError::new("this sender has no timestamp, so a tolerance means nothing"));
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
    fn recognizes(&self, head: &Parts) -> bool {
        self.plans().any(|plan| plan.is_for(head) && plan.may_be_present(head))
            || self.first.handshakes.iter().any(|handshake| handshake.recognizes(head))
    }

    fn begin(&self, head: &Parts, now: SystemTime) -> Result<Begin<SchemeVerification>, Rejection> {
        for handshake in &self.first.handshakes {
            let Some(step) = handshake.begin(head) else { continue };
            return match step? {
                Step::Answer(answer) => Ok(Begin::Answer(answer)),
                Step::UnsignedBody(answer) => {
                    let running = Running::Unsigned(answer);
                    Ok(Begin::Verify(Attempt::without_claims(self.first.clone(), running, now).into()))
                }
                Step::Keyed { answer, challenge, label } => {
                    self.answer_by_key(head, now, move |mac| answer(mac, &challenge, &label))
                }
            };
        }
        let alone = self.rest.is_empty() && self.first.is_for(head);
        if alone
            && let Proof::Mac { keys, .. } = &self.first.proof
            && let Some(ring) = keys.fixed()
        {
            let verification = SchemeVerification::by_mac(&self.first, ring, head, now);
            return verification.map(Begin::Verify).map_err(|rejection| self.first.refusal(rejection));
        }
        let judged = match alone {
            true => start(&self.first, head, now).map(|started| match started {
                Started::Now(attempt) => Begin::Verify(attempt.into()),
                Started::Later(attempt) => Begin::Pending(Box::pin(async { attempt.await.map(Into::into) })),
            }),
            false => self.begin_any(head, now),
        };
        judged.map_err(|rejection| self.first.refusal(rejection))
    }
}

impl Scheme {
    /// Starts every form that the head fits.
    fn begin_any(&self, head: &Parts, now: SystemTime) -> Result<Begin<SchemeVerification>, Rejection> {
        let mut started = Vec::new();
        let mut fault: Option<Rejection> = None;
        for plan in std::iter::once(&self.first).chain(self.rest.iter()).filter(|plan| plan.is_for(head)) {
            match start(plan, head, now) {
                Ok(attempt) => started.push(attempt),
                // That something is wrong tells more than that something is missing.
                Err(rejection) => match &fault {
                    Some(first) if first.reason() != Reason::MissingSignature => {}
                    _ => fault = Some(rejection),
                },
            }
        }
        if started.is_empty() {
            return Err(match fault {
                Some(fault) => fault,
                None if self.plans().any(|plan| plan.methods.contains(&head.method)) => Reason::MissingSignature.into(),
                None => wrong_method(self.plans().flat_map(|plan| &plan.methods)),
            });
        }
        if started.iter().any(|attempt| matches!(attempt, Started::Later(_))) {
            return Ok(Begin::Pending(Box::pin(async move {
                let mut attempts = Vec::new();
                for attempt in started {
                    attempts.push(match attempt {
                        Started::Now(attempt) => attempt,
                        Started::Later(attempt) => attempt.await?,
                    });
                }
                together(attempts.into_iter())
            })));
        }
        together(started.into_iter().filter_map(|attempt| match attempt {
            Started::Now(attempt) => Some(attempt),
            Started::Later(_) => None,
        }))
        .map(Begin::Verify)
    }

    fn answer_by_key(
        &self,
        head: &Parts,
        now: SystemTime,
        answer: impl FnOnce(Mac) -> Result<crate::Answer, Rejection> + Send + 'static,
    ) -> Result<Begin<SchemeVerification>, Rejection> {
        let Proof::Mac { keys, .. } = &self.first.proof else { return Err(Reason::MethodNotAllowed.into()) };
        let first = |keys: KeysFor<Mac>| match (keys.known, keys.ring.into_iter().next()) {
            (true, Some(mac)) => Ok(mac),
            _ => Err(Rejection::new(Reason::UnknownTenant)),
        };
        match keys.find(head, None) {
            Find::Now(keys) => first(keys).and_then(answer).map(Begin::Answer),
            Find::Later { keys, .. } => {
                let plan = self.first.clone();
                Ok(Begin::Pending(Box::pin(async move {
                    let answer = answer(first(keys.await?)?)?;
                    Ok(Attempt::without_claims(plan, Running::Answered(answer), now).into())
                })))
            }
        }
    }
}

fn together(mut attempts: impl Iterator<Item = Attempt>) -> Result<SchemeVerification, Rejection> {
    let first = attempts.next().ok_or(Reason::MissingSignature)?;
    Ok(SchemeVerification::new(first, attempts.collect()))
}

enum Started {
    Now(Attempt),
    Later(Pin<Box<dyn Future<Output = Result<Attempt, Rejection>> + Send>>),
}

/// Reads the head by one form, and finds its keys.
fn start(plan: &Arc<Plan>, head: &Parts, now: SystemTime) -> Result<Started, Rejection> {
    let claimed = Claimed::read(plan, head, now)?;
    match &plan.proof {
        Proof::Mac { keys, .. } => {
            run(plan, head, now, claimed, keys, |ring| Running::Mac { macs: Macs::new(ring), unused: None })
        }
        Proof::Token { keys, .. } => run(plan, head, now, claimed, keys, Running::Token),
        #[cfg(feature = "asymmetric")]
        Proof::Public { keys, .. } => run(plan, head, now, claimed, keys, Running::Public),
        #[cfg(feature = "asymmetric")]
        Proof::Fetched(fetched) => {
            (fetched.check)(head)?;
            Attempt::new(plan.clone(), claimed, Running::Fetched(fetched.clone()), true, head, now).map(Started::Now)
        }
        #[cfg(feature = "jwt")]
        Proof::Jwt(proof) => start_jwt(plan, proof, head, now),
    }
}

/// A shared secret settles the token here; a public key may have to be fetched, which is left for later.
#[cfg(feature = "jwt")]
fn start_jwt(plan: &Arc<Plan>, proof: &JwtProof, head: &Parts, now: SystemTime) -> Result<Started, Rejection> {
    let claimed = proof.read(head, now)?;
    let plan = plan.clone();
    let attempt = move |claimed, key_index| {
        Attempt::without_claims(plan, Running::Jwt { claimed: Some(Box::new(claimed)), key_index }, now)
    };
    let JwtKeys::Shared(keys) = &proof.keys else { return Ok(Started::Now(attempt(claimed, None))) };
    Ok(match keys.find(head, None) {
        Find::Now(keys) => {
            let index = JwtProof::verify_shared(&claimed, keys)?;
            Started::Now(attempt(claimed, Some(index)))
        }
        Find::Later { keys, .. } => Started::Later(Box::pin(async move {
            let index = JwtProof::verify_shared(&claimed, keys.await?)?;
            Ok(attempt(claimed, Some(index)))
        })),
    })
}

fn run<K: Clone + Send + 'static>(
    plan: &Arc<Plan>,
    head: &Parts,
    now: SystemTime,
    claimed: Claimed,
    keys: &Keys<K>,
    running: fn(crate::secret::Ring<K>) -> Running,
) -> Result<Started, Rejection> {
    let attempt = move |plan, keys: KeysFor<K>, head: &Parts| {
        Attempt::new(plan, claimed, running(keys.ring), keys.known, head, now)
    };
    Ok(match keys.find(head, None) {
        Find::Now(keys) => Started::Now(attempt(plan.clone(), keys, head)?),
        Find::Later { head, keys } => {
            let plan = plan.clone();
            Started::Later(Box::pin(async move { attempt(plan, keys.await?, &head) }))
        }
    })
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheme").field("name", &self.first.name).finish_non_exhaustive()
    }
}
