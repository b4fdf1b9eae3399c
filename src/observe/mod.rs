//! Ring 3, for the people who run it: logs, metrics, and one line per call. Nothing below may use this.

pub mod call_log;
pub mod metrics;
pub mod trace;
