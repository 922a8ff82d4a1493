//! How fast a verified request is, beside the same request unverified and the bare MAC.
//!
//! ```sh
//! cargo bench --bench speed --features testing,jwt,sns        # everything, some seconds a row
//! cargo bench --bench speed --features testing,jwt,sns -- 1k  # the rows whose name contains this
//! ```
//!
//! `scripts/bench` runs it with all that belongs to it. With `--repeat NAME ours|theirs TIMES` it
//! does nothing but that side's work so many times, a hundred at a time, for `scripts/instructions`
//! to count and for profilers to look at.

mod apps;
mod cases;
mod checks;
mod last_frame;
mod loopback;
mod paired;

use std::time::Duration;

use cases::{CASES, Goal};
use loopback::Serve;

/// How long one row is measured.
const BUDGET: Duration = Duration::from_secs(4);

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
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
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|part| name.contains(part.as_str()));
    println!("| what | goal | result | quartiles | times |\n|---|---|---|---|---|");
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        let (mut ours, mut theirs) = (case.sides)();
        let ratio = paired::compare(&mut *ours, &mut *theirs, budget);
        let (low, high) = ratio.quartiles;
        let times = format!("{:.2?} / {:.2?}", ratio.times.0, ratio.times.1);
        row(case.what, case.goal, ratio.median, &format!("{low:.3} to {high:.3}"), &times);
    }
    let outside = ("outside the router, `Webhook<Bytes>`", loopback::outside as Serve);
    let on_route = ("on a route, `Webhook<Bytes>`", loopback::on_route as Serve);
    let floor = ("the least that a layer can do, on a route", loopback::floor_on_route as Serve);
    for ((app, serve), connections, goal) in [
        (outside, 8, Goal::AtLeast(0.85)),
        (on_route, 8, Goal::AtLeast(0.85)),
        (floor, 8, Goal::None),
        (on_route, 1, Goal::None),
        (on_route, 64, Goal::None),
    ] {
        if !chosen("loopback") {
            break;
        }
        let rates = loopback::compare(serve, connections, budget * 2);
        let (low, high) = rates.quartiles;
        let times = format!("{:.0} / {:.0} a second", rates.requests.0, rates.requests.1);
        let what = format!("loopback requests/s, {app}, 1 KiB, {connections} connections / bare `Bytes`");
        row(&what, goal, rates.median, &format!("{low:.3} to {high:.3}"), &times);
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
