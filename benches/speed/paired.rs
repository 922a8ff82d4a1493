//! Two ways of doing something, timed in turns.
//!
//! A machine's clock rate, its caches and its other tenants change from second to second, so times
//! of two runs say little about each other. Here both sides take turns within one process, a
//! fraction of a millisecond each, and the result is the median of the ratios of neighbours:
//! whatever disturbs one turn disturbs its neighbour as well, or falls out as an outlier.
#![allow(clippy::cast_possible_truncation, reason = "what is cast was bounded or is a position in a list")]

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one turn is made: long beside the clock's resolution, short beside a scheduler's time
/// slice.
const TURN: Duration = Duration::from_micros(200);
/// Fewer rounds than this have no median worth the name.
const FEWEST_ROUNDS: usize = 25;

/// One side of a comparison.
pub trait Side {
    /// Does the work so many times and says how long it took, preparations aside.
    fn turn(&mut self, times: usize) -> Duration;
}

/// A side that is made of a preparation, which is not timed, and the work, which is, with the
/// dropping of what it made.
pub fn side<I, O>(mut prepare: impl FnMut() -> I, mut work: impl FnMut(I) -> O) -> impl Side {
    timed_turns(move |times| {
        let inputs: Vec<I> = (0..times).map(|_| prepare()).collect();
        let start = now();
        for input in inputs {
            black_box(work(black_box(input)));
        }
        start.elapsed()
    })
}

/// A side that takes its own time.
pub fn timed(mut work: impl FnMut() -> Duration) -> impl Side {
    timed_turns(move |times| (0..times).map(|_| work()).sum())
}

fn timed_turns(turn: impl FnMut(usize) -> Duration) -> impl Side {
    struct Turns<F>(F);
    impl<F: FnMut(usize) -> Duration> Side for Turns<F> {
        fn turn(&mut self, times: usize) -> Duration {
            (self.0)(times)
        }
    }
    Turns(turn)
}

#[allow(clippy::disallowed_methods, reason = "a duration is measured, no time is judged")]
pub fn now() -> Instant {
    Instant::now()
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The median of first side / second side.
    pub median: f64,
    /// The quartiles around it.
    pub quartiles: (f64, f64),
    /// The median time of each side.
    pub times: (Duration, Duration),
}

/// Compares two sides for about this long.
pub fn compare(ours: &mut dyn Side, theirs: &mut dyn Side, budget: Duration) -> Ratio {
    let times = [calibrated(ours), calibrated(theirs)];
    let mut rounds = Vec::new();
    let end = now() + budget;
    while rounds.len() < FEWEST_ROUNDS || now() < end {
        // Who is first changes, so that neither side always finds the caches as the other left them.
        let (a, b) = match rounds.len() % 2 {
            0 => {
                let a = ours.turn(times[0]);
                (a, theirs.turn(times[1]))
            }
            _ => {
                let b = theirs.turn(times[1]);
                (ours.turn(times[0]), b)
            }
        };
        rounds.push([a.as_secs_f64() / times[0] as f64, b.as_secs_f64() / times[1] as f64]);
    }
    let mut ratios: Vec<f64> = rounds.iter().map(|[a, b]| a / b).collect();
    let [a, b] = [0, 1].map(|side| {
        let mut times: Vec<f64> = rounds.iter().map(|round| round[side]).collect();
        Duration::from_secs_f64(quantile(&mut times, 0.5))
    });
    Ratio {
        median: quantile(&mut ratios, 0.5),
        quartiles: (quantile(&mut ratios, 0.25), quantile(&mut ratios, 0.75)),
        times: (a, b),
    }
}

/// How often a side's work fits into one turn, found after it has run warm.
fn calibrated(side: &mut dyn Side) -> usize {
    let mut times = 1;
    loop {
        let taken = side.turn(times);
        if taken >= TURN / 2 || times >= 1 << 16 {
            let each = taken.as_secs_f64() / times as f64;
            return ((TURN.as_secs_f64() / each) as usize).clamp(1, 1 << 16);
        }
        times *= 2;
    }
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
