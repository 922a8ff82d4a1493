//! The commonest mistakes do not compile, and the compiler says what to do.

use std::path::Path;
use std::{fs, panic};

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

/// trybuild compares a compiler's whole output with a file. Ours names every type that implements a trait, so it differs
/// between features and compilers: there are no such files, and what trybuild writes in their place is searched for the
/// lines that matter.
#[test]
fn the_commonest_mistakes_are_refused_with_advice() {
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("wip");
    let file = |name: &str| written.join(name).with_extension("stderr");
    for (name, _) in MISTAKES {
        // What an earlier run left proves nothing of this one.
        let _ = fs::remove_file(file(name));
    }
    // It panics because the files are new.
    let _ = panic::catch_unwind(|| {
        let cases = trybuild::TestCases::new();
        for (name, _) in MISTAKES {
            cases.compile_fail(format!("tests/compile-fail/{name}.rs"));
        }
    });
    let output = MISTAKES.map(|(name, _)| fs::read_to_string(file(name)));
    for (name, _) in MISTAKES {
        let _ = fs::remove_file(file(name));
    }
    let _ = fs::remove_file(written.join(".gitignore"));
    let _ = fs::remove_dir(&written);
    for ((name, advice), output) in MISTAKES.into_iter().zip(output) {
        let output = output.unwrap_or_else(|error| panic!("{name} was not refused by the compiler: {error}"));
        for line in advice {
            assert!(output.contains(line), "{name}: the compiler does not say {line:?}:\n{output}");
        }
    }
}
