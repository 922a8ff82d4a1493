//! How a sender behaves around its requests: when it repeats them, how long it waits, which answer
//! it expects.

use std::time::Duration;

use http::StatusCode;

/// The default body limit: 1 MiB. It is four times what the most generous queue-backed sender (SNS)
/// publishes, and small enough that a thousand concurrent requests fit into a small machine.
pub const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;

/// How a sender behaves around its requests, as far as its documents say.
///
/// The layers choose statuses and limits by it. Nothing is assumed about a setting that is `None`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::provider::{Behavior, Repeats};
///
/// const ACME: Behavior =
///     Behavior::UNKNOWN.with_repeats(Repeats::OnServerError).with_patience(Duration::from_secs(10));
/// assert_eq!(ACME.repeats(), Some(Repeats::OnServerError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behavior {
    repeats: Option<Repeats>,
    repeats_for: Option<Duration>,
    patience: Option<Duration>,
    expected: Option<ExpectedAnswer>,
    largest_body: Option<usize>,
    unique_bodies: Option<&'static str>,
    interactive: bool,
}

/// What a delivery knows of its sender's behavior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "dedup"), allow(dead_code))]
pub(crate) struct Traits {
    /// Nothing is repeated.
    pub(crate) never_repeats: bool,
    /// Two events never have the same body.
    pub(crate) has_unique_bodies: bool,
    /// The response's body is acted on.
    pub(crate) is_interactive: bool,
}

/// When a sender repeats a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repeats {
    /// Never: a delivery that isn't taken is lost.
    Never,
    /// After 5xx, 429, time-outs and connection errors. Other answers are final.
    OnServerError,
    /// After any answer that isn't the expected one, and after time-outs and connection errors.
    OnAnyFailure,
}

/// What a sender takes for "delivered".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExpectedAnswer {
    /// Any 2xx.
    AnySuccess,
    /// One of these statuses.
    Status(&'static [StatusCode]),
    /// A 200 with this body.
    Body(&'static str),
}

impl Behavior {
    /// A sender of which nothing is known.
    pub const UNKNOWN: Self = Self {
        repeats: None,
        repeats_for: None,
        patience: None,
        expected: None,
        largest_body: None,
        unique_bodies: None,
        interactive: false,
    };

    /// Sets when the sender repeats a delivery.
    #[must_use]
    pub const fn with_repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = Some(repeats);
        self
    }

    /// Sets how long the sender goes on repeating.
    #[must_use]
    pub const fn with_repeats_for(mut self, duration: Duration) -> Self {
        self.repeats_for = Some(duration);
        self
    }

    /// Sets how long the sender waits for an answer.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Sets what the sender takes for "delivered".
    #[must_use]
    pub const fn with_expected(mut self, expected: ExpectedAnswer) -> Self {
        self.expected = Some(expected);
        self
    }

    /// Sets the largest body that the sender documents, in bytes.
    #[must_use]
    pub const fn with_largest_body(mut self, bytes: usize) -> Self {
        self.largest_body = Some(bytes);
        self
    }

    /// Says why two events of this sender never have the same body, such as an id inside.
    #[must_use]
    pub const fn with_unique_bodies(mut self, why: &'static str) -> Self {
        self.unique_bodies = Some(why);
        self
    }

    /// Marks a sender that acts on the body of the response.
    #[must_use]
    pub const fn with_interactive(mut self, interactive: bool) -> Self {
        self.interactive = interactive;
        self
    }

    /// Returns when the sender repeats a delivery, or `None` if that is unknown.
    #[must_use]
    pub const fn repeats(&self) -> Option<Repeats> {
        self.repeats
    }

    /// Returns how long the sender goes on repeating, or `None` if that is unknown.
    #[must_use]
    pub const fn repeats_for(&self) -> Option<Duration> {
        self.repeats_for
    }

    /// Returns how long the sender waits for an answer, or `None` if that is unknown.
    #[must_use]
    pub const fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// Returns what the sender takes for "delivered", or `None` if that is unknown.
    #[must_use]
    pub const fn expected(&self) -> Option<ExpectedAnswer> {
        self.expected
    }

    /// Returns the largest body that the sender documents, in bytes, or `None` if it documents
    /// none.
    #[must_use]
    pub const fn largest_body(&self) -> Option<usize> {
        self.largest_body
    }

    /// Returns the largest body to be accepted: what the sender documents, but at least
    /// [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub(crate) const fn body_limit(&self) -> usize {
        match self.largest_body {
            Some(bytes) if bytes > DEFAULT_BODY_LIMIT => bytes,
            _ => DEFAULT_BODY_LIMIT,
        }
    }

    /// Returns why two events of this sender never have the same body, or `None` if they may.
    #[must_use]
    pub const fn unique_bodies(&self) -> Option<&'static str> {
        self.unique_bodies
    }

    /// Returns whether the sender acts on the body of the response.
    #[must_use]
    pub const fn is_interactive(&self) -> bool {
        self.interactive
    }

    pub(crate) const fn traits(&self) -> Traits {
        Traits {
            never_repeats: matches!(self.repeats, Some(Repeats::Never)),
            has_unique_bodies: self.unique_bodies.is_some(),
            is_interactive: self.interactive,
        }
    }
}

impl Default for Behavior {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
