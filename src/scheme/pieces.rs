//! The pieces of a template around the body. A template that is written out brings them, so that a
//! program of senders who sign the body alone has none of their code.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::body_fields::BodyFields;
use crate::config::ConfigError;
use crate::delivery::Signed;
use crate::encoding::Encoding;
use crate::place::{Place, Timestamp};
use crate::public_url::PublicUrl;
use crate::rejection::{Reason, Rejection};
use crate::uri::requested_uri;
use crate::urlencoded;

use super::source;
use super::template::{AroundBody, CustomPiece, Template, Values, Written, keep_signed_headers};

/// A piece of the signed text.
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

/// The pieces before the body, and those after it.
#[derive(Default)]
struct Pieces {
    before: Vec<Piece>,
    after: Vec<Piece>,
}

impl Written {
    #[inline]
    pub(crate) fn new(text: Cow<'static, str>) -> Self {
        Self { text, parse: Template::parse }
    }
}

impl Template {
    /// Reads a template such as `{timestamp}.{body}`. Braces have no other use in it. `{url}` needs
    /// the public address, and a custom piece goes before another one of its name.
    #[inline]
    pub(crate) fn parse(text: &str, url: Option<&PublicUrl>, custom: &[Arc<CustomPiece>]) -> Result<Self, ConfigError> {
        if text.is_empty() {
            return Err(ConfigError::invalid("the signed template is empty"));
        }
        let (mut pieces, mut has_body) = (Pieces::default(), false);
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(ConfigError::invalid("the signed template has a } without a {"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.as_bytes().into()), has_body);
            }
            if rest.len() == literal.len() {
                break;
            }
            let (name, tail) =
                tail.split_once('}').ok_or_else(|| ConfigError::invalid("the signed template has a { without a }"))?;
            match custom.iter().find(|piece| piece.name == name) {
                Some(piece) => pieces.push(Piece::Custom(piece.clone()), has_body),
                None if name == "body" && has_body => {
                    return Err(ConfigError::invalid("the signed template has {body} more than once"));
                }
                None if name == "body" => has_body = true,
                None => pieces.push(Piece::named(name, url)?, has_body),
            }
            rest = tail;
        }
        let needs_head = pieces.all().any(Piece::may_lack_in_head);
        // The body alone is signed in fewer steps.
        let is_body = has_body && pieces.all().next().is_none();
        Ok(Self {
            #[cfg(any(test, feature = "inspect", feature = "testing"))]
            text: text.into(),
            has_body,
            needs_head,
            around: if is_body { None } else { Some(Arc::new(pieces)) },
        })
    }
}

impl Pieces {
    #[inline]
    fn push(&mut self, piece: Piece, is_behind_body: bool) {
        if is_behind_body { &mut self.after } else { &mut self.before }.push(piece);
    }

    #[inline]
    fn all(&self) -> impl Iterator<Item = &Piece> {
        self.before.iter().chain(&self.after)
    }
}

impl AroundBody for Pieces {
    #[inline]
    fn feed_before(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.before.iter().try_for_each(|piece| piece.feed(values, sink))
    }

    #[inline]
    fn feed_after(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.after.iter().try_for_each(|piece| piece.feed(values, sink))
    }

    #[inline]
    fn check(&self, values: &Values<'_>) -> Result<(), Rejection> {
        self.all().filter(|piece| piece.may_lack_in_head()).try_for_each(|piece| piece.feed(values, &mut |_| {}))
    }

    #[inline]
    fn covers(&self) -> Signed {
        let mut signed = Signed::default();
        let (mut path, mut query) = (false, false);
        for piece in self.all() {
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

    #[inline]
    fn each_place(&self, take: &mut dyn FnMut(&Place)) {
        for piece in self.all() {
            if let Piece::Value(place) = piece {
                take(place);
            }
        }
    }

    #[inline]
    fn keep_signed_headers(&self, of: &Template, own: &[Option<&Place>], in_body: &mut Option<Arc<BodyFields>>) {
        keep_signed_headers(own, Some(of), in_body);
    }

    #[inline]
    fn has(&self, place: &Place) -> bool {
        self.all().any(|piece| piece.is_of(place))
    }

    #[inline]
    fn shown_url(&self, head: &Parts) -> Option<String> {
        self.all().find_map(|piece| if let Piece::Url(url) = piece { url.shown(head) } else { None })
    }

    #[inline]
    fn streams(&self) -> bool {
        !self.before.iter().any(Piece::needs_body)
    }

    #[inline]
    fn covers_more(&self, time: Option<&Timestamp>) -> bool {
        let is_known = |piece: &Piece| matches!(piece, Piece::Literal(_) | Piece::Id) || piece.is_digest();
        self.all().any(|piece| !(is_known(piece) || piece.is_time(time)))
    }

    #[inline]
    fn without_time(&self, values: &Values<'_>, time: Option<&Timestamp>) -> Result<[Vec<u8>; 2], Rejection> {
        let feed = |pieces: &[Piece]| {
            let mut text = Vec::new();
            for piece in pieces.iter().filter(|piece| !piece.is_time(time)) {
                piece.feed(values, &mut |bytes| text.extend_from_slice(bytes))?;
            }
            Ok::<_, Rejection>(text)
        };
        Ok([feed(&self.before)?, feed(&self.after)?])
    }
}

impl Piece {
    #[inline]
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
    #[inline]
    fn is_digest(&self) -> bool {
        match self {
            Self::BodySha256(_) => true,
            Self::Custom(custom) => custom.covers.body,
            _ => false,
        }
    }

    #[inline]
    fn needs_body(&self) -> bool {
        self.is_digest() || matches!(self, Self::Params) || matches!(self, Self::Value(place) if place.in_body())
    }

    /// Returns whether a head may lack what it is made of.
    #[inline]
    fn may_lack_in_head(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Url(_) | Self::Custom(_)) && !self.needs_body()
    }

    /// Returns whether it is what this place has, or the header that has it.
    #[inline]
    fn is_of(&self, place: &Place) -> bool {
        let Self::Value(own) = self else { return false };
        own.spot == place.spot || (own.header().is_some() && own.header() == place.header())
    }

    /// Returns whether it is the time, or the header that has the time.
    #[inline]
    fn is_time(&self, time: Option<&Timestamp>) -> bool {
        matches!(self, Self::Timestamp) || time.is_some_and(|time| self.is_of(&time.place))
    }

    #[inline]
    fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        match self {
            Self::Literal(bytes) => sink(bytes),
            Self::Timestamp => sink(values.timestamp.unwrap_or_default()),
            Self::Id => sink(values.id.unwrap_or_default()),
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
    use std::time::SystemTime;

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
