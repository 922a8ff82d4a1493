# One recipe per check; each runs what CI runs. `just` lists them, and `just all` runs all that decide.

default:
    @just --list

# Every check that decides whether a change lands.
all:
    scripts/check

# Formats the code, with comments wrapped at 100 columns. Needs a nightly rustfmt.
fmt:
    cargo +nightly fmt --all

# The code is formatted.
format:
    scripts/check format

# Clippy with all features and targets.
lints:
    scripts/check lints

# Clippy and documentation with no features, and with each alone.
features:
    scripts/check features

# The documentation builds without a warning.
docs:
    scripts/check docs

# Opens the documentation as docs.rs shows it, with all features.
open-docs:
    cargo doc --all-features --no-deps --open

# No change of the public API goes unseen.
api:
    scripts/check api

# Writes the list of the public API anew.
api-update:
    scripts/api --update

# No change breaks users of the last release, or of the given revision.
semver *REVISION:
    scripts/semver {{REVISION}}

# Without features there is no C code.
core:
    scripts/check core

# Licenses and duplicates of dependencies.
deny:
    scripts/check deny

# Every test, or those whose names contain the arguments. Installs the servers that they need.
test *ARGS:
    scripts/test {{ARGS}}

# Unit tests and doctests with no features, and with each alone.
feature-tests:
    scripts/check feature-tests

# Event types of other crates, Lambda, and both back ends of jsonwebtoken.
other-crates:
    scripts/check other-crates

# The inbox shares SQLite with sqlx.
beside-sqlx:
    scripts/check beside-sqlx

# Every example runs.
examples:
    scripts/check examples

# The programs of README and guides, built in an empty folder and called with curl.
newcomer:
    scripts/check newcomer

# The package for crates.io is complete and small.
package:
    scripts/check package

# Instruction counts against benches/instructions.txt.
instructions:
    scripts/check instructions

# The oldest supported compiler.
msrv:
    scripts/check msrv

# The oldest allowed versions of the dependencies.
minimal-versions:
    scripts/check minimal-versions

# The table of docs/performance.md; `just bench --quick` for a first look.
bench *ARGS:
    scripts/bench {{ARGS}}

# One fuzz target for a minute, such as `just fuzz jwt`. Needs nightly and cargo-fuzz.
fuzz TARGET:
    mkdir -p fuzz/corpus/{{TARGET}}
    cargo +nightly fuzz run {{TARGET}} fuzz/corpus/{{TARGET}} fuzz/seeds/{{TARGET}} -- -max_total_time=60
