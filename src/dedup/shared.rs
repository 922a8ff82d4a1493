//! The settings of a layer, shared by all its services and futures.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use crate::body::Deadline;
use crate::delivery::Delivery;
use crate::observe;
use crate::text::Text;

use super::erased::ErasedStore;
use super::key::Key;

/// The largest limit of an answer's body that is kept; a larger one is cut to it. Each delivery
/// takes that much of the store.
pub const MAX_ANSWER_LIMIT: usize = 64 * 1024;

/// The longest lease and retention; a longer one is cut to it. No sender repeats a delivery after a
/// year, and stores need times of bounded length.
pub const MAX_RETENTION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What happens to a delivery if the store neither grants nor denies a claim.
///
/// By default that depends on the sender: [`Admit`](Self::Admit) where its
/// [behavior](crate::provider::Behavior::repeats) says that it never repeats a delivery, and
/// [`Refuse`](Self::Refuse) otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFailure {
    /// It is refused with 503 ([`Reason::StoreUnavailable`](crate::Reason::StoreUnavailable)). A
    /// sender that repeats after a 5xx tries again; with any other, the delivery is lost.
    Refuse,
    /// It is handled, and counted: for handlers that prefer duplicates over delay.
    Admit,
}

/// Apart from their reference count, which each request changes: another processor would have to
/// fetch the settings again each time.
#[derive(Clone)]
#[repr(align(128))]
pub(super) struct DedupSettings {
    pub(super) name: Text,
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(super) store_timeout: Duration,
    /// None to go by the sender.
    pub(super) store_failure: Option<StoreFailure>,
    pub(super) in_flight_status: Option<StatusCode>,
    /// The longest body of an answer that is kept.
    pub(super) answer_limit: usize,
    /// Whether equal content is a repetition of whatever sender.
    pub(super) replay_protection: bool,
    /// Whether a sender is answered before the store knows that its delivery is done.
    #[cfg(feature = "tokio")]
    pub(super) commits_in_background: bool,
    /// None for the default.
    pub(super) key: Option<Arc<ChooseKey>>,
    /// Whether it was said that refused deliveries are lost.
    pub(super) warned: Arc<AtomicBool>,
    /// How many commits and releases wait to be tried again.
    #[cfg(feature = "tokio")]
    pub(super) unsettled: Arc<AtomicUsize>,
}

pub(super) type ChooseKey = dyn Fn(&Delivery, &Parts) -> Option<Key> + Send + Sync;

impl DedupSettings {
    /// Returns the key that is chosen by default.
    pub(super) fn key(&self, delivery: &Delivery) -> Option<Key> {
        // Its sender acts on the answer, which has to be made for it.
        if delivery.traits().is_interactive {
            return None;
        }
        self.named(if self.replay_protection { Key::of_signed(delivery) } else { Key::of(delivery) })
    }

    /// Keeps a key apart from those of other layers with the same store.
    pub(super) fn named(&self, key: Option<Key>) -> Option<Key> {
        key.map(|key| if self.name.is_empty() { key } else { key.within(&*self.name) })
    }

    pub(super) fn store_failure(&self, delivery: &Delivery) -> StoreFailure {
        let never_repeats = delivery.traits().never_repeats;
        match self.store_failure {
            None if never_repeats => StoreFailure::Admit,
            None => StoreFailure::Refuse,
            Some(StoreFailure::Refuse) if never_repeats => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    observe::refusals_lose(delivery.provider());
                }
                StoreFailure::Refuse
            }
            Some(chosen) => chosen,
        }
    }

    /// How long a delivery is remembered: as long at least as a copy of it would be taken.
    pub(super) fn retention(&self, delivery: &Delivery) -> Duration {
        self.retention.max(delivery.fresh_for().unwrap_or_default()).min(MAX_RETENTION)
    }

    /// Returns the time until a claim is to be renewed.
    pub(super) fn renewal(&self) -> Deadline {
        Deadline::new(Some(self.lease / 3))
    }

    pub(super) fn debug(&self, f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        f.field("name", &self.name)
            .field("lease", &self.lease)
            .field("retention", &self.retention)
            .field("store_timeout", &self.store_timeout)
            .field("store_failure", &self.store_failure)
            .field("answer_limit", &self.answer_limit)
            .finish_non_exhaustive()
    }
}
