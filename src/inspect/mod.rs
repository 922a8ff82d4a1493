//! What arrives, for operators: what would have verified a request that was refused. Feature
//! `inspect`.

mod explain;
mod saved;

pub use explain::{Diagnosis, Explainer, Explanation, Finding, Mistake};
pub use saved::{ReadRequestError, read_request};
