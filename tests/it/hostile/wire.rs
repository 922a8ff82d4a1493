//! A request as parts that can be tampered with, and the ways of tampering.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request};
use serde_json::Value;

use super::chance::Chance;

#[derive(Clone, PartialEq, Eq)]
pub struct Wire {
    method: String,
    uri: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Wire {
    pub fn new(request: &Request<Bytes>) -> Self {
        let header = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
        Self {
            method: request.method().to_string(),
            uri: request.uri().to_string(),
            headers: request.headers().iter().map(header).collect(),
            body: request.body().to_vec(),
        }
    }

    /// `None` for what no HTTP implementation would hand on.
    pub fn request(&self) -> Option<Request<Bytes>> {
        let method = Method::from_bytes(self.method.as_bytes()).ok()?;
        let mut request = Request::builder().method(method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        request.body(self.body.clone().into()).ok()
    }
}

type Tamper = fn(&mut Wire, &Wire, &mut Chance);

/// Every way of tampering, named for the report. The second request is another genuine one of the
/// same sender.
pub const WAYS: &[(&str, Tamper)] = &[
    ("a bit of the body", |wire, _, chance| flip(&mut wire.body, chance)),
    ("a byte of the body", |wire, _, chance| edit(&mut wire.body, chance)),
    ("the body cut", |wire, _, chance| wire.body.truncate(chance.below(wire.body.len()))),
    ("the body continued", |wire, _, chance| {
        let tail = chance.pick(&[" ", "\n", "\0", "{}", "&a=b", "}"]);
        wire.body.extend_from_slice(tail.as_bytes());
    }),
    ("another body", |wire, other, _| wire.body.clone_from(&other.body)),
    ("the body laid out anew", |wire, _, chance| lay_out(&mut wire.body, chance)),
    ("a field of the body", |wire, other, chance| swap_field(&mut wire.body, &other.body, chance)),
    ("a form reordered", |wire, _, chance| reorder(&mut wire.body, b'&', chance)),
    ("a bit of a header", |wire, _, chance| value(wire, chance, |value, chance| flip(value, chance))),
    ("a byte of a header", |wire, _, chance| value(wire, chance, edit)),
    ("the case of a header", |wire, _, chance| value(wire, chance, |value, chance| recase(value, chance))),
    ("the case of one letter", |wire, _, chance| value(wire, chance, |value, chance| recase_one(value, chance))),
    ("another encoding", |wire, _, chance| value(wire, chance, recode)),
    ("another end of the encoding", |wire, _, chance| value(wire, chance, pad)),
    ("a number moved", |wire, _, chance| value(wire, chance, shift_number)),
    ("a number in the body moved", |wire, _, chance| shift_number(&mut wire.body, chance)),
    ("a list reordered", |wire, _, chance| {
        let separator = *chance.pick(b",;. =");
        value(wire, chance, |value, chance| reorder(value, separator, chance));
    }),
    ("a header twice", |wire, _, chance| {
        if let Some(header) = any(wire, chance).cloned() {
            wire.headers.insert(chance.below(wire.headers.len() + 1), header);
        }
    }),
    ("a header twice, once the other's", |wire, other, chance| {
        let Some(header) = any(other, chance).cloned() else { return };
        wire.headers.insert(chance.below(wire.headers.len() + 1), header);
    }),
    ("a header joined with the other's", |wire, other, chance| {
        let joint = *chance.pick(&[", ", ",", ";", " ", ""]);
        let Some((name, more)) = any(other, chance).cloned() else { return };
        for (_, value) in wire.headers.iter_mut().filter(|(own, _)| *own == name) {
            value.extend_from_slice(joint.as_bytes());
            value.extend_from_slice(&more);
        }
    }),
    ("the other's header", |wire, other, chance| {
        let Some((name, theirs)) = any(other, chance).cloned() else { return };
        for (_, value) in wire.headers.iter_mut().filter(|(own, _)| *own == name) {
            value.clone_from(&theirs);
        }
    }),
    ("two headers swapped", |wire, _, chance| {
        let (a, b) = (chance.below(wire.headers.len()), chance.below(wire.headers.len()));
        if a != b {
            let value = wire.headers[a].1.clone();
            wire.headers[a].1 = std::mem::replace(&mut wire.headers[b].1, value);
        }
    }),
    ("a header gone", |wire, _, chance| {
        if !wire.headers.is_empty() {
            wire.headers.remove(chance.below(wire.headers.len()));
        }
    }),
    ("a header emptied", |wire, _, chance| value(wire, chance, |value, _| value.clear())),
    ("a header renamed", |wire, _, chance| {
        let at = chance.below(wire.headers.len());
        let Some((name, _)) = wire.headers.get_mut(at) else { return };
        *name = match chance.below(3) {
            0 => name.replace('-', "_"),
            1 => format!("x-{name}"),
            _ => name.chars().skip(1).collect(),
        };
    }),
    ("a part of a token", |wire, other, chance| {
        let Some((name, theirs)) = any(other, chance).cloned() else { return };
        let Some((_, value)) = wire.headers.iter_mut().find(|(own, _)| *own == name) else { return };
        let mut parts: Vec<&[u8]> = value.split(|byte| *byte == b'.').collect();
        let others: Vec<&[u8]> = theirs.split(|byte| *byte == b'.').collect();
        let at = chance.below(parts.len());
        parts[at] = others.get(at).copied().unwrap_or_default();
        *value = parts.join(&b'.');
    }),
    ("the method", |wire, _, chance| {
        wire.method = (*chance.pick(&["GET", "POST", "PUT", "HEAD", "post", "OPTIONS", "DELETE"])).into();
    }),
    ("the address", |wire, other, chance| {
        let more = *chance.pick(&["/", "?", "&a=b", "?a=b", "%2F", "//", "/../", "#x", ";v=1", "%00"]);
        match chance.below(4) {
            0 => wire.uri.clone_from(&other.uri),
            1 => wire.uri = wire.uri.replacen(['a', 'h', '='], more, 1),
            2 => wire.uri = wire.uri.split('?').next().unwrap_or_default().into(),
            _ => wire.uri.push_str(more),
        }
    }),
    ("the media type", |wire, _, chance| {
        let media = *chance.pick(&["text/plain", "application/json", "application/x-www-form-urlencoded", "*/*"]);
        wire.headers.retain(|(name, _)| name != "content-type");
        wire.headers.push(("content-type".into(), media.into()));
    }),
    ("forwarded headers", |wire, _, chance| {
        let (name, value) = *chance.pick(&[
            ("x-forwarded-host", "other.test"),
            ("x-forwarded-proto", "http"),
            ("x-http-method-override", "GET"),
            ("x-original-url", "/other"),
            ("forwarded", "host=other.test"),
            ("host", "other.test"),
        ]);
        wire.headers.push((name.into(), value.into()));
    }),
];

fn any<'a>(wire: &'a Wire, chance: &mut Chance) -> Option<&'a (String, Vec<u8>)> {
    wire.headers.get(chance.below(wire.headers.len()))
}

fn value(wire: &mut Wire, chance: &mut Chance, tamper: impl Fn(&mut Vec<u8>, &mut Chance)) {
    let at = chance.below(wire.headers.len());
    if let Some((_, value)) = wire.headers.get_mut(at) {
        tamper(value, chance);
    }
}

fn flip(bytes: &mut [u8], chance: &mut Chance) {
    let at = chance.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << chance.below(8);
    }
}

fn edit(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let new = if chance.below(2) == 0 { *chance.pick(b" ,;.=\"'{}[]:+-_/\\0aA\t") } else { chance.byte() };
    match chance.below(3) {
        0 => bytes.insert(at, new),
        1 if at < bytes.len() => bytes[at] = new,
        _ if at < bytes.len() => drop(bytes.remove(at)),
        _ => bytes.push(new),
    }
}

fn recase(bytes: &mut [u8], chance: &mut Chance) {
    match chance.below(2) {
        0 => bytes.make_ascii_uppercase(),
        _ => bytes.make_ascii_lowercase(),
    }
}

fn recase_one(bytes: &mut [u8], chance: &mut Chance) {
    let letters: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at].is_ascii_alphabetic()).collect();
    if !letters.is_empty() {
        bytes[*chance.pick(&letters)] ^= 0x20;
    }
}

/// The last part of a value in another alphabet: the same bytes, spelled otherwise.
fn recode(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let start = bytes.iter().rposition(|byte| b" ,.=:".contains(byte) && *byte != b'=').map_or(0, |at| at + 1);
    let (head, tail) = bytes.split_at(start);
    let (prefix, tail) = match tail.iter().position(|byte| *byte == b'=').filter(|at| at + 2 < tail.len()) {
        Some(at) => tail.split_at(at + 1),
        None => tail.split_at(0),
    };
    let raw =
        hex::decode(tail).ok().or_else(|| STANDARD.decode(tail).ok()).or_else(|| URL_SAFE_NO_PAD.decode(tail).ok());
    let Some(raw) = raw else { return };
    let text = match chance.below(5) {
        0 => hex::encode(raw),
        1 => hex::encode_upper(raw),
        2 => STANDARD.encode(raw),
        3 => URL_SAFE_NO_PAD.encode(raw),
        _ => format!("0x{}", hex::encode(raw)),
    };
    *bytes = [head, prefix, text.as_bytes()].concat();
}

/// Padding, unused bits, data behind the end.
fn pad(bytes: &mut Vec<u8>, chance: &mut Chance) {
    match chance.below(5) {
        0 => bytes.push(b'='),
        1 => bytes.extend_from_slice(b"=="),
        2 => drop(bytes.pop()),
        3 => bytes.extend_from_slice(b"=AAAA"),
        // The last letter before the padding holds bits that decode to nothing.
        _ => {
            if let Some(at) = bytes.iter().rposition(|byte| *byte != b'=') {
                bytes[at] = bytes[at].wrapping_add(1 + chance.byte() % 3);
            }
        }
    }
}

/// One run of digits: another value, or the same one written otherwise.
fn shift_number(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit()))
        .collect();
    if starts.is_empty() {
        return;
    }
    let start = *chance.pick(&starts);
    let end = (start..bytes.len()).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(bytes.len());
    let text = String::from_utf8(bytes[start..end].to_vec()).unwrap();
    let number: i128 = text.parse().unwrap_or(i128::MAX / 4);
    let step = *chance.pick(&[1, -1, 60, -60, 299, 300, 301, -301, 100_000, -100_000, 1 << 32, 1 << 63]);
    let moved = match chance.below(6) {
        0 => format!("0{text}"),
        1 => format!("+{text}"),
        2 => format!("{text}.0"),
        3 => format!(" {text}"),
        4 => format!("-{text}"),
        _ => (number + step).to_string(),
    };
    bytes.splice(start..end, moved.into_bytes());
}

fn reorder(bytes: &mut Vec<u8>, separator: u8, chance: &mut Chance) {
    let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == separator).collect();
    let (a, b) = (chance.below(parts.len()), chance.below(parts.len()));
    parts.swap(a, b);
    *bytes = parts.join(&separator);
}

/// The same JSON value in other bytes: the order of members, white space, escapes, a member twice.
fn lay_out(body: &mut Vec<u8>, chance: &mut Chance) {
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) else { return };
    let text = match chance.below(5) {
        _ if members.is_empty() => "{ }".into(),
        0 => serde_json::to_string_pretty(&members).unwrap(),
        1 => {
            let members: Vec<_> = members.iter().rev().map(|(name, value)| format!("{name:?}:{value}")).collect();
            format!("{{{}}}", members.join(","))
        }
        2 => {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            let twice = chance.pick(&members).clone();
            format!("{{{},{twice}}}", members.join(","))
        }
        3 => serde_json::to_string(&members).unwrap().replacen('e', "\\u0065", 1 + chance.below(4)),
        _ => format!(" {}\r\n", serde_json::to_string(&members).unwrap()),
    };
    *body = text.into_bytes();
}

/// One member of a JSON body as the other body has it.
fn swap_field(body: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let parse = |text: &[u8]| match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    };
    let (Some(mut members), Some(others)) = (parse(body), parse(other)) else { return };
    let names: Vec<String> = others.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = chance.pick(&names);
    match chance.below(3) {
        0 => drop(members.remove(name)),
        _ => drop(members.insert(name.clone(), others[name].clone())),
    }
    *body = serde_json::to_vec(&members).unwrap();
}
