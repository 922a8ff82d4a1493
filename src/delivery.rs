//! The proof that a request was verified, and what it proves.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use http::Extensions;

use crate::reject::{Reason, Rejection};
use crate::text::Text;

/// One verified webhook request.
///
/// Only a successful verification makes one, so a function that takes a `Delivery` cannot be reached by a forged
/// request. The layer puts it into the request's extensions; with the feature `axum` it is an extractor.
///
/// What the sender did not sign is a hint and no proof: see [`signed`](Self::signed).
#[derive(Clone)]
pub struct Delivery {
    provider: Text,
    verified: Verified,
    body: Bytes,
    /// What was read from the body when it was asked for.
    id_in_body: OnceLock<Option<Text>>,
    event_in_body: OnceLock<Option<Text>>,
}

impl Delivery {
    /// Called by the layer's future on a verdict of [`Deliver`](crate::provider::Outcome::Deliver), and nowhere else.
    #[inline]
    pub(crate) fn new(provider: &Text, mut verified: Verified, body: Bytes) -> Self {
        let provider = verified.provider.take().unwrap_or_else(|| provider.clone());
        Self { provider, verified, body, id_in_body: OnceLock::new(), event_in_body: OnceLock::new() }
    }

    /// The name of the provider that verified it, in `snake_case`.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    pub(crate) fn provider_text(&self) -> &Text {
        &self.provider
    }

    /// The sender's id of this event or delivery, where there is one. Whether it was signed is told by
    /// [`signed`](Self::signed).
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.known(&self.verified.id, &self.verified.id_in, &self.id_in_body).map(Text::as_str)
    }

    /// The sender's name for the kind of event, such as `push` or `invoice.paid`, where there is one in a header or at a
    /// known place of the body.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.known(&self.verified.event, &self.verified.event_in, &self.event_in_body).map(Text::as_str)
    }

    /// What the head said, or what the body says, which is read the first time that it is asked for.
    fn known<'a>(
        &self,
        head: &'a Option<Text>,
        choose: &Option<Arc<ChooseIdentity>>,
        read: &'a OnceLock<Option<Text>>,
    ) -> Option<&'a Text> {
        head.as_ref().or_else(|| read.get_or_init(|| choose.as_ref()?(&self.body)).as_ref())
    }

    /// The time at which the sender signed, where it says so. It lies within the provider's tolerance.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.verified.timestamp
    }

    /// The position, from 0, of the secret or key that verified it, in the list that was configured or looked up. While
    /// secrets rotate, this tells whether the old one is still in use.
    #[must_use]
    pub fn key_index(&self) -> usize {
        self.verified.key_index
    }

    /// What the signature covers.
    #[must_use]
    pub fn signed(&self) -> Signed {
        self.verified.signed
    }

    /// The body, byte for byte as it arrived.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What this delivery is, for telling a repetition from a new one.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let chosen = self.verified.identity.as_ref().and_then(|choose| choose(&self.body));
        match chosen {
            Some(id) => Identity::Id(id),
            None if self.verified.signed.id => {
                let id = self.known(&self.verified.id, &self.verified.id_in, &self.id_in_body);
                id.cloned().map_or(Identity::Body, Identity::Id)
            }
            None => Identity::Body,
        }
    }

    /// What the provider already parsed during the verification.
    #[allow(dead_code, reason = "used by the providers behind features")]
    pub(crate) fn parsed<T: 'static>(&self) -> Option<&T> {
        self.verified.parsed.as_deref()?.downcast_ref()
    }

    /// The delivery in a request's extensions.
    ///
    /// # Errors
    ///
    /// [`Reason::NoDelivery`] where no webhook layer verified the request.
    pub fn from_extensions(extensions: &Extensions) -> Result<&Self, Rejection> {
        extensions.get().ok_or_else(|| Rejection::new(Reason::NoDelivery))
    }
}

/// Prints no part of the body.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("provider", &self.provider)
            .field("verified", &self.verified)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

/// What tells one delivery from another.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// An id that stays the same over the sender's retries and that the sender signed, or, where the sender proves itself
    /// by a token and signs no part of the message, that stands in the message. It may be confidential: `Debug` leaves it
    /// out.
    Id(Text),
    /// The sender signs no id: the body itself tells.
    Body,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id(_) => "Id(..)",
            Self::Body => "Body",
        })
    }
}

/// Finds an id or a name in a body that was verified.
pub type ChooseIdentity = dyn Fn(&[u8]) -> Option<Text> + Send + Sync;

/// What a signature covers. What it does not cover may have been changed by anyone on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signed {
    /// The whole body.
    pub body: bool,
    /// [`Delivery::timestamp`].
    pub timestamp: bool,
    /// [`Delivery::id`].
    pub id: bool,
    /// [`Delivery::event`].
    pub event: bool,
    /// The URL that was requested.
    pub url: bool,
}

/// What a [`Verification`](crate::provider::Verification) found out. The layer makes a [`Delivery`] of it.
#[derive(Clone, Default)]
pub struct Verified {
    pub(crate) provider: Option<Text>,
    pub(crate) id: Option<Text>,
    pub(crate) id_in: Option<Arc<ChooseIdentity>>,
    pub(crate) event: Option<Text>,
    pub(crate) event_in: Option<Arc<ChooseIdentity>>,
    pub(crate) identity: Option<Arc<ChooseIdentity>>,
    pub(crate) timestamp: Option<SystemTime>,
    pub(crate) key_index: usize,
    pub(crate) signed: Signed,
    pub(crate) parsed: Option<Arc<dyn Any + Send + Sync>>,
}

impl Verified {
    /// A genuine request of which `signed` was covered by its signature.
    #[must_use]
    #[inline]
    pub fn new(signed: Signed) -> Self {
        Self { signed, ..Self::default() }
    }

    /// Names the provider that verified, where another one stands for it. The first name stays: it is the nearest to
    /// the sender.
    #[inline]
    pub(crate) fn with_provider(mut self, provider: &Text) -> Self {
        self.provider.get_or_insert_with(|| provider.clone());
        self
    }

    /// Sets [`Delivery::id`].
    #[must_use]
    #[inline]
    pub fn with_id(mut self, id: Option<Text>) -> Self {
        self.id = id;
        self
    }

    /// Sets how [`Delivery::id`] is found in the verified body, once it is asked for.
    #[must_use]
    #[inline]
    pub fn with_id_in(mut self, choose: Option<Arc<ChooseIdentity>>) -> Self {
        self.id_in = choose;
        self
    }

    /// Sets how [`Delivery::event`] is found in the verified body, once it is asked for.
    #[must_use]
    #[inline]
    pub fn with_event_in(mut self, choose: Option<Arc<ChooseIdentity>>) -> Self {
        self.event_in = choose;
        self
    }

    /// Sets [`Delivery::event`].
    #[must_use]
    #[inline]
    pub fn with_event(mut self, event: Option<Text>) -> Self {
        self.event = event;
        self
    }

    /// Sets how the signed id that tells this delivery from others is found in the verified body, where it is not
    /// [`Delivery::id`]: see [`Delivery::identity`].
    #[must_use]
    #[inline]
    pub fn with_identity(mut self, choose: Option<Arc<ChooseIdentity>>) -> Self {
        self.identity = choose;
        self
    }

    /// Sets [`Delivery::timestamp`].
    #[must_use]
    #[inline]
    pub fn with_timestamp(mut self, timestamp: Option<SystemTime>) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets [`Delivery::key_index`].
    #[must_use]
    #[inline]
    pub fn with_key_index(mut self, key_index: usize) -> Self {
        self.key_index = key_index;
        self
    }

    /// Keeps what was parsed on the way, so that extracting it does not parse again.
    #[must_use]
    pub fn with_parsed<T: Any + Send + Sync>(mut self, parsed: T) -> Self {
        self.parsed = Some(Arc::new(parsed));
        self
    }
}

/// Prints nothing of what was parsed.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("id", &self.id)
            .field("event", &self.event)
            .field("timestamp", &self.timestamp)
            .field("key_index", &self.key_index)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}
