//! The table of senders, and what is known of one.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tower_webhook::provider::{Behavior, ExpectedAnswer, Provider as _, Repeats};
use tower_webhook::senders::{self, Evidence, Sender};
use tower_webhook::testing;

use crate::output::{FAINT, Failure, GOOD, Output};

#[derive(clap::Args)]
pub struct Args {
    /// A sender, or a part of its name. Without it, all are listed
    name: Option<String>,
}

/// Those that have a type of their own.
const OWN: [(&str, &str, &str); 2] = [
    ("aws_sns", "AWS SNS", "https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html"),
    ("cloudblue_connect", "CloudBlue Connect", "https://connect.cloudblue.com/community/modules/extensions/webhooks/"),
];

pub fn run(args: &Args, output: &Output) -> Result<ExitCode, Failure> {
    let Some(name) = &args.name else {
        for sender in senders::all() {
            list(output, sender.name, sender.title, sender.document, sender.evidence == Evidence::Official);
        }
        OWN.iter().for_each(|(name, title, document)| list(output, name, title, document, true));
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(sender) = senders::all().find(|sender| sender.name == name) {
        tell(output, sender);
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = false;
    let fits = |text: &str| text.to_lowercase().contains(&name.to_lowercase());
    for sender in senders::all().filter(|sender| fits(sender.name) || fits(sender.title)) {
        list(output, sender.name, sender.title, sender.document, sender.evidence == Evidence::Official);
        found = true;
    }
    for (name, title, document) in OWN.into_iter().filter(|(name, title, _)| fits(name) || fits(title)) {
        list(output, name, title, document, true);
        found = true;
    }
    if found {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::mistake(format!(
        "there is no sender `{name}`; one that is not built in is described in a file: --config"
    )))
}

fn list(output: &Output, name: &str, title: &str, document: &str, is_official: bool) {
    let doubt = if is_official { "" } else { " (not verified)" };
    output.tell(
        || format!("{GOOD}{name:<20}{GOOD:#} {title}{doubt}  {FAINT}{document}{FAINT:#}"),
        || json!({ "name": name, "title": title, "document": document, "official": is_official }),
    );
}

fn tell(output: &Output, sender: &Sender) {
    let sample = testing::sample_scheme(sender.name);
    let facts = sample.as_ref().map(testing::facts);
    let mut rows: Vec<(&str, &str, Value)> = vec![
        ("title", "sender", sender.title.into()),
        ("document", "document", sender.document.into()),
        (
            "official",
            "evidence",
            if sender.evidence == Evidence::Official { "its own document" } else { "others who cite it: try it first" }
                .into(),
        ),
    ];
    if let Some(facts) = facts {
        rows.push(("scheme", "signature", facts.scheme.into()));
        let tolerance =
            facts.tolerance.map_or_else(|| "no time is signed".to_owned(), |tolerance| span(tolerance.past()));
        rows.push(("tolerance", "tolerance", tolerance.into()));
        rows.push(("event", "event", facts.event.unwrap_or_else(|| "none".to_owned()).into()));
        rows.push(("deduplicated_by", "told apart by", facts.deduplicated_by.into()));
        rows.push(("body_limit", "largest body", format!("{} bytes", facts.body_limit).into()));
    }
    if let Some(sample) = &sample {
        let behavior = sample.behavior();
        rows.push(("repeats", "repeats", repeats(behavior).into()));
        rows.push(("patience", "waits for", behavior.patience().map_or_else(|| "unknown".to_owned(), span).into()));
        rows.push(("success", "success is", success(behavior).into()));
    }
    let name = sender.name;
    output.tell(
        || {
            let line = |(_, title, value): &(&str, &str, Value)| {
                format!("\n  {FAINT}{title:<14}{FAINT:#}{}", value.as_str().unwrap_or_default().escape_debug())
            };
            format!(
                "{GOOD}{name}{GOOD:#}{}",
                rows.iter().map(line).collect::<String>().replace("\\'", "'").replace("\\\"", "\"")
            )
        },
        || {
            let mut value: serde_json::Map<_, _> =
                rows.iter().map(|(key, _, value)| ((*key).to_owned(), value.clone())).collect();
            value.insert("name".to_owned(), name.into());
            Value::Object(value)
        },
    );
}

/// A duration in its largest whole unit.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds} s"), |(unit, name)| format!("{} {name}", seconds / unit))
}

fn repeats(behavior: &Behavior) -> String {
    let on = match behavior.repeats() {
        None => "unknown",
        Some(Repeats::Never) => "never",
        Some(Repeats::OnServerError) => "after 5xx",
        Some(_) => "after any failure",
    };
    behavior.repeats_for().map_or_else(|| on.to_owned(), |duration| format!("{on}, for {}", span(duration)))
}

fn success(behavior: &Behavior) -> String {
    match behavior.expected() {
        Some(ExpectedAnswer::AnySuccess) => "2xx".to_owned(),
        Some(ExpectedAnswer::Status(statuses)) => {
            statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
        }
        Some(ExpectedAnswer::Body(body)) => format!("200 {body}"),
        _ => "unknown".to_owned(),
    }
}
