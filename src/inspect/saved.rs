//! Requests in files, as they go over the wire in HTTP/1.1.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Request};

/// Reads a request from a `.http` file: the line of the request, its headers, an empty line, and
/// the body byte for byte. Lines before the first that start with `#` are skipped.
///
/// The body is as long as `content-length` says if only a line break follows, which editors add at
/// the end of a file; otherwise it is all that is left.
///
/// # Errors
///
/// Returns an error if the text isn't a request, and the number of the line at fault.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = tower_webhook::inspect::read_request(b"POST /hooks HTTP/1.1\nx-event: push\n\n{}")?;
/// assert_eq!(request.uri(), "/hooks");
/// assert_eq!(request.body(), "{}");
/// # Ok(())
/// # }
/// ```
pub fn read_request(file: &[u8]) -> Result<Request<Bytes>, ReadRequestError> {
    let mut lines = Lines { rest: file, number: 0 };
    let first = loop {
        match lines.next() {
            Some(line) if line.starts_with(b"#") || line.is_empty() => {}
            Some(line) => break line,
            None => return Err(ReadRequestError { line: lines.number, fault: "the file has no request" }),
        }
    };
    let fault = |fault: &'static str, lines: &Lines<'_>| ReadRequestError { line: lines.number, fault };
    let text = std::str::from_utf8(first).map_err(|_| fault("the request's line is not UTF-8", &lines))?;
    let mut words = text.split_ascii_whitespace();
    let (method, target) = match (words.next(), words.next()) {
        (Some(method), Some(target)) => (method, target),
        // As some editors write a GET.
        (Some(target), None) => ("GET", target),
        _ => return Err(fault("the request's line is empty", &lines)),
    };
    let mut builder = Request::builder().method(method).uri(target);
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| fault("a header has no colon", &lines))?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        builder = builder.header(
            name.map_err(|_| fault("a header's name is not valid", &lines))?,
            value.map_err(|_| fault("a header's value is not valid", &lines))?,
        );
    }
    let announced = builder.headers_ref().and_then(|headers| headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok());
    let body = match announced.and_then(|length: usize| lines.rest.split_at_checked(length)) {
        Some((body, b"\n" | b"\r\n")) => body,
        _ => lines.rest,
    };
    builder
        .body(Bytes::copy_from_slice(body))
        .map_err(|_| ReadRequestError { line: 1, fault: "the request's line is not valid" })
}

struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// Takes the next line, without its end.
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[..0]),
        };
        self.rest = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// An error of [`read_request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequestError {
    line: usize,
    fault: &'static str,
}

impl fmt::Display for ReadRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at line {}", self.fault, self.line)
    }
}

impl Error for ReadRequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_byte_for_byte() {
        let request =
            read_request(b"# a comment\r\nPUT http://h/a?b=c HTTP/1.1\r\nX-A: 1\r\nX-A: 2\r\n\r\n\r\n\xff\n").unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("PUT", "http://h/a?b=c".to_owned()));
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(request.body(), &b"\r\n\xff\n"[..]);
    }

    #[test]
    fn a_line_break_that_an_editor_added_is_no_part_of_the_body() {
        for (text, body) in [
            ("POST / HTTP/1.1\ncontent-length: 2\n\n{}\n", "{}"),
            ("POST / HTTP/1.1\ncontent-length: 3\n\n{}\n", "{}\n"),
            ("POST / HTTP/1.1\ncontent-length: 1\n\n{}\n", "{}\n"),
            ("POST / HTTP/1.1\ncontent-length: 9\n\n{}\n", "{}\n"),
            ("POST /\n\n{}\n", "{}\n"),
            ("/only/a/path", ""),
        ] {
            assert_eq!(read_request(text.as_bytes()).unwrap().body(), body, "{text:?}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, told) in [
            ("", "the file has no request, at line 0"),
            ("# only\n", "the file has no request, at line 1"),
            ("POST /\nno colon\n", "a header has no colon, at line 2"),
            ("POST /\na b: c\n", "a header's name is not valid, at line 2"),
            ("POST /a b\n", ""),
            ("POST a\\b HTTP/1.1\n", "the request's line is not valid, at line 1"),
        ] {
            let read = read_request(text.as_bytes());
            assert_eq!(read.map_or_else(|error| error.to_string(), |_| String::new()), told, "{text:?}");
        }
    }
}
