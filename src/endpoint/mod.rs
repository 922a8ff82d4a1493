//! A webhook endpoint beside any other service: it answers its own path and passes everything else
//! on. See [`EndpointLayer`](crate::EndpointLayer).

mod body;
mod future;
pub(crate) mod layer;
mod service;

pub use body::EndpointBody;
pub use future::EndpointFuture;
pub use service::EndpointService;
