//! Seeing what arrives: a page in the browser over what is [stored](crate::inbox) or what a
//! [`Recorder`] saw.

#[cfg(all(feature = "axum", feature = "inbox"))]
mod inbox_router;
#[cfg(feature = "inspect")]
mod page;
#[cfg(feature = "inspect")]
mod recorder;
#[cfg(feature = "axum")]
mod same_origin;

#[cfg(feature = "inspect")]
pub use page::{Inspector, MIN_INSPECTOR_TOKEN};
#[cfg(feature = "inspect")]
pub use recorder::{
    DEFAULT_EXCHANGES, DEFAULT_RECORDED_BYTES, Exchange, ExchangeState, MAX_RECORDED_BODY, RecordFuture, RecordLayer,
    RecordService, RecordedBody, Recorder, Witness,
};
