//! Baton's shells: everything that touches the world, and the program.

pub mod bridge;
pub mod http;
pub mod store;
