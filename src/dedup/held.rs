//! A claim from the moment it is asked for to the moment it is given back, whatever happens in between.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use crate::body::Deadline;
use crate::observe::{self, StoreCall};
use crate::text::Text;

use super::erased::Call;
use super::key::{Key, Token};
use super::layer::Shared;
use super::store::{Claim, StoreError};

/// A claim that was asked for. Dropping it releases it.
pub(super) struct Held {
    shared: Arc<Shared>,
    provider: Text,
    key: Key,
    token: Token,
    /// The claim or its renewal while it is under way. Whatever follows waits for it, since a store may overtake one call by
    /// the next.
    claiming: Option<Call<Claim>>,
    owned: bool,
}

impl Held {
    /// Asks for a claim.
    pub(super) fn claim(shared: &Arc<Shared>, provider: Text, key: Key) -> Self {
        let mut held = Self { shared: shared.clone(), provider, key, token: Token::new(), claiming: None, owned: true };
        held.ask();
        held
    }

    fn ask(&mut self) {
        let shared = &self.shared;
        self.claiming = Some(shared.store.clone().claim(self.key, self.token, shared.lease, shared.timeout));
    }

    /// The time of the next renewal: one may fail without the claim being lost.
    fn renewal(&self) -> Deadline {
        Deadline::new(Some(self.shared.lease / 3))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn provider(&self) -> &Text {
        &self.provider
    }

    /// The store's answer to the claim. Ready only while one is under way.
    pub(super) fn poll_claim(&mut self, cx: &mut Context<'_>) -> Poll<Result<Claim, StoreError>> {
        let Some(claiming) = &mut self.claiming else { return Poll::Pending };
        let claim = ready!(claiming.as_mut().poll(cx));
        self.claiming = None;
        Poll::Ready(claim)
    }

    /// The key belongs to somebody else: there is nothing to release.
    pub(super) fn forget(mut self) {
        self.owned = false;
    }

    /// The handler succeeded.
    pub(super) fn commit(mut self, status: StatusCode) -> Settling {
        self.owned = false;
        let (shared, claiming) = (self.shared.clone(), self.claiming.take());
        let (provider, key, token) = (self.provider.clone(), self.key, self.token);
        Settling::new(async move {
            settled(claiming).await;
            match shared.store.clone().commit(key, token, status, shared.retention, shared.timeout).await {
                Ok(true) => {}
                Ok(false) => observe::claim_lost(&provider),
                Err(error) => observe::store_failure(&provider, StoreCall::Commit, &error),
            }
        })
    }

    /// The handler did not succeed.
    pub(super) fn release(mut self) -> Settling {
        self.owned = false;
        self.releasing()
    }

    fn releasing(&mut self) -> Settling {
        let (shared, claiming) = (self.shared.clone(), self.claiming.take());
        let (provider, key, token) = (self.provider.clone(), self.key, self.token);
        Settling::new(async move {
            settled(claiming).await;
            if let Err(error) = shared.store.clone().release(key, token, shared.timeout).await {
                observe::store_failure(&provider, StoreCall::Release, &error);
            }
        })
    }
}

async fn settled(claiming: Option<Call<Claim>>) {
    if let Some(claiming) = claiming {
        let _ = claiming.await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A claim under way cannot be taken back before it has been granted; what is dropped here goes on by itself.
        let at_once = self.claiming.is_none() && self.owned && self.shared.store.release_now(self.key, self.token);
        if self.owned && !at_once {
            drop(self.releasing());
        }
    }
}

/// The end of a claim. Once begun it is gone through with, if need be without the request that it belonged to.
pub(super) struct Settling(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Settling {
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

impl Drop for Settling {
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

/// A claim that was granted, renewed while it is polled.
pub(super) struct Renewed {
    held: Option<Held>,
    next: Deadline,
}

impl Renewed {
    pub(super) fn new(held: Held) -> Self {
        let next = held.renewal();
        Self { held: Some(held), next }
    }

    /// Ends the renewals.
    pub(super) fn take(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Called whenever the handler has to wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        let Some(held) = &mut self.held else { return };
        loop {
            if held.claiming.is_none() {
                if self.next.poll(cx).is_pending() {
                    return;
                }
                held.ask();
            }
            let Poll::Ready(claim) = held.poll_claim(cx) else { return };
            // Where somebody else has it, it is too late to stop the handler; the commit is going to notice.
            if let Err(error) = claim {
                observe::store_failure(&held.provider, StoreCall::Renew, &error);
            }
            self.next = held.renewal();
        }
    }
}
