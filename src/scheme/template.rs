//! What a sender signs: a template of literals and parts of the request.

use std::fmt;

use http::header::HeaderName;
use http::request::Parts;

use crate::config::ConfigError;
use crate::rejection::{Reason, Rejection};
use crate::uri::requested_uri;

use super::place::{LONGEST_HEADER, single};
use super::public_url::PublicUrl;
use super::urlencoded;

/// A piece of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(Box<[u8]>),
    Timestamp,
    Id,
    Body,
    Method,
    /// The public address, path and query included.
    Url,
    /// The path that was requested, without the query.
    Path,
    /// The query, without its question mark; empty where there is none.
    Query,
    Header(HeaderName),
    /// The fields of a form body, sorted.
    Params,
    /// The CRC-32 of the body, in decimal.
    BodyCrc32,
    Computed(Computed),
}

/// A piece that one sender computes from the head in its own way.
#[derive(Clone, Copy)]
pub(crate) struct Computed {
    pub(crate) name: &'static str,
    pub(crate) feed: Feed,
    pub(crate) covers: ComputedCovers,
}

/// What a computed piece makes sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComputedCovers {
    /// The whole address.
    Url,
    /// Path and query.
    Path,
    /// The headers that the scheme reads.
    Headers,
}

type Feed = fn(&Values<'_>, &mut dyn FnMut(&[u8])) -> Result<(), Rejection>;

impl PartialEq for Computed {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Computed {}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The pieces before the body, and those after it. The body itself is fed as it arrives.
#[derive(Clone, Debug)]
pub(super) struct Template {
    before: Box<[Piece]>,
    after: Box<[Piece]>,
    has_body: bool,
}

/// What the pieces are filled with, as it was received.
pub(crate) struct Values<'a> {
    pub(crate) head: &'a Parts,
    /// Empty as long as it has not arrived.
    pub(crate) body: &'a [u8],
    pub(crate) timestamp: Option<&'a str>,
    pub(crate) id: Option<&'a str>,
    pub(crate) url: Option<&'a PublicUrl>,
}

impl Template {
    /// Reads a template such as `{timestamp}.{body}`. Braces have no other use in it.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
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
            pieces.push(Self::piece(name)?);
            rest = tail;
        }
        Self::new(&pieces)
    }

    pub(super) fn new(pieces: &[Piece]) -> Result<Self, ConfigError> {
        let mut halves = pieces.split(|piece| *piece == Piece::Body);
        match (halves.next(), halves.next(), halves.next()) {
            (Some([]), None, _) => Err(ConfigError::invalid("the signed template is empty")),
            (Some(before), after, None) => {
                Ok(Self { before: before.into(), after: after.unwrap_or_default().into(), has_body: after.is_some() })
            }
            _ => Err(ConfigError::invalid("the signed template has {body} more than once")),
        }
    }

    fn piece(name: &str) -> Result<Piece, ConfigError> {
        Ok(match name {
            "timestamp" => Piece::Timestamp,
            "id" => Piece::Id,
            "body" => Piece::Body,
            "method" => Piece::Method,
            "url" => Piece::Url,
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

    /// Whether the body is all there is.
    pub(super) fn is_body(&self) -> bool {
        self.has_body && self.before.is_empty() && self.after.is_empty()
    }

    /// Whether every byte of the body counts. A checksum of 32 bits is as much as PayPal offers.
    pub(super) fn covers_body(&self) -> bool {
        self.has_body || self.has(&Piece::Params) || self.has(&Piece::BodyCrc32)
    }

    pub(super) fn covers_url(&self) -> bool {
        self.has(&Piece::Url)
            || (self.has(&Piece::Path) && self.has(&Piece::Query))
            || self.computes(ComputedCovers::Url)
            || self.computes(ComputedCovers::Path)
    }

    pub(super) fn covers_headers(&self) -> bool {
        self.computes(ComputedCovers::Headers)
    }

    fn computes(&self, covers: ComputedCovers) -> bool {
        self.pieces().any(|piece| matches!(piece, Piece::Computed(computed) if computed.covers == covers))
    }

    pub(super) fn needs_url(&self) -> bool {
        self.has(&Piece::Url) || self.computes(ComputedCovers::Url)
    }

    /// Whether what comes before the body is known before the body is.
    pub(super) fn streams(&self) -> bool {
        self.has_body && !self.before.iter().any(|piece| matches!(piece, Piece::Params | Piece::BodyCrc32))
    }

    /// Whether the head has what the pieces need. It costs nothing where they need nothing.
    pub(super) fn check(&self, values: &Values<'_>) -> Result<(), Rejection> {
        for piece in self.pieces() {
            if matches!(piece, Piece::Header(_) | Piece::Url | Piece::Computed(_)) {
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

    /// The whole text, where the body is there.
    pub(super) fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        self.feed_before(values, sink)?;
        if self.has_body {
            sink(values.body);
        }
        self.feed_after(values, sink)
    }
}

impl Piece {
    fn feed(&self, values: &Values<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<(), Rejection> {
        match self {
            Self::Literal(bytes) => sink(bytes),
            Self::Timestamp => sink(values.timestamp.unwrap_or_default().as_bytes()),
            Self::Id => sink(values.id.unwrap_or_default().as_bytes()),
            Self::Method => sink(values.head.method.as_str().as_bytes()),
            Self::Url => match values.url {
                Some(url) => url.feed(values.head, sink)?,
                None => return Err(Reason::MissingHeader.into()),
            },
            Self::Path => sink(requested_uri(values.head).path().as_bytes()),
            Self::Query => sink(requested_uri(values.head).query().unwrap_or_default().as_bytes()),
            Self::Header(name) => {
                sink(single(values.head, name, LONGEST_HEADER)?.ok_or(Reason::MissingHeader)?.as_bytes())
            }
            Self::Params => urlencoded::feed_sorted(values.body, sink)?,
            Self::BodyCrc32 => sink(crc32(values.body).to_string().as_bytes()),
            Self::Computed(computed) => (computed.feed)(values, sink)?,
            Self::Body => {}
        }
        Ok(())
    }
}

/// The template as it is written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.before.iter().try_for_each(|piece| piece.fmt(f))?;
        if self.has_body {
            f.write_str("{body}")?;
        }
        self.after.iter().try_for_each(|piece| piece.fmt(f))
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(bytes) => bytes.escape_ascii().fmt(f),
            Self::Timestamp => f.write_str("{timestamp}"),
            Self::Id => f.write_str("{id}"),
            Self::Body => f.write_str("{body}"),
            Self::Method => f.write_str("{method}"),
            Self::Url => f.write_str("{url}"),
            Self::Path => f.write_str("{path}"),
            Self::Query => f.write_str("{query}"),
            Self::Header(name) => write!(f, "{{header:{name}}}"),
            Self::Params => f.write_str("{params}"),
            Self::BodyCrc32 => f.write_str("{crc32 of body}"),
            Self::Computed(computed) => write!(f, "{{{}}}", computed.name),
        }
    }
}

/// The CRC-32 of ISO 3309, as PayPal computes it. Bit by bit would be slow on a megabyte; a table of sixteen entries is
/// enough.
fn crc32(bytes: &[u8]) -> u32 {
    const NIBBLES: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            #[allow(clippy::cast_possible_truncation, reason = "it is below 16")]
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 4 {
                crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let crc = crc ^ u32::from(*byte);
        let crc = (crc >> 4) ^ NIBBLES[(crc & 15) as usize];
        (crc >> 4) ^ NIBBLES[(crc & 15) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(template: &str) -> Result<String, String> {
        let template = Template::parse(template).map_err(|error| error.to_string())?;
        let (head, ()) = http::Request::post("/hook?a=1").header("x-h", "H").body(()).unwrap().into_parts();
        let url = PublicUrl::base("https://h").unwrap();
        let values = Values { head: &head, body: b"b=2&a=1", timestamp: Some("17"), id: Some("m1"), url: Some(&url) };
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
            assert_eq!(Template::parse(template).unwrap().to_string(), template);
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

    #[test]
    fn the_checksum_is_that_of_the_reference() {
        assert_eq!(crc32(b"123456789"), 3_421_780_262);
        assert_eq!(crc32(b""), 0);
    }
}
