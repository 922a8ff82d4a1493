//! The table of senders in the documents is made from the one in the code.

use std::fmt::Write as _;

use tower_webhook::senders::{self, Evidence};

const HEAD: &str = "\
# Senders by name

Made from the table in the code. Do not edit it: run
`WRITE_DOCS=1 cargo test --all-features --test it sender_table` instead.

`senders::NAME(..)` makes each; `senders::by_name(\"NAME\", config)` does so from a configuration. What a sender needs, its
function says. \"Unsigned\" means that anyone on the way could have changed it. Where a delivery is told from others \"by the
body\", two deliveries with the same bytes are one. Tolerances that a sender's document does not name are ours.

Senders with rules of their own are not in this table: `CdrManager`, `Connect`, `Sns` (with `telna` and `pce`).

| name | sender | scheme | tolerance | limit | event | deduplicated by | rule known from |
|---|---|---|---|---|---|---|---|
";

fn table() -> String {
    let mut table = HEAD.to_owned();
    for sender in senders::all() {
        let facts = sender.facts().unwrap_or_else(|error| panic!("{}: {error}", sender.name));
        let tolerance = facts.tolerance.map_or_else(
            || "none".to_owned(),
            |tolerance| match (tolerance.past(), tolerance.future()) {
                (past, future) if past == future => format!("{} s", past.as_secs()),
                (past, future) => format!("{} s, ahead {} s", past.as_secs(), future.as_secs()),
            },
        );
        let evidence = match sender.evidence {
            Evidence::Official => "the sender",
            _ => "others, **not verified**",
        };
        let limit = match facts.body_limit {
            bytes if bytes % (1024 * 1024) == 0 => format!("{} MiB", bytes / (1024 * 1024)),
            bytes => format!("{bytes} bytes"),
        };
        writeln!(
            table,
            "| `{}` | [{}]({}) | {} | {tolerance} | {limit} | {} | {} | {evidence} |",
            sender.name,
            sender.title,
            sender.document,
            facts.scheme.replace('|', "\\|"),
            facts.event.as_deref().unwrap_or("-"),
            facts.deduplicated_by,
        )
        .unwrap();
    }
    table
}

#[test]
fn the_documents_name_the_senders_that_there_are() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/senders.md");
    let table = table();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "docs/senders.md is not what the code says; WRITE_DOCS=1 cargo test --all-features --test it sender_table makes it anew"
    );
}
