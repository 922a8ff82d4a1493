//! The settings of a layer, shared by all its services and futures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use crate::delivery::Delivery;

use super::erased::ErasedStore;
use super::key::Key;

/// What happens to a delivery if the store neither grants nor denies a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFailure {
    /// It is refused with 503 ([`Reason::StoreUnavailable`](crate::Reason::StoreUnavailable)), so that a sender that repeats tries again.
    #[default]
    Refuse,
    /// It is handled, and counted: for handlers that prefer duplicates over delay.
    Admit,
}

#[derive(Clone)]
pub(super) struct DedupSettings {
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) lease: Duration,
    pub(super) retention: Duration,
    pub(super) store_timeout: Duration,
    pub(super) store_failure: StoreFailure,
    pub(super) in_flight_status: Option<StatusCode>,
    pub(super) key: Arc<ChooseKey>,
}

type ChooseKey = dyn Fn(&Delivery, &Parts) -> Option<Key> + Send + Sync;

impl DedupSettings {
    pub(super) fn debug(&self, f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        f.field("lease", &self.lease)
            .field("retention", &self.retention)
            .field("store_timeout", &self.store_timeout)
            .field("store_failure", &self.store_failure)
            .finish_non_exhaustive()
    }
}
