//! What a sender signs: a template of literals and parts of the request.

#[cfg(any(test, feature = "testing"))]
use std::fmt;

use http::header::HeaderName;
use http::request::Parts;

use crate::config::ConfigError;
use crate::delivery::SignedText;
use crate::headers::{LONGEST_HEADER, single};
use crate::rejection::{Reason, Rejection};
use crate::uri::requested_uri;
use crate::urlencoded;

use crate::public_url::PublicUrl;

use super::timestamp::Timestamp;

/// A piece of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Timestamp,
    Id,
    Body,
    Method,
    /// The public address, path and query included.
    Url(PublicUrl),
    /// The path that was requested, without the query.
    Path,
    /// The query, without its question mark; empty where there is none.
    Query,
    Header(HeaderName),
    /// The fields of a form body, sorted.
    Params,
}

/// The pieces before the body, and those after it. The body itself is fed as it arrives.
#[derive(Clone, Debug)]
pub(super) struct Template {
    before: Box<[Piece]>,
    after: Box<[Piece]>,
    has_body: bool,
}

/// The parts of a request that may be signed, as they were received.
pub(crate) struct Values<'a> {
    pub(crate) head: &'a Parts,
    /// Empty until it has arrived.
    pub(crate) body: &'a [u8],
    pub(crate) timestamp: Option<&'a str>,
    pub(crate) id: Option<&'a str>,
}

impl Template {
    /// Reads a template such as `{timestamp}.{body}`. Braces have no other use in it. `{url}` needs the public address.
    pub(super) fn parse(text: &str, url: Option<&PublicUrl>) -> Result<Self, ConfigError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(ConfigError::invalid("the signed template has a } without a {"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.as_bytes().into()));
            }
            if rest.len() == literal.len() {
                break;
            }
            let (name, tail) =
                tail.split_once('}').ok_or_else(|| ConfigError::invalid("the signed template has a { without a }"))?;
            pieces.push(Self::piece(name, url)?);
            rest = tail;
        }
        Self::new(&pieces)
    }

    fn new(pieces: &[Piece]) -> Result<Self, ConfigError> {
        let mut halves = pieces.split(|piece| *piece == Piece::Body);
        match (halves.next(), halves.next(), halves.next()) {
            (Some([]), None, _) => Err(ConfigError::invalid("the signed template is empty")),
            (Some(before), after, None) => {
                Ok(Self { before: before.into(), after: after.unwrap_or_default().into(), has_body: after.is_some() })
            }
            _ => Err(ConfigError::invalid("the signed template has {body} more than once")),
        }
    }

    fn piece(name: &str, url: Option<&PublicUrl>) -> Result<Piece, ConfigError> {
        Ok(match name {
            "timestamp" => Piece::Timestamp,
            "id" => Piece::Id,
            "body" => Piece::Body,
            "method" => Piece::Method,
            "url" => Piece::Url(url.cloned().ok_or_else(|| {
                ConfigError::missing("the sender signs the address that it was given: set the public URL")
            })?),
            "path" => Piece::Path,
            "query" => Piece::Query,
            "params" => Piece::Params,
            _ => match name.strip_prefix("header:").map(|name| HeaderName::from_bytes(name.as_bytes())) {
                Some(Ok(name)) => Piece::Header(name),
                Some(Err(_)) => {
                    return Err(ConfigError::invalid("the signed template has a {header:..} without a name"));
                }
                None => return Err(ConfigError::invalid(format!("the signed template has an unknown {{{name}}}"))),
            },
        })
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.before.iter().chain(&self.after)
    }

    pub(super) fn has(&self, piece: &Piece) -> bool {
        self.pieces().any(|own| own == piece)
    }

    /// Returns whether the body is all that is signed.
    pub(super) fn is_body(&self) -> bool {
        self.has_body && self.before.is_empty() && self.after.is_empty()
    }

    /// Returns whether every byte of the body counts.
    pub(super) fn covers_body(&self) -> bool {
        self.has_body || self.has(&Piece::Params)
    }

    pub(super) fn covers_url(&self) -> bool {
        self.pieces().any(|piece| matches!(piece, Piece::Url(_))) || (self.has(&Piece::Path) && self.has(&Piece::Query))
    }

    /// Returns the address that is signed, without what may be secret in it.
    pub(super) fn url(&self, head: &Parts) -> Option<String> {
        let Piece::Url(url) = self.pieces().find(|piece| matches!(piece, Piece::Url(_)))? else { return None };
        url.shown(head)
    }

    /// Returns whether the text before the body is known before the body is.
    pub(super) fn streams(&self) -> bool {
        self.has_body && !self.before.contains(&Piece::Params)
    }

    /// Checks that the head has what the pieces need.
    pub(super) fn check(&self, values: &Values<'_>) -> Result<(), Rejection> {
        for piece in self.pieces() {
            if matches!(piece, Piece::Header(_) | Piece::Url(_)) {
                piece.feed(values, &mut |_| {})?;
            }
        }
        Ok(())
    }

    pub(super) fn feed_before(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.before.iter().try_for_each(|piece| piece.feed(values, sink))
    }

    pub(super) fn feed_after(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.after.iter().try_for_each(|piece| piece.feed(values, sink))
    }

    /// Returns whether the text has more than literals, the id, the body and the time.
    pub(super) fn covers_more(&self, time: Option<&Timestamp>) -> bool {
        let is_more =
            |piece: &Piece| !(matches!(piece, Piece::Literal(_) | Piece::Id | Piece::Body) || piece.is_time(time));
        self.pieces().any(is_more)
    }

    /// Returns the text without the time and the body.
    pub(super) fn without_time(&self, values: &Values<'_>, time: Option<&Timestamp>) -> Result<SignedText, Rejection> {
        let feed = |pieces: &[Piece]| {
            let mut text = Vec::new();
            let mut pieces = pieces.iter().filter(|piece| !piece.is_time(time));
            pieces.try_for_each(|piece| piece.feed(values, &mut |bytes| text.extend_from_slice(bytes)))?;
            Ok::<_, Rejection>(text)
        };
        Ok(SignedText { before: feed(&self.before)?, has_body: self.has_body, after: feed(&self.after)? })
    }

    /// Feeds the whole text, once the body is there.
    pub(super) fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.feed_before(values, sink)?;
        if self.has_body {
            sink(values.body);
        }
        self.feed_after(values, sink)
    }
}

impl Piece {
    /// Returns whether it is the time, or the header that has the time.
    fn is_time(&self, time: Option<&Timestamp>) -> bool {
        match self {
            Self::Timestamp => true,
            Self::Header(name) => time.is_some_and(|time| time.place.header() == Some(name)),
            _ => false,
        }
    }

    fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        match self {
            Self::Literal(bytes) => sink(bytes),
            Self::Timestamp => sink(values.timestamp.unwrap_or_default().as_bytes()),
            Self::Id => sink(values.id.unwrap_or_default().as_bytes()),
            Self::Method => sink(values.head.method.as_str().as_bytes()),
            Self::Url(url) => url.feed(values.head, sink)?,
            Self::Path => sink(requested_uri(values.head).path().as_bytes()),
            Self::Query => sink(requested_uri(values.head).query().unwrap_or_default().as_bytes()),
            Self::Header(name) => {
                sink(single(values.head, name, LONGEST_HEADER)?.ok_or_else(|| missing(name))?.as_bytes())
            }
            Self::Params => urlencoded::feed_sorted(values.body, sink)?,
            Self::Body => {}
        }
        Ok(())
    }
}

#[cold]
fn missing(name: &HeaderName) -> Rejection {
    Rejection::new(Reason::MissingHeader).with_detail(format!("`{name}`, which is signed"))
}

/// The template as it is written.
#[cfg(any(test, feature = "testing"))]
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.before.iter().try_for_each(|piece| piece.fmt(f))?;
        if self.has_body {
            f.write_str("{body}")?;
        }
        self.after.iter().try_for_each(|piece| piece.fmt(f))
    }
}

#[cfg(any(test, feature = "testing"))]
impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(bytes) => bytes.escape_ascii().fmt(f),
            Self::Timestamp => f.write_str("{timestamp}"),
            Self::Id => f.write_str("{id}"),
            Self::Body => f.write_str("{body}"),
            Self::Method => f.write_str("{method}"),
            Self::Url(_) => f.write_str("{url}"),
            Self::Path => f.write_str("{path}"),
            Self::Query => f.write_str("{query}"),
            Self::Header(name) => write!(f, "{{header:{name}}}"),
            Self::Params => f.write_str("{params}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(template: &str) -> Result<String, String> {
        let url = PublicUrl::base("https://h").unwrap();
        let template = Template::parse(template, Some(&url)).map_err(|error| error.to_string())?;
        let (head, ()) = http::Request::post("/hook?a=1").header("x-h", "H").body(()).unwrap().into_parts();
        let values = Values { head: &head, body: b"b=2&a=1", timestamp: Some("17"), id: Some("m1") };
        let mut text = Vec::new();
        template.feed(&values, &mut |bytes| text.extend_from_slice(bytes)).map_err(|error| error.to_string())?;
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
            ("{header:x-h}", "H"),
        ] {
            assert_eq!(signed(template).as_deref(), Ok(text), "{template}");
            let url = PublicUrl::base("https://h").unwrap();
            assert_eq!(Template::parse(template, Some(&url)).unwrap().to_string(), template);
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
