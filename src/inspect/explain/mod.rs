//! What would have verified a request that was refused.

mod bodies;
mod clock;
mod diagnosis;
mod explainer;
mod explanation;
mod heads;
mod hints;
mod json_text;
mod known;
mod search;
mod settings;
mod trial;

pub use diagnosis::Diagnosis;
pub use explainer::Explainer;
pub use explanation::{Explanation, Finding, Mistake};
