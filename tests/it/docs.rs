//! What the documentation lists is what there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tower_webhook::Reason;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Every guide, by its path in `docs/`.
fn guides() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["docs", "docs/senders"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    found
}

/// A fenced block: what is said of it, and its text.
struct Block {
    language: String,
    text: String,
}

/// The fenced blocks of a document, whatever they are indented by.
fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for line in document.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some(Block { language: language.to_owned(), text: String::new() }),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

#[test]
fn the_troubleshooting_table_has_each_reason_with_its_status() {
    let table = document("docs/troubleshooting.md");
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.as_str(), reason.status().as_str());
        assert_eq!(table.matches(&row).count(), 1, "{row}");
    }
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), Reason::ALL.len());
}

#[test]
fn each_guide_is_part_of_the_documentation_and_has_a_title() {
    let index = document("src/guide.rs");
    let guides = guides();
    assert!(guides.len() > 25, "{guides:?}");
    for guide in guides {
        assert!(index.contains(&format!("\"../{guide}\"")), "{guide} is not in src/guide.rs");
        let text = document(&guide);
        let prose: String = text.split("```").step_by(2).collect();
        assert_eq!(prose.lines().filter(|line| line.starts_with("# ")).count(), 1, "the titles of {guide}");
        assert!(text.starts_with("# "), "{guide}");
    }
}

/// The crates that a program names: what its imports begin with, and paths elsewhere.
fn crates(program: &str) -> BTreeSet<String> {
    const KNOWN: [&str; 11] = [
        "axum",
        "bytes",
        "http",
        "http_body_util",
        "hyper",
        "serde",
        "serde_json",
        "tokio",
        "tonic",
        "tower",
        "tower_webhook",
    ];
    let mut paths = Vec::new();
    let mut imports = false;
    for line in program.lines() {
        match line.trim_start().strip_prefix("use ") {
            Some(import) => paths.push(import),
            None if !imports => paths.extend(line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))),
            None => {}
        }
        imports = (imports || line.trim_start().starts_with("use ")) && !line.contains(';');
    }
    let is_named =
        |krate: &&&str| paths.iter().any(|path| path.split_once("::").is_some_and(|(first, _)| first == **krate));
    KNOWN.iter().filter(is_named).map(|krate| (*krate).to_owned()).collect()
}

/// What somebody who copies a program has to write into Cargo.toml is beside it: each crate, no
/// other one, and the features of this crate that its senders need.
#[test]
fn the_dependencies_beside_a_program_are_those_that_it_needs() {
    let api = document("tests/public-api.txt");
    let mut checked = 0;
    for name in guides().into_iter().chain(["README.md".to_owned()]) {
        let blocks = blocks(&document(&name));
        for pair in
            blocks.windows(2).filter(|pair| pair[0].language == "toml" && pair[0].text.contains("[dependencies]"))
        {
            let [manifest, program] = pair else { unreachable!() };
            assert!(program.language.starts_with("rust"), "{name}: there is no program behind its dependencies");
            let listed: BTreeSet<_> = manifest
                .text
                .lines()
                .filter_map(|line| line.split_once(" = "))
                .map(|(name, _)| name.trim().replace('-', "_"))
                .collect();
            assert_eq!(listed, crates(&program.text), "{name}");
            for sender in program.text.split("senders::").skip(1) {
                let sender: String = sender.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let line = format!("\ntower_webhook::senders::{sender}: ");
                let Some((_, rest)) = api.split_once(&line) else { continue };
                let feature = rest.lines().next().unwrap();
                assert!(manifest.text.contains(&format!("\"{feature}\"")), "{name}: senders::{sender} needs {feature}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 16, "{checked}");
}

/// Links from one document to another, and to its headings, lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let top = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"];
    let mut checked = 0;
    for name in guides().into_iter().chain(top.map(str::to_owned)) {
        let text = document(&name);
        let folder = root().join(&name).parent().unwrap().to_owned();
        let prose: String = text.split("```").step_by(2).collect();
        for (_, rest) in prose.match_indices("](").map(|(at, _)| prose.split_at(at + 2)) {
            let target = rest.split([')', ' ']).next().unwrap();
            // Pages of the repository's host.
            if target.starts_with("../../")
                || target.contains("://")
                || target.starts_with("crate::")
                || target.starts_with("mailto:")
            {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file: PathBuf = if path.is_empty() { root().join(&name) } else { folder.join(path) };
            assert!(file.exists(), "{name}: there is no {target}");
            if !heading.is_empty() {
                let slug = |line: &str| -> String {
                    let title = line.trim_start_matches('#').trim().to_lowercase();
                    title
                        .chars()
                        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                        .map(|c| if c == ' ' { '-' } else { c })
                        .collect()
                };
                let text = fs::read_to_string(&file).unwrap();
                assert!(
                    text.lines().any(|line| line.starts_with('#') && slug(line) == heading),
                    "{name}: no heading for {target}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

/// The README promises this much.
#[test]
fn the_readme_counts_what_there_is() {
    let readme = document("README.md");
    assert!(tower_webhook::senders::all().count() > 130 && readme.contains("one of 130 other senders"));
    let comparison = document("docs/comparison.md");
    let rows = comparison.lines().filter(|line| {
        line.starts_with("| `")
            || (line.starts_with("| ") && comparison.split("## Beyond Rust").nth(1).unwrap().contains(line))
    });
    // Without the heads of the tables.
    let others = rows.filter(|line| !line.starts_with("| project") && !line.starts_with("|--")).count();
    assert!(readme.contains(&format!("each of {others} others")), "{others}");
    let version = document("Cargo.toml");
    let minimum =
        version.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"').to_owned();
    assert!(readme.contains(&format!("\nRust {minimum}. ")), "{minimum}");
}
