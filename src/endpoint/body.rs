//! The body of a response: the wrapped service's or the endpoint's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::ResponseBody;
use crate::rejection::BoxError;

pin_project! {
    /// The body of a response from behind an endpoint layer: the wrapped service's (`R`) or the endpoint's (`A`), each
    /// untouched.
    #[derive(Debug)]
    pub struct EndpointBody<R, A> {
        #[pin]
        kind: EitherBody<R, A>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = EitherBodyProj]
    enum EitherBody<R, A> {
        Inner { #[pin] body: R },
        Endpoint { #[pin] body: ResponseBody<A> },
    }
}

impl<R, A> EndpointBody<R, A> {
    pub(super) fn inner(body: R) -> Self {
        Self { kind: EitherBody::Inner { body } }
    }

    pub(super) fn endpoint(body: ResponseBody<A>) -> Self {
        Self { kind: EitherBody::Endpoint { body } }
    }
}

impl<R: Default, A> Default for EndpointBody<R, A> {
    fn default() -> Self {
        Self::inner(R::default())
    }
}

impl<R, A> Body for EndpointBody<R, A>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
    A: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            EitherBodyProj::Inner { body } => body.poll_frame(cx).map_err(Into::into),
            EitherBodyProj::Endpoint { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            EitherBody::Inner { body } => body.is_end_stream(),
            EitherBody::Endpoint { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            EitherBody::Inner { body } => body.size_hint(),
            EitherBody::Endpoint { body } => body.size_hint(),
        }
    }
}
