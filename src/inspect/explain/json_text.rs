//! JSON as other programs write it: the same values in other spaces, escapes, orders and numbers.

use std::fmt::Write as _;

/// How deep a JSON text is followed. Deeper ones are left alone.
const MAX_DEPTH: usize = 64;

/// A JSON text, its strings and numbers as they were written.
pub(super) enum Json<'a> {
    Object(Vec<(&'a str, Json<'a>)>),
    Array(Vec<Json<'a>>),
    String(&'a str),
    Number(&'a str),
    Word(&'a str),
}

/// How a program writes JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) spaces: Spaces,
    pub(super) escapes: Escapes,
    pub(super) is_sorted: bool,
    pub(super) numbers: Numbers,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spaces {
    None,
    /// `, ` and `: `.
    Both,
    /// `,` and `: `.
    AfterColon,
    /// A line for each value, indented by this.
    Lines(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    AsTheyAre,
    /// Only what JSON demands.
    Few,
    /// Slashes as well.
    Slashes,
    /// All that is not ASCII.
    Ascii,
    AsciiAndSlashes,
    /// `<`, `>` and `&`.
    Html,
    /// All that is not ASCII, and all that means something in HTML, in upper-case digits.
    HtmlAndAscii,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    AsTheyAre,
    /// `1.50` as `1.5`, `1.0` as `1`.
    Shortest,
    /// `1` as `1.0`: all of them, or the one at this position.
    WithFraction(Option<usize>),
}

impl Spaces {
    pub(super) const ALL: [Self; 6] =
        [Self::None, Self::Both, Self::AfterColon, Self::Lines("  "), Self::Lines("    "), Self::Lines("\t")];

    /// Returns what writes so, for people.
    pub(super) fn writer(self) -> &'static str {
        match self {
            Self::None => "without spaces",
            Self::Both => "with a space after each comma and colon, as Python writes it",
            Self::AfterColon => "with a space after each colon",
            Self::Lines("  ") => "with an indent of two spaces",
            Self::Lines("    ") => "with an indent of four spaces",
            Self::Lines(_) => "with an indent of tabs",
        }
    }
}

impl Escapes {
    pub(super) const ALL: [Self; 6] =
        [Self::Few, Self::Ascii, Self::Slashes, Self::AsciiAndSlashes, Self::Html, Self::HtmlAndAscii];
}

impl Style {
    pub(super) const PLAIN: Self =
        Self { spaces: Spaces::None, escapes: Escapes::AsTheyAre, is_sorted: false, numbers: Numbers::AsTheyAre };
}

impl<'a> Json<'a> {
    /// Reads a text that is one JSON value.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        // What follows may then take the text for well formed.
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        let mut rest = text;
        let json = value(&mut rest, MAX_DEPTH)?;
        Some(json)
    }

    pub(super) fn write(&self, style: Style) -> String {
        let mut writer = Writer { style, text: String::new(), numbers: 0 };
        writer.value(self, 0);
        writer.text
    }

    /// Returns how many whole numbers there are.
    pub(super) fn whole_numbers(&self) -> usize {
        match self {
            Self::Object(members) => members.iter().map(|(_, value)| value.whole_numbers()).sum(),
            Self::Array(values) => values.iter().map(Self::whole_numbers).sum(),
            Self::Number(number) => usize::from(is_whole(number)),
            _ => 0,
        }
    }
}

fn is_whole(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

fn value<'a>(rest: &mut &'a str, depth: usize) -> Option<Json<'a>> {
    let depth = depth.checked_sub(1)?;
    *rest = rest.trim_start();
    match rest.bytes().next()? {
        b'{' => {
            let mut members = Vec::new();
            *rest = &rest[1..];
            while !ends(rest, '}') {
                let name = string(rest)?;
                *rest = rest.trim_start().strip_prefix(':')?;
                members.push((name, value(rest, depth)?));
            }
            Some(Json::Object(members))
        }
        b'[' => {
            let mut values = Vec::new();
            *rest = &rest[1..];
            while !ends(rest, ']') {
                values.push(value(rest, depth)?);
            }
            Some(Json::Array(values))
        }
        b'"' => string(rest).map(Json::String),
        first => {
            let end = rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
            let (scalar, others) = rest.split_at(end);
            *rest = others;
            Some(if first == b'-' || first.is_ascii_digit() { Json::Number(scalar) } else { Json::Word(scalar) })
        }
    }
}

/// Goes over a comma, or the end.
fn ends(rest: &mut &str, end: char) -> bool {
    *rest = rest.trim_start();
    if let Some(behind) = rest.strip_prefix(end) {
        *rest = behind;
        return true;
    }
    if let Some(behind) = rest.strip_prefix(',') {
        *rest = behind.trim_start();
    }
    false
}

/// Takes a string, with its quotes.
fn string<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while *bytes.get(at)? != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    let (string, others) = rest.split_at(at + 1);
    *rest = others;
    Some(string)
}

struct Writer {
    style: Style,
    text: String,
    /// How many whole numbers were written.
    numbers: usize,
}

impl Writer {
    fn value(&mut self, value: &Json<'_>, depth: usize) {
        match value {
            Json::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.style.is_sorted {
                    members.sort_by_key(|(name, _)| *name);
                }
                self.list('{', '}', members.into_iter(), depth, |writer, (name, value)| {
                    writer.string(name);
                    writer.text.push_str(if writer.style.spaces == Spaces::None { ":" } else { ": " });
                    writer.value(value, depth + 1);
                });
            }
            Json::Array(values) => {
                self.list('[', ']', values.iter(), depth, |writer, value| writer.value(value, depth + 1));
            }
            Json::String(string) => self.string(string),
            Json::Number(number) => self.number(number),
            Json::Word(word) => self.text.push_str(word),
        }
    }

    fn list<T>(
        &mut self,
        open: char,
        close: char,
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.text.push(open);
        let is_empty = items.len() == 0;
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.text.push_str(if self.style.spaces == Spaces::Both { ", " } else { "," });
            }
            self.line(depth + 1);
            write(self, item);
        }
        if !is_empty {
            self.line(depth);
        }
        self.text.push(close);
    }

    fn line(&mut self, depth: usize) {
        if let Spaces::Lines(indent) = self.style.spaces {
            self.text.push('\n');
            (0..depth).for_each(|_| self.text.push_str(indent));
        }
    }

    fn number(&mut self, number: &str) {
        let is_whole = is_whole(number);
        match self.style.numbers {
            Numbers::WithFraction(only) if is_whole && only.is_none_or(|only| only == self.numbers) => {
                self.text.push_str(number);
                self.text.push_str(".0");
            }
            Numbers::Shortest if number.contains('.') && !number.contains(['e', 'E']) => {
                self.text.push_str(number.trim_end_matches('0').trim_end_matches('.'));
            }
            _ => self.text.push_str(number),
        }
        self.numbers += usize::from(is_whole);
    }

    fn string(&mut self, quoted: &str) {
        use Escapes::{AsTheyAre, Ascii, AsciiAndSlashes, Html, HtmlAndAscii, Slashes};

        let escapes = self.style.escapes;
        // Half a character in UTF-16 stays what it is.
        let text = (escapes != AsTheyAre).then(|| serde_json::from_str::<String>(quoted).ok()).flatten();
        let Some(text) = text else { return self.text.push_str(quoted) };
        self.text.push('"');
        for char in text.chars() {
            match char {
                '"' if escapes == HtmlAndAscii => self.text.push_str("\\u0022"),
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '/' if matches!(escapes, Slashes | AsciiAndSlashes) => self.text.push_str("\\/"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escapes == Html => self.escaped(char, false),
                '<' | '>' | '&' | '\'' | '+' | '`' if escapes == HtmlAndAscii => self.escaped(char, true),
                ' '..='~' => self.text.push(char),
                '\0'..='\x1f' => self.escaped(char, escapes == HtmlAndAscii),
                _ if matches!(escapes, Ascii | AsciiAndSlashes) => self.escaped(char, false),
                _ if escapes == HtmlAndAscii => self.escaped(char, true),
                _ => self.text.push(char),
            }
        }
        self.text.push('"');
    }

    fn escaped(&mut self, char: char, is_upper: bool) {
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = if is_upper { write!(self.text, "\\u{unit:04X}") } else { write!(self.text, "\\u{unit:04x}") };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str, style: Style) -> String {
        Json::read(text).unwrap().write(style)
    }

    #[test]
    fn the_same_values_are_written_as_other_programs_do() {
        let text = r#"{ "b":[1, 2.50 ,{}], "a" : "<é/\u00e9\"\ud83d\ude00", "c":[] }"#;
        let plain = Style::PLAIN;
        assert_eq!(write(text, plain), r#"{"b":[1,2.50,{}],"a":"<é/\u00e9\"\ud83d\ude00","c":[]}"#);
        let python = Style { spaces: Spaces::Both, escapes: Escapes::Ascii, is_sorted: true, ..plain };
        assert_eq!(write(text, python), r#"{"a": "<\u00e9/\u00e9\"\ud83d\ude00", "b": [1, 2.50, {}], "c": []}"#);
        let node = Style { spaces: Spaces::Lines("  "), escapes: Escapes::Few, numbers: Numbers::Shortest, ..plain };
        assert_eq!(
            write(text, node),
            "{\n  \"b\": [\n    1,\n    2.5,\n    {}\n  ],\n  \"a\": \"<é/é\\\"😀\",\n  \"c\": []\n}"
        );
        let php = Style { escapes: Escapes::AsciiAndSlashes, numbers: Numbers::WithFraction(Some(0)), ..plain };
        assert_eq!(write(text, php), r#"{"b":[1.0,2.50,{}],"a":"<\u00e9\/\u00e9\"\ud83d\ude00","c":[]}"#);
        let go = Style { escapes: Escapes::Html, ..plain };
        assert_eq!(write(text, go), r#"{"b":[1,2.50,{}],"a":"\u003cé/é\"😀","c":[]}"#);
        let net = Style { escapes: Escapes::HtmlAndAscii, ..plain };
        assert_eq!(write(text, net), r#"{"b":[1,2.50,{}],"a":"\u003C\u00E9/\u00E9\u0022\uD83D\uDE00","c":[]}"#);
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_left_alone() {
        for text in ["", "{", "{} {}", "a=1&b=2", "\u{feff}{}", &"[".repeat(1000)] {
            assert!(Json::read(text).is_none(), "{text}");
        }
        assert!(Json::read(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_none());
        assert_eq!(write(" \"a\" ", Style::PLAIN), "\"a\"");
    }
}
