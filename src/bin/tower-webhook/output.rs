//! What the command tells: text with colors where it is a terminal, or JSON.

use std::fmt::Display;
use std::process::ExitCode;

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style, Styles};
use serde_json::{Value, json};

pub const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

pub const GOOD: Style = AnsiColor::Green.on_default().bold();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const CURE: Style = AnsiColor::Cyan.on_default();
pub const FAINT: Style = Style::new().dimmed();

#[derive(Clone, Copy, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    pub fn apply(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// Why the command ends.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The command or a setting is mistaken.
    pub fn mistake(error: impl Display) -> Self {
        Self { code: 2, message: error.to_string() }
    }

    /// Something outside failed.
    pub fn outside(error: impl Display) -> Self {
        Self { code: 3, message: error.to_string() }
    }
}

#[derive(Clone, Copy)]
pub struct Output {
    is_json: bool,
}

impl Output {
    pub fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Writes what was asked for to stdout: a text, or a value.
    pub fn tell(self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        use std::io::Write as _;

        let line = if self.is_json { value().to_string() } else { text() };
        // A reader that has gone away wants no more.
        let _ = writeln!(anstream::stdout(), "{line}").and_then(|()| anstream::stdout().flush());
    }

    /// Writes what is wrong to stderr as text, or to stdout as a value.
    pub fn warn(self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        use std::io::Write as _;

        if self.is_json {
            return self.tell(String::new, value);
        }
        let _ = writeln!(anstream::stderr(), "{}", text());
    }

    pub fn fail(self, failure: &Failure) -> ExitCode {
        self.warn(|| format!("{BAD}error{BAD:#}: {}", failure.message), || json!({ "error": failure.message }));
        ExitCode::from(failure.code)
    }
}

/// Text of a client for a terminal: nothing in it moves the cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

pub fn size(bytes: usize) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{}.{} kB", bytes / 1000, bytes % 1000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
