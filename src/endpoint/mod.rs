//! A webhook endpoint beside any other service: it answers its own path and passes everything else on.

mod body;
mod future;
mod layer;
mod service;

pub use body::EndpointBody;
pub use future::EndpointFuture;
pub use layer::EndpointLayer;
pub use service::EndpointService;
