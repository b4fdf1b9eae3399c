//! Call-transfer records and the pool of numbers leased to them (`POST /generativeagent/v1/call-transfers`).
//!
//! Ring 2, like [`crate::history`]: the rules are pure and a store keeps the records. A handoff that is bound to a
//! record will ask here for its `outputContext`.
