//! One handler per event.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{ResponseBody, polled_again};
use crate::delivery::Delivery;
use crate::observe;
use crate::rejection::{Reason, Rejection};

/// A service with a handler for each event of a sender, by the [event's name](Delivery::event).
///
/// Put it behind a webhook layer. A name is matched exactly, or by what it starts with:
/// `customer.*`. An exact name goes before one that ends with `*`, and a longer start before a
/// shorter one. Events that no handler is for are acknowledged with 204, so that no sender repeats
/// what nobody wants, and counted (`webhook_events_unhandled_total`).
///
/// By default, an event whose name the sender doesn't [sign](Delivery::signed) is refused with 503:
/// anyone who has seen one signed body could send it to another handler by changing the name.
/// See [`by_unsigned_event_name`](Self::by_unsigned_event_name).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Router;
/// use axum::routing::post_service;
/// use serde_json::Value;
/// use tower_webhook::{Events, Json, Webhook, WebhookLayer, senders};
///
/// async fn on_paid(Webhook(Json(invoice)): Webhook<Json<Value>>) {
///     println!("paid: {}", invoice["data"]["object"]["id"]);
/// }
///
/// async fn on_customer(Webhook(Json(event)): Webhook<Json<Value>>) {
///     println!("{}", event["type"]);
/// }
///
/// # fn app() -> Result<(), tower_webhook::ConfigError> {
/// let events = Events::new().on("invoice.paid", on_paid).on("customer.*", on_customer);
/// let stripe = WebhookLayer::new(senders::stripe("whsec_the_secret_of_your_endpoint")?);
/// let app: Router = Router::new().route("/webhooks/stripe", post_service(events).layer(stripe));
/// # Ok(())
/// # }
/// # }
/// ```
#[derive(Clone)]
pub struct Events<S> {
    /// Exact names first, then the longer of the others.
    routes: Vec<(EventPattern, S)>,
    otherwise: Handling<S>,
    takes_unsigned: bool,
}

#[derive(Clone)]
enum Handling<S> {
    Status(StatusCode),
    Service(S),
}

#[derive(Clone, PartialEq, Eq)]
struct EventPattern {
    text: String,
    is_start: bool,
}

impl EventPattern {
    fn new(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(start) => Self { text: start.to_owned(), is_start: true },
            None => Self { text: pattern.to_owned(), is_start: false },
        }
    }

    fn matches(&self, name: &str) -> bool {
        if self.is_start { name.starts_with(&self.text) } else { name == self.text }
    }
}

impl<S> Default for Events<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Events<S> {
    /// Creates a service that has no handler yet.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Vec::new(), otherwise: Handling::Status(StatusCode::NO_CONTENT), takes_unsigned: false }
    }

    /// Sets the service for events of this name, or whose names start with what comes before a
    /// final `*`. A service that was set for the same is replaced.
    #[must_use]
    pub fn on_service(mut self, pattern: impl AsRef<str>, service: S) -> Self {
        let pattern = EventPattern::new(pattern.as_ref());
        self.routes.retain(|(other, _)| *other != pattern);
        let is_before =
            |other: &EventPattern| (!other.is_start, other.text.len()) >= (!pattern.is_start, pattern.text.len());
        let at = self.routes.partition_point(|(other, _)| is_before(other));
        self.routes.insert(at, (pattern, service));
        self
    }

    /// Sets the status of the answer to events that no handler is for. The default is 204.
    #[must_use]
    pub fn otherwise(mut self, status: StatusCode) -> Self {
        self.otherwise = Handling::Status(status);
        self
    }

    /// Sets the service for events that no other one is for.
    #[must_use]
    pub fn otherwise_service(mut self, service: S) -> Self {
        self.otherwise = Handling::Service(service);
        self
    }

    /// Routes by names that aren't signed too, as those of GitHub, which come in a header.
    ///
    /// **Anyone who has seen one signed request can then have its body handled as any other
    /// event.** Handlers must not trust the name any further than that, and a payload that
    /// doesn't fit a handler's type is refused by it.
    #[must_use]
    pub fn by_unsigned_event_name(mut self) -> Self {
        self.takes_unsigned = true;
        self
    }

    /// Returns what becomes of a delivery.
    fn choose(&self, delivery: &Delivery) -> Result<Handling<&S>, Rejection> {
        let name = delivery.event();
        if name.is_some() && !delivery.signed().event && !self.takes_unsigned {
            let rejection = Rejection::new(Reason::HandlerFailed)
                .with_detail("the sender does not sign the event's name: see `Events::by_unsigned_event_name`")
                .with_provider(delivery.provider_text());
            observe::handler_failed(&rejection);
            return Err(rejection);
        }
        let routed = name.and_then(|name| self.routes.iter().find(|(pattern, _)| pattern.matches(name)));
        Ok(match (routed, &self.otherwise) {
            (Some((_, service)), _) | (None, Handling::Service(service)) => Handling::Service(service),
            (None, Handling::Status(status)) => {
                observe::unhandled(delivery.provider(), name.unwrap_or_default());
                Handling::Status(*status)
            }
        })
    }
}

#[cfg(feature = "axum")]
impl<S: Clone + Send + Sync + 'static> Events<axum::routing::MethodRouter<S>> {
    /// Sets the handler for events of this name, or whose names start with what comes before a
    /// final `*`. A handler that was set for the same is replaced. Feature `axum`.
    #[must_use]
    pub fn on<H, T>(self, pattern: impl AsRef<str>, handler: H) -> Self
    where
        H: axum::handler::Handler<T, S>,
        T: 'static,
    {
        self.on_service(pattern, axum::routing::any(handler))
    }

    /// Sets the state of the handlers. Feature `axum`.
    #[must_use]
    pub fn with_state(self, state: S) -> Events<axum::routing::MethodRouter> {
        let with = |service: axum::routing::MethodRouter<S>| service.with_state(state.clone());
        Events {
            routes: self.routes.into_iter().map(|(pattern, service)| (pattern, with(service))).collect(),
            otherwise: match self.otherwise {
                Handling::Status(status) => Handling::Status(status),
                Handling::Service(service) => Handling::Service(with(service)),
            },
            takes_unsigned: self.takes_unsigned,
        }
    }
}

impl<S, B, R> Service<Request<B>> for Events<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = EventsFuture<S, B>;

    /// Which service is called follows from the request, so its readiness is waited for in the
    /// future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> EventsFuture<S, B> {
        let chosen = Delivery::from_extensions(request.extensions()).and_then(|delivery| self.choose(delivery));
        let response = match chosen {
            Ok(Handling::Service(service)) => {
                let called = Some((service.clone(), request));
                return EventsFuture { state: EventsState::Wait { called } };
            }
            Ok(Handling::Status(status)) => {
                let mut response = Response::default();
                *response.status_mut() = status;
                response
            }
            Err(rejection) => rejection.into_http_response(),
        };
        EventsFuture { state: EventsState::Answer { response: Some(response) } }
    }
}

pin_project! {
    /// The future of [`Events`].
    pub struct EventsFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: EventsState<S, B>,
    }
}

pin_project! {
    #[project = EventsStateProj]
    enum EventsState<S, B>
    where
        S: Service<Request<B>>,
    {
        /// The service is not ready yet.
        Wait { called: Option<(S, Request<B>)> },
        Handle { #[pin] handling: S::Future },
        Answer { response: Option<Response<Bytes>> },
    }
}

impl<S, B, R> Future for EventsFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                EventsStateProj::Wait { called } => {
                    let Some((service, _)) = called else { polled_again() };
                    ready!(service.poll_ready(cx))?;
                    let Some((mut service, request)) = called.take() else { polled_again() };
                    let handling = service.call(request);
                    state.set(EventsState::Handle { handling });
                }
                EventsStateProj::Handle { handling } => {
                    return Poll::Ready(Ok(ready!(handling.poll(cx))?.map(ResponseBody::inner)));
                }
                EventsStateProj::Answer { response } => {
                    let Some(response) = response.take() else { polled_again() };
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            }
        }
    }
}

impl<S> fmt::Debug for Events<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |pattern: &EventPattern| format!("{}{}", pattern.text, if pattern.is_start { "*" } else { "" });
        f.debug_list().entries(self.routes.iter().map(|(pattern, _)| name(pattern))).finish()
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for EventsFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsFuture").finish_non_exhaustive()
    }
}
