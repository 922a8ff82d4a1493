//! The trait of clients, and one bounded GET.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, Uri};

use crate::body::Deadline;
use crate::rejection::{BoxError, Reason, Rejection};

/// The largest response accepted, in bytes. A certificate has two thousand, the largest key sets
/// some twenty thousand.
pub const MAX_FETCHED: usize = 64 * 1024;

/// The time for one fetch, from connecting to the last byte. Senders give up after 5 to 30 seconds,
/// and a request may need two fetches.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that fetches certificates and key sets, and confirms subscriptions.
///
/// With the feature `client`, providers use `HttpsClient` by default. An implementation must
///
/// - send one `GET` to exactly this URI, follow **no** redirect, and send no credentials;
/// - verify the server's certificate: for some senders it is the only trust anchor;
/// - stop reading after [`MAX_FETCHED`] bytes and give up after [`FETCH_TIMEOUT`] (larger responses
///   are refused anyway; with the feature `tokio`, slower ones are dropped anyway);
/// - keep the URI's query and the response out of its errors, which end up in logs.
///
/// Any status is a success here; the caller judges it.
///
/// # Examples
///
/// A closure that returns a future is a client too, which is all that a test needs:
///
/// ```
/// use bytes::Bytes;
/// use http::{Response, Uri};
/// use tower_webhook::{Fetch, FetchFuture};
///
/// fn takes_a_client(fetch: impl Fetch) {}
///
/// takes_a_client(|uri: Uri| async move {
///     match uri.path() {
///         "/key.pem" => Ok(Response::new(Bytes::from_static(b"-----BEGIN CERTIFICATE-----"))),
///         _ => Err("no such host"),
///     }
/// });
/// ```
///
/// `Arc<dyn Fetch>` is a client as well, so several providers can share one that is chosen at run
/// time:
///
/// ```
/// use std::sync::Arc;
///
/// use tower_webhook::Fetch;
///
/// fn takes_a_client(fetch: impl Fetch) {}
///
/// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
/// let shared: Arc<dyn Fetch> = Arc::new(fetch);
/// takes_a_client(shared.clone());
/// takes_a_client(shared);
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Sends one `GET` and returns the complete response.
    fn get(&self, uri: Uri) -> FetchFuture;
}

/// The future of [`Fetch::get`].
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

impl<F, Fut, E> Fetch for F
where
    F: Fn(Uri) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Bytes>, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn get(&self, uri: Uri) -> FetchFuture {
        let response = self(uri);
        Box::pin(async move { response.await.map_err(Into::into) })
    }
}

impl<T: Fetch + ?Sized> Fetch for Arc<T> {
    fn get(&self, uri: Uri) -> FetchFuture {
        T::get(self, uri)
    }
}

/// Gets the body of a 200 within the bounds, whether or not the client keeps to them. Any other
/// outcome is a server-side failure, so `reason` must be transient.
pub(crate) async fn get(fetch: &dyn Fetch, uri: Uri, reason: Reason) -> Result<Bytes, Rejection> {
    let failed = |detail| Rejection::new(reason).with_detail(detail);
    let response = within_time(fetch.get(uri)).await.ok_or_else(|| failed("the fetch took too long"))?;
    let response = response.map_err(|error| failed("the fetch failed").with_source(error))?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        return Err(failed("the response's status is not 200").with_source(format!("its status is {status}")));
    }
    let body = response.into_body();
    if body.len() > MAX_FETCHED {
        return Err(failed("the response is too large"));
    }
    Ok(body)
}

/// Returns the future's output, or `None` after [`FETCH_TIMEOUT`].
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
        assert!(outcome(answer(200, MAX_FETCHED + 1)).await.unwrap_err().ends_with("too large"));
        for status in [204, 301, 304, 403, 404, 500] {
            assert!(outcome(answer(status, 1)).await.unwrap_err().ends_with("not 200"), "{status}");
        }
        assert!(outcome(|_| async { Err("down") }).await.unwrap_err().ends_with("failed"));
    }

    // Without the feature there is no timer.
    #[cfg(feature = "tokio")]
    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_hangs_is_given_up() {
        let stuck = |_| std::future::pending::<Result<Response<Bytes>, BoxError>>();
        assert!(outcome(stuck).await.unwrap_err().ends_with("too long"));
    }
}
