//! The layer that lets only verified requests through. See [`WebhookLayer`](crate::WebhookLayer).

mod future;
#[allow(clippy::module_inception, reason = "the layer of the middleware of this name, as in tower-http")]
pub(crate) mod layer;
mod service;
mod shared;

pub use crate::body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::{DEFAULT_BODY_TIMEOUT, DEFAULT_LOOKUP_TIMEOUT};
pub use service::WebhookService;
