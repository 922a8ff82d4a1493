//! The ranks of ARCHITECTURE.md: a file imports only from the ranks below it, its own folder, or its own rank.

use std::path::{Path, PathBuf};

/// The rank of a module of the crate, by the first parts of its path.
fn rank(module: &str) -> u8 {
    let first = module.split("::").next().unwrap();
    match (first, module) {
        (_, "lib" | "guide") => 7,
        ("testing" | "extract", _) => 6,
        ("layer" | "service" | "future" | "ip_allow" | "endpoint" | "dedup" | "inbox", _) => 5,
        (_, "provider") => 3,
        ("provider", _) => 4,
        ("scheme", _) => 3,
        ("delivery" | "webhook" | "answer" | "fetch", _) => 2,
        ("body" | "secret" | "observe" | "verdict" | "grpc", _) => 1,
        ("reject" | "config" | "time" | "encoding" | "text" | "in_body" | "uri" | "json" | "sign", _) => 0,
        _ => panic!("{module} has no rank: give it one here and in ARCHITECTURE.md"),
    }
}

/// What is exported by `provider/mod.rs` itself; any other name behind `provider::` is a module of rank 4.
const OF_PROVIDER: [&str; 8] =
    ["Begin", "Outcome", "Pending", "Provider", "Verification", "DEFAULT_BODY_LIMIT", "{", "self"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn a_file_imports_only_from_the_ranks_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut seen = 0;
    for file in files {
        let module = file.strip_prefix(&src).unwrap().with_extension("").to_str().unwrap().replace(['/', '\\'], "::");
        let module = module.trim_end_matches("::mod").to_owned();
        let own = rank(&module);
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let Some((_, path)) = line.split_once("use crate::") else { continue };
            let mut parts = path.trim_end_matches(';').split("::");
            let first = parts.next().unwrap();
            let second = parts.next().unwrap_or_default();
            let is_own_folder = module == first || module.starts_with(&format!("{first}::"));
            let imported = match (first, second) {
                (name, _) if name.starts_with(['{', 'R']) => panic!("{module} imports from the crate's root: {line}"),
                ("provider", name) if OF_PROVIDER.iter().any(|item| name.starts_with(item)) => rank("provider"),
                ("provider", name) => rank(&format!("provider::{name}")),
                (name, _) => rank(name),
            };
            // The re-exports of lib.rs, and signing for tests, which lives beside what it signs for.
            let signs = module == "scheme::sign" && first == "testing";
            assert!(
                imported <= own || is_own_folder || signs,
                "{module} (rank {own}) imports {path} (rank {imported})"
            );
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} imports were found");
}
