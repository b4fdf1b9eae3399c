//! Conformance: published test messages and everything near them; one suite for every store, one for every dialect.

mod agent;
mod mutation;
mod store;
mod torture;
mod torture_endpoint;
