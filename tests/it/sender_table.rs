//! The tables of senders in the documents are made from the one in the code.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tower_webhook::Scheme;
use tower_webhook::provider::{Behavior, ExpectedAnswer, Provider as _, Repeats};
use tower_webhook::senders::{self, Evidence, Sender};
use tower_webhook::testing::{self, SchemeFacts};

use crate::senders::sample_config;

const HEAD: &str = "\
# Senders by name

Made from the table in the code. Do not edit it: run
`WRITE_DOCS=1 cargo test --all-features --test it sender_table` instead.

`senders::NAME(..)` makes each; `senders::by_name(\"NAME\", config)` does so from a configuration. What a sender needs, its
function says. \"Unsigned\" means that anyone on the way could have changed it. Where nothing tells a delivery from others,
each is handled, since its sender may send the same bytes for two events. Tolerances that a sender's document does not name
are ours.

How a sender behaves is what its document says, or pages that cite it; \"?\" is unknown. A status of ours is chosen by it: a
body that the network held up is 503 to senders that take a 4xx for their last word. A sender that never repeats loses
what is not taken at once, whatever it is answered. \"Probes\" are the requests beside deliveries that are answered without
the handler: challenges at set-up, checks of the address. Some need a setting, such as a verify token.

Senders that are not in this table are providers of their own: `Connect` and `Sns` (with `telna` and `pce`).

| name | sender | scheme | tolerance | limit | event | deduplicated by | unique bodies | repeats | waits | takes for success | probes | rule known from |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

fn table() -> String {
    let mut table = HEAD.to_owned();
    for sender in senders::all() {
        let scheme = build(sender);
        let (facts, behavior) = (testing::facts(&scheme), scheme.behavior());
        let probes = match &scheme.facts()[0].probes[..] {
            [] => "?".to_owned(),
            probes => probes.join(", "),
        };
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
            "| `{}` | [{}]({}) | {} | {tolerance} | {limit} | {} | {} | {} | {} | {} | {} | {probes} | {evidence} |",
            sender.name,
            sender.title,
            sender.document,
            facts.scheme.replace('|', "\\|"),
            facts.event.as_deref().unwrap_or("-"),
            facts.deduplicated_by,
            behavior.unique_bodies().unwrap_or("?"),
            repeats(behavior),
            behavior.patience().map_or("?".to_owned(), span),
            success(behavior),
        )
        .unwrap();
    }
    table
}

/// A duration in its largest whole unit.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn repeats(behavior: &Behavior) -> String {
    let on = match behavior.repeats() {
        None => "?",
        Some(Repeats::Never) => "never",
        Some(Repeats::OnServerError) => "after 5xx",
        Some(_) => "after any failure",
    };
    behavior.repeats_for().map_or(on.to_owned(), |duration| format!("{on}, for {}", span(duration)))
}

fn success(behavior: &Behavior) -> String {
    let success = match behavior.expected() {
        Some(ExpectedAnswer::AnySuccess) => "2xx".to_owned(),
        Some(ExpectedAnswer::Status(statuses)) => {
            statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
        }
        Some(ExpectedAnswer::Body(body)) => format!("200 `{body}`"),
        _ => "?".to_owned(),
    };
    if behavior.is_interactive() { format!("{success}; acts on the body") } else { success }
}

/// What the README's own table stands between.
const BEGIN: &str = "<!-- senders: made from the code by tests/it/sender_table.rs -->\n\n";
const END: &str = "\n<!-- end of senders -->\n";

/// The senders by what proves them, the most usual proof first.
fn names() -> String {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for sender in senders::all() {
        let facts = facts(sender);
        let timestamp = if facts.tolerance.is_some() { "checked" } else { "none" };
        let mark = if sender.evidence == Evidence::Official { "" } else { "\\*" };
        groups
            .entry((proof(&facts.scheme).to_owned(), timestamp))
            .or_default()
            .push(format!("`{}`{mark}", sender.name));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, names)| Reverse(names.len()));
    let mut table = format!("| proof | timestamp | the {} senders |\n|---|---|---|\n", senders::all().count());
    for ((proof, timestamp), mut names) in groups {
        names.sort();
        writeln!(table, "| {proof} | {timestamp} | {} |", names.join(", ")).unwrap();
    }
    table
}

/// What a scheme in words begins with, before it says by which key, in what place and over which
/// text.
fn proof(scheme: &str) -> &str {
    if scheme.starts_with("JWT ") {
        return "JWT";
    }
    let ends = [" by ", " in ", " over "].map(|word| scheme.find(word).unwrap_or(scheme.len()));
    &scheme[..ends.into_iter().min().unwrap()]
}

fn build(sender: &Sender) -> Scheme {
    sender.build(sample_config(sender.name)).unwrap_or_else(|error| panic!("{}: {error}", sender.name))
}

fn facts(sender: &Sender) -> SchemeFacts {
    testing::facts(&build(sender))
}

/// Checks a document against what it should be, or writes it.
fn check(document: &str, expected: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = expected(&written);
    if std::env::var_os("WRITE_DOCS").is_some() {
        return std::fs::write(&path, expected).unwrap();
    }
    assert!(
        written == expected,
        "{document} is not what the code says; WRITE_DOCS=1 cargo test --all-features --test it sender_table makes it anew"
    );
}

#[test]
fn the_documents_name_the_senders_that_there_are() {
    check("docs/senders.md", |_| table());
}

#[test]
fn the_readme_names_the_senders_that_there_are() {
    check("README.md", |readme| {
        let (before, rest) = readme.split_once(BEGIN).expect("the README has a place for the senders");
        let (_, after) = rest.split_once(END).expect("the senders in the README have an end");
        format!("{before}{BEGIN}{}{END}{after}", names())
    });
}

/// The guides say so in words.
#[test]
fn most_senders_repeat_and_wait_for_seconds_and_those_that_never_repeat_are_named() {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md")).unwrap();
    let behaviors: Vec<_> = senders::all().map(|sender| (sender.title, *build(sender).behavior())).collect();
    let (never, repeating): (Vec<_>, Vec<_>) = behaviors
        .iter()
        .filter(|(_, behavior)| behavior.repeats().is_some())
        .partition(|(_, behavior)| behavior.repeats() == Some(Repeats::Never));
    assert!(repeating.len() > 4 * never.len(), "{never:?}");
    let named: Vec<_> = never.iter().map(|(title, _)| *title).collect();
    let (last, others) = named.split_last().unwrap();
    assert!(guide.contains(&format!("{} and {last} never do", others.join(", "))), "{named:?}");
    let patience: Vec<_> = behaviors.iter().filter_map(|(_, behavior)| behavior.patience()).collect();
    let usual = patience.iter().filter(|patience| (3..=30).contains(&patience.as_secs())).count();
    assert!(4 * usual > 3 * patience.len(), "{usual} of {}", patience.len());
}

#[test]
fn no_limit_is_below_what_a_document_allows() {
    for (name, mebibytes) in [
        ("meta", 3),
        ("github", 25),
        ("mailgun", 25),
        ("mandrill", 25),
        ("docusign", 25),
        ("google_oidc", 14),
        ("linear", 5),
    ] {
        let sender = senders::all().find(|sender| sender.name == name).unwrap();
        assert!(facts(sender).body_limit >= mebibytes << 20, "{name}");
    }
    for sender in senders::all() {
        let scheme = build(sender);
        let least =
            scheme.behavior().largest_body().unwrap_or_default().max(tower_webhook::provider::DEFAULT_BODY_LIMIT);
        assert!(scheme.body_limit() >= least, "{}", sender.name);
    }
}
