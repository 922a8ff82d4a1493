//! What comes out.

use std::fmt;
use std::time::Duration;

use crate::load::Turn;
use crate::quantile;

#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// The row is there to explain another one.
    None,
}

impl Goal {
    fn is_met(self, result: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(result >= least),
            Self::AtMost(most) => Some(result <= most),
            Self::None => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::None => f.write_str("-"),
        }
    }
}

#[derive(Default)]
pub struct Table {
    met: usize,
    goals: usize,
}

impl Table {
    pub fn head(&self, turns: usize, length: Duration, many: usize) {
        println!("Medians of {turns} turns of {length:?}; {many} are many. Load average before: {}\n", load_average());
        println!("| what | goal | result | figures |\n|---|---|---|---|");
    }

    /// A ratio of rates, turn by turn after the first.
    pub fn rates(&mut self, what: &str, goal: Goal, ours: &[Turn], theirs: &[Turn]) {
        let rates = |turns: &[Turn]| turns[1..].iter().map(|turn| turn.rate).collect::<Vec<_>>();
        self.ratio(what, goal, &rates(ours), &rates(theirs), |rate| format!("{rate:.0}/s"));
    }

    /// A ratio of times, turn by turn.
    pub fn times(&mut self, what: &str, goal: Goal, ours: &[f64], theirs: &[f64]) {
        self.ratio(what, goal, ours, theirs, |seconds| format!("{:.2?}", Duration::from_secs_f64(seconds)));
    }

    /// A ratio of anything, turn by turn.
    pub fn ratio(&mut self, what: &str, goal: Goal, ours: &[f64], theirs: &[f64], show: impl Fn(f64) -> String) {
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let [ours, theirs] = [ours, theirs].map(|values| show(quantile(&mut values.to_vec(), 0.5)));
        let (low, high) = (quantile(&mut ratios, 0.0), quantile(&mut ratios, 1.0));
        let range = if ratios.len() > 1 { format!(", {low:.2} to {high:.2}") } else { String::new() };
        self.row(what, goal, quantile(&mut ratios, 0.5), &format!("{ours} / {theirs}{range}"));
    }

    pub fn row(&mut self, what: &str, goal: Goal, result: f64, figures: &str) {
        let is_met = goal.is_met(result);
        self.goals += usize::from(is_met.is_some());
        self.met += usize::from(is_met == Some(true));
        let missed = if is_met == Some(false) { " (missed)" } else { "" };
        println!("| {what} | {goal} | {result:.3}{missed} | {figures} |");
    }

    pub fn not_measured(&mut self, what: &str, goal: Goal, why: &str) {
        self.goals += 1;
        println!("| {what} | {goal} | not measured | {why} |");
    }

    pub fn end(&self) {
        println!("\nLoad average after: {}. {} of {} goals met", load_average(), self.met, self.goals);
    }
}

/// Of the last minute. Others who work on the machine make the figures worse.
fn load_average() -> String {
    let average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    average.split(' ').next().unwrap_or_default().to_owned()
}
