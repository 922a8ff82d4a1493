//! The public names of the crate, pinned: a change of them is seen, and meant.

use std::collections::BTreeSet;
use std::path::Path;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The public modules of a file, and what it re-exports, one line each: `[features] name`.
fn exports(file: &str, prefix: &str) -> BTreeSet<String> {
    let text = read(file);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = BTreeSet::new();
    let mut lines = code.lines();
    let mut condition = String::new();
    while let Some(line) = lines.next() {
        if let Some(cfg) = line.strip_prefix("#[cfg(").and_then(|rest| rest.strip_suffix(")]")) {
            condition = format!(" if {cfg}");
            continue;
        }
        if line == "#[doc(hidden)]" {
            lines.next();
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        if let Some(first) = line.strip_prefix("pub use ") {
            let mut statement = first.to_owned();
            while !statement.ends_with(';') {
                statement.push_str(lines.next().unwrap().trim());
            }
            let names = statement.trim_end_matches(';').trim_start_matches("crate::");
            let names = match names.split_once('{') {
                Some((_, list)) => list.trim_end_matches('}').split(',').collect(),
                None => vec![names.rsplit("::").next().unwrap()],
            };
            for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
                found.insert(format!("{prefix}{name}{condition}"));
            }
        } else if let Some(rest) = line.strip_prefix("pub ") {
            let mut words = rest.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
            let kind = words.find(|word| !matches!(*word, "const" | "async" | "unsafe")).unwrap();
            let name = match kind {
                "mod" | "fn" | "struct" | "enum" | "trait" | "type" | "static" => words.find(|word| !word.is_empty()),
                // A constant: its kind was taken for a qualifier.
                name => Some(name),
            };
            found.insert(format!("{prefix}{}{condition}", name.unwrap()));
        }
        condition.clear();
    }
    found
}

/// The files that are reached by public paths, with their paths.
const MODULES: [(&str, &str); 5] = [
    ("src/lib.rs", ""),
    ("src/provider/mod.rs", "provider::"),
    ("src/scheme/mod.rs", "scheme::"),
    ("src/dedup/mod.rs", "dedup::"),
    ("src/testing/mod.rs", "testing::"),
];

const LIST: &str = "tests/public-api.txt";
const HEADING: &str = "# The public names of the crate, with the features they need. `UPDATE=1 cargo test --all-features api::` writes it.";

#[test]
fn the_public_names_are_those_that_are_listed() {
    let found: BTreeSet<String> = MODULES.iter().flat_map(|(file, prefix)| exports(file, prefix)).collect();
    if std::env::var_os("UPDATE").is_some() {
        let lines: Vec<&str> = std::iter::once(HEADING).chain(found.iter().map(|name| &**name)).collect();
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST), lines.join("\n") + "\n").unwrap();
    }
    let text = read(LIST);
    let listed: BTreeSet<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let added: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        added.is_empty() && gone.is_empty(),
        "the public names have changed; if that is meant, run this with UPDATE=1 and tell users in CHANGELOG.md:\n+ {added:#?}\n- {gone:#?}"
    );
    assert!(found.len() > 60, "only {} names were found", found.len());
}
