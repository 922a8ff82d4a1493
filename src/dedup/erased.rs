//! Any store behind one type, and the time that it has to answer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;

use crate::body::Deadline;

use super::key::{Key, Token};
use super::store::{Claim, Store, StoreError};

/// A call of the store that waits for nobody's borrow, so that it can outlive the request.
pub(super) type Call<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// A [`Store`] as an object. Its calls are ways to a network or take no time at all, so boxing them costs nothing that counts.
pub(super) trait ErasedStore: Send + Sync {
    fn claim(self: Arc<Self>, key: Key, token: Token, lease: Duration, limit: Duration) -> Call<Claim>;
    fn commit(
        self: Arc<Self>,
        key: Key,
        token: Token,
        status: StatusCode,
        retention: Duration,
        limit: Duration,
    ) -> Call<bool>;
    fn release(self: Arc<Self>, key: Key, token: Token, limit: Duration) -> Call<()>;
    fn release_now(&self, key: Key, token: Token) -> bool;
}

impl<S: Store> ErasedStore for S {
    fn claim(self: Arc<Self>, key: Key, token: Token, lease: Duration, limit: Duration) -> Call<Claim> {
        Box::pin(async move { within(limit, S::claim(&self, key, token, lease)).await })
    }

    fn commit(
        self: Arc<Self>,
        key: Key,
        token: Token,
        status: StatusCode,
        retention: Duration,
        limit: Duration,
    ) -> Call<bool> {
        Box::pin(async move { within(limit, S::commit(&self, key, token, status, retention)).await })
    }

    fn release(self: Arc<Self>, key: Key, token: Token, limit: Duration) -> Call<()> {
        Box::pin(async move { within(limit, S::release(&self, key, token)).await })
    }

    fn release_now(&self, key: Key, token: Token) -> bool {
        S::release_now(self, key, token)
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
