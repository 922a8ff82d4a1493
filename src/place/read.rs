//! How a value is read that isn't a whole header. A place brings its reader with it, so that a
//! program has those alone that its senders need.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
#[cfg(feature = "asymmetric")]
use crate::encoding::Encoding;
use crate::headers::{self, LONGEST_HEADER, single};
use crate::multipart;
use crate::pointer;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::uri::requested_uri;
use crate::urlencoded;

use super::{FromBody, Place, Read, ReadBody, Spot, TakeEach, Value, header_name};

/// The most numbered headers that are looked for: DocuSign signs with up to 100 keys.
const MAX_NUMBERED: usize = 100;

impl Place {
    fn new(spot: Spot, read: Read) -> Self {
        Self { spot, read, prefix: Cow::Borrowed(""), list: None, scope: None }
    }

    pub(crate) fn header_named(name: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(Spot::Header(header_name(name)?), Read::Header))
    }

    #[inline]
    pub(crate) fn numbered(stem: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(Spot::Numbered(header_name(stem)?), Read::Each(Self::each_numbered)))
    }

    #[inline]
    fn each_numbered(&self, head: &Parts, take: &mut TakeEach<'_>) -> Result<usize, Rejection> {
        let Spot::Numbered(stem) = &self.spot else { return Ok(0) };
        let is_numbered = |name: &HeaderName| {
            let number = name.as_str().strip_prefix(stem.as_str()).filter(|number| !number.starts_with(['0', '+']));
            number.and_then(|number| number.parse().ok()).is_some_and(|number: usize| number <= MAX_NUMBERED)
        };
        let mut count = 0;
        for name in head.headers.keys().filter(|name| is_numbered(name)) {
            if let Some(value) = single(head, name, LONGEST_HEADER)? {
                take(self.behind_prefix(value)?)?;
                count += 1;
            }
        }
        Ok(count)
    }

    #[inline]
    pub(crate) fn bearer() -> Self {
        Self::new(
            Spot::Bearer,
            Read::Head(|place, head, malformed, longest| {
                let Some(value) = single(head, &AUTHORIZATION, longest)? else { return Ok(None) };
                let token = headers::bearer(value).ok_or_else(|| place.unreadable(malformed))?;
                Ok(Some(Value::Header(value, value.len() - token.len()..value.len())))
            }),
        )
    }

    #[inline]
    pub(crate) fn basic() -> Self {
        Self::new(
            Spot::Basic,
            Read::Head(|place, head, malformed, longest| {
                let Some(value) = single(head, &AUTHORIZATION, longest)? else { return Ok(None) };
                let credentials = headers::basic(value).ok_or_else(|| place.unreadable(malformed))?;
                Ok(Some(Value::Decoded(credentials.into())))
            }),
        )
    }

    #[inline]
    pub(crate) fn query(parameter: Cow<'static, str>) -> Self {
        Self::new(
            Spot::Query(parameter),
            Read::Head(|place, head, _, _| {
                let Spot::Query(parameter) = &place.spot else { return Ok(None) };
                Ok(urlencoded::query_field(head, parameter, Reason::MalformedSignature)?.map(Value::Decoded))
            }),
        )
    }

    #[inline]
    pub(crate) fn path_end() -> Self {
        Self::new(
            Spot::PathEnd,
            Read::Head(|_, head, _, _| {
                let path = requested_uri(head).path();
                let segment = path.rsplit('/').next().unwrap_or_default().as_bytes();
                Ok((!segment.is_empty()).then_some(Value::Decoded(Cow::Borrowed(segment))))
            }),
        )
    }

    /// A member of a JSON object that is in a header, in base64.
    #[cfg(feature = "asymmetric")]
    #[inline]
    pub(crate) fn in_header(name: HeaderName, pointer: &'static str) -> Self {
        Self::new(
            Spot::InHeader(name, pointer),
            Read::Head(|place, head, malformed, longest| {
                let Spot::InHeader(name, pointer) = &place.spot else { return Ok(None) };
                let Some(value) = single(head, name, longest)? else { return Ok(None) };
                let json = Encoding::Base64.decode(value.as_bytes());
                let found = json.and_then(|json| pointer::member(&json, pointer).ok()?);
                Ok(Some(Value::Decoded(Cow::Owned(found.ok_or_else(|| place.unreadable(malformed))?.into_bytes()))))
            }),
        )
    }

    #[inline]
    pub(crate) fn json(pointer: Cow<'static, str>) -> Self {
        Self::new(
            Spot::Json(pointer),
            Read::Body(&FromBody {
                read: |spot, body| {
                    let Spot::Json(pointer) = spot else { return Ok(None) };
                    let found = pointer::member(body, pointer);
                    let found = found.map_err(|fault| Rejection::new(Reason::MalformedBody).with_source(fault))?;
                    Ok(found.map(|text| Cow::Owned(text.into_bytes())))
                },
                id: |place, fields| {
                    if let Spot::Json(pointer) = &place.spot {
                        BodyFields::change(fields, |fields| fields.with_id_at(pointer.clone()));
                    }
                },
                event: |place, fields| {
                    if let Spot::Json(pointer) = &place.spot {
                        BodyFields::change(fields, |fields| fields.with_event_at(pointer.clone()));
                    }
                },
            }),
        )
    }

    #[inline]
    pub(crate) fn form(field: Cow<'static, str>) -> Self {
        Self::new(
            Spot::Form(field),
            Read::Body(
                const {
                    &FromBody::new(|spot, body| {
                        let Spot::Form(field) = spot else { return Ok(None) };
                        urlencoded::field(body, field, Reason::MalformedBody)
                    })
                },
            ),
        )
    }

    /// A field of a multipart form.
    #[inline]
    pub(crate) fn part(field: &'static str) -> Self {
        Self::new(
            Spot::Part(field),
            Read::Body(
                const {
                    &FromBody::new(|spot, body| {
                        let Spot::Part(field) = spot else { return Ok(None) };
                        Ok(multipart::field(body, field)?.map(Cow::Borrowed))
                    })
                },
            ),
        )
    }

    /// The whole body.
    #[cfg(feature = "jwt")]
    #[inline]
    pub(crate) fn body() -> Self {
        Self::new(Spot::Body, Read::Body(const { &FromBody::new(|_, body| Ok(Some(Cow::Borrowed(body)))) }))
    }
}

impl FromBody {
    /// What reads a value that is all of a field.
    const fn new(read: ReadBody) -> Self {
        Self {
            read,
            id: |place, fields| BodyFields::change(fields, |fields| fields.with_id(place.verified_field())),
            event: |place, fields| BodyFields::change(fields, |fields| fields.with_event(place.verified_field())),
        }
    }
}

impl Place {
    /// Returns what reads the whole field of a verified body as a text.
    #[inline]
    fn verified_field(&self) -> impl Fn(&[u8]) -> Option<Text> + Send + Sync + 'static {
        let (spot, read) = (self.spot.clone(), self.read);
        move |body| {
            let Read::Body(from) = read else { return None };
            Some(String::from_utf8((from.read)(&spot, body).ok()??.into_owned()).ok()?.into())
        }
    }
}
