//! axum: extractors of deliveries and payloads, and rejections as responses.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::delivery::Delivery;
use crate::payload::{FromDelivery, Webhook, json};
use crate::rejection::{Reason, Rejection};
use crate::verdict::Verdict;

impl<S: Sync> FromRequestParts<S> for Delivery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions).cloned()
    }
}

/// `None` if no layer verified the request, which happens behind a layer in observe mode only.
impl<S: Sync> OptionalFromRequestParts<S> for Delivery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

impl<T: FromDelivery, S: Sync> FromRequestParts<S> for Webhook<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::from_extensions(&parts.extensions)
    }
}

/// The verdict of a layer in observe mode.
impl<S: Sync> FromRequestParts<S> for Verdict {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let verdict = parts.extensions.get().cloned();
        verdict.ok_or_else(|| Rejection::new(Reason::NoDelivery).with_detail("the layer isn't in observe mode"))
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_http_response().map(Into::into)
    }
}

impl<T: serde::de::DeserializeOwned> FromDelivery for axum::Json<T> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, Rejection> {
        json(delivery.body()).map(Self)
    }
}
