//! What is known of a sender, at run time.

use std::borrow::Cow;

use crate::behavior::Behavior;
use crate::text::Text;
use crate::time::Tolerance;

/// What is known of a sender: for pages, logs and checks at start-up.
///
/// [`senders::all`](crate::senders::all) has the address of each built-in sender's document, and
/// how well its rule is known; see [`sender`](Self::sender). What is `None` or empty is unknown or
/// not there.
///
/// # Examples
///
/// ```
/// use tower_webhook::provider::{Provider, Repeats};
/// use tower_webhook::senders;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let github = senders::github("the secret of the webhook")?;
/// for facts in github.facts() {
///     if facts.behavior.repeats() == Some(Repeats::Never) {
///         println!("{} never repeats: put an inbox behind it", facts.name);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The provider's name.
    pub name: Text,
    /// When the sender repeats, how long it waits, which answer it expects, how large its bodies
    /// are, and whether it acts on the answer's body.
    pub behavior: Behavior,
    /// The largest body that is accepted, in bytes.
    pub body_limit: usize,
    /// How far a timestamp may be from now, if there is one.
    pub tolerance: Option<Tolerance>,
    /// Where the event's name is, in words.
    pub event: Option<String>,
    /// What tells a repetition from a new delivery, in words: see
    /// [`Delivery::identity`](crate::Delivery::identity).
    pub identity: Option<String>,
    /// The requests beside deliveries that are answered without the handler, in words, such as
    /// `HEAD`.
    pub probes: Vec<Cow<'static, str>>,
}

impl Facts {
    /// Creates facts of which no more is known than this.
    #[must_use]
    pub fn new(name: Text, behavior: Behavior, body_limit: usize) -> Self {
        Self { name, behavior, body_limit, tolerance: None, event: None, identity: None, probes: Vec::new() }
    }

    /// Sets what tells a repetition from a new delivery.
    #[must_use]
    pub fn with_identity(self, identity: impl Into<String>) -> Self {
        Self { identity: Some(identity.into()), ..self }
    }
}
