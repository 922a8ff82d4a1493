//! A layer that says how payloads of another crate's type are read.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::inner_service_accessors;
use crate::delivery::Delivery;
use crate::payload::Parser;

/// A [tower layer](tower_layer::Layer) that says how a [`Parsed<T>`](crate::Parsed) is made of a
/// delivery.
///
/// Put it between the handler and the webhook layer or the inbox: of layers in a tuple, the first
/// is the outermost. A route may have one for each of several types. Nothing is parsed before a
/// handler asks for it.
///
/// # Examples
///
/// A type that is read from the event's name and the body, as GitHub's is in `octocrab`:
///
/// ```
/// use tower_webhook::{Delivery, ParseLayer};
///
/// # struct Event;
/// # impl Event {
/// #     fn read(name: &str, body: &[u8]) -> Result<Self, std::str::Utf8Error> {
/// #         std::str::from_utf8(body).map(|_| Self)
/// #     }
/// # }
/// let layer =
///     ParseLayer::new(|delivery: &Delivery| Event::read(delivery.event().unwrap_or_default(), delivery.body()));
/// ```
#[derive(Clone)]
pub struct ParseLayer {
    parser: Arc<dyn Any + Send + Sync>,
}

impl ParseLayer {
    /// Creates a layer that makes a `T` by this function. Its error is answered with 422
    /// ([`Reason::MalformedPayload`](crate::Reason::MalformedPayload)). Of the error's text, the
    /// operator sees only what serde says of the type, as the rest could quote the payload.
    #[must_use]
    pub fn new<T: 'static, E: fmt::Display>(parse: impl Fn(&Delivery) -> Result<T, E> + Send + Sync + 'static) -> Self {
        Self { parser: Arc::new(Parser::new(parse)) }
    }
}

impl<S> Layer<S> for ParseLayer {
    type Service = ParseService<S>;

    fn layer(&self, inner: S) -> ParseService<S> {
        ParseService { inner, parser: self.parser.clone() }
    }
}

impl fmt::Debug for ParseLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParseLayer").finish_non_exhaustive()
    }
}

/// The service of a [`ParseLayer`].
#[derive(Clone)]
pub struct ParseService<S> {
    inner: S,
    parser: Arc<dyn Any + Send + Sync>,
}

impl<S> ParseService<S> {
    inner_service_accessors!();
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ParseService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(delivery) = request.extensions_mut().get_mut::<Delivery>() {
            delivery.add_parser(self.parser.clone());
        }
        self.inner.call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for ParseService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParseService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
