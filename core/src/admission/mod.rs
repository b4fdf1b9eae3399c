//! Whether a new call is taken: limits on how many and how fast, and the node's own state.

pub mod lifecycle;
pub mod limits;

pub use lifecycle::{Lifecycle, Patience};
pub use limits::{Config, Counters, Limits, Verdict};
