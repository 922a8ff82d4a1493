//! Fields read lazily from a verified body.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use http::header::HeaderName;
use smallvec::SmallVec;

use crate::json::{self, Scalar};
use crate::text::Text;

/// Where a verified body holds the delivery's id, its event and what identifies it.
///
/// Nothing is read before a handler or a layer asks for one of them. Then all of them are read, and
/// the result is kept with the delivery. However many JSON pointers there are, the body is parsed
/// once.
///
/// # Examples
///
/// ```
/// use tower_webhook::BodyFields;
///
/// let json = BodyFields::new().with_id_at("/event/id").with_event_at("/event/type");
///
/// // The first line is the event's name.
/// let lines = BodyFields::new()
///     .with_event(|body| Some(std::str::from_utf8(body).ok()?.lines().next()?.to_owned().into()));
/// ```
#[derive(Clone, Default)]
pub struct BodyFields {
    pointers: Vec<Text>,
    id: Option<Field>,
    event: Option<Field>,
    identity: Option<Field>,
    /// The headers whose whole values are signed. They travel with what else is the same for every
    /// delivery.
    pub(crate) signed_headers: Vec<HeaderName>,
}

/// How one field is found.
#[derive(Clone)]
enum Field {
    /// At this one of the pointers.
    At(usize),
    /// Made of the values at these pointers.
    From(Range<usize>, Arc<Join>),
    By(Arc<Find>),
}

type Join = dyn Fn(&[Option<Cow<'_, str>>]) -> Option<Text> + Send + Sync;
/// It gets the body, and what was parsed of it during the verification.
type Find = dyn Fn(&[u8], Option<&(dyn Any + Send + Sync)>) -> Option<Text> + Send + Sync;

/// What was found in one body.
#[derive(Default)]
pub(crate) struct FoundFields {
    pub(crate) id: Option<FoundId>,
    pub(crate) event: Option<Text>,
    pub(crate) identity: Option<FoundId>,
}

/// An id, and how JSON writes it: 1 and "1" are two ids.
pub(crate) struct FoundId {
    pub(crate) text: Text,
    pub(crate) is_string: bool,
}

impl BodyFields {
    /// Creates a set of fields of which none is in the body.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the JSON pointer (RFC 6901) of [`Delivery::id`](crate::Delivery::id).
    ///
    /// A pointer finds strings, whole numbers and truth values. If a body repeats a member on the
    /// way to any of the pointers, none of them finds anything.
    #[must_use]
    pub fn with_id_at(mut self, pointer: impl Into<Text>) -> Self {
        self.id = Some(self.at(pointer.into()));
        self
    }

    /// Sets the JSON pointer of [`Delivery::event`](crate::Delivery::event).
    #[must_use]
    pub fn with_event_at(mut self, pointer: impl Into<Text>) -> Self {
        self.event = Some(self.at(pointer.into()));
        self
    }

    /// Sets the JSON pointer of the signed id that identifies the delivery, if that isn't its id:
    /// see [`Delivery::identity`](crate::Delivery::identity).
    #[must_use]
    pub fn with_identity_at(mut self, pointer: impl Into<Text>) -> Self {
        self.identity = Some(self.at(pointer.into()));
        self
    }

    /// Sets the JSON pointers of several values, and how they are joined into what identifies the
    /// delivery.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::BodyFields;
    ///
    /// let fields = BodyFields::new()
    ///     .with_identity_from(["/account", "/number"], |values| match values {
    ///         [Some(account), Some(number)] => Some(format!("{account} {number}").into()),
    ///         _ => None,
    ///     });
    /// ```
    #[must_use]
    pub fn with_identity_from<T: Into<Text>>(
        mut self,
        pointers: impl IntoIterator<Item = T>,
        join: impl Fn(&[Option<Cow<'_, str>>]) -> Option<Text> + Send + Sync + 'static,
    ) -> Self {
        let start = self.pointers.len();
        self.pointers.extend(pointers.into_iter().map(Into::into));
        self.identity = Some(Field::From(start..self.pointers.len(), Arc::new(join)));
        self
    }

    /// Sets how [`Delivery::id`](crate::Delivery::id) is found in a body that isn't JSON.
    #[must_use]
    pub fn with_id(mut self, find: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.id = Some(Field::By(Arc::new(move |body, _| find(body))));
        self
    }

    /// Sets how [`Delivery::event`](crate::Delivery::event) is found in a body that isn't JSON.
    #[must_use]
    pub fn with_event(mut self, find: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.event = Some(Field::By(Arc::new(move |body, _| find(body))));
        self
    }

    /// Sets how the signed id that identifies the delivery is found in a body that isn't JSON, if
    /// that isn't its id: see [`Delivery::identity`](crate::Delivery::identity).
    #[must_use]
    pub fn with_identity(mut self, find: impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static) -> Self {
        self.identity = Some(Field::By(Arc::new(move |body, _| find(body))));
        self
    }

    /// As [`with_identity`](Self::with_identity), by what was parsed during the verification.
    #[cfg(feature = "jwt")]
    pub(crate) fn with_identity_by<T: 'static>(mut self, find: fn(&T, &[u8]) -> Option<Text>) -> Self {
        self.identity = Some(Field::By(Arc::new(move |body, parsed| find(parsed?.downcast_ref()?, body))));
        self
    }

    #[inline]
    fn at(&mut self, pointer: Text) -> Field {
        self.pointers.push(pointer);
        Field::At(self.pointers.len() - 1)
    }

    /// Returns whether the body holds an id or what else identifies the delivery.
    #[inline]
    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some() || self.identity.is_some()
    }

    /// Returns whether the body holds what identifies the delivery.
    #[inline]
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Returns whether any field is in the body.
    #[inline]
    pub(crate) fn finds(&self) -> bool {
        self.id.is_some() || self.event.is_some() || self.identity.is_some()
    }

    #[inline]
    pub(crate) fn with_signed_headers(self, signed_headers: Vec<HeaderName>) -> Self {
        Self { signed_headers, ..self }
    }

    /// Changes fields that are shared, or makes the first.
    #[inline]
    pub(crate) fn change(shared: &mut Option<Arc<Self>>, change: impl FnOnce(Self) -> Self) {
        let own = shared.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        *shared = Some(Arc::new(change(own)));
    }

    /// Shares the fields between deliveries. Returns `None` if none is in the body.
    #[cfg(any(feature = "jwt", feature = "sns", test))]
    #[inline]
    pub(crate) fn shared(self) -> Option<Arc<Self>> {
        (self.finds() || !self.signed_headers.is_empty()).then(|| Arc::new(self))
    }

    /// Reads all fields of a body.
    #[inline]
    pub(crate) fn read(&self, body: &[u8], parsed: Option<&(dyn Any + Send + Sync)>) -> FoundFields {
        let mut values: SmallVec<[Option<Scalar<'_>>; 3]> = self.pointers.iter().map(|_| None).collect();
        if !values.is_empty() && json::pick_each(body, self.pointers.iter().map(Text::as_str), &mut values).is_err() {
            values.fill(None);
        }
        let find = |field: &Option<Field>| {
            let (text, is_string) = match field.as_ref()? {
                Field::At(pointer) => {
                    let value = values[*pointer].as_ref()?;
                    (Some(Text::from(value.text.clone().into_owned())), value.is_string)
                }
                Field::From(pointers, join) => {
                    let texts = values[pointers.clone()].iter().map(|value| Some(value.as_ref()?.text.clone()));
                    (join(&texts.collect::<SmallVec<[_; 4]>>()), true)
                }
                Field::By(find) => (find(body, parsed), true),
            };
            // What is empty names nothing.
            text.filter(|text| !text.is_empty()).map(|text| FoundId { text, is_string })
        };
        FoundFields {
            id: find(&self.id),
            event: find(&self.event).map(|event| event.text),
            identity: find(&self.identity),
        }
    }
}

impl fmt::Debug for BodyFields {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyFields")
            .field("id", &self.id.is_some())
            .field("event", &self.event.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"event":{"id":17,"type":"paid"},"account":"a","b/c":true}"#;

    fn texts(fields: &BodyFields, body: &[u8]) -> [Option<String>; 3] {
        let found = fields.read(body, None);
        let text = |found: FoundId| String::from(found.text);
        [found.id.map(text), found.event.map(String::from), found.identity.map(text)]
    }

    #[test]
    fn pointers_find_scalars_and_several_are_joined() {
        let fields = BodyFields::new()
            .with_id_at("/event/id")
            .with_event_at(String::from("/event/type"))
            .with_identity_from(["/account", "/event/id", "/none"], |values| match values {
                [Some(account), Some(id), None] => Some(format!("{account} {id}").into()),
                _ => None,
            });
        assert_eq!(texts(&fields, BODY), [Some("17".into()), Some("paid".into()), Some("a 17".into())]);
        assert_eq!(texts(&fields, b"{}"), [None, None, None]);
        assert_eq!(texts(&fields, b"not JSON"), [None, None, None]);
        assert_eq!(texts(&BodyFields::new().with_identity_at("/b~1c"), BODY), [None, None, Some("true".into())]);
    }

    #[test]
    fn a_repeated_member_on_any_way_leaves_all_pointers_without_a_value() {
        let fields = BodyFields::new().with_id_at("/a").with_event_at("/b").with_identity(|_| Some("found".into()));
        assert_eq!(texts(&fields, br#"{"a":1,"b":2,"b":3}"#), [None, None, Some("found".into())]);
    }
}
