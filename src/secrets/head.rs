//! What a look-up of secrets sees of a request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use http::request::Parts;

use crate::text::Text;

/// The head of a request as a secret look-up sees it: method, URI, headers and extensions, by
/// [`Deref`].
///
/// None of it is verified. Use it to choose which secret to try, and for nothing else.
#[derive(Clone)]
pub struct Head {
    parts: Arc<Parts>,
    hint: Option<Text>,
}

impl Head {
    pub(crate) fn new(parts: &Parts, hint: Option<Text>) -> Self {
        Self::from_parts(parts.clone(), hint)
    }

    pub(super) fn from_parts(parts: Parts, hint: Option<Text>) -> Self {
        Self { parts: Arc::new(parts), hint }
    }

    /// Returns what the message itself says about its signer, if the sender has such a thing: for
    /// CloudBlue Connect the `webhook_id` of the token. It is *unverified*.
    #[must_use]
    pub fn unverified_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Prints the method and the names of the headers: the rest may hold tokens.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.parts.headers.keys().collect();
        f.debug_struct("Head").field("method", &self.parts.method).field("headers", &headers).finish_non_exhaustive()
    }
}

impl Deref for Head {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
