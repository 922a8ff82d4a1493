//! The layer that lets only verified requests through. See [`WebhookLayer`](crate::WebhookLayer).

#[cfg(feature = "inspect")]
mod diagnose;
mod future;
#[allow(clippy::module_inception, reason = "the layer of the middleware of this name, as in tower-http")]
pub(crate) mod layer;
mod service;
mod shared;

pub use crate::body::ResponseBody;
#[cfg(feature = "inspect")]
pub use diagnose::{Diagnose, MAX_DIAGNOSED, Refused};
pub use future::ResponseFuture;
pub use layer::{DEFAULT_BODY_TIMEOUT, DEFAULT_LOOKUP_TIMEOUT};
pub use service::WebhookService;
