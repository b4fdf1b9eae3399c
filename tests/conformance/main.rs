//! Conformance: published test messages, and everything near them.

mod mutation;
mod torture;
