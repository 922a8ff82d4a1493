//! The end of a claim: its commit or release, which is tried again in the background if the store
//! fails.

use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::observe::{self, StoreCall};
use crate::text::Text;

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};
use super::shared::DedupSettings;
use super::store::StoreError;

/// The waits between the tries: four minutes altogether. That is longer than a store takes to fail
/// over or to be restarted. The first ones lie within the lease, which keeps the sender's
/// repetitions away for as long.
#[cfg(feature = "tokio")]
const WAITS: [Duration; 8] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
    Duration::from_secs(100),
];

/// The most settlements of one layer that wait at a time. Each may hold an answer of up to 64 KiB,
/// usually of a few bytes.
#[cfg(feature = "tokio")]
const MAX_WAITING: usize = 1024;

/// What a claim comes to.
pub(super) enum End {
    /// The handler succeeded.
    Commit { answer: DoneAnswer, retention: Duration },
    /// It did not, so that a repetition is to be handled.
    Release,
}

/// The end of a claim, which the store doesn't know yet.
pub(super) struct Settlement {
    pub(super) settings: Arc<DedupSettings>,
    pub(super) provider: Text,
    pub(super) key: Key,
    pub(super) token: ClaimToken,
    pub(super) end: End,
}

impl Settlement {
    /// Tells the store, now or in the background.
    pub(super) async fn settle(self) {
        match self.tell().await {
            Ok(true) => {}
            Ok(false) => observe::claim_lost(&self.provider),
            Err(error) => {
                self.report(&error);
                #[cfg(feature = "tokio")]
                self.in_background();
            }
        }
    }

    /// Returns whether the claim was ours to the end.
    async fn tell(&self) -> Result<bool, StoreError> {
        let Self { settings, key, token, .. } = self;
        let store = settings.store.clone();
        match &self.end {
            End::Commit { answer, retention } => {
                store.commit(*key, *token, answer.clone(), *retention, settings.store_timeout).await
            }
            End::Release => store.release(*key, *token, settings.store_timeout).await.map(|()| true),
        }
    }

    fn report(&self, error: &StoreError) {
        let call = match self.end {
            End::Commit { .. } => StoreCall::Commit,
            End::Release => StoreCall::Release,
        };
        observe::store_failure(&self.provider, call, error);
    }
}

#[cfg(feature = "tokio")]
impl Settlement {
    /// Tries again in a task of its own, unless there is no runtime, or too many wait already.
    fn in_background(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(slot) = Slot::take(&self.settings.unsettled) else { return };
        runtime.spawn(observe::in_current_span(async move {
            self.settle_in_time().await;
            drop(slot);
        }));
    }

    async fn settle_in_time(self) {
        let mut waited = Duration::ZERO;
        for wait in WAITS {
            // After its lease a claim is free anyway.
            if matches!(self.end, End::Release) && waited >= self.settings.lease {
                return;
            }
            tokio::time::sleep(wait).await;
            waited += wait;
            match self.tell().await {
                // If another one has the key by now, a try may have gone through whose answer was lost.
                Ok(_) => return,
                Err(error) => self.report(&error),
            }
        }
    }
}

/// A place among those that wait, given back when it is dropped.
#[cfg(feature = "tokio")]
struct Slot(Arc<AtomicUsize>);

#[cfg(feature = "tokio")]
impl Slot {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(waiting.clone());
        // If there are too many, dropping the slot takes the count back.
        (waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(slot)
    }
}

#[cfg(feature = "tokio")]
impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_there_are_slots() {
        let waiting = Arc::default();
        let mut slots: Vec<_> = std::iter::from_fn(|| Slot::take(&waiting)).collect();
        assert_eq!(slots.len(), MAX_WAITING);
        assert!(Slot::take(&waiting).is_none());
        slots.pop();
        assert!(Slot::take(&waiting).is_some());
        drop(slots);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }
}
