//! Any store behind one type, and its time-out.

#[cfg(feature = "memory-store")]
use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::body::Deadline;

use super::answer::DoneAnswer;
use super::key::{ClaimToken, Key};
#[cfg(feature = "memory-store")]
use super::memory::MemoryStore;
use super::store::{Claim, Granted, Store, StoreError};

/// A call of the store that borrows nothing, so that it can outlive the request.
pub(super) type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// An object-safe [`Store`]. A call that goes over a network is boxed. One in memory is made at
/// once, and is `None` for any other store.
pub(super) trait ErasedStore: Send + Sync {
    fn claim_now(
        &self,
        key: Key,
        token: ClaimToken,
        lease: Duration,
        granted: &mut Option<Granted>,
    ) -> Option<Result<Claim, StoreError>>;
    fn commit_now(
        &self,
        key: Key,
        token: ClaimToken,
        answer: &DoneAnswer,
        retention: Duration,
        granted: Option<Granted>,
    ) -> Option<Result<bool, StoreError>>;
    fn claim(self: Arc<Self>, key: Key, token: ClaimToken, lease: Duration, limit: Duration) -> StoreFuture<Claim>;
    fn commit(
        self: Arc<Self>,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
        limit: Duration,
    ) -> StoreFuture<bool>;
    fn release(self: Arc<Self>, key: Key, token: ClaimToken, limit: Duration) -> StoreFuture<()>;
    fn release_now(&self, key: Key, token: ClaimToken) -> bool;
}

impl<S: Store> ErasedStore for S {
    #[cfg_attr(not(feature = "memory-store"), allow(unused_variables, reason = "no other store tells anything"))]
    fn claim_now(
        &self,
        key: Key,
        token: ClaimToken,
        lease: Duration,
        granted: &mut Option<Granted>,
    ) -> Option<Result<Claim, StoreError>> {
        #[cfg(feature = "memory-store")]
        if let Some(store) = (self as &dyn Any).downcast_ref::<MemoryStore>() {
            return Some(Ok(store.claim_now(key, token, lease, granted)));
        }
        self.is_ready_at_once().then(|| at_once(S::claim(self, key, token, lease)))
    }

    #[cfg_attr(not(feature = "memory-store"), allow(unused_variables, reason = "no other store has told anything"))]
    fn commit_now(
        &self,
        key: Key,
        token: ClaimToken,
        answer: &DoneAnswer,
        retention: Duration,
        granted: Option<Granted>,
    ) -> Option<Result<bool, StoreError>> {
        #[cfg(feature = "memory-store")]
        if let Some(store) = (self as &dyn Any).downcast_ref::<MemoryStore>() {
            return Some(Ok(store.commit_now(key, token, answer, retention, granted)));
        }
        self.is_ready_at_once().then(|| at_once(S::commit(self, key, token, answer.detached(), retention)))
    }

    fn claim(self: Arc<Self>, key: Key, token: ClaimToken, lease: Duration, limit: Duration) -> StoreFuture<Claim> {
        Box::pin(async move { within(limit, S::claim(&self, key, token, lease)).await })
    }

    fn commit(
        self: Arc<Self>,
        key: Key,
        token: ClaimToken,
        answer: DoneAnswer,
        retention: Duration,
        limit: Duration,
    ) -> StoreFuture<bool> {
        Box::pin(async move { within(limit, S::commit(&self, key, token, answer, retention)).await })
    }

    fn release(self: Arc<Self>, key: Key, token: ClaimToken, limit: Duration) -> StoreFuture<()> {
        Box::pin(async move { within(limit, S::release(&self, key, token)).await })
    }

    fn release_now(&self, key: Key, token: ClaimToken) -> bool {
        S::release_now(self, key, token)
    }
}

/// Polls a future that is ready.
fn at_once<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(StoreError::new("the store says that it is ready at once, and is not")),
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let (mut call, mut deadline) = (pin!(call), Deadline::new(Some(limit)));
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => deadline.poll(cx).map(|()| Err(StoreError::new("the store did not answer in time"))),
    })
    .await
}
