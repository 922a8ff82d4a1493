//! Which attempts are still alive, told by no clock but this process's monotonic one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// What this process has seen of the attempts in the file, its own and those of others.
///
/// An attempt raises its `beat` while it is alive. One whose beat did not change for a whole lease,
/// as seen from here, is over. So no wall clock is needed, and processes need not agree on
/// anything. After a restart, each attempt of before is given one more lease.
#[derive(Debug, Default)]
pub(super) struct Leases {
    seen: HashMap<i64, Seen>,
    looked_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    fence: i64,
    beat: i64,
    since: Instant,
}

impl Leases {
    /// Notes an attempt at its start, so that its first lease is not counted from the first look.
    pub(super) fn seen(&mut self, id: i64, fence: i64, beat: i64) {
        self.seen.insert(id, Seen { fence, beat, since: Instant::now() });
    }

    /// Returns the attempts that are over, of all that run: (id, fence, beat, lease in
    /// milliseconds).
    pub(super) fn expired(&mut self, running: impl Iterator<Item = (i64, i64, i64, i64)>) -> HashSet<i64> {
        let now = Instant::now();
        let unwatched = self.looked_at.replace(now).map(|last| now - last);
        let (mut next, mut expired) = (HashMap::new(), HashSet::new());
        for (id, fence, beat, lease) in running {
            let lease = Duration::from_millis(u64::try_from(lease).unwrap_or_default());
            let known = self.seen.get(&id).filter(|seen| (seen.fence, seen.beat) == (fence, beat));
            // If nobody looked for a whole lease, this process was stopped itself, and so may have been those
            // that would have raised their beats.
            let known = known.filter(|_| unwatched.is_none_or(|pause| pause < lease));
            let seen = known.copied().unwrap_or(Seen { fence, beat, since: now });
            if now - seen.since >= lease {
                expired.insert(id);
            } else {
                next.insert(id, seen);
            }
        }
        self.seen = next;
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: i64 = 1000;

    async fn pass(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_over_once_its_beat_stood_still_for_a_lease() {
        let mut leases = Leases::default();
        let mut expired = |beat| leases.expired([(1, 1, beat, LEASE)].into_iter()).contains(&1);
        assert!(!expired(0), "seen for the first time");
        for _ in 0..2 {
            pass(600).await;
            assert!(!expired(1));
            pass(600).await;
            assert!(!expired(2));
        }
        pass(999).await;
        assert!(!expired(2));
        pass(1).await;
        assert!(expired(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_itself_starts_watching_anew() {
        let mut leases = Leases::default();
        let mut expired = || leases.expired([(1, 1, 0, LEASE)].into_iter()).contains(&1);
        assert!(!expired());
        pass(86_400_000).await;
        assert!(!expired());
        pass(500).await;
        assert!(!expired());
        pass(500).await;
        assert!(expired());
    }
}
