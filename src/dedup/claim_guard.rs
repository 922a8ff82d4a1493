//! A claim from the moment it is asked for until it is committed or released.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::body::Deadline;
use crate::delivery::Delivery;
use crate::observe::{self, StoreCall};
use crate::text::Text;

use super::answer::DoneAnswer;
use super::erased::StoreFuture;
use super::key::{ClaimToken, Key};
use super::settlement::{End, Settlement};
use super::shared::{DedupSettings, StoreFailure};
use super::store::{Claim, Granted, StoreError};

/// A claim that was asked for. Dropping the guard releases it.
pub(super) struct ClaimGuard {
    settings: Arc<DedupSettings>,
    provider: Text,
    retention: Duration,
    failure: StoreFailure,
    key: Key,
    token: ClaimToken,
    /// What the store told of the claim, unless the handler had to be waited for since.
    granted: Option<Granted>,
    /// The claim or its renewal while it is under way. Whatever comes next waits for it, as a store
    /// may overtake one call by the next.
    claiming: Option<StoreFuture<Claim>>,
    /// Runs while the handler has to be waited for. One renewal may fail without the claim being
    /// lost.
    renewal: Deadline,
    owned: bool,
}

impl ClaimGuard {
    // A guard is large, and is to be written where it stays.
    #[inline(always)]
    pub(super) fn new(settings: &Arc<DedupSettings>, delivery: &Delivery, key: Key) -> Self {
        Self {
            settings: settings.clone(),
            provider: delivery.provider_text().clone(),
            retention: settings.retention(delivery),
            failure: settings.store_failure(delivery),
            key,
            token: ClaimToken::new(),
            granted: None,
            claiming: None,
            renewal: settings.renewal(),
            owned: true,
        }
    }

    /// Asks for the claim. The answer is there already if the store is in memory.
    #[inline]
    pub(super) fn claim(&mut self) -> Option<Result<Claim, StoreError>> {
        let claimed = self.settings.store.claim_now(self.key, self.token, self.settings.lease, &mut self.granted);
        if claimed.is_none() {
            self.ask();
        }
        claimed
    }

    fn ask(&mut self) {
        let settings = &self.settings;
        let store = settings.store.clone();
        self.claiming = Some(store.claim(self.key, self.token, settings.lease, settings.store_timeout));
    }

    pub(super) fn settings(&self) -> &DedupSettings {
        &self.settings
    }

    /// Returns what happens to the delivery if the store fails.
    pub(super) fn failure(&self) -> StoreFailure {
        self.failure
    }

    pub(super) fn provider(&self) -> &Text {
        &self.provider
    }

    /// Polls for the store's answer to the claim. It is only ever ready while a claim is under way.
    pub(super) fn poll_claim(&mut self, cx: &mut Context<'_>) -> Poll<Result<Claim, StoreError>> {
        let Some(claiming) = &mut self.claiming else { return Poll::Pending };
        let claim = ready!(claiming.as_mut().poll(cx));
        self.claiming = None;
        Poll::Ready(claim)
    }

    /// Renews the claim when it is time. Called whenever the handler has to wait.
    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>) {
        self.granted = None;
        loop {
            if self.claiming.is_none() {
                if self.renewal.poll(cx).is_pending() {
                    return;
                }
                self.ask();
            }
            let Poll::Ready(claim) = self.poll_claim(cx) else { return };
            // If another token has the key, it is too late to stop the handler; the commit will report it.
            if let Err(error) = claim {
                observe::store_failure(&self.provider, StoreCall::Renew, &error);
            }
            self.renewal = self.settings.renewal();
        }
    }

    /// Gives up the claim without a release, as the key belongs to another token.
    pub(super) fn forget(&mut self) {
        self.owned = false;
    }

    /// Commits the claim after a handler that succeeded. Returns what is to be waited for, if the
    /// store is not in memory.
    #[inline]
    pub(super) fn commit(&mut self, answer: DoneAnswer) -> Option<Finalize> {
        let retention = self.retention;
        // What fails at once is tried again as anything else.
        if self.claiming.is_none()
            && let Some(Ok(was_ours)) =
                self.settings.store.commit_now(self.key, self.token, &answer, retention, self.granted)
        {
            self.owned = false;
            if !was_ours {
                observe::claim_lost(&self.provider);
            }
            return None;
        }
        let finalize = self.finalize(End::Commit { answer: answer.detached(), retention });
        #[cfg(feature = "tokio")]
        if self.settings.commits_in_background && tokio::runtime::Handle::try_current().is_ok() {
            // What is dropped goes on by itself.
            return None;
        }
        Some(finalize)
    }

    /// Releases the claim after a handler that didn't succeed.
    pub(super) fn release(&mut self) -> Finalize {
        self.finalize(End::Release)
    }

    fn finalize(&mut self, end: End) -> Finalize {
        self.owned = false;
        let (settings, provider, claiming) = (self.settings.clone(), self.provider.clone(), self.claiming.take());
        let settlement = Settlement { settings, provider, key: self.key, token: self.token, end };
        Finalize::new(async move {
            wait_for(claiming).await;
            settlement.settle().await;
        })
    }
}

/// Waits for a renewal that is under way. The commit or release that follows finds out what became
/// of the claim.
async fn wait_for(claiming: Option<StoreFuture<Claim>>) {
    if let Some(claiming) = claiming {
        let _ = claiming.await;
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        // A claim under way can't be released before it was granted. What is dropped here goes on by
        // itself.
        let at_once = self.claiming.is_none() && self.owned && self.settings.store.release_now(self.key, self.token);
        if self.owned && !at_once {
            drop(self.finalize(End::Release));
        }
    }
}

/// The commit or release of a claim. Once begun it is completed, without its request if need be.
pub(super) struct Finalize(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Finalize {
    fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(work) = &mut self.0 {
            ready!(work.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Finalize {
    fn drop(&mut self) {
        // Without a runtime the claim ends with its lease.
        #[cfg(feature = "tokio")]
        if let Some(work) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}
