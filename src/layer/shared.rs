//! The settings of a layer, shared by all its services and futures, and what follows from a
//! verdict.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, Response, StatusCode};
use http_body::Body;

use crate::answer::Answer;
#[cfg(feature = "inspect")]
use crate::any_provider::AnyProvider;
use crate::body::{Arrived, Lease, Ledger, Receiver, check_announced};
use crate::delivery::{Delivery, Sender, Verified};
use crate::observe::{self, End, Watch};
use crate::provider::{Provider, Repeats};
use crate::rejection::Rejection;
use crate::time::Clock;
use crate::verdict::Verdict;

#[cfg(feature = "inspect")]
use super::diagnose::{Diagnose, MAX_DIAGNOSED, Refused};

pub(crate) struct WebhookSettings<P> {
    pub(crate) provider: Arc<P>,
    /// What deliveries know of the provider, found out once.
    pub(crate) sender: Sender,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Option<Duration>,
    pub(crate) lookup_timeout: Duration,
    pub(crate) budget: Option<Arc<dyn Ledger>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) on_reject: Option<Arc<OnReject>>,
    pub(crate) observe_only: bool,
    /// Keeps the headers, if that is wanted.
    pub(crate) keep_headers: Option<fn(&mut Delivery, &HeaderMap)>,
    pub(crate) room: Extensions,
    #[cfg(feature = "inspect")]
    pub(crate) diagnosis: Option<Arc<dyn Diagnose>>,
}

type OnReject = dyn Fn(&Rejection) + Send + Sync;

impl<P: Provider> WebhookSettings<P> {
    pub(super) fn check_announced(&self, head: &Parts, body: &impl Body) -> Result<(), Rejection> {
        check_announced(&head.headers, body, self.body_limit)
    }

    /// Returns a receiver for a body whose announced length was checked.
    #[inline]
    pub(super) fn receiver(&self) -> Receiver {
        Receiver::new(Lease::new(self.budget.as_ref()))
    }

    /// Gives a verification what has arrived and what it wasn't fed.
    pub(super) fn feed(&self, verification: &mut P::Verification, head: &Parts, arrived: Arrived<'_>, fed: &mut usize) {
        arrived.each_since(*fed, &mut |chunk| self.provider.receive(verification, head, chunk));
        *fed = arrived.len();
    }

    /// Tells the handler that the request is genuine.
    #[inline]
    pub(super) fn deliver(&self, watch: &Watch, verified: &mut Verified, body: &Bytes, head: &mut Parts) {
        let Parts { headers, extensions, .. } = head;
        if extensions.is_empty() && !self.observe_only {
            *extensions = self.room.clone();
        }
        if self.observe_only {
            extensions.insert(Verdict::Verified);
        }
        // A delivery is large, and `insert` would move it three times.
        let mut is_new = false;
        let delivery = loop {
            let delivery = extensions.get_or_insert_with(|| {
                is_new = true;
                Delivery::new(&self.sender, verified, body.clone())
            });
            if is_new {
                break delivery;
            }
            // What a layer around this one has verified is replaced.
            extensions.remove::<Delivery>();
        };
        self.delivered(watch, delivery, headers);
    }

    /// Reports that the request is genuine, and adds to its delivery what the layer keeps besides.
    #[inline]
    pub(super) fn delivered(&self, watch: &Watch, delivery: &mut Delivery, headers: &HeaderMap) {
        observe::verdict(delivery.provider_text(), watch, End::Delivered);
        if delivery.key_index() > 0 {
            observe::old_key(delivery.provider(), delivery.key_index());
        }
        #[cfg(feature = "inbox")]
        delivery.expect_as(&self.sender);
        if let Some(keep) = self.keep_headers {
            keep(delivery, headers);
        }
        if watch.is_traced() {
            watch.delivered(delivery.id(), delivery.event(), delivery.body().len(), delivery.key_index());
        }
    }

    /// Refuses a request: reports the rejection to the operator, and returns the answer for the
    /// sender.
    pub(super) fn refuse(&self, watch: &Watch, head: &Parts, rejection: Rejection) -> Response<Bytes> {
        self.report(watch, head, rejection).into_http_response()
    }

    fn report(&self, watch: &Watch, head: &Parts, rejection: Rejection) -> Rejection {
        let rejection = self.provider.refuse(head, rejection).with_provider(self.provider.name());
        // A sender that repeats after any failure is told the plain truth; to others, a 4xx could be final.
        let rejection = match self.provider.behavior().repeats() {
            Some(Repeats::OnAnyFailure | Repeats::Never) => rejection,
            _ => rejection.repeatable(),
        };
        observe::verdict(rejection.provider().unwrap_or_default(), watch, End::Rejected(&rejection));
        if let Some(hook) = &self.on_reject {
            hook(&rejection);
        }
        rejection
    }

    pub(super) fn answer(&self, watch: &Watch, head: &Parts, mut answer: Answer) -> Response<Bytes> {
        if let Some(rejection) = answer.take_report() {
            self.report(watch, head, rejection);
        } else {
            let is_challenge = answer.status() == StatusCode::UNAUTHORIZED;
            let end = if is_challenge { End::Challenged } else { End::Answered };
            observe::verdict(self.provider.name(), watch, end);
        }
        answer.into_response()
    }

    /// Returns the verdict of observe mode on what would have been an answer or a rejection.
    pub(super) fn observed(&self, watch: &Watch, head: &Parts, would: Result<Answer, Rejection>) -> Verdict {
        match would {
            Ok(answer) => {
                self.answer(watch, head, answer);
                Verdict::Answered
            }
            Err(rejection) => Verdict::Rejected(self.report(watch, head, rejection)),
        }
    }

    /// Has a rejection explained, if that is wanted. `body` is only called if it is.
    #[cfg(feature = "inspect")]
    pub(super) fn diagnose(&self, head: &Parts, rejection: &Rejection, body: impl FnOnce() -> Option<Bytes>) {
        let Some(diagnosis) = &self.diagnosis else { return };
        let now = self.clock.now();
        if !diagnosis.admits(rejection, now) {
            return;
        }
        let provider = AnyProvider::new(self.provider.clone());
        let body = body().filter(|body| body.len() <= MAX_DIAGNOSED);
        diagnosis.diagnose(Refused { provider, head: head.clone(), body, rejection: rejection.clone(), now });
    }

    /// Reports what an extractor behind the layer refused.
    pub(super) fn observe_response<R>(&self, response: &Response<R>) {
        if let Some(rejection) = Rejection::of_response(response.extensions()) {
            self.observe_behind(rejection);
        }
    }

    /// Reports what was refused once the request was verified.
    pub(super) fn observe_behind(&self, rejection: &Rejection) {
        observe::refused_behind(rejection.provider().unwrap_or(self.provider.name()), rejection);
        if let Some(hook) = &self.on_reject {
            hook(rejection);
        }
    }
}

impl<P> Clone for WebhookSettings<P> {
    fn clone(&self) -> Self {
        Self {
            provider: self.provider.clone(),
            sender: self.sender.clone(),
            body_limit: self.body_limit,
            body_timeout: self.body_timeout,
            lookup_timeout: self.lookup_timeout,
            budget: self.budget.clone(),
            clock: self.clock.clone(),
            on_reject: self.on_reject.clone(),
            observe_only: self.observe_only,
            keep_headers: self.keep_headers,
            room: self.room.clone(),
            #[cfg(feature = "inspect")]
            diagnosis: self.diagnosis.clone(),
        }
    }
}

/// Returns empty extensions whose clones have room for the delivery and for what axum inserts
/// behind the layer.
///
/// `Extensions` has no `reserve`, and a table that starts with the delivery alone is reallocated
/// when axum's third entry comes: one allocation per request more, which `tests/allocations.rs`
/// counts. That the clone of a cleared table keeps its capacity is no promise of `http` or
/// `hashbrown`. If it ever ceases to, that test fails, and nothing else.
pub(super) fn room() -> Extensions {
    #[derive(Clone)]
    struct Place<const N: usize>;

    let mut room = Extensions::new();
    room.insert(Place::<0>);
    room.insert(Place::<1>);
    room.insert(Place::<2>);
    room.insert(Place::<3>);
    room.clear();
    room
}
