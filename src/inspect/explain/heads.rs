//! What the head may have been before something on its way changed it.

use std::borrow::Cow;
use std::collections::HashSet;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use crate::clues::Clues;
use crate::encoding::Encoding;
use crate::headers::LONGEST_HEADER;
use crate::uri::requested_uri;

use super::explanation::{Finding, Mistake};

/// How long the text of a signature is at least: SHA-1 in base64 without padding.
const MIN_SIGNATURE: usize = 27;

/// The most headers whose values are tried in another place.
const MAX_HEADERS: usize = 64;

/// The most heads that are tried, whatever a request holds.
const MAX_HEADS: usize = 400;

/// A head that may have been sent, and what happened to it if it was.
pub(super) struct OtherHead {
    pub(super) head: Parts,
    pub(super) finding: Finding,
}

/// Returns heads that may have been sent instead of this one, the likeliest first.
pub(super) fn candidates(head: &Parts, clues: &Clues) -> Vec<OtherHead> {
    let mut found = Found { head, seen: HashSet::new(), heads: Vec::new() };
    found.repeated();
    found.encodings(clues);
    found.elsewhere(clues);
    if clues.signs_address {
        found.addresses();
    }
    found.heads
}

struct Found<'a> {
    head: &'a Parts,
    seen: HashSet<(HeaderName, Vec<u8>)>,
    heads: Vec<OtherHead>,
}

impl Found<'_> {
    /// Adds a head in which this header has this one value.
    fn push(&mut self, name: &HeaderName, value: &[u8], finding: impl FnOnce() -> Finding) {
        let Ok(new) = HeaderValue::from_bytes(value) else { return };
        // No sender reads a longer one.
        if value.len() > LONGEST_HEADER {
            return;
        }
        let is_as_it_is = {
            let mut values = self.head.headers.get_all(name).iter();
            values.next() == Some(&new) && values.next().is_none()
        };
        if is_as_it_is || self.heads.len() >= MAX_HEADS || !self.seen.insert((name.clone(), value.to_vec())) {
            return;
        }
        let mut head = self.head.clone();
        head.headers.insert(name.clone(), new);
        self.heads.push(OtherHead { head, finding: finding() });
    }

    fn push_uri(&mut self, path: &str, finding: impl FnOnce() -> Finding) {
        let Ok(path) = path.parse::<PathAndQuery>() else { return };
        if requested_uri(self.head).path_and_query() == Some(&path) {
            return;
        }
        let mut parts = self.head.uri.clone().into_parts();
        parts.path_and_query = Some(path);
        let Ok(uri) = Uri::from_parts(parts) else { return };
        if self.heads.iter().any(|other| other.head.uri == uri) {
            return;
        }
        let mut head = self.head.clone();
        #[cfg(feature = "axum")]
        head.extensions.remove::<axum::extract::OriginalUri>();
        head.uri = uri;
        self.heads.push(OtherHead { head, finding: finding() });
    }

    /// Headers that came twice, or were joined.
    fn repeated(&mut self) {
        let head = self.head;
        for name in head.headers.keys().take(MAX_HEADERS) {
            let values: Vec<_> = head.headers.get_all(name).iter().collect();
            for value in values.iter().filter(|_| values.len() > 1) {
                self.push(name, value.as_bytes(), || {
                    Finding::new(
                        Mistake::JoinedHeaders,
                        format!("`{name}` came {} times", values.len()),
                        "have the proxy set it once, not add it: two proxies, or two rules of one, both pass it on",
                    )
                });
            }
            let Some(value) = values.first().and_then(|value| value.to_str().ok()) else { continue };
            for separator in [", ", ","] {
                for part in value.split(separator).filter(|part| part.len() < value.len()) {
                    self.push(name, part.as_bytes(), || joined(name));
                }
            }
            // Two lists that were joined.
            if let Some(half) = half(value) {
                self.push(name, half.as_bytes(), || joined(name));
            }
        }
    }

    /// Values in which a signature is written in another way.
    fn encodings(&mut self, clues: &Clues) {
        let head = self.head;
        for name in own_first(head, clues).into_iter().take(MAX_HEADERS) {
            let Some(value) = head.headers.get(&name).and_then(|value| value.to_str().ok()) else { continue };
            let trimmed = value.trim().trim_matches(['"', '\'']);
            self.push(&name, trimmed.as_bytes(), || signature(&name, "is in quotes or has white space around it"));
            for (start, end) in signatures(value) {
                let text = &value[start..end];
                for (other, what) in spellings(text) {
                    let whole = [&value[..start], &other, &value[end..]].concat();
                    self.push(&name, whole.as_bytes(), || signature(&name, what));
                }
                // Without the prefix, or with another one.
                for (_, prefix) in clues.marks.iter().filter(|(mark, prefix)| *mark == name && !prefix.is_empty()) {
                    let with_prefix = format!("{prefix}{text}");
                    self.push(&name, with_prefix.as_bytes(), || {
                        signature(&name, &format!("doesn't start with `{}`", prefix.trim()))
                    });
                    for (other, what) in spellings(text) {
                        let with_prefix = format!("{prefix}{other}");
                        self.push(&name, with_prefix.as_bytes(), || {
                            signature(&name, &format!("doesn't start with `{}`, and {what}", prefix.trim()))
                        });
                    }
                }
                self.push(&name, text.as_bytes(), || signature(&name, "has a prefix"));
            }
        }
    }

    /// Values that belong into another header.
    fn elsewhere(&mut self, clues: &Clues) {
        let head = self.head;
        self.renamed(clues);
        let is_own = |name: &HeaderName| clues.marks.iter().any(|(mark, _)| mark == name);
        for (mark, prefix) in clues.marks.iter().filter(|(mark, _)| !head.headers.contains_key(mark)) {
            for (name, value) in head.headers.iter().filter(|(name, _)| !is_own(name)).take(MAX_HEADERS) {
                let Ok(text) = value.to_str() else { continue };
                let moved = || moved(name, mark);
                let bare = text.trim_start_matches(&**prefix);
                let tokens = signatures(text);
                if tokens.is_empty() && !is_alike(name, mark) {
                    continue;
                }
                self.push(mark, text.as_bytes(), moved);
                self.push(mark, format!("{prefix}{bare}").as_bytes(), moved);
                for (start, end) in tokens {
                    self.push(mark, format!("{prefix}{}", &text[start..end]).as_bytes(), moved);
                }
            }
        }
    }

    /// All of the sender's headers under other names, such as `x-original-..` or with underscores.
    fn renamed(&mut self, clues: &Clues) {
        let mut headers = HeaderMap::new();
        let mut names = Vec::new();
        for (mark, _) in &clues.marks {
            if self.head.headers.contains_key(mark) || headers.contains_key(mark) {
                continue;
            }
            let Some((name, value)) = self.head.headers.iter().find(|(name, _)| is_alike(name, mark)) else { continue };
            headers.insert(mark.clone(), value.clone());
            names.push((name.clone(), mark.clone()));
        }
        let Some((name, mark)) = names.first() else { return };
        let finding = moved(name, mark);
        let mut head = self.head.clone();
        head.headers.extend(headers);
        self.heads.push(OtherHead { head, finding });
    }

    /// Paths and queries before a proxy changed them.
    fn addresses(&mut self) {
        let uri = requested_uri(self.head).clone();
        let (path, query) = (uri.path(), uri.query());
        let with_query = |path: &str| query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        for name in ["x-original-uri", "x-original-url", "x-forwarded-uri", "x-rewrite-url", "x-envoy-original-path"] {
            let Some(told) = self.head.headers.get(name).and_then(|value| value.to_str().ok()) else { continue };
            let path = told
                .find("://")
                .map_or(told, |at| told[at + 3..].find('/').map_or("/", |slash| &told[at + 3 + slash..]));
            self.push_uri(path, || {
                address(format!("the proxy changed the path, and tells the one before in `{name}`"))
            });
        }
        let prefix =
            self.head.headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let Some(prefix) = prefix {
            self.push_uri(&with_query(&format!("{}{path}", prefix.trim_end_matches('/'))), || {
                address("the proxy took away the start of the path, and tells it in `x-forwarded-prefix`")
            });
        }
        let slash = match path.strip_suffix('/') {
            Some(shorter) if !shorter.is_empty() => shorter.to_owned(),
            _ => format!("{path}/"),
        };
        self.push_uri(&with_query(&slash), || {
            address("the slash at the end of the path isn't in the signed address, or the reverse")
        });
        let mut rest = path;
        for _ in 0..3 {
            let Some(at) = rest.get(1..).and_then(|rest| rest.find('/')) else { break };
            rest = &rest[at + 1..];
            self.push_uri(&with_query(rest), || address("something in front put a prefix before the path"));
        }
        let spelled = |text: &str| {
            let decoded = text.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%40", "@");
            let encoded = text.replace(':', "%3A").replace('@', "%40");
            [case_of_escapes(text, true), case_of_escapes(text, false), decoded, encoded]
        };
        let escapes = || address("something in front changed the escapes of the address");
        for path in spelled(path) {
            self.push_uri(&with_query(&path), escapes);
        }
        if let Some(query) = query {
            let mut fields: Vec<_> = query.split('&').collect();
            fields.sort_unstable();
            let slashes = [query.replace('/', "%2F"), query.replace('/', "%2f")];
            let spaces = [query.replace('+', "%20"), query.replace("%20", "+")];
            for query in spelled(query).into_iter().chain(slashes).chain(spaces) {
                self.push_uri(&format!("{path}?{query}"), escapes);
            }
            self.push_uri(&format!("{path}?{}", fields.join("&")), || {
                address("the parameters of the query were reordered")
            });
            self.push_uri(path, || address("something in front added a query"));
        }
        let single = path.replace("//", "/");
        self.push_uri(&with_query(&single), || address("the path has a slash twice"));
    }
}

fn joined(name: &HeaderName) -> Finding {
    Finding::new(
        Mistake::JoinedHeaders,
        format!("`{name}` has two values, which a proxy has joined"),
        "have the proxy set the header once, not add to it",
    )
}

fn moved(name: &HeaderName, mark: &HeaderName) -> Finding {
    Finding::new(
        Mistake::OtherHeader,
        format!("what the sender writes into `{mark}` came in `{name}`"),
        "have the proxy pass the sender's headers under their own names",
    )
}

fn signature(name: &HeaderName, what: &str) -> Finding {
    Finding::new(
        Mistake::SignatureEncoding,
        format!("the signature in `{name}` {what}"),
        "write the header as the sender's document says",
    )
}

fn address(cause: impl Into<Cow<'static, str>>) -> Finding {
    Finding::new(
        Mistake::Address,
        cause,
        "have the proxy pass path and query byte for byte, or register the address as it arrives here at the sender",
    )
}

/// Returns the names of the headers, those that the sender sets first.
fn own_first(head: &Parts, clues: &Clues) -> Vec<HeaderName> {
    let mut names: Vec<_> = head.headers.keys().cloned().collect();
    names.sort_by_key(|name| !clues.marks.iter().any(|(mark, _)| mark == name));
    names
}

/// Returns whether one name is the other one with something in front, or with underscores.
fn is_alike(name: &HeaderName, mark: &HeaderName) -> bool {
    let [name, mark] = [name, mark].map(|name| name.as_str().replace('_', "-"));
    name.ends_with(&mark) || (mark.len() > 8 && mark.ends_with(&name) && name.len() > 8)
}

/// Returns where in a value something is that may be a signature.
fn signatures(value: &str) -> Vec<(usize, usize)> {
    let bytes = value.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|byte| is_part(byte)).count();
        if len >= MIN_SIGNATURE {
            let padding = bytes[at + len..].iter().take(2).take_while(|byte| **byte == b'=').count();
            found.push((at, at + len + padding));
        }
        at += len.max(1);
    }
    found
}

/// Returns the same signature in other encodings.
fn spellings(text: &str) -> Vec<(String, &'static str)> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut spellings = Vec::new();
    if is_hex {
        if let Some(bytes) = Encoding::HexAnyCase.decode(text.as_bytes()) {
            spellings.push((Encoding::Base64.encode(&bytes), "is hexadecimal, and the sender writes base64"));
            spellings.push((Encoding::Base64Url.encode(&bytes), "is hexadecimal, and the sender writes base64url"));
        }
        spellings.push((text.to_ascii_lowercase(), "is in upper case, and the sender writes lower case"));
        spellings.push((text.to_ascii_uppercase(), "is in lower case, and the sender writes upper case"));
    }
    let url_safe: String = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    if let Some(bytes) = Encoding::Base64Url.decode(url_safe.as_bytes()) {
        let standard = Encoding::Base64.encode(&bytes);
        let what = if text.contains(['-', '_']) {
            "is in the URL-safe alphabet, and the sender writes the standard one"
        } else {
            "lacks its padding"
        };
        let unpadded = standard.trim_end_matches('=').to_owned();
        spellings.push((standard, what));
        let what = if text.contains(['+', '/']) {
            "is in the standard alphabet, and the sender writes the URL-safe one"
        } else {
            "has padding, and the sender writes none"
        };
        spellings.push((url_safe, what));
        spellings.push((unpadded, "has padding, and the sender writes none"));
        if matches!(bytes.len(), 20 | 32 | 64) {
            spellings.push((Encoding::Hex.encode(&bytes), "is base64, and the sender writes hexadecimal"));
        } else if let Some(text) = String::from_utf8(bytes).ok().filter(|text| text.len() >= MIN_SIGNATURE) {
            spellings.push((text, "is encoded twice, the second time in base64"));
        }
    }
    spellings
}

/// Returns one half of a value that is the same twice, with a comma in between.
fn half(value: &str) -> Option<&str> {
    let mut commas = value.match_indices(',').map(|(at, _)| (value[..at].trim(), value[at + 1..].trim()));
    commas.find(|(half, other)| half == other).map(|(half, _)| half)
}

fn case_of_escapes(text: &str, is_upper: bool) -> String {
    let mut left = 0_u8;
    text.chars()
        .map(|char| {
            if char == '%' {
                left = 2;
                return char;
            }
            let is_digit = left > 0;
            left = left.saturating_sub(1);
            match (is_digit, is_upper) {
                (true, true) => char.to_ascii_uppercase(),
                (true, false) => char.to_ascii_lowercase(),
                _ => char,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_signature_is_found_in_a_value() {
        let hex = "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd";
        for (value, found) in [
            (format!("t=1492774577,v1={hex},v1={hex}"), vec![hex, hex]),
            (format!("sha256={hex}"), vec![hex]),
            (
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".into(),
                vec!["g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
            ),
            ("application/json".into(), vec![]),
        ] {
            let texts: Vec<_> = signatures(&value).into_iter().map(|(start, end)| &value[start..end]).collect();
            assert_eq!(texts, found, "{value}");
        }
    }

    #[test]
    fn a_signature_has_other_spellings() {
        let told = |text: &str, what: &str| {
            spellings(text).into_iter().any(|(other, about)| other != text && about.contains(what))
        };
        assert!(told(&"0A".repeat(32), "is hexadecimal"));
        assert!(told("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "base64, and the sender writes hex"));
        assert!(told("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", "lacks its padding"));
        assert!(told("g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE=", "URL-safe alphabet"));
    }
}
