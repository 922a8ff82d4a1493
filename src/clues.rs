//! What a diagnosis may know of a provider.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use crate::secrets::{Secret, Secrets};

/// What a diagnosis may know of a provider: where its proof is, and what it was made from.
#[derive(Clone, Default)]
pub struct Clues {
    /// The headers that the sender sets, and what the value of each starts with.
    pub(crate) marks: Vec<(HeaderName, Cow<'static, str>)>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) public_url: Option<String>,
    /// The builder that made it.
    pub(crate) builder: Option<Arc<dyn Any + Send + Sync>>,
    /// Whether the address may be signed.
    pub(crate) signs_address: bool,
    /// Whether a verification has no effect beside its verdict, so that it may be tried many times.
    pub(crate) is_repeatable: bool,
}

impl Clues {
    /// Adds the clues of another sender on the same route.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.marks.extend(other.marks);
        self.signs_address |= other.signs_address;
        self.is_repeatable &= other.is_repeatable;
        // The secrets of two senders make neither.
        Self { secrets: Vec::new(), public_url: None, builder: None, ..self }
    }

    pub(crate) fn with_secrets(mut self, secrets: Option<&Secrets>) -> Self {
        self.secrets = secrets.map_or_else(Vec::new, |secrets| secrets.fixed().to_vec());
        self
    }
}

impl fmt::Debug for Clues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clues").field("marks", &self.marks).finish_non_exhaustive()
    }
}
