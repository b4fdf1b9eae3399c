//! Baton's shells: everything that touches the world, and the program.

pub mod bridge;
pub mod config;
pub mod net;
pub mod softphone;
pub mod store;
