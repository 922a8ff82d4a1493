//! What a sender signs: a template of literals and parts of the request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::config::ConfigError;
use crate::delivery::{Signed, SignedText};
use crate::encoding::Encoding;
use crate::public_url::PublicUrl;
use crate::rejection::{Reason, Rejection};
use crate::secrets::HeadRef;
#[cfg(feature = "testing")]
use crate::sign::{SignError, Unsigned};
use crate::uri::requested_uri;
use crate::urlencoded;

use super::source;
use crate::place::{Place, Timestamp};

/// A piece of the signed text.
#[derive(Clone)]
enum Piece {
    Literal(Box<[u8]>),
    Timestamp,
    Id,
    Method,
    /// The public address, path and query included.
    Url(PublicUrl),
    /// The path that was requested, without the query.
    Path,
    /// The query, without its question mark; empty where there is none.
    Query,
    /// Path and query, as they stand in the request line.
    Target,
    /// What is in a header, in the query, or in the body.
    Value(Place),
    /// The fields of a form body, sorted.
    Params,
    BodySha256(Encoding),
    Custom(Arc<CustomPiece>),
}

/// A piece that only one sender signs, written by that sender's code.
pub(crate) struct CustomPiece {
    pub(crate) name: &'static str,
    /// What it covers. A piece that covers the body is a digest of it.
    pub(crate) covers: Signed,
    pub(crate) write: Box<WritePiece>,
}

/// Writes a piece. Without a timestamp in the values, it leaves the time out.
pub(crate) type WritePiece = dyn Fn(&Values<'_>) -> Result<Vec<u8>, Rejection> + Send + Sync;

/// The pieces before the body, and those after it. The body itself is fed as it arrives.
#[derive(Clone)]
pub(crate) struct Template {
    /// As it is written, for tables.
    #[cfg(any(test, feature = "inspect", feature = "testing"))]
    pub(crate) text: Box<str>,
    before: Vec<Piece>,
    after: Vec<Piece>,
    has_body: bool,
    /// Whether the head may lack what a piece is made of.
    needs_head: bool,
    /// What pieces do. A template that is the body alone has none, and a program of such senders
    /// has none of their code.
    of_pieces: Option<OfPieces>,
}

/// What the pieces of a template do.
#[derive(Clone, Copy)]
struct OfPieces {
    feed: fn(&Piece, &Values<'_>, &mut dyn FnMut(&[u8])) -> Result<(), Rejection>,
    shown_url: fn(&PublicUrl, &Parts) -> Option<String>,
}

/// A template as it is written, and what reads it.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) text: Cow<'static, str>,
    parse: fn(&str, Option<&PublicUrl>, &[Arc<CustomPiece>]) -> Result<Template, ConfigError>,
}

impl Written {
    pub(crate) fn new(text: Cow<'static, str>) -> Self {
        Self { text, parse: Template::parse }
    }
}

/// The parts of a request that may be signed, as they were received.
pub(crate) struct Values<'a> {
    pub(crate) head: &'a Parts,
    /// The head once more, if it is shared, for a look-up to hold.
    pub(crate) shared: Option<&'a Arc<Parts>>,
    /// When the request came.
    #[cfg_attr(not(all(feature = "asymmetric", feature = "fetch")), allow(dead_code))]
    pub(crate) now: SystemTime,
    /// Empty until it has arrived.
    pub(crate) body: &'a [u8],
    pub(crate) timestamp: Option<&'a [u8]>,
    pub(crate) id: Option<&'a [u8]>,
}

impl<'a> From<&Values<'a>> for HeadRef<'a> {
    #[inline]
    fn from(values: &Values<'a>) -> Self {
        values.shared.map_or_else(|| values.head.into(), Into::into)
    }
}

#[cfg(feature = "testing")]
impl<'a> From<&'a Unsigned<'_>> for Values<'a> {
    fn from(it: &'a Unsigned<'_>) -> Self {
        Self {
            head: it.head,
            shared: None,
            now: it.now,
            body: it.body,
            timestamp: it.timestamp.as_deref().map(str::as_bytes),
            id: it.id.as_deref().map(str::as_bytes),
        }
    }
}

impl Template {
    /// Reads the template that a sender signs: the body alone, unless it is said.
    pub(crate) fn of(
        written: Option<&Written>,
        url: Option<&PublicUrl>,
        custom: &[Arc<CustomPiece>],
    ) -> Result<Self, ConfigError> {
        match written {
            Some(written) => (written.parse)(&written.text, url, custom),
            None => Ok(Self::body()),
        }
    }

    fn body() -> Self {
        Self {
            #[cfg(any(test, feature = "inspect", feature = "testing"))]
            text: "{body}".into(),
            before: Vec::new(),
            after: Vec::new(),
            has_body: true,
            needs_head: false,
            of_pieces: None,
        }
    }

    /// Reads a template such as `{timestamp}.{body}`. Braces have no other use in it. `{url}` needs
    /// the public address, and a custom piece goes before another one of its name.
    pub(crate) fn parse(text: &str, url: Option<&PublicUrl>, custom: &[Arc<CustomPiece>]) -> Result<Self, ConfigError> {
        if text.is_empty() {
            return Err(ConfigError::invalid("the signed template is empty"));
        }
        let mut template = Self {
            #[cfg(any(test, feature = "inspect", feature = "testing"))]
            text: text.into(),
            before: Vec::new(),
            after: Vec::new(),
            has_body: false,
            needs_head: false,
            of_pieces: Some(OfPieces { feed: Piece::feed, shown_url: PublicUrl::shown }),
        };
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(ConfigError::invalid("the signed template has a } without a {"));
            }
            if !literal.is_empty() {
                template.push(Piece::Literal(literal.as_bytes().into()));
            }
            if rest.len() == literal.len() {
                break;
            }
            let (name, tail) =
                tail.split_once('}').ok_or_else(|| ConfigError::invalid("the signed template has a { without a }"))?;
            match custom.iter().find(|piece| piece.name == name) {
                Some(piece) => template.push(Piece::Custom(piece.clone())),
                None if name == "body" && template.has_body => {
                    return Err(ConfigError::invalid("the signed template has {body} more than once"));
                }
                None if name == "body" => template.has_body = true,
                None => template.push(Piece::named(name, url)?),
            }
            rest = tail;
        }
        Ok(template)
    }

    fn push(&mut self, piece: Piece) {
        self.needs_head |= piece.may_lack_in_head();
        if self.has_body { &mut self.after } else { &mut self.before }.push(piece);
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.before.iter().chain(&self.after)
    }

    /// Returns whether the value at this place is signed as it is, with all that is in its header.
    pub(crate) fn has(&self, place: &Place) -> bool {
        self.pieces().any(|piece| piece.is_of(place))
    }

    /// Returns the places whose values are signed as they are.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.pieces().filter_map(|piece| if let Piece::Value(place) = piece { Some(place) } else { None })
    }

    pub(crate) fn has_body(&self) -> bool {
        self.has_body
    }

    /// Returns whether the body is all that is signed.
    #[inline]
    pub(crate) fn is_body(&self) -> bool {
        self.has_body && self.before.is_empty() && self.after.is_empty()
    }

    /// Returns what the text covers whatever the places of time, id and event are.
    pub(crate) fn covers(&self) -> Signed {
        let mut signed = Signed::default().with_body(self.has_body);
        let (mut path, mut query) = (false, false);
        for piece in self.pieces() {
            match piece {
                Piece::Timestamp => signed.timestamp = true,
                Piece::Id => signed.id = true,
                Piece::Params | Piece::BodySha256(_) => signed.body = true,
                Piece::Url(_) | Piece::Target => signed.url = true,
                Piece::Path => path = true,
                Piece::Query => query = true,
                Piece::Custom(custom) => {
                    signed.body |= custom.covers.body;
                    signed.timestamp |= custom.covers.timestamp;
                    signed.event |= custom.covers.event;
                    signed.url |= custom.covers.url;
                }
                Piece::Literal(_) | Piece::Method | Piece::Value(_) => {}
            }
        }
        signed.url |= path && query;
        signed
    }

    /// Returns the address that is signed, without what may be secret in it.
    pub(crate) fn url(&self, head: &Parts) -> Option<String> {
        let shown = self.of_pieces?.shown_url;
        self.pieces().find_map(|piece| if let Piece::Url(url) = piece { shown(url, head) } else { None })
    }

    /// Returns whether the text before the body is known before the body is.
    pub(crate) fn streams(&self) -> bool {
        self.has_body && !self.before.iter().any(Piece::needs_body)
    }

    /// Checks that the head has what the pieces need.
    #[inline]
    pub(crate) fn check(&self, values: &Values<'_>) -> Result<(), Rejection> {
        if self.needs_head { self.check_pieces(values) } else { Ok(()) }
    }

    fn check_pieces(&self, values: &Values<'_>) -> Result<(), Rejection> {
        self.feed_each(self.pieces().filter(|piece| piece.may_lack_in_head()), values, &mut |_| {})
    }

    fn feed_each<'a>(
        &self,
        mut pieces: impl Iterator<Item = &'a Piece>,
        values: &Values<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Rejection> {
        let Some(of) = self.of_pieces else { return Ok(()) };
        pieces.try_for_each(|piece| match piece.short(values) {
            Some(bytes) => {
                sink(bytes);
                Ok(())
            }
            None => (of.feed)(piece, values, sink),
        })
    }

    pub(super) fn feed_before(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.feed_each(self.before.iter(), values, sink)
    }

    pub(super) fn feed_after(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.feed_each(self.after.iter(), values, sink)
    }

    /// Feeds the whole text, once the body is there.
    pub(super) fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.feed_before(values, sink)?;
        if self.has_body {
            sink(values.body);
        }
        self.feed_after(values, sink)
    }

    /// Returns the whole text, once the body is there.
    #[cfg(any(test, feature = "asymmetric", feature = "jwt", feature = "testing"))]
    pub(super) fn whole(&self, values: &Values<'_>) -> Result<Vec<u8>, Rejection> {
        let mut text = Vec::new();
        self.feed(values, &mut |bytes| text.extend_from_slice(bytes))?;
        Ok(text)
    }

    /// Returns the whole text of a request that is being signed.
    #[cfg(feature = "testing")]
    pub(crate) fn to_sign(&self, request: &Unsigned<'_>) -> Result<Vec<u8>, SignError> {
        self.whole(&request.into()).map_err(|_| SignError::new("the request lacks something that is signed"))
    }

    /// Returns whether the text has more than literals, the id, the body and the time.
    pub(crate) fn covers_more(&self, time: Option<&Timestamp>) -> bool {
        let is_known = |piece: &Piece| matches!(piece, Piece::Literal(_) | Piece::Id) || piece.is_digest();
        self.pieces().any(|piece| !(is_known(piece) || piece.is_time(time)))
    }

    /// Returns the text without the time and the body.
    pub(crate) fn without_time(&self, values: &Values<'_>, time: Option<&Timestamp>) -> Result<SignedText, Rejection> {
        let values = &Values { timestamp: None, ..*values };
        let feed = |pieces: &[Piece]| {
            let mut text = Vec::new();
            let pieces = pieces.iter().filter(|piece| !piece.is_time(time));
            self.feed_each(pieces, values, &mut |bytes| text.extend_from_slice(bytes))?;
            Ok::<_, Rejection>(text)
        };
        Ok(SignedText { before: feed(&self.before)?, has_body: self.has_body, after: feed(&self.after)? })
    }
}

impl Piece {
    fn named(name: &str, url: Option<&PublicUrl>) -> Result<Self, ConfigError> {
        Ok(match name {
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "method" => Self::Method,
            "url" => Self::Url(url.cloned().ok_or_else(|| {
                ConfigError::missing("the sender signs the address that it was given: set the public URL")
            })?),
            "path" => Self::Path,
            "query" => Self::Query,
            "path_and_query" => Self::Target,
            "params" => Self::Params,
            "body_sha256" => Self::BodySha256(Encoding::Hex),
            "body_sha256:base64" => Self::BodySha256(Encoding::Base64),
            _ => {
                let place = match name.split_once(':').filter(|(_, of)| !of.is_empty()) {
                    Some(("header", of)) => source::header(of),
                    Some(("query", of)) => source::query(of.to_owned()),
                    Some(("form", of)) => source::form(of.to_owned()),
                    Some(("json", of)) => source::json(of.to_owned()),
                    _ => return Err(ConfigError::invalid(format!("the signed template has an unknown {{{name}}}"))),
                };
                Self::Value(place.0?)
            }
        })
    }

    /// Returns whether it stands for the body.
    fn is_digest(&self) -> bool {
        match self {
            Self::BodySha256(_) => true,
            Self::Custom(custom) => custom.covers.body,
            _ => false,
        }
    }

    fn needs_body(&self) -> bool {
        self.is_digest() || matches!(self, Self::Params) || matches!(self, Self::Value(place) if place.in_body())
    }

    /// Returns whether a head may lack what it is made of.
    fn may_lack_in_head(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Url(_) | Self::Custom(_)) && !self.needs_body()
    }

    /// Returns whether it is what this place has, or the header that has it.
    fn is_of(&self, place: &Place) -> bool {
        let Self::Value(own) = self else { return false };
        own.spot == place.spot || (own.header().is_some() && own.header() == place.header())
    }

    /// Returns whether it is the time, or the header that has the time.
    fn is_time(&self, time: Option<&Timestamp>) -> bool {
        matches!(self, Self::Timestamp) || time.is_some_and(|time| self.is_of(&time.place))
    }

    /// Returns what nearly every piece is, a literal, the time or the id, without a call.
    #[inline]
    fn short<'a>(&'a self, values: &Values<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(bytes) => Some(bytes),
            Self::Timestamp => Some(values.timestamp.unwrap_or_default()),
            Self::Id => Some(values.id.unwrap_or_default()),
            _ => None,
        }
    }

    fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        match self {
            Self::Literal(_) | Self::Timestamp | Self::Id => sink(self.short(values).unwrap_or_default()),
            Self::Method => sink(values.head.method.as_str().as_bytes()),
            Self::Url(url) => url.feed(values.head, sink)?,
            Self::Path => sink(requested_uri(values.head).path().as_bytes()),
            Self::Query => sink(requested_uri(values.head).query().unwrap_or_default().as_bytes()),
            Self::Target => {
                let target = requested_uri(values.head).path_and_query();
                sink(target.map_or("/", |target| target.as_str()).as_bytes());
            }
            Self::Value(place) => {
                let value = place.value(values.head, values.body, Reason::MalformedHeader)?;
                sink(value.ok_or_else(|| missing(place))?.as_bytes());
            }
            Self::BodySha256(encoding) => sink(encoding.encode(&Sha256::digest(values.body)).as_bytes()),
            Self::Params => urlencoded::feed_sorted(values.body, sink)?,
            Self::Custom(custom) => sink(&(custom.write)(values)?),
        }
        Ok(())
    }
}

#[cold]
fn missing(place: &Place) -> Rejection {
    let reason = if place.in_body() { Reason::MalformedBody } else { Reason::MissingHeader };
    Rejection::new(reason).with_detail(format!("{place}, which is signed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(template: &str) -> Result<String, String> {
        let url = PublicUrl::base("https://h").unwrap();
        let template = Template::parse(template, Some(&url), &[]).map_err(|error| error.to_string())?;
        let (head, ()) = http::Request::post("/hook?a=1").header("x-h", "H").body(()).unwrap().into_parts();
        let values = Values {
            shared: None,
            head: &head,
            now: SystemTime::UNIX_EPOCH,
            body: b"b=2&a=1",
            timestamp: Some(b"17"),
            id: Some(b"m1"),
        };
        let text = template.whole(&values).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn pieces_stand_in_their_order() {
        for (template, text) in [
            ("{body}", "b=2&a=1"),
            ("{timestamp}.{body}", "17.b=2&a=1"),
            ("{id}.{timestamp}.{body}", "m1.17.b=2&a=1"),
            ("v0:{timestamp}:{body}", "v0:17:b=2&a=1"),
            ("{method}{path}|{query}{body}{timestamp}!", "POST/hook|a=1b=2&a=117!"),
            ("{url}{params}", "https://h/hook?a=1a1b2"),
            ("{path_and_query}", "/hook?a=1"),
            ("{header:x-h}", "H"),
            ("id:{query:a};{form:b}", "id:1;2"),
            ("{body_sha256}", "a746b90cddac3e075db2f0c7b65aa5d09a354bef1562352d9dab3156d1142834"),
        ] {
            assert_eq!(signed(template).as_deref(), Ok(text), "{template}");
            let url = PublicUrl::base("https://h").unwrap();
            assert_eq!(*Template::parse(template, Some(&url), &[]).unwrap().text, *template);
        }
        assert!(signed("{header:x-i}{body}").is_err());
    }

    #[test]
    fn a_template_that_means_nothing_is_refused() {
        for bad in ["", "{body}{body}", "{bdoy}", "{body", "body}", "{body}}", "{}{body}", "{header:}", "{header:a b}"]
        {
            assert!(signed(bad).is_err(), "{bad}");
        }
    }
}
