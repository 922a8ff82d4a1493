//! Several senders on one route.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

use crate::any_provider::AnyProvider;
#[cfg(feature = "inspect")]
use crate::clues::Clues;
use crate::config::ConfigError;
use crate::delivery::Sender;
use crate::provider::{Begin, Facts, MaybeReady, Outcome, Provider, Recognition, RecognizedBy};
use crate::rejection::{Reason, Rejection};
use crate::secrets::HeadRef;
use crate::text::Text;
use crate::time::Clock;

use super::marks::Marks;

/// The name if none of the senders was recognized.
static NAME: Text = Text::from_static("any_of");

/// Any of several senders on one route: the one that recognizes a request verifies it.
///
/// Use it to migrate from one scheme to another, or for a path that several senders were given.
///
/// # Examples
///
/// ```
/// use tower_webhook::{AnyOf, AnyProvider, Delivery, WebhookLayer, senders};
///
/// async fn on_delivery(delivery: Delivery) {
///     match delivery.provider() {
///         "github" => println!("a push, perhaps"),
///         other => println!("something from {other}"),
///     }
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let github = senders::github("the secret of the webhook")?;
/// let stripe = senders::stripe("whsec_the_secret_of_the_endpoint")?;
/// let layer = WebhookLayer::new(AnyOf::new([AnyProvider::new(github), AnyProvider::new(stripe)])?);
/// # Ok(())
/// # }
/// ```
///
/// # Which one
///
/// The first in the list that [recognizes](Provider::recognizes) the request by its head. If none
/// does, those whose signature is in the body are asked, in order, once the body is there. The
/// verdict of the chosen one is final: a request that it refuses is never tried with the next, so a
/// forged signature of a strong scheme cannot fall back to a weak one, and no request costs
/// more than one verification. If a sender sends two signatures while it migrates, list the one
/// that you want to hold it to first. A request that nobody recognizes is refused with
/// [`Reason::MissingSignature`].
///
/// The route is as strong as the weakest sender in the list.
/// [`Delivery::provider`](crate::Delivery::provider) names the one that verified.
///
/// The body limit is the largest of theirs.
#[derive(Debug)]
pub struct AnyOf<P = AnyProvider>(Arc<Members<P>>);

#[derive(Debug)]
struct Members<P> {
    all: Box<[Member<P>]>,
    marks: Marks,
}

#[derive(Debug)]
struct Member<P> {
    provider: P,
    /// What deliveries need of it.
    named: Arc<Sender>,
}

impl<P: Provider> AnyOf<P> {
    /// Takes the senders in the order in which they are asked.
    ///
    /// # Errors
    ///
    /// Returns an error if there are none.
    pub fn new(providers: impl IntoIterator<Item = P>) -> Result<Self, ConfigError> {
        let member = |provider: P| {
            let named = Arc::new(Sender::new(provider.name(), provider.behavior().traits()));
            Member { provider, named }
        };
        let all: Box<[_]> = providers.into_iter().map(member).collect();
        if all.is_empty() {
            return Err(ConfigError::missing("there is no sender to choose from"));
        }
        let marks = Marks::new(all.iter().map(|member| member.provider.recognized_by()));
        Ok(Self(Arc::new(Members { all, marks })))
    }

    fn providers(&self) -> impl Iterator<Item = &P> {
        self.0.all.iter().map(|member| &member.provider)
    }

    fn begin_by(&self, head: HeadRef<'_>, clock: &dyn Clock) -> Result<MaybeReady<Begun<P>>, Rejection> {
        let may_be = self.0.marks.in_head(head.parts());
        if let Some(index) = may_be.only() {
            // Nearly every request. It is asked only about one that it refuses: what it takes, it recognizes.
            let recognizes = || self.0.all[index].provider.recognizes(head.parts()) != Recognition::No;
            return self.begin_one(index, head, clock, recognizes);
        }
        let recognized = |wanted| {
            let providers = self.providers().enumerate().filter(move |(index, _)| may_be.has(*index));
            providers.filter(move |(_, provider)| provider.recognizes(head.parts()) == wanted).map(|(index, _)| index)
        };
        if let Some(index) = recognized(Recognition::Yes).next() {
            return self.begin_one(index, head, clock, || true);
        }
        self.begin_all(recognized(Recognition::Perhaps), head, clock)
    }

    /// `recognizes` says whether the sender recognizes the head, if it refuses it.
    fn begin_one(
        &self,
        index: usize,
        head: HeadRef<'_>,
        clock: &dyn Clock,
        recognizes: impl FnOnce() -> bool,
    ) -> Result<MaybeReady<Begun<P>>, Rejection> {
        let provider = &self.0.all[index].provider;
        let verify =
            move |verification| Begin::Verify(AnyOfVerification { first: (index, verification), others: Vec::new() });
        let begun = match head.shared() {
            Some(shared) => provider.begin_shared(shared, clock),
            None => provider.begin(head.parts(), clock),
        };
        // Nearly every request, with one copy of the verification.
        if let Ok(MaybeReady::Ready(Begin::Verify(verification))) = begun {
            return Ok(MaybeReady::Ready(verify(verification)));
        }
        if begun.is_err() && !recognizes() {
            return Err(unrecognized());
        }
        named(begun, provider.name())?.and_then(move |begun| {
            Ok(match begun {
                Begin::Verify(verification) => verify(verification),
                Begin::Answer(answer) => Begin::Answer(answer),
            })
        })
    }

    /// Begins with each of the senders that the body decides between.
    fn begin_all(
        &self,
        candidates: impl Iterator<Item = usize>,
        head: HeadRef<'_>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begun<P>>, Rejection> {
        let begun: Vec<_> = candidates.map(|index| self.begin_one(index, head, clock, || true)).collect();
        if begun.iter().any(|begun| matches!(begun, Ok(MaybeReady::Pending(_)))) {
            return Ok(MaybeReady::pending(async move {
                let mut ready = Vec::with_capacity(begun.len());
                for begun in begun {
                    ready.push(match begun {
                        Ok(begun) => begun.wait().await,
                        Err(rejection) => Err(rejection),
                    });
                }
                together(ready)
            }));
        }
        let ready = begun.into_iter().filter_map(|begun| match begun {
            Ok(MaybeReady::Ready(begun)) => Some(Ok(begun)),
            Ok(MaybeReady::Pending(_)) => None,
            Err(rejection) => Some(Err(rejection)),
        });
        together(ready).map(Into::into)
    }
}

type Begun<P> = Begin<AnyOfVerification<<P as Provider>::Verification>>;

/// An answer goes first; a sender that refuses the head is left out, unless all do.
fn together<V>(
    begun: impl IntoIterator<Item = Result<Begin<AnyOfVerification<V>>, Rejection>>,
) -> Result<Begin<AnyOfVerification<V>>, Rejection> {
    let mut chosen: Option<AnyOfVerification<V>> = None;
    let mut refused = None;
    for begun in begun {
        match begun {
            Ok(Begin::Answer(answer)) => return Ok(Begin::Answer(answer)),
            Ok(Begin::Verify(next)) => match &mut chosen {
                Some(chosen) => chosen.others.push(next.first),
                None => chosen = Some(next),
            },
            Err(rejection) => refused = refused.or(Some(rejection)),
        }
    }
    match (chosen, refused) {
        (Some(chosen), _) => Ok(Begin::Verify(chosen)),
        (None, Some(rejection)) => Err(rejection),
        (None, None) => Err(unrecognized()),
    }
}

fn unrecognized() -> Rejection {
    Rejection::new(Reason::MissingSignature).with_detail("no provider recognized the request")
}

fn stand_for(outcome: &mut Outcome, name: &Arc<Sender>) {
    if let Outcome::Deliver(verified) = outcome {
        verified.stood_for_by(name);
    }
}

/// Names the sender that a verdict is from.
fn named<T: Send + 'static>(
    verdict: Result<MaybeReady<T>, Rejection>,
    name: &Text,
) -> Result<MaybeReady<T>, Rejection> {
    match verdict {
        Ok(MaybeReady::Ready(value)) => Ok(MaybeReady::Ready(value)),
        Ok(MaybeReady::Pending(future)) => {
            let name = name.clone();
            Ok(MaybeReady::pending(async move { future.await.map_err(|rejection| rejection.with_provider(&name)) }))
        }
        Err(rejection) => Err(rejection.with_provider(name)),
    }
}

impl<P: Provider> Provider for AnyOf<P> {
    type Verification = AnyOfVerification<P::Verification>;

    fn name(&self) -> &Text {
        &NAME
    }

    fn body_limit(&self) -> usize {
        self.providers().map(P::body_limit).max().unwrap_or_default()
    }

    fn facts(&self) -> Vec<Facts> {
        self.providers().flat_map(P::facts).collect()
    }

    fn recognizes(&self, head: &Parts) -> Recognition {
        let may_be = self.0.marks.in_head(head);
        let providers = self.providers().enumerate().filter(|(index, _)| may_be.has(*index));
        Recognition::best(providers.map(|(_, provider)| provider.recognizes(head)))
    }

    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        let all: Option<Vec<_>> = self.providers().map(P::recognized_by).collect();
        Some(all?.concat())
    }

    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        let perhaps = |provider: &&P| provider.recognizes(head) == Recognition::Perhaps;
        self.providers().filter(perhaps).any(|provider| provider.recognizes_body(head, body))
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
        self.begin_by(head.into(), clock)
    }

    fn shares_head(&self) -> bool {
        self.providers().any(P::shares_head)
    }

    fn begin_shared(
        &self,
        head: &Arc<Parts>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
        self.begin_by(head.into(), clock)
    }

    fn receive(&self, verification: &mut Self::Verification, head: &Parts, chunk: &[u8]) {
        for (index, verification) in verification.iter_mut() {
            self.0.all[*index].provider.receive(verification, head, chunk);
        }
    }

    fn finish(
        &self,
        verification: &mut Self::Verification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection> {
        let (index, verification) = if verification.others.is_empty() {
            &mut verification.first
        } else {
            let mut candidates = verification.iter_mut();
            let chosen = candidates.find(|(index, _)| self.0.all[*index].provider.recognizes_body(head, body));
            chosen.ok_or_else(unrecognized)?
        };
        let Member { provider, named: name } = &self.0.all[*index];
        let mut verdict = provider.finish(verification, head, body, rest);
        // Nearly every request, in its place.
        if let Ok(MaybeReady::Ready(outcome)) = &mut verdict {
            stand_for(outcome, name);
            return verdict;
        }
        let stood_for = name.clone();
        named(verdict, provider.name())?.and_then(move |mut outcome| {
            stand_for(&mut outcome, &stood_for);
            Ok(outcome)
        })
    }

    fn refuse(&self, head: &Parts, rejection: Rejection) -> Rejection {
        let refused_by = |provider: &&P| Some(provider.name().as_str()) == rejection.provider();
        match self.providers().find(refused_by) {
            Some(provider) => provider.refuse(head, rejection),
            None => rejection,
        }
    }

    #[cfg(feature = "inspect")]
    fn clues(&self) -> Clues {
        self.providers().map(P::clues).reduce(Clues::and).unwrap_or_default()
    }
}

impl<P> Clone for AnyOf<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The state of a verification by one of the senders of an [`AnyOf`].
pub struct AnyOfVerification<V> {
    /// The position of a sender, and its verification.
    first: (usize, V),
    /// Further senders whose signature is in the body.
    others: Vec<(usize, V)>,
}

impl<V> AnyOfVerification<V> {
    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (usize, V)> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

impl<V> fmt::Debug for AnyOfVerification<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyOfVerification").finish_non_exhaustive()
    }
}
