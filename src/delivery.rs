//! The proof that a request was verified, and what it proves.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HeaderName;
use http::{Extensions, HeaderMap};

#[cfg(feature = "inbox")]
use crate::behavior::ExpectedAnswer;
use crate::behavior::{Behavior, Traits};
use crate::body_fields::{BodyFields, FoundFields, FoundId};
use crate::json::pick;
use crate::rejection::{Reason, Rejection};
use crate::secrets::KeyPrint;
use crate::text::Text;

/// One verified webhook request.
///
/// Only a successful verification creates one, so a function that takes a `Delivery` can't be
/// reached by a forged request. The layer puts it into the request's extensions; with the feature
/// `axum` it is an extractor.
///
/// Anyone can change what the sender doesn't sign: see [`signed`](Self::signed).
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower_webhook::{Delivery, Rejection};
///
/// async fn handle(request: Request<Full<Bytes>>) -> Result<(), Rejection> {
///     let delivery = Delivery::from_extensions(request.extensions())?;
///     println!("{:?} from {}: {} bytes", delivery.event(), delivery.provider(), delivery.body().len());
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Delivery {
    /// A copy, which costs less than to count a reference that all threads share.
    sender: Sender,
    id: Option<Text>,
    event: Option<Text>,
    timestamp: Option<SystemTime>,
    fresh_for: Option<Duration>,
    key_index: u16,
    #[cfg_attr(not(feature = "dedup"), allow(dead_code, reason = "the deduplication and the inbox ask for it"))]
    key_print: Option<KeyPrint>,
    #[cfg_attr(not(feature = "dedup"), allow(dead_code, reason = "the deduplication asks for it"))]
    body_code: Option<[u8; 32]>,
    signed: Signed,
    text: Option<Box<SignedText>>,
    parsed: Option<Arc<dyn Any + Send + Sync>>,
    body: Bytes,
    in_body: Option<Arc<BodyFields>>,
    /// The body's fields, once one of them was asked for.
    found: OnceLock<Arc<FoundFields>>,
    /// What few routes keep.
    beside: Option<Arc<Beside>>,
}

/// What is the same for all deliveries of a sender.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    name: Text,
    traits: Traits,
    /// What the sender takes for "delivered".
    #[cfg(feature = "inbox")]
    expected: Option<ExpectedAnswer>,
}

impl Sender {
    pub(crate) fn new(name: &Text, traits: Traits) -> Self {
        Self {
            name: name.clone(),
            traits,
            #[cfg(feature = "inbox")]
            expected: None,
        }
    }

    /// Returns the sender of whom a layer's provider knows this.
    pub(crate) fn of(name: &Text, behavior: &Behavior) -> Self {
        Self {
            name: name.clone(),
            traits: behavior.traits(),
            #[cfg(feature = "inbox")]
            expected: behavior.expected(),
        }
    }
}

impl Delivery {
    /// Creates a delivery from the verdict [`Deliver`](crate::provider::Outcome::Deliver). Only the
    /// layer's future calls it. The contents of `verified` are taken.
    // A delivery is large, and is to be written where it stays.
    #[inline(always)]
    pub(crate) fn new(sender: &Sender, verified: &mut Verified, body: Bytes) -> Self {
        // An id that is empty names nothing.
        if verified.id.as_ref().is_some_and(|id| id.as_bytes().is_empty()) {
            verified.id = None;
        }
        Self {
            sender: verified.sender.as_deref().unwrap_or(sender).clone(),
            body,
            id: verified.id.take(),
            event: verified.event.take(),
            timestamp: verified.timestamp,
            fresh_for: verified.fresh_for,
            key_index: verified.key_index,
            key_print: verified.key_print,
            body_code: verified.body_code,
            signed: verified.signed,
            text: verified.text.take(),
            parsed: verified.parsed.take(),
            in_body: verified.in_body.take(),
            found: OnceLock::new(),
            beside: None,
        }
    }

    /// Keeps the headers of the request.
    #[inline]
    pub(crate) fn keep_headers(&mut self, headers: &HeaderMap) {
        self.beside_mut().headers = Some(headers.clone());
    }

    /// Adds a function that makes a payload.
    #[inline]
    pub(crate) fn add_parser(&mut self, parser: Arc<dyn Any + Send + Sync>) {
        self.beside_mut().parsers.push(parser);
    }

    /// Returns the function of this type that was added last.
    pub(crate) fn parser<T: 'static>(&self) -> Option<&T> {
        self.beside.as_ref()?.parsers.iter().rev().find_map(|parser| parser.downcast_ref())
    }

    #[inline]
    fn beside_mut(&mut self) -> &mut Beside {
        Arc::make_mut(self.beside.get_or_insert_default())
    }

    /// Returns how the sender wants to be answered, for an inbox that answers in the handler's
    /// place.
    #[cfg(feature = "inbox")]
    pub(crate) fn expected(&self) -> Option<ExpectedAnswer> {
        self.sender.expected
    }

    /// Answers the delivery as the layer's own provider wants, also where that stands for several.
    #[cfg(feature = "inbox")]
    pub(crate) fn expect_as(&mut self, own: &Sender) {
        self.sender.expected = own.expected.or(self.sender.expected);
    }

    /// Restores a delivery that was verified and stored. Only the inbox calls it, with what it
    /// stored. `identity` is the id of [`identity`](Self::identity), which can't be found in
    /// the body without the provider.
    #[cfg(feature = "inbox")]
    pub(crate) fn restore(
        provider: &Text,
        traits: Traits,
        mut verified: Verified,
        identity: Option<FoundId>,
        body: Bytes,
    ) -> Self {
        let found = FoundFields { identity, ..FoundFields::default() };
        let restored = Self::new(&Sender::new(provider, traits), &mut verified, body);
        Self { in_body: Some(Arc::default()), found: OnceLock::from(Arc::new(found)), ..restored }
    }

    /// Returns the name of the provider that verified the request, in `snake_case`.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.sender.name
    }

    pub(crate) fn provider_text(&self) -> &Text {
        &self.sender.name
    }

    /// Returns the sender's id of this event or delivery, if there is one. [`signed`](Self::signed)
    /// says whether it was signed.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().or_else(|| Some(&self.found()?.id.as_ref()?.text)).map(Text::as_str)
    }

    /// Returns the sender's name for the kind of event, such as `push` or `invoice.paid`, if there
    /// is one in a header or at a known place of the body.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.event.as_ref().or_else(|| self.found()?.event.as_ref()).map(Text::as_str)
    }

    /// Returns the id as what it is, signed or not.
    fn named(&self) -> Option<Identity> {
        match &self.id {
            Some(id) => Some(Identity::Id(id.clone())),
            None => self.found()?.id.as_ref().map(Identity::of),
        }
    }

    /// Returns the fields of the body, which is read the first time. `None` if no field is there.
    fn found(&self) -> Option<&FoundFields> {
        // What an inbox restored was read once and for all.
        if let Some(found) = self.found.get() {
            return Some(found);
        }
        let fields = self.in_body.as_ref().filter(|fields| fields.finds())?;
        Some(self.found.get_or_init(|| Arc::new(fields.read(&self.body, self.parsed.as_deref()))))
    }

    /// Returns the time at which the sender signed the request, if it says so. It is within the
    /// provider's tolerance.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.timestamp
    }

    /// Returns how long the sender's rules take an exact copy of the request, counted from now at
    /// most, if they judge a time at all. What tells copies from new deliveries must remember
    /// them for as long.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        self.fresh_for
    }

    /// Returns the position, from 0, of the secret or key that verified the request in the list
    /// that was configured or looked up. While secrets rotate, this tells whether the old one
    /// is still in use.
    #[must_use]
    pub fn key_index(&self) -> usize {
        self.key_index.into()
    }

    /// Returns what the signature covers.
    #[must_use]
    pub fn signed(&self) -> Signed {
        self.signed
    }

    /// Returns the body, byte for byte as it arrived.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the headers that the request came with, or `None` if the layer doesn't
    /// [keep](crate::WebhookLayer::keep_headers) them. An inbox hands on those that it
    /// stored.
    ///
    /// Anyone can have changed a header that isn't [signed](Self::signs_header).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::Delivery;
    ///
    /// fn print(delivery: &Delivery) {
    ///     for (name, value) in delivery.headers().into_iter().flatten() {
    ///         let signed = if delivery.signs_header(name) { "signed" } else { "unsigned" };
    ///         println!("{name}: {value:?} ({signed})");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.beside.as_ref()?.headers.as_ref()
    }

    /// Returns whether the signature covers the whole value of this header, among
    /// [those that are kept](Self::headers). One of which that isn't known counts as unsigned, as
    /// do the headers of a delivery that an inbox stored.
    #[must_use]
    pub fn signs_header(&self, name: &HeaderName) -> bool {
        let is_signed = self.in_body.as_ref().is_some_and(|fields| fields.signed_headers.contains(name));
        is_signed && self.headers().is_some_and(|headers| headers.contains_key(name))
    }

    /// Returns the string, whole number or truth value at a JSON pointer (RFC 6901) in the body, as
    /// text. `None` if the body isn't JSON, or has nothing of that kind there.
    #[must_use]
    pub fn json(&self, pointer: &str) -> Option<Text> {
        let [found] = pick(&self.body, [pointer]).ok()?;
        found.map(|found| found.into_owned().into())
    }

    /// Returns what tells this delivery from others, and is the same if it is repeated.
    ///
    /// Equal bytes alone are no sign of a repetition, unless the sender's
    /// [behavior](crate::provider::Behavior::unique_bodies) says why its bodies are unique.
    #[must_use]
    pub fn identity(&self) -> Identity {
        if self.text.is_some() {
            // Two addresses are two deliveries. As the border between address and body is not signed, what is
            // read from either may be moved: the whole names the delivery, if anything in it does.
            let is_named = self.id.is_some() || self.in_body.as_ref().is_some_and(|fields| fields.has_id());
            return if is_named || self.sender.traits.has_unique_bodies { Identity::Content } else { Identity::None };
        }
        // The body is read only where it has something to say, unless it was read before.
        let may_say = |fields: &Arc<BodyFields>| fields.has_identity() || self.found.get().is_some();
        if self.in_body.as_ref().is_some_and(may_say)
            && let Some(chosen) = self.found().and_then(|found| found.identity.as_ref())
        {
            return Identity::of(chosen);
        }
        let covers_nothing = !(self.signed.body || self.signed.url);
        match self.named() {
            Some(id) if self.signed.id || covers_nothing => id,
            Some(_) => Identity::Content,
            None if self.sender.traits.has_unique_bodies => Identity::Content,
            None => Identity::None,
        }
    }

    /// Returns the id if it counts together with the content, as nobody signed it.
    #[cfg(feature = "dedup")]
    pub(crate) fn unsigned_id(&self) -> Option<&str> {
        self.id().filter(|_| !self.signed.id)
    }

    /// Returns what is signed around the body, if that is more than the body.
    #[cfg(feature = "dedup")]
    pub(crate) fn signed_text(&self) -> Option<&SignedText> {
        self.text.as_deref()
    }

    /// Returns the print of the key that verified the request, if it is one of several that there
    /// may be.
    #[cfg(feature = "dedup")]
    pub(crate) fn key_print(&self) -> Option<KeyPrint> {
        self.key_print
    }

    /// Returns what names the body as a digest would, if the verification has made it.
    #[cfg(feature = "dedup")]
    pub(crate) fn body_code(&self) -> Option<&[u8; 32]> {
        self.body_code.as_ref()
    }

    #[cfg(feature = "dedup")]
    pub(crate) fn traits(&self) -> Traits {
        self.sender.traits
    }

    /// Returns what the provider parsed during the verification.
    #[allow(dead_code, reason = "used by the providers behind features")]
    pub(crate) fn parsed<T: 'static>(&self) -> Option<&T> {
        self.parsed.as_deref()?.downcast_ref()
    }

    /// Returns the delivery in a request's extensions.
    ///
    /// # Errors
    ///
    /// Returns [`Reason::NoDelivery`] if no webhook layer verified the request.
    pub fn from_extensions(extensions: &Extensions) -> Result<&Self, Rejection> {
        extensions.get().ok_or_else(|| Rejection::new(Reason::NoDelivery))
    }
}

/// What a delivery has where a route asks for it.
#[derive(Clone, Default)]
struct Beside {
    headers: Option<HeaderMap>,
    parsers: Vec<Arc<dyn Any + Send + Sync>>,
}

/// Prints no part of the body.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("provider", &self.sender.name)
            .field("id", &self.id)
            .field("event", &self.event)
            .field("timestamp", &self.timestamp)
            .field("key_index", &self.key_index)
            .field("signed", &self.signed)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

/// What tells one delivery from another. It may be confidential: `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// An id that stays the same over the sender's repetitions. The sender signed it, or it came
    /// with a message of which the sender signs nothing, so that it is as well proven as the
    /// rest.
    Id(Text),
    /// Such an id that JSON writes as a number or a truth value: `1` and `"1"` are two ids.
    Number(Text),
    /// All that is signed except the time: usually the body. An id that came along unsigned counts
    /// too, where there is one, and with it the event's name, as some senders give one id to
    /// events of several names.
    Content,
    /// Nothing tells the delivery from others: the sender names no id, and its bodies may be the
    /// same for two events.
    None,
}

impl Identity {
    fn of(found: &FoundId) -> Self {
        if found.is_string { Self::Id(found.text.clone()) } else { Self::Number(found.text.clone()) }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id(_) => "Id(..)",
            Self::Number(_) => "Number(..)",
            Self::Content => "Content",
            Self::None => "None",
        })
    }
}

/// What is signed before the body and after it, without the time, where that is more than literals.
///
/// The text counts as a whole: where one part ends and the next one begins is not signed.
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "dedup"), allow(dead_code))]
pub(crate) struct SignedText {
    pub(crate) before: Vec<u8>,
    /// Whether the body comes next. If not, its fields are part of the text already, or nothing of
    /// it is signed.
    pub(crate) has_body: bool,
    pub(crate) after: Vec<u8>,
}

/// What a signature covers. Anyone on the way may have changed the rest.
///
/// # Examples
///
/// ```
/// use tower_webhook::Signed;
///
/// let signed = Signed::default().with_body(true).with_timestamp(true);
/// assert!(signed.body && !signed.id);
/// ```
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

/// What a [`Provider`](crate::provider::Provider) found out about a genuine request. The layer
/// turns it into a [`Delivery`].
///
/// # Examples
///
/// ```
/// use tower_webhook::{Signed, Verified};
///
/// let verified = Verified::new(Signed::default().with_body(true).with_id(true)).with_id(Some("evt_1".into()));
/// ```
#[derive(Clone, Default)]
pub struct Verified {
    /// Set where senders share a route.
    pub(crate) sender: Option<Arc<Sender>>,
    pub(crate) id: Option<Text>,
    pub(crate) event: Option<Text>,
    pub(crate) in_body: Option<Arc<BodyFields>>,
    pub(crate) timestamp: Option<SystemTime>,
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) key_print: Option<KeyPrint>,
    /// The MAC of the body alone, which names it as a digest would.
    pub(crate) body_code: Option<[u8; 32]>,
    /// Boxed, because most senders sign no more than the body.
    pub(crate) text: Option<Box<SignedText>>,
    /// Narrow, so that it shares a word with what is signed.
    pub(crate) key_index: u16,
    pub(crate) signed: Signed,
    pub(crate) parsed: Option<Arc<dyn Any + Send + Sync>>,
}

impl Verified {
    /// Creates the result for a genuine request whose signature covers `signed`.
    #[must_use]
    #[inline]
    pub fn new(signed: Signed) -> Self {
        Self { signed, ..Self::default() }
    }

    /// Names the provider that verified, if another one stands for it. The first name stays: it is
    /// the nearest to the sender.
    #[inline]
    pub(crate) fn stood_for_by(&mut self, sender: &Arc<Sender>) {
        self.sender.get_or_insert_with(|| sender.clone());
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

    /// Sets what is read from the verified body once it is asked for.
    #[must_use]
    #[inline]
    pub fn with_body_fields(mut self, fields: Option<Arc<BodyFields>>) -> Self {
        self.in_body = fields;
        self
    }

    /// Sets [`Delivery::timestamp`].
    #[must_use]
    #[inline]
    pub fn with_timestamp(mut self, timestamp: Option<SystemTime>) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets [`Delivery::fresh_for`].
    #[must_use]
    #[inline]
    pub fn with_fresh_for(mut self, duration: Option<Duration>) -> Self {
        self.fresh_for = duration;
        self
    }

    /// Sets what tells the key that verified from others.
    #[allow(dead_code, reason = "used by the providers behind features")]
    pub(crate) fn with_key_print(mut self, print: Option<KeyPrint>) -> Self {
        self.key_print = print;
        self
    }

    /// Sets what is signed besides the body.
    #[allow(dead_code, reason = "used by the providers behind features")]
    pub(crate) fn with_signed_text(mut self, text: SignedText) -> Self {
        self.text = Some(Box::new(text));
        self
    }

    /// Sets [`Delivery::key_index`].
    #[must_use]
    #[inline]
    pub fn with_key_index(mut self, key_index: usize) -> Self {
        self.key_index = key_index.try_into().unwrap_or(u16::MAX);
        self
    }

    /// Keeps what was parsed during the verification, so that extracting it doesn't parse again.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_body_is_read_once_however_often_and_by_whatever_clone_it_is_asked() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        let fields = BodyFields::new().with_id_at("/id").with_event_at("/type").with_identity(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Some("17 paid".into())
        });
        let body = Bytes::from_static(br#"{"id":17,"type":"paid"}"#);
        let mut verified = Verified::new(Signed::default()).with_body_fields(fields.shared());
        let delivery = Delivery::new(&Sender::new(&"acme".into(), Traits::default()), &mut verified, body);
        assert_eq!(reads.load(Ordering::Relaxed), 0, "nobody has asked yet");
        assert_eq!(delivery.event(), Some("paid"));
        for delivery in [delivery.clone(), delivery] {
            assert_eq!((delivery.id(), delivery.event()), (Some("17"), Some("paid")));
            assert!(delivery.identity() == Identity::Id("17 paid".into()));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }
}
