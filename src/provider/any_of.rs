//! Several senders on one route.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use pin_project_lite::pin_project;

use crate::reject::{Reason, Rejection};
use crate::text::Text;

use super::{Begin, Outcome, Provider, Verification};

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

    fn begin(&self, head: &Parts, now: SystemTime) -> Result<Begin<Self::Verification>, Rejection> {
        if self.first.recognizes(head) {
            begin(&self.first, head, now, AnyVerification::first)
        } else if self.second.recognizes(head) {
            begin(&self.second, head, now, AnyVerification::second)
        } else {
            Err(Rejection::new(Reason::MissingSignature).with_detail("it bears the marks of none of the senders"))
        }
    }
}

/// Begins with one of the senders, under that sender's name.
fn begin<P: Provider, V: 'static>(
    provider: &P,
    head: &Parts,
    now: SystemTime,
    wrap: fn(Text, P::Verification) -> V,
) -> Result<Begin<V>, Rejection> {
    let name = provider.name().clone();
    match provider.begin(head, now) {
        Ok(Begin::Verify(verification)) => Ok(Begin::Verify(wrap(name, verification))),
        Ok(Begin::Pending(pending)) => Ok(Begin::Pending(Box::pin(async move {
            match pending.await {
                Ok(verification) => Ok(wrap(name, verification)),
                Err(rejection) => Err(rejection.with_provider(&name)),
            }
        }))),
        Ok(Begin::Answer(answer)) => Ok(Begin::Answer(answer)),
        Err(rejection) => Err(rejection.with_provider(&name)),
    }
}

/// A request being verified by one of the senders of [`AnyOf`].
pub struct AnyVerification<A, B> {
    name: Text,
    chosen: Either<A, B>,
}

enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A, B> AnyVerification<A, B> {
    fn first(name: Text, verification: A) -> Self {
        Self { name, chosen: Either::First(verification) }
    }

    fn second(name: Text, verification: B) -> Self {
        Self { name, chosen: Either::Second(verification) }
    }
}

impl<A: Verification, B: Verification> Verification for AnyVerification<A, B> {
    type Verdict = AnyVerdict<A::Verdict, B::Verdict>;

    fn receive(&mut self, chunk: &[u8]) {
        match &mut self.chosen {
            Either::First(verification) => verification.receive(chunk),
            Either::Second(verification) => verification.receive(chunk),
        }
    }

    fn finish(self, head: &Parts, body: &Bytes) -> Self::Verdict {
        let chosen = match self.chosen {
            Either::First(verification) => EitherVerdict::First { verdict: verification.finish(head, body) },
            Either::Second(verification) => EitherVerdict::Second { verdict: verification.finish(head, body) },
        };
        AnyVerdict { name: self.name, chosen }
    }
}

impl<A, B> fmt::Debug for AnyVerification<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyVerification").field("name", &self.name).finish_non_exhaustive()
    }
}

pin_project! {
    /// The verdict of one of the senders of [`AnyOf`].
    pub struct AnyVerdict<A, B> {
        name: Text,
        #[pin]
        chosen: EitherVerdict<A, B>,
    }
}

pin_project! {
    #[project = EitherVerdictProj]
    enum EitherVerdict<A, B> {
        First { #[pin] verdict: A },
        Second { #[pin] verdict: B },
    }
}

type Verdict = Result<Outcome, Rejection>;

impl<A, B> Future for AnyVerdict<A, B>
where
    A: Future<Output = Verdict>,
    B: Future<Output = Verdict>,
{
    type Output = Verdict;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let this = self.project();
        let verdict = match this.chosen.project() {
            EitherVerdictProj::First { verdict } => ready!(verdict.poll(cx)),
            EitherVerdictProj::Second { verdict } => ready!(verdict.poll(cx)),
        };
        Poll::Ready(match verdict {
            Ok(Outcome::Deliver(verified)) => Ok(Outcome::Deliver(verified.with_provider(this.name))),
            Ok(answer) => Ok(answer),
            Err(rejection) => Err(rejection.with_provider(this.name)),
        })
    }
}

impl<A, B> fmt::Debug for AnyVerdict<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyVerdict(..)")
    }
}
