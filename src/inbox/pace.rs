//! How many handlers work at once: fewer while they fail.

/// The share of the places that stays if everything fails.
const PROBING: usize = 8;

/// How an attempt ended, as far as it tells whether what the handlers need is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The handler did its work, or refused the delivery for good.
    Handled,
    /// It failed, and may succeed another time.
    Failed,
    /// It was not let to its end.
    Stopped,
}

/// The places for handlers. Each failure takes one away, down to an eighth, and each success gives
/// one back: an outage is probed by a few, and after it their number doubles with each round. As
/// long as most succeed, all places are there.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    places: usize,
    /// Whether retries have the odd place of the next take.
    retries_first: bool,
}

impl Pace {
    pub(super) fn new(most: usize) -> Self {
        Self { most, places: most, retries_first: false }
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    pub(super) fn note(&mut self, ended: Ended) {
        match ended {
            Ended::Handled => self.places = self.most.min(self.places + 1),
            Ended::Failed => self.places = self.places.saturating_sub(1).max(self.most / PROBING).max(1),
            Ended::Stopped => {}
        }
    }

    /// Returns whether retries come first, by turns: if there is one place at a time, neither
    /// starve.
    pub(super) fn retries_first(&mut self) -> bool {
        self.retries_first = !self.retries_first;
        self.retries_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_probed_by_few_and_the_rest_come_back_in_rounds_that_double() {
        let mut pace = Pace::new(32);
        (0..100).for_each(|_| pace.note(Ended::Failed));
        assert_eq!(pace.places(), 4);
        let mut rounds = Vec::new();
        while pace.places() < 32 {
            (0..pace.places()).for_each(|_| pace.note(Ended::Handled));
            rounds.push(pace.places());
        }
        assert_eq!(rounds, [8, 16, 32]);
        pace.note(Ended::Stopped);
        // Some that always fail slow nobody down.
        for n in 0..1000 {
            pace.note(if n % 3 == 0 { Ended::Failed } else { Ended::Handled });
        }
        assert!(pace.places() >= 31, "{pace:?}");
        let mut single = Pace::new(1);
        single.note(Ended::Failed);
        assert_eq!(single.places(), 1);
    }
}
