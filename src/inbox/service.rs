//! Accepting: a verified request is stored, and answered once it is.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower_service::Service;

use crate::answer::Answer;
use crate::behavior::ExpectedAnswer;
use crate::body::{ResponseBody, polled_again};
use crate::delivery::Delivery;
use crate::observe;
use crate::rejection::{Reason, Rejection};
use crate::verdict::Verdict;

use super::record::Entry;
use super::settings::InboxSettings;
use super::store::{InboxError, Put};
use super::stored::key_with_body;

/// A service that stores each verified request and answers its sender once it is durable. See [the
/// module](crate::inbox).
///
/// Put it behind a [`WebhookLayer`](crate::WebhookLayer). It also shows and controls what is
/// stored, by its methods or, with the feature `axum`, by a `router`.
#[derive(Clone)]
pub struct Inbox<S> {
    service: S,
    pub(super) settings: Arc<InboxSettings>,
}

impl<S> Inbox<S> {
    pub(super) fn with_settings(service: S, settings: Arc<InboxSettings>) -> Self {
        Self { service, settings }
    }
}

impl<S, R> Service<Request<Full<Bytes>>> for Inbox<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = InboxFuture<S>;

    /// The service itself gets ready in the future, for requests that it gets.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> InboxFuture<S> {
        let extensions = request.extensions();
        // In observe mode nothing is kept from the handler.
        let state = match extensions.get::<Delivery>() {
            _ if extensions.get::<Verdict>().is_some() => self.hand_on(request),
            Some(delivery) if (self.settings.bypass)(delivery) => self.hand_on(request),
            Some(delivery) => {
                let delivery = delivery.clone();
                let (head, _) = request.into_parts();
                let accept = Box::pin(accept(self.settings.clone(), delivery, head));
                InboxState::Store { storing: Storing { accept: Some(accept) } }
            }
            None => {
                let rejection =
                    Rejection::new(Reason::NoDelivery).with_detail("the inbox isn't behind a webhook layer");
                // No webhook layer is around that would report it.
                observe::refused_behind("", &rejection);
                InboxState::Reply { response: Some(rejection.into_http_response()) }
            }
        };
        InboxFuture { state }
    }
}

impl<S: Service<Request<Full<Bytes>>> + Clone> Inbox<S> {
    fn hand_on(&self, request: Request<Full<Bytes>>) -> InboxState<S> {
        InboxState::Ready { service: self.service.clone(), request: Some(request) }
    }
}

/// An accept, which goes on in a task of its own once its client hangs up.
struct Storing {
    accept: Option<Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>>,
}

impl Future for Storing {
    type Output = Response<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let Some(accept) = &mut self.accept else { polled_again() };
        // The user's order key may panic.
        let polled = catch_unwind(AssertUnwindSafe(|| accept.as_mut().poll(cx)));
        let response = match polled {
            Ok(polled) => ready!(polled),
            Err(_) => {
                Rejection::new(Reason::HandlerFailed).with_detail("storing the delivery panicked").into_http_response()
            }
        };
        self.accept = None;
        Poll::Ready(response)
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        if let Some(accept) = self.accept.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(accept);
        }
    }
}

/// Stores a delivery and returns the answer for its sender.
async fn accept(settings: Arc<InboxSettings>, delivery: Delivery, head: Parts) -> Response<Bytes> {
    let started = Instant::now();
    let mut entry = settings.record(&delivery, &head).seal(&settings.seal);
    entry.lane = settings.lane(&delivery);
    // All that is stored of it is in the entry, and it may take a while until that is stored.
    drop(head);
    match put(&settings, entry).await {
        Ok(outcome) => {
            observe::inbox_put(started.elapsed());
            observe::inbox(delivery.provider(), outcome);
            expected(delivery.expected()).into_response()
        }
        Err(rejection) => rejection.with_provider(delivery.provider_text()).into_http_response(),
    }
}

async fn put(settings: &InboxSettings, mut entry: Entry) -> Result<&'static str, Rejection> {
    let largest = settings.store.largest_record();
    if entry.record.len() > largest {
        // A sender that was answered 503 would try again and again.
        return Err(
            Rejection::new(Reason::BodyTooLarge).with_detail(format!("the store takes at most {largest} bytes"))
        );
    }
    let failed = |error: InboxError| {
        observe::inbox_store_failure("put", &error);
        Rejection::new(Reason::StoreUnavailable).with_source(error)
    };
    let again = entry.clone();
    Ok(match settings.store.put(entry).await.map_err(failed)? {
        Put::Stored(_) => "stored",
        Put::Known(_) => "known",
        Put::Revived(_) => "revived",
        Put::Conflict(_) => {
            // Two events with one id: both are kept, and the second one's repetitions are known by its body
            // too.
            entry = again;
            entry.unique_key = key_with_body(entry.unique_key, entry.body_digest);
            match settings.store.put(entry).await.map_err(failed)? {
                Put::Known(_) | Put::Revived(_) => "known",
                Put::Stored(_) | Put::Conflict(_) => "conflict",
            }
        }
    })
}

/// Returns what the sender takes for "delivered".
fn expected(expected: Option<ExpectedAnswer>) -> Answer {
    match expected {
        None | Some(ExpectedAnswer::AnySuccess) => Answer::empty(StatusCode::OK),
        Some(ExpectedAnswer::Status(statuses)) => {
            let status = statuses.iter().find(|status| status.is_success());
            Answer::empty(status.copied().unwrap_or(StatusCode::OK))
        }
        Some(ExpectedAnswer::Body(body)) => Answer::text(body),
    }
}

pin_project! {
    /// The future of [`Inbox`]. Dropping it doesn't stop a delivery from being stored.
    pub struct InboxFuture<S>
    where
        S: Service<Request<Full<Bytes>>>,
    {
        #[pin]
        state: InboxState<S>,
    }
}

pin_project! {
    #[project = InboxStateProj]
    enum InboxState<S>
    where
        S: Service<Request<Full<Bytes>>>,
    {
        /// The delivery is being stored.
        Store { storing: Storing },
        /// The request bypasses the store, and the service is not ready yet.
        Ready { service: S, request: Option<Request<Full<Bytes>>> },
        /// The service works.
        Handle { #[pin] handling: S::Future },
        /// The answer is known.
        Reply { response: Option<Response<Bytes>> },
    }
}

impl<S, R> Future for InboxFuture<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                InboxStateProj::Store { storing } => {
                    let response = ready!(Pin::new(storing).poll(cx));
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
                InboxStateProj::Ready { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else { polled_again() };
                    let handling = service.call(request);
                    state.set(InboxState::Handle { handling });
                }
                InboxStateProj::Handle { handling } => {
                    return handling.poll(cx).map_ok(|response| response.map(ResponseBody::inner));
                }
                InboxStateProj::Reply { response } => {
                    let Some(response) = response.take() else { polled_again() };
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            }
        }
    }
}

impl<S> fmt::Debug for Inbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(&mut f.debug_struct("Inbox"))
    }
}

impl<S: Service<Request<Full<Bytes>>>> fmt::Debug for InboxFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxFuture").finish_non_exhaustive()
    }
}
