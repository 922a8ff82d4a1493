//! Handlers that run to their end although the sender has hung up.

use std::fmt;
use std::future::Future;
use std::panic;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::inner_service_accessors;
use crate::observe;

/// A [tower layer](Layer) that lets the inner service run to its end in a task of its own, although
/// its future was dropped. See [`DedupLayer::run_to_end`](crate::DedupLayer::run_to_end).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RunToEndLayer;

impl RunToEndLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RunToEndLayer {
    type Service = RunToEnd<S>;

    fn layer(&self, inner: S) -> RunToEnd<S> {
        RunToEnd { inner }
    }
}

/// The service of a [`RunToEndLayer`].
#[derive(Clone, Debug)]
pub struct RunToEnd<S> {
    inner: S,
}

impl<S> RunToEnd<S> {
    inner_service_accessors!();
}

impl<S, B> Service<Request<B>> for RunToEnd<S>
where
    S: Service<Request<B>>,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RunToEndFuture<S::Future, S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let future = self.inner.call(request);
        let state = match Handle::try_current() {
            Ok(runtime) => State::Task { task: runtime.spawn(observe::in_current_span(future)) },
            Err(_) => State::Here { future },
        };
        RunToEndFuture { state }
    }
}

pin_project! {
    /// The future of [`RunToEnd`]. Dropping it leaves the inner future at work.
    pub struct RunToEndFuture<F, T, E> {
        #[pin]
        state: State<F, T, E>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, T, E> {
        Task { #[pin] task: JoinHandle<Result<T, E>> },
        /// There is no runtime that would run a task.
        Here { #[pin] future: F },
    }
}

impl<F, T, E> Future for RunToEndFuture<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Here { future } => future.poll(cx),
            StateProj::Task { task } => match ready!(task.poll(cx)).map_err(tokio::task::JoinError::try_into_panic) {
                Ok(result) => Poll::Ready(result),
                Err(Ok(panic)) => panic::resume_unwind(panic),
                // The runtime shuts down, and this task with it.
                Err(Err(_)) => Poll::Pending,
            },
        }
    }
}

impl<F, T, E> fmt::Debug for RunToEndFuture<F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunToEndFuture").finish_non_exhaustive()
    }
}
