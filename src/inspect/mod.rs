//! What arrives, for operators (feature `inspect`): what would have verified a request that was
//! refused, and with the feature `axum` a page in the browser over what is stored in an inbox or
//! what a `Recorder` saw.

#[cfg(feature = "inspect")]
mod explain;
#[cfg(all(feature = "axum", feature = "inbox"))]
mod inbox_router;
#[cfg(all(feature = "axum", feature = "inspect"))]
mod page;
#[cfg(feature = "inspect")]
mod recorder;
#[cfg(feature = "axum")]
mod same_origin;
#[cfg(feature = "inspect")]
mod saved;

#[cfg(feature = "inspect")]
pub use explain::{Diagnosis, Explainer, Explanation, Finding, Mistake};
#[cfg(all(feature = "axum", feature = "inspect"))]
pub use page::{Inspector, MIN_INSPECTOR_TOKEN};
#[cfg(feature = "inspect")]
pub use recorder::{
    DEFAULT_EXCHANGES, DEFAULT_RECORDED_BYTES, Exchange, ExchangeState, MAX_RECORDED_BODY, RecordFuture, RecordLayer,
    RecordService, RecordedBody, Recorder, Witness,
};
#[cfg(feature = "inspect")]
pub use saved::{ReadRequestError, read_request};
