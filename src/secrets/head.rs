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
///
/// It is the request's own head, which goes on to the handler once the look-up's future has ended.
/// If your program still holds the `Head` by then, the handler gets a copy.
#[derive(Clone)]
pub struct Head {
    parts: Arc<Parts>,
    hint: Option<Text>,
}

impl Head {
    pub(super) fn new(parts: Arc<Parts>, hint: Option<Text>) -> Self {
        Self { parts, hint }
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

/// The head of a request, by which something may be looked up: shared, if the driver of the
/// verification has lent it for that.
#[derive(Clone, Copy)]
pub(crate) struct HeadRef<'a> {
    parts: &'a Parts,
    shared: Option<&'a Arc<Parts>>,
}

impl<'a> HeadRef<'a> {
    #[inline]
    pub(crate) fn parts(self) -> &'a Parts {
        self.parts
    }

    /// Returns the shared head, or `None` if there is none.
    #[inline]
    pub(crate) fn shared(self) -> Option<&'a Arc<Parts>> {
        self.shared
    }

    /// Returns the head for a future to hold: the shared one, or a clone.
    pub(crate) fn to_shared(self) -> Arc<Parts> {
        self.shared.cloned().unwrap_or_else(|| Arc::new(self.parts.clone()))
    }
}

impl<'a> From<&'a Parts> for HeadRef<'a> {
    #[inline]
    fn from(parts: &'a Parts) -> Self {
        Self { parts, shared: None }
    }
}

impl<'a> From<&'a Arc<Parts>> for HeadRef<'a> {
    #[inline]
    fn from(shared: &'a Arc<Parts>) -> Self {
        Self { parts: shared, shared: Some(shared) }
    }
}
