//! What a sender is: the trait that the layer drives.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::request::Parts;

use crate::answer::Answer;
use crate::delivery::Verified;
use crate::rejection::Rejection;
use crate::text::Text;
use crate::time::Clock;

pub use crate::behavior::{Behavior, DEFAULT_BODY_LIMIT, ExpectedAnswer, Repeats};
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub use crate::clues::Clues;
pub use crate::facts::Facts;
pub use crate::maybe_ready::{BoxFuture, MaybeReady};

/// A sender of webhooks: its rules, and the keys it signs with.
///
/// Most senders are a [`Scheme`](crate::Scheme) of a few lines. If a sender's rules need code,
/// implement [`Verify`](crate::Verify), which is one async function. This trait is for senders
/// whose signature should be computed while the body arrives.
///
/// A provider does no I/O of its own on the way to a verdict, except through futures that it
/// returns; the clock is passed in.
///
/// # Examples
///
/// A sender that proves itself by the certificate of its connection, for which the server left a
/// name in the extensions:
///
/// ```
/// use bytes::Bytes;
/// use http::request::Parts;
/// use tower_webhook::provider::{Begin, MaybeReady, Outcome, Provider, Recognition};
/// use tower_webhook::{Clock, Reason, Rejection, Signed, Text, Verified, WebhookLayer};
///
/// /// Put into the extensions by a server that has checked the peer's certificate.
/// #[derive(Clone, PartialEq)]
/// struct Peer(&'static str);
///
/// struct Acme(Text);
///
/// impl Provider for Acme {
///     type Verification = ();
///
///     fn name(&self) -> &Text {
///         &self.0
///     }
///
///     fn recognizes(&self, head: &Parts) -> Recognition {
///         (head.extensions.get() == Some(&Peer("acme.example.test"))).into()
///     }
///
///     fn begin(&self, head: &Parts, _: &dyn Clock) -> Result<MaybeReady<Begin<()>>, Rejection> {
///         if self.recognizes(head) == Recognition::No {
///             return Err(Reason::MissingSignature.into());
///         }
///         Ok(Begin::Verify(()).into())
///     }
///
///     fn finish(&self, (): &mut (), _: &Parts, _: &Bytes, _: &[u8]) -> Result<MaybeReady<Outcome>, Rejection> {
///         // The connection covers everything that came over it.
///         Ok(Outcome::Deliver(Verified::new(Signed::default().with_body(true))).into())
///     }
/// }
///
/// let layer = WebhookLayer::new(Acme("acme".into()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a webhook provider",
    note = "a provider is made by `senders::stripe(..)?`, `Scheme::hmac_sha256()..build(..)?` and the like; is a `?` missing?"
)]
pub trait Provider: Send + Sync + 'static {
    /// The state of the verification of one request.
    type Verification: Send + 'static;

    /// Returns the provider's name, in `snake_case`: in deliveries, logs and metrics.
    fn name(&self) -> &Text;

    /// Returns the largest body that the sender is expected to send, in bytes. A limit that is set
    /// on the layer takes precedence. The default is what [`behavior`](Self::behavior) says,
    /// but at least [`DEFAULT_BODY_LIMIT`].
    fn body_limit(&self) -> usize {
        self.behavior().body_limit()
    }

    /// Returns how the sender behaves around its requests.
    fn behavior(&self) -> &Behavior {
        &Behavior::UNKNOWN
    }

    /// Returns what is known of the sender, or of each one that this provider stands for. The
    /// default is what the other methods say.
    fn facts(&self) -> Vec<Facts> {
        vec![Facts::new(self.name().clone(), *self.behavior(), self.body_limit())]
    }

    /// Returns whether the request looks like it came from this sender, so that several senders can
    /// share a route. It doesn't say whether the request is genuine.
    fn recognizes(&self, head: &Parts) -> Recognition;

    /// Returns what tells the sender's requests: a head that has none of it is one of which
    /// [`recognizes`](Self::recognizes) says [`No`](Recognition::No), and that
    /// [`begin`](Self::begin) refuses. [`AnyOf`](crate::AnyOf) looks for that of all its senders at
    /// once, and goes on with those whose is there; with only one, it doesn't call `recognizes`
    /// about what `begin` takes. The default is `None`: nothing is known, and the sender is
    /// asked about every request.
    fn recognized_by(&self) -> Option<Vec<RecognizedBy>> {
        None
    }

    /// Returns whether the body looks like it came from this sender. It is asked only after
    /// [`recognizes`](Self::recognizes) said [`Perhaps`](Recognition::Perhaps), and only if
    /// more than one sender said so.
    fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        let _ = (head, body);
        true
    }

    /// Judges the head, before the first byte of the body is read. Everything that the head alone
    /// can decide is decided here. The clock is for senders that sign a time; others needn't
    /// read it.
    ///
    /// # Errors
    ///
    /// Returns the rejection if the head is not acceptable.
    fn begin(&self, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection>;

    /// Returns whether [`begin`](Self::begin) may clone the whole head, for a future to hold. Then
    /// the layer calls [`begin_shared`](Self::begin_shared) instead. The default is `false`.
    fn shares_head(&self) -> bool {
        false
    }

    /// Judges the head as [`begin`](Self::begin) does. A pending future may hold the head, of which
    /// the layer lets go meanwhile: the request gets it back without a clone if nothing holds it
    /// once the future was dropped. The default calls `begin`.
    ///
    /// # Errors
    ///
    /// Returns the rejection if the head is not acceptable.
    fn begin_shared(
        &self,
        head: &Arc<Parts>,
        clock: &dyn Clock,
    ) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
        self.begin(head, clock)
    }

    /// Takes the next bytes of the body, in order, while more may be on their way. How they are
    /// split has no meaning, and a body that is there at once is given to
    /// [`finish`](Self::finish) alone. By default nothing is done before the whole
    /// body is there.
    fn receive(&self, verification: &mut Self::Verification, head: &Parts, chunk: &[u8]) {
        let _ = (verification, head, chunk);
    }

    /// Decides, once the whole body is there. `rest` is the end of the body that
    /// [`receive`](Self::receive) was not given. It is called once for each verification.
    ///
    /// # Errors
    ///
    /// Returns the rejection if the request is not genuine or not acceptable.
    fn finish(
        &self,
        verification: &mut Self::Verification,
        head: &Parts,
        body: &Bytes,
        rest: &[u8],
    ) -> Result<MaybeReady<Outcome>, Rejection>;

    /// Returns what is needed of a verification that has to wait for its body, if that is less than
    /// all of it. What is left of it is not used again. It was given the first `fed` bytes of the
    /// body.
    #[doc(hidden)]
    fn park(&self, verification: &mut Self::Verification, fed: usize) -> Option<Box<dyn Parked<Self>>>
    where
        Self: Sized,
    {
        let _ = (verification, fed);
        None
    }

    /// Dresses a rejection for this sender: its status, a challenge, a header. The layer calls it
    /// once for each rejection, whichever step it came from.
    #[must_use]
    fn refuse(&self, head: &Parts, rejection: Rejection) -> Rejection {
        let _ = head;
        rejection
    }

    /// Returns what a diagnosis may know of the provider.
    #[cfg(feature = "inspect")]
    #[doc(hidden)]
    fn clues(&self) -> Clues {
        Clues::default()
    }
}

/// What is kept of a verification while it waits for its body.
#[doc(hidden)]
pub trait Parked<P: Provider>: Send {
    /// Returns the verification as it was, and how much of the body it has seen. It may be less
    /// than it was given.
    fn resume(&mut self, provider: &P, head: &Parts) -> Result<(P::Verification, usize), Rejection>;

    /// Keeps the verification, which was given the first `fed` bytes of the body.
    fn keep(&mut self, verification: P::Verification, fed: usize);
}

/// Whether a request looks like it came from a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recognition {
    /// The head has the sender's signature, token or handshake.
    Yes,
    /// The head cannot tell: the signature is in the body, or in a place that every request has.
    Perhaps,
    /// The head has nothing of this sender.
    No,
}

impl Recognition {
    /// Returns the surest of several answers, `No` if there are none.
    #[inline]
    pub(crate) fn best(answers: impl Iterator<Item = Self>) -> Self {
        let mut best = Self::No;
        for answer in answers {
            match answer {
                Self::Yes => return Self::Yes,
                Self::Perhaps => best = Self::Perhaps,
                Self::No => {}
            }
        }
        best
    }
}

impl From<bool> for Recognition {
    fn from(recognized: bool) -> Self {
        if recognized { Self::Yes } else { Self::No }
    }
}

/// What tells the head of a request that may be a sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecognizedBy {
    /// A header of this name.
    Header(HeaderName),
    /// A `Content-Type` of `application/x-www-form-urlencoded`.
    Form,
}

/// What follows from the head of a request.
#[non_exhaustive]
pub enum Begin<V> {
    /// The body is to be received and verified.
    Verify(V),
    /// The sender's protocol demands this answer; the handler is not called.
    Answer(Answer),
}

impl<V> fmt::Debug for Begin<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verify(_) => "Verify(..)",
            Self::Answer(_) => "Answer(..)",
        })
    }
}

/// The end of a verification that did not refuse.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The request is genuine: the handler is called.
    Deliver(Verified),
    /// The sender's protocol demands this answer; the handler is not called.
    Answer(Answer),
}

/// Implements methods of [`Provider`] by those of a provider inside.
macro_rules! delegate {
    ($this:ident => $inner:expr; $($method:ident),* $(,)?) => {
        $(delegate!(@$method $this $inner);)*
    };
    (@name $this:ident $inner:expr) => {
        fn name(&$this) -> &Text {
            $inner.name()
        }
    };
    (@body_limit $this:ident $inner:expr) => {
        fn body_limit(&$this) -> usize {
            $inner.body_limit()
        }
    };
    (@behavior $this:ident $inner:expr) => {
        fn behavior(&$this) -> &Behavior {
            $inner.behavior()
        }
    };
    (@facts $this:ident $inner:expr) => {
        fn facts(&$this) -> Vec<Facts> {
            $inner.facts()
        }
    };
    (@recognizes $this:ident $inner:expr) => {
        fn recognizes(&$this, head: &Parts) -> Recognition {
            $inner.recognizes(head)
        }
    };
    (@recognized_by $this:ident $inner:expr) => {
        fn recognized_by(&$this) -> Option<Vec<RecognizedBy>> {
            $inner.recognized_by()
        }
    };
    (@recognizes_body $this:ident $inner:expr) => {
        fn recognizes_body(&$this, head: &Parts, body: &[u8]) -> bool {
            $inner.recognizes_body(head, body)
        }
    };
    (@begin $this:ident $inner:expr) => {
        fn begin(&$this, head: &Parts, clock: &dyn Clock) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
            $inner.begin(head, clock)
        }
    };
    (@shares_head $this:ident $inner:expr) => {
        fn shares_head(&$this) -> bool {
            $inner.shares_head()
        }
    };
    (@begin_shared $this:ident $inner:expr) => {
        fn begin_shared(
            &$this,
            head: &Arc<Parts>,
            clock: &dyn Clock,
        ) -> Result<MaybeReady<Begin<Self::Verification>>, Rejection> {
            $inner.begin_shared(head, clock)
        }
    };
    (@receive $this:ident $inner:expr) => {
        fn receive(&$this, verification: &mut Self::Verification, head: &Parts, chunk: &[u8]) {
            $inner.receive(verification, head, chunk);
        }
    };
    (@finish $this:ident $inner:expr) => {
        fn finish(
            &$this,
            verification: &mut Self::Verification,
            head: &Parts,
            body: &Bytes,
            rest: &[u8],
        ) -> Result<MaybeReady<Outcome>, Rejection> {
            $inner.finish(verification, head, body, rest)
        }
    };
    (@refuse $this:ident $inner:expr) => {
        fn refuse(&$this, head: &Parts, rejection: Rejection) -> Rejection {
            $inner.refuse(head, rejection)
        }
    };
    (@clues $this:ident $inner:expr) => {
        #[cfg(feature = "inspect")]
        fn clues(&$this) -> $crate::provider::Clues {
            $inner.clues()
        }
    };
}
pub(crate) use delegate;

impl<P: Provider + ?Sized> Provider for Arc<P> {
    type Verification = P::Verification;

    delegate! {
        self => (**self);
        name, body_limit, behavior, facts, recognizes, recognized_by, recognizes_body, begin, shares_head, begin_shared, receive,
        finish, refuse, clues
    }
}
