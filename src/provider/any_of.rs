//! Several senders on one route.

use std::fmt;

use bytes::Bytes;
use http::request::Parts;

use crate::reject::{Reason, Rejection};
use crate::text::Text;
use crate::time::Clock;

use super::{Begin, Outcome, Provider};

/// The name where none of the senders was recognised.
static NAME: Text = Text::from_static("any_of");

/// Any of several senders on one route: the one whose marks a request bears verifies it.
///
/// It is for migrations from one scheme to another, and for a path that several senders were given.
///
/// ```
/// use tower_webhook::scheme::header;
/// use tower_webhook::{AnyOf, CdrManager, Delivery, Scheme, WebhookLayer};
///
/// async fn on_delivery(delivery: Delivery) {
///     match delivery.provider() {
///         "acme" => println!("signed in the new way"),
///         old => println!("{old} is still in use"),
///     }
/// }
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let new = Scheme::hmac_sha256().signature(header("x-acme-signature").hex()).secret("new").build("acme")?;
/// let old = CdrManager::new("old")?;
/// let layer = WebhookLayer::new(AnyOf::new(new, old));
/// # Ok(())
/// # }
/// ```
///
/// # Which one
///
/// The first in the list that [recognises](Provider::recognizes) the request, by its headers. Its verdict is final: a
/// request that it refuses is never tried with the next, so a forged signature of a strong scheme cannot fall
/// back to a weak one, and nobody's request costs more than one verification. Where a sender sends the marks of two
/// schemes while it migrates, list the one that you want to be held to first. A request that bears nobody's marks is refused as
/// [`Reason::MissingSignature`].
///
/// The route is as strong as the weakest sender in the list: whoever has the old secret can still use it, until the old
/// one is taken out. [`Delivery::provider`](crate::Delivery::provider) names the one that verified.
///
/// The largest body taken is the largest of theirs.
#[derive(Clone, Debug)]
pub struct AnyOf<A, B> {
    first: A,
    second: B,
}

impl<A, B> AnyOf<A, B> {
    /// Either of two senders.
    #[must_use]
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    /// Or a further one, the last in the list.
    #[must_use]
    pub fn or<C>(self, next: C) -> AnyOf<Self, C> {
        AnyOf { first: self, second: next }
    }
}

impl<A: Provider, B: Provider> Provider for AnyOf<A, B> {
    type Verification = AnyVerification<A::Verification, B::Verification>;

    fn name(&self) -> &Text {
        &NAME
    }

    fn body_limit(&self) -> usize {
        self.first.body_limit().max(self.second.body_limit())
    }

    fn recognizes(&self, head: &Parts) -> bool {
        self.first.recognizes(head) || self.second.recognizes(head)
    }

    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<Begin<Self::Verification>, Rejection> {
        if self.first.recognizes(head) {
            begin(&self.first, head, clock, AnyVerification::first)
        } else if self.second.recognizes(head) {
            begin(&self.second, head, clock, AnyVerification::second)
        } else {
            Err(Rejection::new(Reason::MissingSignature).with_detail("it bears the marks of none of the senders"))
        }
    }

    fn receive(&self, verification: &mut Self::Verification, head: &Parts, chunk: &[u8]) {
        match &mut verification.0 {
            Either::First(chosen) => self.first.receive(chosen, head, chunk),
            Either::Second(chosen) => self.second.receive(chosen, head, chunk),
        }
    }

    fn finish(
        &self,
        verification: &mut Self::Verification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<Outcome, Rejection> {
        match &mut verification.0 {
            Either::First(chosen) => named(self.first.finish(chosen, head, body, rest), self.first.name()),
            Either::Second(chosen) => named(self.second.finish(chosen, head, body, rest), self.second.name()),
        }
    }
}

/// Begins with one of the senders, under that sender's name.
fn begin<P: Provider, V: 'static>(
    provider: &P,
    head: &Parts,
    clock: &dyn Clock,
    wrap: fn(P::Verification) -> V,
) -> Result<Begin<V>, Rejection> {
    match provider.begin(head, clock) {
        Ok(Begin::Verify(verification)) => Ok(Begin::Verify(wrap(verification))),
        Ok(Begin::Pending(pending)) => {
            let name = provider.name().clone();
            Ok(Begin::Pending(Box::pin(async move {
                match pending.await {
                    Ok(verification) => Ok(wrap(verification)),
                    Err(rejection) => Err(rejection.with_provider(&name)),
                }
            })))
        }
        Ok(Begin::Answer(answer)) => Ok(Begin::Answer(answer)),
        Err(rejection) => Err(rejection.with_provider(provider.name())),
    }
}

/// A request being verified by one of the senders of [`AnyOf`].
pub struct AnyVerification<A, B>(Either<A, B>);

enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A, B> AnyVerification<A, B> {
    fn first(verification: A) -> Self {
        Self(Either::First(verification))
    }

    fn second(verification: B) -> Self {
        Self(Either::Second(verification))
    }
}

/// The verdict, under the name of the sender that gave it.
fn named(verdict: Result<Outcome, Rejection>, name: &Text) -> Result<Outcome, Rejection> {
    match verdict {
        Ok(Outcome::Deliver(verified)) => Ok(Outcome::Deliver(verified.with_provider(name))),
        Ok(Outcome::Answer(answer)) => Ok(Outcome::Answer(answer)),
        Ok(Outcome::Pending(pending)) => {
            let name = name.clone();
            Ok(Outcome::Pending(Box::pin(async move { named(pending.await, &name) })))
        }
        Err(rejection) => Err(rejection.with_provider(name)),
    }
}

impl<A, B> fmt::Debug for AnyVerification<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Either::First(_) => "AnyVerification(first)",
            Either::Second(_) => "AnyVerification(second)",
        })
    }
}
