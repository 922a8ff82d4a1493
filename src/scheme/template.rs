//! What a sender signs: a template of literals and parts of the request.

use http::request::Parts;

use crate::config::ConfigError;
use crate::uri::requested_uri;

/// A piece of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Timestamp,
    Id,
    Body,
    Method,
    /// Path and query as they were received.
    Path,
}

/// The pieces before the body, and those after it. The body itself is fed as it arrives.
#[derive(Debug)]
pub(super) struct Template {
    before: Box<[Piece]>,
    after: Box<[Piece]>,
}

/// What the pieces are filled with, as it was received.
pub(super) struct Values<'a> {
    pub(super) head: &'a Parts,
    pub(super) timestamp: Option<&'a str>,
    pub(super) id: Option<&'a str>,
}

impl Template {
    /// Reads a template such as `{timestamp}.{body}`. Braces have no other use in it.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, tail) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(ConfigError::new("the signed template has a } without a {"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.as_bytes().into()));
            }
            if rest.len() == literal.len() {
                break;
            }
            let (name, tail) =
                tail.split_once('}').ok_or_else(|| ConfigError::new("the signed template has a { without a }"))?;
            pieces.push(Self::piece(name)?);
            rest = tail;
        }
        let mut halves = pieces.split(|piece| *piece == Piece::Body);
        match (halves.next(), halves.next(), halves.next()) {
            (Some(before), Some(after), None) => Ok(Self { before: before.into(), after: after.into() }),
            (_, None, _) => Err(ConfigError::new("the signed template has no {body}: anyone could change it")),
            _ => Err(ConfigError::new("the signed template has {body} more than once")),
        }
    }

    fn piece(name: &str) -> Result<Piece, ConfigError> {
        Ok(match name {
            "timestamp" => Piece::Timestamp,
            "id" => Piece::Id,
            "body" => Piece::Body,
            "method" => Piece::Method,
            "path" => Piece::Path,
            _ => return Err(ConfigError::new(format!("the signed template has an unknown {{{name}}}"))),
        })
    }

    pub(super) fn has(&self, piece: &Piece) -> bool {
        self.before.contains(piece) || self.after.contains(piece)
    }

    pub(super) fn feed_before(&self, values: &Values<'_>, sink: impl FnMut(&[u8])) {
        feed(&self.before, values, sink);
    }

    pub(super) fn feed_after(&self, values: &Values<'_>, sink: impl FnMut(&[u8])) {
        feed(&self.after, values, sink);
    }
}

fn feed(pieces: &[Piece], values: &Values<'_>, mut sink: impl FnMut(&[u8])) {
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => sink(bytes),
            Piece::Timestamp => sink(values.timestamp.unwrap_or_default().as_bytes()),
            Piece::Id => sink(values.id.unwrap_or_default().as_bytes()),
            Piece::Method => sink(values.head.method.as_str().as_bytes()),
            Piece::Path => {
                let path = requested_uri(values.head).path_and_query();
                sink(path.map_or("/", |path| path.as_str()).as_bytes());
            }
            Piece::Body => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(template: &str) -> Result<String, String> {
        let template = Template::parse(template).map_err(|error| error.to_string())?;
        let (head, ()) = http::Request::post("/hook?a=1").body(()).unwrap().into_parts();
        let values = Values { head: &head, timestamp: Some("17"), id: Some("m1") };
        let mut text = Vec::new();
        template.feed_before(&values, |bytes| text.extend_from_slice(bytes));
        text.extend_from_slice(b"BODY");
        template.feed_after(&values, |bytes| text.extend_from_slice(bytes));
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn pieces_stand_in_their_order() {
        for (template, text) in [
            ("{body}", "BODY"),
            ("{timestamp}.{body}", "17.BODY"),
            ("{id}.{timestamp}.{body}", "m1.17.BODY"),
            ("v0:{timestamp}:{body}", "v0:17:BODY"),
            ("{method}{path}{body}{timestamp}!", "POST/hook?a=1BODY17!"),
        ] {
            assert_eq!(signed(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_template_that_means_nothing_is_refused() {
        for bad in ["", "{timestamp}", "{body}{body}", "{bdoy}", "{body", "body}", "{body}}", "{}{body}"] {
            assert!(signed(bad).is_err(), "{bad}");
        }
    }
}
