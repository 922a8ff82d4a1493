//! How fast a verified request is, beside the same request unverified and the bare MAC.
//!
//! ```sh
//! cargo bench -p speed        # everything, some seconds a row
//! cargo bench -p speed -- 1k  # the rows whose name contains this
//! ```
//!
//! `scripts/bench` runs it with all that belongs to it. With `--repeat NAME ours|theirs TIMES` it
//! does nothing but that side's work so many times, a hundred at a time, for `scripts/instructions`
//! to count and for profilers to look at.

mod apps;
mod bodies;
mod by_hand;
mod cases;
mod checks;
mod dedup;
mod growth;
mod last_frame;
mod loopback;
mod paired;
mod senders;
mod svg;

use std::time::Duration;

use cases::{CASES, Goal};
use loopback::Serve;

/// How long one row is measured.
const BUDGET: Duration = Duration::from_secs(4);

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // Timers belong to a runtime, which need not run for them to be made and dropped.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    if arguments.first().is_some_and(|first| first == "--repeat") {
        return repeat(&arguments[1..]);
    }
    let budget = match arguments.iter().position(|argument| argument == "--quick") {
        Some(position) => {
            arguments.remove(position);
            BUDGET / 16
        }
        None => BUDGET,
    };
    if let Some(position) = arguments.iter().position(|argument| argument == "--growth") {
        let folder = arguments.get(position + 1).expect("--growth FOLDER");
        return growth::draw(std::path::Path::new(folder), budget / 4);
    }
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|part| name.contains(part.as_str()));
    println!("| what | goal | result | quartiles | times |\n|---|---|---|---|---|");
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        let (mut ours, mut theirs) = (case.sides)();
        let ratio = paired::compare(&mut *ours, &mut *theirs, budget);
        let (low, high) = ratio.quartiles;
        let times = format!("{:.2?} / {:.2?}", ratio.times.0, ratio.times.1);
        row(case.what, case.goal, ratio.median, &format!("{low:.3} to {high:.3}"), &times);
    }
    if chosen("unknown-tenants") {
        let most = senders::unknown_tenants();
        let what = "look-ups under way at most, 10,000 unknown tenants in a second, a source of 100 ms";
        row(what, Goal::AtMost(64.0), most as f64, "-", "-");
    }
    if chosen("loopback") {
        loopback(budget);
    }
}

fn loopback(budget: Duration) {
    let outside = ("outside the router, `Webhook<Bytes>`", loopback::outside as Serve);
    let on_route = ("on a route, `Webhook<Bytes>`", loopback::on_route as Serve);
    let by_hand = ("a layer written by hand, on a route", loopback::by_hand_on_route as Serve);
    for ((app, serve), connections, goal, cpu_goal) in [
        (outside, 8, Goal::AtLeast(0.85), Goal::AtMost(0.8)),
        (on_route, 8, Goal::AtLeast(0.85), Goal::AtMost(0.8)),
        (by_hand, 8, Goal::None, Goal::None),
        (on_route, 1, Goal::None, Goal::None),
        (on_route, 64, Goal::None, Goal::None),
    ] {
        let rates = loopback::compare(serve, connections, budget * 2);
        let (low, high) = rates.quartiles;
        let times = format!("{:.0} / {:.0} a second", rates.requests.0, rates.requests.1);
        let what = format!("loopback requests/s, {app}, 1 KiB, {connections} connections / bare `Bytes`");
        row(&what, goal, rates.median, &format!("{low:.3} to {high:.3}"), &times);
        let (low, high) = rates.cpu_quartiles;
        let what = format!("server's CPU µs a request beyond bare and the MAC, {app}, {connections} connections");
        let times = format!("{:.1}µs / {:.1}µs in all", rates.cpu_in_all.0, rates.cpu_in_all.1);
        row(&what, cpu_goal, rates.cpu, &format!("{low:.3} to {high:.3}"), &times);
    }
}

fn row(what: &str, goal: Goal, result: f64, quartiles: &str, times: &str) {
    let (goal, met) = match goal {
        Goal::AtMost(most) => (format!("<= {most}"), result <= most),
        Goal::AtLeast(least) => (format!(">= {least}"), result >= least),
        Goal::None => ("-".to_owned(), true),
    };
    let missed = if met { "" } else { " (missed)" };
    println!("| {what} | {goal} | {result:.3}{missed} | {quartiles} | {times} |");
}

fn repeat(arguments: &[String]) {
    let [name, side, times] = arguments else { panic!("--repeat NAME ours|theirs TIMES") };
    let case = CASES.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no row is called {name}"));
    let (mut ours, mut theirs) = (case.sides)();
    let times: usize = times.parse().expect("TIMES is a number");
    let side = if side == "ours" { &mut ours } else { &mut theirs };
    // As many at a time as in a measurement, so that caches and the allocator are as they are there.
    for _ in 0..times / 100 {
        side.turn(100);
    }
}
