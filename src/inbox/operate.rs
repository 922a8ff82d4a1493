//! Looking at what is stored, and deciding about it.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::delivery::Signed;
use crate::text::Text;

use super::record::Record;
use super::service::Inbox;
use super::store::{
    DeliveryId, Detail, Erased, Filter, InboxError, InboxErrorKind, Listing, Page, PastAttempt, Pruned, Replay, Stats,
    Summary,
};
use super::stored::read_proven;

/// A stored delivery as it arrived.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoredDelivery {
    /// What became of it.
    pub summary: Summary,
    /// The method of its request.
    pub method: Method,
    /// The URL of its request, without parameters that are secrets.
    pub url: Text,
    /// The last attempts, the oldest first:
    /// [`MOST_PAST_ATTEMPTS`](super::MOST_PAST_ATTEMPTS) at most.
    pub past: Vec<PastAttempt>,
    /// The trace that the request belonged to, as its `traceparent` said.
    pub traceparent: Option<Text>,
    /// What the signature covers.
    pub signed: Signed,
    /// The position of the key that verified the request, as
    /// [`Delivery::key_index`](crate::Delivery::key_index).
    pub key_index: usize,
    /// When the sender signed the request, if it said so.
    pub timestamp: Option<SystemTime>,
    /// The headers that were kept.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Prints no header and no part of the body.
impl std::fmt::Debug for StoredDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredDelivery").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// What is stored in the inbox's scope.
impl<S> Inbox<S> {
    /// Returns the same inbox without the service.
    #[cfg(feature = "axum")]
    pub(crate) fn operator(&self) -> Inbox<()> {
        Inbox::with_settings((), self.settings.clone())
    }

    /// Returns how many deliveries there are in each state.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn stats(&self) -> Result<Stats, InboxError> {
        self.settings.store.stats(self.settings.scope.clone()).await
    }

    /// Returns whether deliveries are accepted at the moment.
    ///
    /// # Errors
    ///
    /// The reason why they aren't.
    pub async fn health(&self) -> Result<(), InboxError> {
        self.settings.store.health().await
    }

    /// Lists deliveries, the newest first.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn list(&self, filter: Filter, page: Page) -> Result<Listing, InboxError> {
        self.settings.store.list(self.here(filter), page).await
    }

    /// Returns a delivery, or `None` if there is none with this number.
    ///
    /// # Errors
    ///
    /// If the store fails, or the delivery cannot be read.
    pub async fn get(&self, id: DeliveryId) -> Result<Option<StoredDelivery>, InboxError> {
        let Some(detail) = self.settings.store.get(id).await? else { return Ok(None) };
        if detail.summary.scope != self.settings.scope {
            return Ok(None);
        }
        let record = Record::decode(&detail.record, &self.settings.seal).map_err(|error| {
            InboxError::new(InboxErrorKind::Corrupt, "the stored delivery cannot be read").with_source(error)
        })?;
        let (signed, ..) = read_proven(record.proven);
        let Record { method, url, key_index, timestamp, traceparent, headers, body, .. } = record;
        let key_index = key_index.into();
        let Detail { summary, past, .. } = detail;
        Ok(Some(StoredDelivery {
            summary,
            method,
            url,
            past,
            traceparent,
            signed,
            key_index,
            timestamp,
            headers,
            body,
        }))
    }

    /// Has a delivery handled again, with its attempts counted anew. One that is done is handled
    /// again only if `force` is set.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn replay(&self, id: DeliveryId, force: bool) -> Result<Replay, InboxError> {
        if !self.has(id).await? {
            return Ok(Replay::Unknown);
        }
        self.settings.store.replay(id, force, self.now()).await
    }

    /// Replays at most `limit` dead deliveries, the oldest first, and returns how many.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn replay_dead(&self, filter: Filter, limit: u32) -> Result<u32, InboxError> {
        self.settings.store.replay_dead(self.here(filter), limit, self.now()).await
    }

    /// Cancels a delivery that isn't done: it is not tried again, and a handler that works on it is
    /// cancelled. Returns whether there was something to cancel.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn cancel(&self, id: DeliveryId) -> Result<bool, InboxError> {
        Ok(self.has(id).await? && self.settings.store.cancel(id, self.now()).await?)
    }

    /// Removes at most `limit` deliveries with everything that was stored of them, except for the
    /// digests that their repetitions are recognised by. Those that are being handled are
    /// cancelled instead.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn erase(&self, filter: Filter, limit: u32) -> Result<Erased, InboxError> {
        self.settings.store.erase(self.here(filter), limit, self.now()).await
    }

    /// Removes at most `limit` deliveries that are past their age, of every scope in the store. The
    /// worker does it too.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn prune(&self, limit: u32) -> Result<Pruned, InboxError> {
        self.settings.store.prune(self.settings.retention, limit, self.now()).await
    }

    /// Stops handing deliveries to handlers, in all processes and over restarts. They are accepted
    /// all the while.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn pause(&self) -> Result<(), InboxError> {
        self.settings.store.set_paused(self.settings.scope.clone(), true).await
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn resume(&self) -> Result<(), InboxError> {
        self.settings.store.set_paused(self.settings.scope.clone(), false).await
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.settings.clock.now()
    }

    fn here(&self, filter: Filter) -> Filter {
        Filter { scope: Some(self.settings.scope.clone()), ..filter }
    }

    async fn has(&self, id: DeliveryId) -> Result<bool, InboxError> {
        let filter = self.here(Filter { id: Some(id), ..Filter::default() });
        // A page that starts at the delivery, as a list looks at a bounded number of them.
        let page = Page { before: Some(DeliveryId(id.0.saturating_add(1))), limit: 1 };
        Ok(!self.settings.store.list(filter, page).await?.deliveries.is_empty())
    }
}
