//! The proof that a request was verified, and what it proves.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use http::Extensions;

use crate::body_fields::{BodyFields, Find};
use crate::rejection::{Reason, Rejection};
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
    id: Option<Text>,
    event: Option<Text>,
    timestamp: Option<SystemTime>,
    key_index: u16,
    signed: Signed,
    parsed: Option<Arc<dyn Any + Send + Sync>>,
    body: Bytes,
    in_body: Option<Arc<BodyFields>>,
    /// What was read from the body when it was asked for.
    id_in_body: Found,
    event_in_body: Found,
}

/// Boxed, as most deliveries are never asked.
type Found = OnceLock<Option<Box<Text>>>;

impl Delivery {
    /// Called by the layer's future on a verdict of [`Deliver`](crate::provider::Outcome::Deliver), and nowhere else. What was
    /// found out is taken.
    #[inline]
    pub(crate) fn new(provider: &Text, verified: &mut Verified, body: Bytes) -> Self {
        Self {
            provider: verified.provider.take().map_or_else(|| provider.clone(), |provider| *provider),
            id: verified.id.take(),
            event: verified.event.take(),
            timestamp: verified.timestamp,
            key_index: verified.key_index,
            signed: verified.signed,
            parsed: verified.parsed.take(),
            body,
            in_body: verified.in_body.take(),
            id_in_body: OnceLock::new(),
            event_in_body: OnceLock::new(),
        }
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
        self.found_id().map(Text::as_str)
    }

    /// The sender's name for the kind of event, such as `push` or `invoice.paid`, where there is one in a header or at a
    /// known place of the body.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        known(&self.event, &self.event_in_body, || self.find(|rules| &rules.event)).map(Text::as_str)
    }

    fn found_id(&self) -> Option<&Text> {
        known(&self.id, &self.id_in_body, || self.find(|rules| &rules.id))
    }

    fn find(&self, rule: fn(&BodyFields) -> &Option<Arc<Find>>) -> Option<Text> {
        rule(self.in_body.as_ref()?).as_ref()?(&self.body, self.parsed.as_deref())
    }

    /// The time at which the sender signed, where it says so. It lies within the provider's tolerance.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.timestamp
    }

    /// The position, from 0, of the secret or key that verified it, in the list that was configured or looked up. While
    /// secrets rotate, this tells whether the old one is still in use.
    #[must_use]
    pub fn key_index(&self) -> usize {
        self.key_index.into()
    }

    /// What the signature covers.
    #[must_use]
    pub fn signed(&self) -> Signed {
        self.signed
    }

    /// The body, byte for byte as it arrived.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What this delivery is, for telling a repetition from a new one.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let id = match self.find(|rules| &rules.identity) {
            None if self.signed.id => self.found_id().cloned(),
            chosen => chosen,
        };
        id.map_or(Identity::Body, Identity::Id)
    }

    /// What the provider already parsed during the verification.
    #[allow(dead_code, reason = "used by the providers behind features")]
    pub(crate) fn parsed<T: 'static>(&self) -> Option<&T> {
        self.parsed.as_deref()?.downcast_ref()
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

/// What the head said, or what the body says, which is read the first time that it is asked for.
fn known<'a>(head: &'a Option<Text>, body: &'a Found, read: impl FnOnce() -> Option<Text>) -> Option<&'a Text> {
    head.as_ref().or_else(|| body.get_or_init(|| read().map(Box::new)).as_deref())
}

/// Prints no part of the body.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("provider", &self.provider)
            .field("id", &self.id)
            .field("event", &self.event)
            .field("timestamp", &self.timestamp)
            .field("key_index", &self.key_index)
            .field("signed", &self.signed)
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

impl Signed {
    /// Sets whether the whole body is covered.
    #[must_use]
    pub const fn with_body(mut self, body: bool) -> Self {
        self.body = body;
        self
    }

    /// Sets whether [`Delivery::timestamp`] is covered.
    #[must_use]
    pub const fn with_timestamp(mut self, timestamp: bool) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets whether [`Delivery::id`] is covered.
    #[must_use]
    pub const fn with_id(mut self, id: bool) -> Self {
        self.id = id;
        self
    }

    /// Sets whether [`Delivery::event`] is covered.
    #[must_use]
    pub const fn with_event(mut self, event: bool) -> Self {
        self.event = event;
        self
    }

    /// Sets whether the URL that was requested is covered.
    #[must_use]
    pub const fn with_url(mut self, url: bool) -> Self {
        self.url = url;
        self
    }
}

/// What a [`Provider`](crate::Provider) found out about a genuine request. The layer makes a [`Delivery`] of it.
#[derive(Clone, Default)]
pub struct Verified {
    /// Boxed, as it is there where senders share a route and nowhere else.
    pub(crate) provider: Option<Box<Text>>,
    pub(crate) id: Option<Text>,
    pub(crate) event: Option<Text>,
    pub(crate) in_body: Option<Arc<BodyFields>>,
    pub(crate) timestamp: Option<SystemTime>,
    /// Narrow, so that it shares a word with what is signed.
    pub(crate) key_index: u16,
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

    /// The name of the provider that verified: this one, unless it stood for another.
    pub(crate) fn provider<'a>(&'a self, provider: &'a Text) -> &'a Text {
        self.provider.as_deref().unwrap_or(provider)
    }

    /// Names the provider that verified, where another one stands for it. The first name stays: it is the nearest to
    /// the sender.
    #[inline]
    pub(crate) fn with_provider(mut self, provider: &Text) -> Self {
        self.provider.get_or_insert_with(|| Box::new(provider.clone()));
        self
    }

    /// Sets [`Delivery::id`].
    #[must_use]
    #[inline]
    pub fn with_id(mut self, id: Option<Text>) -> Self {
        self.id = id;
        self
    }

    /// Sets [`Delivery::event`].
    #[must_use]
    #[inline]
    pub fn with_event(mut self, event: Option<Text>) -> Self {
        self.event = event;
        self
    }

    /// Sets what is found in the verified body, once it is asked for.
    #[must_use]
    #[inline]
    pub fn with_body_fields(mut self, rules: Option<Arc<BodyFields>>) -> Self {
        self.in_body = rules;
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
        self.key_index = key_index.try_into().unwrap_or(u16::MAX);
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
