//! Certificates and keys from the network: one bounded GET, a client that does it, a cache before it.

mod cache;
#[cfg(feature = "client")]
mod client;
mod ration;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, Uri};

use crate::body::Deadline;
use crate::rejection::{BoxError, Reason, Rejection};

pub(crate) use cache::{Cache, Found, Fresh, Rules};
#[cfg(feature = "client")]
pub use client::HttpsClient;

/// The longest answer taken, in bytes: a certificate has two thousand, the largest key sets some twenty thousand.
pub const MAX_FETCHED: usize = 64 * 1024;

/// The time for one fetch, from the first step of the connection to the last byte. Senders give up on us after 5 to 30
/// seconds, and a request may need two fetches.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Gets what is at an address: certificates, key sets, the confirmation of a subscription.
///
/// With the feature `client`, providers use `HttpsClient` unless they are given another one. An
/// implementation must
///
/// - send one `GET` to exactly this URI, follow **no** redirect, and send no credentials;
/// - verify the server's certificate: for some senders it is the only anchor of trust;
/// - stop reading after [`MAX_FETCHED`] bytes and give up after [`FETCH_TIMEOUT`] (what is longer is refused anyway; with
///   the feature `tokio`, what takes longer is dropped anyway);
/// - leave the URI's query and the answer out of its errors: they end up in logs.
///
/// Any status is a success here; whoever asked judges it.
///
/// A closure that returns a future is a fetcher too, which is all a test needs:
///
/// ```
/// use bytes::Bytes;
/// use http::{Response, Uri};
/// use tower_webhook::{Fetch, FetchFuture};
///
/// fn takes_a_fetcher(fetch: impl Fetch) {}
///
/// takes_a_fetcher(|uri: Uri| async move {
///     match uri.path() {
///         "/key.pem" => Ok(Response::new(Bytes::from_static(b"-----BEGIN CERTIFICATE-----"))),
///         _ => Err("no such host"),
///     }
/// });
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Sends one `GET` and returns the complete answer.
    fn get(&self, uri: Uri) -> FetchFuture;
}

/// An answer on its way.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

impl<F, Fut, E> Fetch for F
where
    F: Fn(Uri) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Bytes>, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn get(&self, uri: Uri) -> FetchFuture {
        let answer = self(uri);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

/// Gets the body of a 200 within the bounds, whatever the fetcher keeps to. Anything else is our misfortune and not the
/// sender's fault, so `reason` is a passing one.
pub(crate) async fn get(fetch: &dyn Fetch, uri: Uri, reason: Reason) -> Result<Bytes, Rejection> {
    let failed = |detail| Rejection::new(reason).with_detail(detail);
    let answer = within_time(fetch.get(uri)).await.ok_or_else(|| failed("the fetch took too long"))?;
    let answer = answer.map_err(|error| failed("the fetch failed").with_source(error))?;
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        return Err(failed("the answer's status is not 200").with_source(format!("its status is {status}")));
    }
    match answer.into_body() {
        body if body.len() > MAX_FETCHED => Err(failed("the answer is too long")),
        body => Ok(body),
    }
}

/// The future's output, or `None` after [`FETCH_TIMEOUT`].
async fn within_time<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut deadline = Deadline::new(Some(FETCH_TIMEOUT));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, len: usize) -> impl Fetch {
        move |_| async move { Response::builder().status(status).body(Bytes::from(vec![b'x'; len])) }
    }

    async fn outcome(fetch: impl Fetch) -> Result<usize, String> {
        let got = get(&fetch, Uri::from_static("https://host/key"), Reason::KeyUnavailable).await;
        got.map(|body| body.len()).map_err(|rejection| {
            assert_eq!(rejection.status(), 503);
            rejection.to_string()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_200_within_the_bounds_is_taken() {
        assert_eq!(outcome(answer(200, MAX_FETCHED)).await, Ok(MAX_FETCHED));
        assert!(outcome(answer(200, MAX_FETCHED + 1)).await.unwrap_err().ends_with("too long"));
        for status in [204, 301, 304, 403, 404, 500] {
            assert!(outcome(answer(status, 1)).await.unwrap_err().ends_with("not 200"), "{status}");
        }
        assert!(outcome(|_| async { Err("down") }).await.unwrap_err().ends_with("failed"));
        let stuck = |_| std::future::pending::<Result<Response<Bytes>, BoxError>>();
        assert!(outcome(stuck).await.unwrap_err().ends_with("too long"));
    }
}
