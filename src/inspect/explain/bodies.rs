//! What the body may have been before something on its way changed it.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use http::header::CONTENT_ENCODING;
use http::request::Parts;

use crate::encoding::Encoding;
use crate::urlencoded::is_form;

use super::explanation::{Finding, Mistake};
use super::json_text::{Escapes, Json, Numbers, Spaces, Style};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The largest body that is written anew in all styles.
const MAX_REWRITTEN: usize = 256 * 1024;

/// How many bytes are written anew for one request, so that a larger body is written in fewer
/// styles.
const MAX_WRITTEN: usize = 4 * 1024 * 1024;

/// The largest body that comes out of a compressed one.
const MAX_INFLATED: u64 = 1024 * 1024;

/// How many numbers are written with a fraction one by one.
const MAX_NUMBERS: usize = 8;

/// A body that may have been signed, and what happened to it if it was.
pub(super) struct OtherBody {
    pub(super) body: Bytes,
    pub(super) finding: Finding,
}

const RAW: &str =
    "verify the bytes as they arrived: nothing in front of the layer may parse the body and write it anew";

/// Returns what may have been signed instead of this body, the likeliest first.
pub(super) fn candidates(head: &Parts, body: &Bytes) -> Vec<OtherBody> {
    let mut found = Found { seen: HashSet::from([body.clone()]), bodies: Vec::new() };
    found.edges(body);
    found.codings(head, body);
    if body.len() <= MAX_REWRITTEN {
        if is_form(head) {
            found.forms(body);
        } else if let Some(json) = std::str::from_utf8(body.strip_prefix(BOM).unwrap_or(body)).ok().and_then(Json::read)
        {
            found.rewritten(body, &json);
        }
        found.line_ends(body);
    }
    found.bodies
}

struct Found {
    seen: HashSet<Bytes>,
    bodies: Vec<OtherBody>,
}

impl Found {
    fn push(&mut self, body: impl Into<Bytes>, finding: impl FnOnce() -> Finding) {
        let body = body.into();
        if self.seen.insert(body.clone()) {
            self.bodies.push(OtherBody { body, finding: finding() });
        }
    }

    /// Line breaks and a byte order mark at the ends.
    fn edges(&mut self, body: &Bytes) {
        let finding = |cause: &'static str| move || Finding::new(Mistake::BodyEdges, cause, RAW);
        if let Some(rest) = body.strip_prefix(BOM) {
            self.push(rest.to_vec(), finding("a byte order mark was put in front of the body"));
        }
        let trimmed = body.trim_ascii_end();
        if trimmed.len() < body.len() {
            for end in ["\n", "\r\n"] {
                if let Some(rest) = body.strip_suffix(end.as_bytes()) {
                    self.push(rest.to_vec(), finding("a line break was put at the end of the body"));
                }
            }
            self.push(trimmed.to_vec(), finding("white space was put at the end of the body"));
        }
        if body.trim_ascii().len() < body.len() {
            self.push(body.trim_ascii().to_vec(), finding("white space was put around the body"));
        }
        for end in ["\n", "\r\n"] {
            let longer = [body, end.as_bytes()].concat();
            self.push(longer, finding("the line break at the end of the body was taken away"));
        }
        self.push([BOM, body].concat(), finding("the byte order mark in front of the body was taken away"));
    }

    fn line_ends(&mut self, body: &Bytes) {
        let finding = |cause: &'static str| move || Finding::new(Mistake::BodyReserialized, cause, RAW);
        let Ok(text) = std::str::from_utf8(body) else { return };
        if text.contains('\n') {
            let unix = text.replace("\r\n", "\n");
            self.push(unix.replace('\n', "\r\n"), finding("the line ends of the body were changed from CR LF to LF"));
            self.push(unix, finding("the line ends of the body were changed from LF to CR LF"));
        }
    }

    /// Compression, and the base64 of gateways that know only text.
    fn codings(&mut self, head: &Parts, body: &Bytes) {
        let finding = |cause: &'static str, cure: &'static str| move || Finding::new(Mistake::BodyCoding, cause, cure);
        let mut plain = Vec::new();
        let inflated = match body.get(..2) {
            Some([0x1f, 0x8b]) => MultiGzDecoder::new(&**body).take(MAX_INFLATED).read_to_end(&mut plain).is_ok(),
            Some([0x78, _]) => ZlibDecoder::new(&**body).take(MAX_INFLATED).read_to_end(&mut plain).is_ok(),
            _ => false,
        };
        if inflated {
            self.push(
                plain,
                finding(
                    "the body arrived compressed, and the sender signed it as it was before",
                    "have the proxy pass the body as it is, or put a layer that decompresses in front of this one",
                ),
            );
        } else if is_gzip(head) {
            for level in [6, 1, 9] {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
                if let Ok(packed) = encoder.write_all(body).and_then(|()| encoder.finish()) {
                    self.push(packed, decompressed);
                }
            }
        }
        if let Some(decoded) = Encoding::Base64.decode(body.trim_ascii()) {
            self.push(
                decoded,
                finding(
                    "the body arrived in base64, as gateways write one that they take for binary",
                    "decode it in front of the layer, or have the gateway pass bodies of this type as text",
                ),
            );
        }
    }

    /// The spellings of a form's escapes.
    fn forms(&mut self, body: &Bytes) {
        let Ok(text) = std::str::from_utf8(body) else { return };
        let finding = || Finding::new(Mistake::BodyReserialized, "the form was written anew: its escapes differ", RAW);
        let plus = text.replace("%20", "+");
        for spaces in [plus.clone(), text.replace('+', "%20"), text.to_owned()] {
            self.push(escapes(&spaces, u8::to_ascii_uppercase), finding);
            self.push(escapes(&spaces, u8::to_ascii_lowercase), finding);
            let unescaped = ["%2A*", "%7E~", "%21!", "%27'", "%28(", "%29)"];
            let fewer = unescaped.iter().fold(spaces.clone(), |text, pair| text.replace(&pair[..3], &pair[3..]));
            self.push(fewer, finding);
            let more = unescaped.iter().fold(spaces, |text, pair| text.replace(&pair[3..], &pair[..3]));
            self.push(more, finding);
        }
        let mut fields: Vec<_> = text.split('&').collect();
        fields.sort_unstable();
        self.push(fields.join("&"), || {
            Finding::new(Mistake::BodyReserialized, "the fields of the form were reordered", RAW)
        });
    }

    /// The styles of other programs.
    fn rewritten(&mut self, body: &Bytes, json: &Json<'_>) {
        let whole = json.whole_numbers();
        let mut numbers = vec![Numbers::AsTheyAre, Numbers::Shortest];
        if whole > 0 {
            numbers.push(Numbers::WithFraction(None));
        }
        if whole > 1 {
            numbers.extend((0..whole.min(MAX_NUMBERS)).map(|at| Numbers::WithFraction(Some(at))));
        }
        let mut styles = Vec::new();
        for numbers in numbers {
            for is_sorted in [false, true] {
                for escapes in [Escapes::AsTheyAre].into_iter().chain(Escapes::ALL) {
                    styles.push(Style { numbers, is_sorted, escapes, ..Style::PLAIN });
                }
            }
        }
        styles.retain(|style| style.distance() <= 2);
        // What differs in fewer ways comes first.
        styles.sort_by_key(Style::distance);
        styles.truncate(MAX_WRITTEN / body.len().max(1));
        let mut seen = HashSet::new();
        styles.retain(|style| seen.insert(json.write(*style)));
        let mut written = 0;
        for style in styles {
            for spaces in Spaces::ALL {
                let style = Style { spaces, ..style };
                let text = json.write(style);
                written += text.len();
                if written > MAX_WRITTEN {
                    return;
                }
                self.push(text.clone(), || rewritten(body, json, style));
                self.push(text.clone() + "\n", || rewritten(body, json, style));
                self.push(text + "\r\n", || rewritten(body, json, style));
            }
        }
    }
}

impl Style {
    /// Returns in how many ways it differs from the text as it came. A single number counts twice,
    /// as there are many.
    fn distance(&self) -> usize {
        usize::from(self.escapes != Escapes::AsTheyAre)
            + usize::from(self.is_sorted)
            + match self.numbers {
                Numbers::AsTheyAre => 0,
                Numbers::Shortest | Numbers::WithFraction(None) => 1,
                Numbers::WithFraction(Some(_)) => 2,
            }
    }
}

/// Tells in what a body differs from one that was written in this style.
fn rewritten(body: &[u8], json: &Json<'_>, style: Style) -> Finding {
    let signed = json.write(style);
    let mut differs = Vec::new();
    let as_it_came = Style { spaces: style.spaces, ..Style::PLAIN };
    if json.write(as_it_came).as_bytes() != body.trim_ascii_end() {
        differs.push("spaces");
    }
    for (name, other) in [
        ("the order of keys", Style { is_sorted: false, ..style }),
        ("escapes", Style { escapes: Escapes::AsTheyAre, ..style }),
        ("the spelling of numbers", Style { numbers: Numbers::AsTheyAre, ..style }),
    ] {
        if json.write(other) != signed {
            differs.push(name);
        }
    }
    let (what, how) = match differs.split_last() {
        None => ("a line break at its end".to_owned(), ""),
        Some((last, [])) => ((*last).to_owned(), style.spaces.writer()),
        Some((last, others)) => (format!("{} and {last}", others.join(", ")), style.spaces.writer()),
    };
    let how = if differs.contains(&"spaces") { format!("; it was signed {how}") } else { String::new() };
    Finding::new(
        Mistake::BodyReserialized,
        format!("the JSON of the body was written anew, with other {what}{how}"),
        RAW,
    )
}

/// Returns whether the head calls the body compressed.
pub(super) fn is_gzip(head: &Parts) -> bool {
    head.headers.get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// The body was decompressed.
pub(super) fn decompressed() -> Finding {
    Finding::new(
        Mistake::BodyCoding,
        "the body was decompressed on its way, and the sender signed it compressed",
        "put the layer in front of the one that decompresses, and have the proxy pass the body as it is",
    )
}

/// Changes the case of the digits of escapes.
fn escapes(text: &str, case: fn(&u8) -> u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at + 2 < bytes.len() {
        if bytes[at] == b'%' {
            bytes[at + 1] = case(&bytes[at + 1]);
            bytes[at + 2] = case(&bytes[at + 2]);
            at += 2;
        }
        at += 1;
    }
    bytes
}
