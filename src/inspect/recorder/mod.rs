//! The last requests that arrived, in memory.

mod exchange;
mod layer;
mod ring;

pub use exchange::{Exchange, ExchangeState};
pub(in crate::inspect) use layer::Seen;
pub use layer::{RecordFuture, RecordLayer, RecordService, RecordedBody, Witness};
pub use ring::{DEFAULT_EXCHANGES, DEFAULT_RECORDED_BYTES, MAX_RECORDED_BODY, Recorder};
