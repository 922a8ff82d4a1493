//! What the crate depends on, by the lists of deny.toml and without the tool that they are written for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

struct Package {
    name: String,
    version: String,
    licence: String,
    /// Where it comes from, if not from crates.io.
    source: Option<String>,
}

/// What users of the crate compile, with all features and for any platform.
fn packages() -> Vec<Package> {
    let tree = ["tree", "--locked", "--offline", "--all-features", "--target=all", "--edges=normal,build"];
    let output = Command::new(env!("CARGO"))
        .args(tree)
        .args(["--prefix=none", "--format={p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if text.is_empty() {
        // Without a lock file, or with crates of other platforms that were never downloaded, cargo cannot say.
        eprintln!("NOT TESTED: cargo tree has no answer: {}", String::from_utf8_lossy(&output.stderr));
    }
    let lines: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let package = |line: &str| {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let name = words.next().unwrap().to_owned();
        let version = words.next().unwrap().trim_start_matches('v').to_owned();
        let source = words.find(|word| *word != "(proc-macro)").map(str::to_owned);
        Package { name, version, licence: licence.to_owned(), source }
    };
    lines.into_iter().map(package).collect()
}

fn deny() -> Option<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).ok();
    if text.is_none() {
        eprintln!("NOT TESTED: deny.toml is not there");
    }
    text
}

/// The lines of one list of deny.toml.
fn list<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = text.find(&format!("\n{name} = [\n")).unwrap_or_else(|| panic!("deny.toml has no {name}"));
    text[start..].lines().skip(2).take_while(|line| *line != "]").map(str::trim)
}

/// The value of `crate = ".."` in an entry, which has to say why it is there.
fn entry(line: &str) -> &str {
    let text = |name: &str| line.split_once(&format!("{name} = \""))?.1.split_once('"').map(|(value, _)| value);
    assert!(text("reason").is_some_and(|reason| reason.len() > 20), "{line} says no reason");
    text("crate").unwrap()
}

/// Versions of which cargo takes only one: `1`, `0.9`.
fn compatible(version: &str) -> String {
    let mut numbers = version.split('.');
    match (numbers.next(), numbers.next()) {
        (Some("0"), Some(minor)) => format!("0.{minor}"),
        (major, _) => major.unwrap().to_owned(),
    }
}

#[test]
fn no_crate_is_there_in_two_versions_without_a_reason() {
    let Some(deny) = deny() else { return };
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name).or_default().insert(compatible(&package.version));
    }
    let mut unused: BTreeSet<&str> = list(&deny, "skip").map(entry).collect();
    for (name, mut versions) in versions {
        if versions.len() > 1 {
            versions.retain(|version| !unused.remove(&*format!("{name}@{version}")));
            assert!(versions.len() == 1, "{name} is there as {versions:?}: take one out, or say why in deny.toml");
        }
    }
    assert!(packages().is_empty() || unused.is_empty(), "no longer there twice: {unused:?}");
}

#[test]
fn every_licence_is_on_the_list_and_every_crate_comes_from_the_registry() {
    let Some(deny) = deny() else { return };
    let allowed: BTreeSet<&str> = list(&deny, "allow").map(|line| line.trim_matches(['"', ','])).collect();
    let banned: BTreeSet<&str> = list(&deny, "deny").map(entry).collect();
    for package in packages().iter().filter(|package| package.name != env!("CARGO_PKG_NAME")) {
        let Package { name, licence, source, .. } = package;
        assert!(is_allowed(licence, &allowed), "{name}: {licence:?}");
        assert!(!banned.contains(&**name), "{name} is banned");
        assert_eq!(source.as_deref(), None, "{name} is not from crates.io");
    }
}

/// Whether a licence expression can be met by what is on the list. `/` is how `OR` was written once.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let is_met = any(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression:?} cannot be read");
    is_met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut is_met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        is_met |= all(words, allowed);
    }
    is_met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut is_met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        is_met &= one(words, allowed);
    }
    is_met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_met = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return is_met;
    }
    let licence = words.next().unwrap_or_default();
    match words.next_if_eq(&"WITH") {
        // No exception to a licence is on the list.
        Some(_) => {
            words.next();
            false
        }
        None => allowed.contains(licence),
    }
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for (expression, is_met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 OR (MIT AND Zlib)", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ] {
        assert_eq!(is_allowed(expression, &allowed), is_met, "{expression}");
    }
}
