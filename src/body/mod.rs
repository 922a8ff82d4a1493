//! Receiving a body: bounded in size, in time and in memory.

mod budget;
mod collect;
mod deadline;
mod receive;
mod response;

pub use budget::MemoryBudget;
pub(crate) use budget::{Lease, Ledger};
pub(crate) use deadline::{Deadline, Timer};
pub(crate) use receive::{Arrived, Received, Receiver, check_announced};
pub use response::ResponseBody;
pub(crate) use response::polled_again;
