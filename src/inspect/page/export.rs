//! A request as text: for a shell, and for a file.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};

/// The longest body that is put into a command. A shell takes no longer argument than 128 KiB.
const MAX_ARGUMENT: usize = 64 * 1024;
/// The host of requests whose own isn't known.
const DEFAULT_HOST: &str = "localhost:8080";

/// A request that is written down.
pub(super) struct Written<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

impl Written<'_> {
    /// Returns the request as it goes over the wire in HTTP/1.1.
    pub(super) fn http(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path()).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value);
            text.extend_from_slice(b"\r\n");
        };
        line("host", self.host());
        for (name, value) in self.others() {
            line(name.as_str(), value.as_bytes());
        }
        line("content-length", self.body.len().to_string().as_bytes());
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(self.body);
        text
    }

    /// Returns a command for a POSIX shell that sends the request. `None` if the body is too long
    /// for one.
    pub(super) fn curl(&self) -> Option<String> {
        if self.body.len() > MAX_ARGUMENT {
            return None;
        }
        let url = format!("http://{}{}", String::from_utf8_lossy(self.host()), self.path());
        // Braces and brackets stand for themselves, and so do dots in the path.
        let mut command = format!("curl --globoff --path-as-is -X {} {}", quoted(self.method.as_str()), quoted(&url));
        for (name, value) in self.others() {
            // With a colon and nothing behind it, curl would leave the header out.
            let header = match value.as_bytes() {
                b"" => format!("{name};").into_bytes(),
                value => [name.as_str().as_bytes(), b": ", value].concat(),
            };
            // Writing to a string does not fail.
            let _ = match as_plain(&header) {
                Some(header) => write!(command, " \\\n  -H {}", quoted(header)),
                None => write!(command, " \\\n  -H \"$(printf %s {} | base64 -d)\"", quoted(&STANDARD.encode(&header))),
            };
        }
        if self.body.is_empty() {
            return Some(command);
        }
        Some(match as_plain(self.body) {
            // `--data-raw`, since `--data` would read the file that a body names behind an `@`.
            Some(body) => format!("{command} \\\n  --data-raw {}", quoted(body)),
            None => {
                let body = quoted(&STANDARD.encode(self.body));
                format!("printf %s {body} | base64 -d |\n  {command} \\\n  --data-binary @-")
            }
        })
    }

    fn path(&self) -> &str {
        match self.url.split_once("://") {
            None => self.url,
            Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        }
    }

    fn host(&self) -> &[u8] {
        let in_url = self.url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
        match self.headers.get(HOST) {
            Some(host) => host.as_bytes(),
            None => in_url.unwrap_or(DEFAULT_HOST).as_bytes(),
        }
    }

    /// The headers, without those that say where the request goes and how long it is.
    fn others(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().filter(|(name, _)| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
    }
}

/// Returns text that a terminal shows as it is and that can be pasted: no control characters, and
/// none that change the direction of what is around them.
fn as_plain(bytes: &[u8]) -> Option<&str> {
    let is_plain = |char: char| {
        let is_marked = matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        (!char.is_control() || matches!(char, '\n' | '\t')) && !is_marked
    };
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(is_plain))
}

/// Returns one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(url: &str, headers: &[(&'static str, &[u8])], body: &[u8]) -> (String, Vec<u8>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let body = Bytes::copy_from_slice(body);
        let written = Written { method: &Method::POST, url, headers: &map, body: &body };
        (written.curl().unwrap_or_default(), written.http())
    }

    #[test]
    fn a_file_has_one_host_and_the_length_of_the_body() {
        let headers: [(_, &[u8]); 3] =
            [("transfer-encoding", b"chunked"), ("host", b"hooks.example.test"), ("x-id", b"7")];
        let (_, http) = written("/hook?a=b", &headers, b"\r\n\xff");
        let expected =
            b"POST /hook?a=b HTTP/1.1\r\nhost: hooks.example.test\r\nx-id: 7\r\ncontent-length: 3\r\n\r\n\r\n\xff";
        assert_eq!(http, expected);
        let (_, http) = written("https://hooks.example.test/hook", &[], b"");
        assert_eq!(http, b"POST /hook HTTP/1.1\r\nhost: hooks.example.test\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn a_command_is_readable_where_it_can_be_and_never_moves_the_terminal() {
        let (curl, _) = written("/hook", &[("x-id", b"7")], b"{\"it's\":1}");
        let expected = "curl --globoff --path-as-is -X 'POST' 'http://localhost:8080/hook' \\\n  -H 'x-id: 7' \\\n  \
                        --data-raw '{\"it'\\''s\":1}'";
        assert_eq!(curl, expected);
        for body in [&b"\x1b[201~; rm"[..], "\u{202e}gnp".as_bytes(), b"\xff", b"a\0b", b"\r\n"] {
            let (curl, _) = written("/hook", &[], body);
            assert!(curl.is_ascii() && curl.contains("base64 -d"), "{curl}");
            assert!(!curl.contains(|char: char| char.is_control() && char != '\n'), "{curl}");
        }
        let (curl, _) = written("/hook", &[], &vec![b'x'; MAX_ARGUMENT + 1]);
        assert_eq!(curl, "", "too long for a shell");
    }
}
