//! A sender that is described in a few lines: its name, its handshakes, and the forms in which it
//! signs.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use crate::behavior::Behavior;
#[cfg(feature = "inspect")]
use crate::clues::Clues;
use crate::config::ConfigError;
use crate::provider::{Begin, Facts, MaybeReady, Outcome, Parked, Provider, Recognition, RecognizedBy};
use crate::rejection::{Reason, Rejection};
use crate::secrets::HeadRef;
use crate::text::Text;
use crate::time::{Clock, Tolerance};

use super::any_form::{AnyAttempt, AnyForm};
use super::form::foreign;
use super::parked::{ParkedAttempt, ParkedMacs, ParkedOther};
use super::proof::Judged;
use crate::handshake::{AnswerUnsigned, Handshake};

/// A sender that is described in a few declarative lines.
///
/// Clones share everything.
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
///     .secret("the secret that Acme's portal shows")
///     .build("acme")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Scheme(pub(crate) Arc<Inner>);

#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) name: Text,
    pub(crate) body_limit: usize,
    pub(crate) behavior: Behavior,
    pub(crate) handshakes: Vec<Handshake>,
    /// The status of every permanent rejection, if it is always the same.
    pub(crate) refusal: Option<StatusCode>,
    /// The status of a request without a signature, if the sender then sends it again with one.
    pub(crate) unsigned: Option<StatusCode>,
    pub(crate) is_timed: bool,
    pub(crate) shares_head: bool,
    /// The forms in which the sender signs, the usual one first. There is at least one.
    pub(crate) forms: Vec<AnyForm>,
    /// What tries several forms. It is there if there are several.
    pub(super) several: Option<&'static Several>,
    /// What the scheme was made from.
    #[cfg(feature = "inspect")]
    pub(crate) clues: Clues,
}

impl Scheme {
    /// Sets another tolerance of the timestamp than the sender's usual one.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme reads no timestamp.
    #[inline]
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
    #[inline]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.with(|own| own.body_limit = bytes)
    }

    /// Adds a handshake.
    #[must_use]
    #[inline]
    pub fn with_handshake(self, handshake: Handshake) -> Self {
        self.with(|own| own.handshakes.push(handshake))
    }

    /// Sets which of the secrets, by its position in their list, answers the challenges of a sender
    /// that wants a MAC without signing its question: X, LinkedIn and Braintree. It has to be
    /// the one that the sender knows. The default is the first, and if there are fewer, the
    /// last one answers.
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
    #[inline]
    pub fn with_challenge_key(self, index: usize) -> Self {
        self.with(|own| own.handshakes.iter_mut().for_each(|handshake| handshake.by_key(index)))
    }

    /// Sets how the sender behaves around its requests.
    #[must_use]
    #[inline]
    pub fn with_behavior(self, behavior: Behavior) -> Self {
        self.with(|own| own.behavior = behavior)
    }

    pub(super) fn with(mut self, set: impl FnOnce(&mut Inner)) -> Self {
        set(Arc::make_mut(&mut self.0));
        self
    }

    pub(super) fn forms_for<'a>(&'a self, head: &'a Parts) -> impl Iterator<Item = &'a AnyForm> {
        self.0.forms.iter().filter(|form| form.is_for(head))
    }

    /// Returns the form that has begun an attempt.
    #[inline]
    fn form_of(&self, attempt: &AnyAttempt) -> Option<&AnyForm> {
        self.0.forms.iter().find(|form| form.has_begun(attempt))
    }

    /// Decides by the form that has begun the attempt.
    #[inline]
    pub(super) fn finish_one(
        &self,
        attempt: &mut AnyAttempt,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Judged<Outcome> {
        match self.form_of(attempt) {
            Some(form) => form.finish(attempt, &self.0.handshakes, head, body, rest),
            None => Err(foreign()),
        }
    }

    fn begin_by(&self, head: HeadRef<'_>, clock: &dyn Clock) -> Judged<Begin<SchemeVerification>> {
        let inner = &*self.0;
        // Schemes without timestamps never read the clock.
        let now = if inner.is_timed { clock.now() } else { SystemTime::UNIX_EPOCH };
        for handshake in &inner.handshakes {
            if let Some(begun) = handshake.begin(head.parts()) {
                return begun?.and_then(|begun| {
                    Ok(match begun {
                        Begin::Answer(answer) => Begin::Answer(answer),
                        Begin::Verify(answer) => Begin::Verify(SchemeVerification(State::Question(answer))),
                    })
                });
            }
        }
        match &inner.forms[..] {
            // Nearly every request.
            [form] if form.is_for(head.parts()) => begin_one(form, head, now),
            forms => match inner.several {
                Some(several) if forms.len() > 1 => (several.begin)(self, head, now),
                _ => Err(self.no_form(head.parts())),
            },
        }
    }

    /// Refuses a head that no form is for.
    #[cold]
    pub(super) fn no_form(&self, head: &Parts) -> Rejection {
        let mut methods = Vec::new();
        for form in &self.0.forms {
            methods.extend_from_slice(form.methods());
        }
        if methods.contains(&head.method) { Reason::MissingSignature.into() } else { Rejection::wrong_method(&methods) }
    }
}

/// Begins with one form.
// Apart from the two that call it, as it is large.
#[inline(never)]
pub(super) fn begin_one(form: &AnyForm, head: HeadRef<'_>, now: SystemTime) -> Judged<Begin<SchemeVerification>> {
    form.begin(head, now, |first| Begin::Verify(SchemeVerification(State::Verify { first, rest: Vec::new() })))
}

/// What a scheme does with several forms.
pub(super) struct Several {
    pub(super) begin: fn(&Scheme, HeadRef<'_>, SystemTime) -> Judged<Begin<SchemeVerification>>,
    pub(super) finish: Finish,
}

type Finish = fn(&Scheme, &mut AnyAttempt, &mut [AnyAttempt], &Parts, &Bytes, &[u8]) -> Judged<Outcome>;

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

    #[inline]
    fn facts(&self) -> Vec<Facts> {
        let inner = &*self.0;
        let mut facts = Facts::new(inner.name.clone(), inner.behavior, inner.body_limit);
        inner.forms[0].describe(&mut facts);
        for about in inner.handshakes.iter().map(Handshake::about) {
            if !facts.probes.contains(&about) {
                facts.probes.push(about);
            }
        }
        vec![facts]
    }

    /// If the signature is in the body or the path, every request could be the sender's.
    #[inline]
    fn recognizes(&self, head: &Parts) -> Recognition {
        if self.0.handshakes.iter().any(|handshake| handshake.recognizes(head)) {
            return Recognition::Yes;
        }
        Recognition::best(self.0.forms.iter().map(|form| form.recognizes(head)))
    }

    #[inline]
    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        let handshakes = self.0.handshakes.iter().map(Handshake::recognized_by);
        let all: Option<Vec<_>> = handshakes.chain(self.0.forms.iter().map(AnyForm::recognized_by)).collect();
        Some(all?.concat())
    }

    #[inline]
    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        self.forms_for(head).any(|form| form.recognizes_body(head, body))
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
        self.begin_by(head.into(), clock)
    }

    fn shares_head(&self) -> bool {
        self.0.shares_head
    }

    fn begin_shared(
        &self,
        head: &Arc<Parts>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begin<SchemeVerification>>, Rejection> {
        self.begin_by(head.into(), clock)
    }

    fn receive(&self, verification: &mut SchemeVerification, head: &Parts, chunk: &[u8]) {
        if let State::Verify { first, rest } = &mut verification.0 {
            for attempt in std::iter::once(first).chain(rest) {
                if let Some(form) = self.form_of(attempt) {
                    form.receive(attempt, head, chunk);
                }
            }
        }
    }

    fn park(&self, verification: &mut SchemeVerification, fed: usize) -> Option<Box<dyn Parked<Self>>> {
        match &mut verification.0 {
            State::Verify { first, rest } if rest.is_empty() => Some(match first {
                AnyAttempt::Mac(attempt) => kept(ParkedMacs::new(attempt), first, fed),
                AnyAttempt::Other(form, _) => kept(ParkedOther::new(*form), first, fed),
            }),
            // Those by several forms are rare, and stay as they are.
            _ => None,
        }
    }

    fn finish(
        &self,
        verification: &mut SchemeVerification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        match &mut verification.0 {
            State::Question(answer) => match answer(body)? {
                Some(answer) => Ok(Outcome::Answer(answer).into()),
                None => Err(self.0.forms.first().map_or_else(|| Reason::MissingSignature.into(), AnyForm::missing)),
            },
            State::Verify { first, rest: others } => match self.0.several {
                Some(several) if !others.is_empty() => (several.finish)(self, first, others, head, body, rest),
                _ => self.finish_one(first, head, body, rest),
            },
        }
    }

    /// Sets the one status that a sender looks for, and asks for a bearer token if that is the
    /// proof.
    fn refuse(&self, _: &Parts, rejection: Rejection) -> Rejection {
        let rejection = match (self.0.unsigned, self.0.refusal) {
            (Some(status), _) if rejection.reason() == Reason::MissingSignature => {
                rejection.with_documented_status(status)
            }
            (_, Some(status)) if !rejection.reason().is_transient() => rejection.with_status(status),
            _ => rejection,
        };
        match self.0.forms.first() {
            Some(form) => form.refuse(rejection),
            None => rejection,
        }
    }

    #[cfg(feature = "inspect")]
    #[inline]
    fn clues(&self) -> Clues {
        let mut clues = self.0.clues.clone();
        clues.marks = self.0.forms.iter().flat_map(AnyForm::marks).collect();
        clues.signs_address = self.0.forms.iter().any(AnyForm::signs_address);
        clues.is_repeatable = true;
        clues
    }
}

fn kept(mut parked: impl ParkedAttempt + 'static, attempt: &mut AnyAttempt, fed: usize) -> Box<dyn Parked<Scheme>> {
    parked.keep(attempt, fed);
    Box::new(parked)
}

impl<A: ParkedAttempt> Parked<Scheme> for A {
    fn resume(&mut self, scheme: &Scheme, head: &Parts) -> Result<(SchemeVerification, usize), Rejection> {
        let (first, seen) = self.resume(&scheme.0.forms, head)?;
        Ok((SchemeVerification(State::Verify { first, rest: Vec::new() }), seen))
    }

    fn keep(&mut self, mut verification: SchemeVerification, fed: usize) {
        if let State::Verify { first, .. } = &mut verification.0 {
            self.keep(first, fed);
        }
    }
}

/// A request being verified by a [`Scheme`].
pub struct SchemeVerification(pub(super) State);

pub(super) enum State {
    Verify {
        first: AnyAttempt,
        /// More than nothing if the head fits several forms of the scheme.
        rest: Vec<AnyAttempt>,
    },
    /// An unsigned body, which may be a question.
    Question(AnswerUnsigned),
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::scheme::header;
    use crate::time::SystemClock;

    const BODY: &[u8] = b"what do ya want for nothing?";
    const SIGNATURE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    fn scheme(name: &'static str) -> Scheme {
        let scheme = Scheme::hmac_sha256().signature(header("x-signature").hex());
        scheme.secret("Jefe").build(name).unwrap()
    }

    #[test]
    fn only_the_scheme_that_has_begun_a_verification_ends_it() {
        let (head, ()) = Request::post("/").header("x-signature", SIGNATURE).body(()).unwrap().into_parts();
        let body = Bytes::from_static(BODY);
        let begin = |scheme: &Scheme| match scheme.begin(&head, &SystemClock).unwrap() {
            MaybeReady::Ready(Begin::Verify(verification)) => verification,
            _ => panic!("the head is signed"),
        };
        let ended = |scheme: &Scheme, begun: &mut SchemeVerification, fed: usize| {
            scheme.receive(begun, &head, &body[..fed]);
            match scheme.finish(begun, &head, &body, &body[fed..]) {
                Ok(MaybeReady::Ready(Outcome::Deliver(_))) => Ok(()),
                Ok(_) => panic!("nothing is pending or asked"),
                Err(rejection) => Err(rejection.reason()),
            }
        };
        let (one, other, either) = (scheme("one"), scheme("other"), scheme("either").or(scheme("or")));
        for fed in [0, 5] {
            for scheme in [&one, &either] {
                assert_eq!(ended(&scheme.clone(), &mut begin(scheme), fed), Ok(()));
            }
            for (by, ends) in [(&one, &other), (&one, &either), (&either, &one)] {
                assert_eq!(ended(ends, &mut begin(by), fed), Err(Reason::NoDelivery), "{by:?} {ends:?}");
            }
        }
    }
}
