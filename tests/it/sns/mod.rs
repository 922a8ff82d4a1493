//! AWS SNS end to end.

mod real;
