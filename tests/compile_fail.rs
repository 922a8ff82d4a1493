//! The commonest mistakes do not compile, and the compiler says what to do.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each program of `tests/compile-fail`, and what the compiler has to say of it.
const MISTAKES: [(&str, &[&str]); 3] = [
    (
        "question_mark_forgotten",
        &["error[E0277]: `Result<Scheme, ConfigError>` is not a webhook provider", "is a `?` missing?"],
    ),
    (
        "payload_without_json",
        &[
            "error[E0277]: `Order` cannot be made from a webhook delivery",
            "for a JSON payload of your own type `T`, use `Webhook<Json<T>>`",
        ],
    ),
    (
        "payload_without_json_in_axum",
        &[
            "error[E0277]: `Order` cannot be made from a webhook delivery",
            "for a JSON payload of your own type `T`, use `Webhook<Json<T>>`",
        ],
    ),
];

/// A library that the programs use, as it was built for this test.
fn library(artifacts: &str, name: &str) -> PathBuf {
    let found = artifacts.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let files = (message["target"]["name"] == name).then(|| message["filenames"].as_array().cloned())??;
        files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".rlib")).map(PathBuf::from)
    });
    found.unwrap_or_else(|| panic!("{name} was not built: {artifacts}"))
}

/// The compiler is asked itself, with the libraries that this test was built with: nothing is built
/// once more. Its whole output names every type that implements a trait, so it differs between
/// features and compilers: only the lines that matter are compared.
#[test]
fn the_commonest_mistakes_are_refused_with_advice() {
    let target = env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    // All of it is there; cargo says where.
    let cargo = Command::new(env!("CARGO"))
        .args([
            "test",
            "--no-run",
            "--locked",
            "--offline",
            "--all-features",
            "--test=compile_fail",
            "--message-format=json",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let artifacts = String::from_utf8(cargo.stdout).unwrap();
    let libraries = ["tower_webhook", "axum", "serde"].map(|name| (name, library(&artifacts, name)));

    for (name, advice) in MISTAKES {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--out-dir", env!("CARGO_TARGET_TMPDIR")]);
        for (name, file) in &libraries {
            rustc.arg("-L").arg(format!("dependency={}", file.parent().unwrap().display()));
            rustc.arg("--extern").arg(format!("{name}={}", file.display()));
        }
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-fail").join(name).with_extension("rs");
        let output = rustc.arg(program).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} was not refused by the compiler");
        for line in advice {
            assert!(said.contains(line), "{name}: the compiler does not say {line:?}:\n{said}");
        }
    }
}
