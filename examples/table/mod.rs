//! What the examples print: aligned columns, in colour where stdout is a terminal and `NO_COLOR` is
//! not set.

use std::io::IsTerminal as _;

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// A table that is printed row by row.
pub struct Table<const N: usize> {
    widths: [usize; N],
    colour: bool,
}

impl<const N: usize> Table<N> {
    /// Prints the heading: the name of each column, and the width of all but the last, which takes
    /// what it needs.
    pub fn new(columns: [(&str, usize); N]) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !unwanted && std::io::stdout().is_terminal();
        let table = Self { widths: columns.map(|(_, width)| width), colour };
        let names = columns.map(|(name, _)| table.paint(BOLD, name));
        table.row(names.each_ref().map(String::as_str));
        table
    }

    /// Prints a row.
    pub fn row(&self, cells: [&str; N]) {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(self.widths) {
            let gap = width.saturating_sub(seen(cell)) + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', gap));
        }
        println!("{}", line.trim_end());
    }

    /// What a request was answered, for a cell or a part of one: green where it was accepted, red
    /// where it was refused.
    pub fn answer(&self, accepted: bool, text: &str) -> String {
        self.paint(if accepted { GREEN } else { RED }, text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("{code}{text}{RESET}") } else { text.to_owned() }
    }
}

/// How wide a text is on the screen, where codes of colour take no place.
fn seen(text: &str) -> usize {
    let code = |after: &str| "\x1b".len() + after.find('m').map_or(0, |end| end + 1);
    text.chars().count() - text.split('\x1b').skip(1).map(code).sum::<usize>()
}
