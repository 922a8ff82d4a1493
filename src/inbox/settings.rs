//! The settings of an inbox, shared by its services and its worker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;

use crate::delivery::Delivery;
use crate::text::Text;
use crate::time::Clock;

use super::backoff::Backoff;
use super::erased::ErasedStore;
use super::record::Seal;
use super::store::Retention;

/// What a dead delivery does to those behind it with the same order key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OrderOnDead {
    /// It steps aside, and the next one is handled.
    #[default]
    Skip,
    /// It blocks them until it is replayed, cancelled or erased.
    Block,
}

#[derive(Clone)]
pub(super) struct InboxSettings {
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) scope: Text,
    pub(super) seal: Seal,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) headers: Vec<HeaderName>,
    pub(super) order: Option<Arc<ChooseOrder>>,
    /// How many deliveries of a tenant are handled at once, and whose a delivery is.
    pub(super) tenants: Option<(u32, Arc<ChooseOrder>)>,
    pub(super) bypass: Arc<ChooseBypass>,
    pub(super) retry: Backoff,
    pub(super) order_on_dead: OrderOnDead,
    pub(super) crashes: u32,
    pub(super) concurrency: usize,
    pub(super) lease: Duration,
    pub(super) handler_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
    pub(super) retention: Retention,
}

type ChooseOrder = dyn Fn(&Delivery) -> Option<Text> + Send + Sync;
type ChooseBypass = dyn Fn(&Delivery) -> bool + Send + Sync;

impl InboxSettings {
    pub(super) fn debug(&self, f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        f.field("scope", &self.scope)
            .field("retry", &self.retry)
            .field("concurrency", &self.concurrency)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
