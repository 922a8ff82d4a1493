//! What a verified body says of itself, read once it is asked for.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::text::Text;

/// How the id, the event and what tells a repetition are found in a body that was verified. Nothing is read before a
/// handler asks for it.
///
/// ```
/// use tower_webhook::{BodyFields, Text};
///
/// // The first line is the event's name.
/// let lines = BodyFields::new()
///     .with_event(|body| Some(Text::from(std::str::from_utf8(body).ok()?.lines().next()?.to_owned())));
/// ```
#[derive(Clone, Default)]
pub struct BodyFields {
    pub(crate) id: Option<Arc<Find>>,
    pub(crate) event: Option<Arc<Find>>,
    pub(crate) identity: Option<Arc<Find>>,
}

/// The body, and what was parsed of it during the verification.
pub(crate) type Find = dyn Fn(&[u8], Option<&(dyn Any + Send + Sync)>) -> Option<Text> + Send + Sync;

impl BodyFields {
    /// Nothing is found in the body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How [`Delivery::id`](crate::Delivery::id) is found.
    #[must_use]
    pub fn with_id(mut self, find: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.id = Some(Arc::new(move |body, _| find(body)));
        self
    }

    /// How [`Delivery::event`](crate::Delivery::event) is found.
    #[must_use]
    pub fn with_event(mut self, find: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.event = Some(Arc::new(move |body, _| find(body)));
        self
    }

    /// How the signed id that tells this delivery from others is found, where it is not the id: see
    /// [`Delivery::identity`](crate::Delivery::identity).
    #[must_use]
    pub fn with_identity(mut self, find: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.identity = Some(Arc::new(move |body, _| find(body)));
        self
    }

    /// As [`with_identity`](Self::with_identity), where what was parsed during the verification tells.
    #[cfg(feature = "jwt")]
    pub(crate) fn with_identity_by<T: 'static>(mut self, find: fn(&T, &[u8]) -> Option<Text>) -> Self {
        self.identity = Some(Arc::new(move |body, parsed| find(parsed?.downcast_ref()?, body)));
        self
    }

    /// For sharing between deliveries; `None` where nothing is found in the body.
    pub(crate) fn shared(self) -> Option<Arc<Self>> {
        let finds = self.id.is_some() || self.event.is_some() || self.identity.is_some();
        finds.then(|| Arc::new(self))
    }
}

impl fmt::Debug for BodyFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = |find: &Option<Arc<Find>>| find.is_some();
        f.debug_struct("BodyFields")
            .field("id", &found(&self.id))
            .field("event", &found(&self.event))
            .field("identity", &found(&self.identity))
            .finish()
    }
}
