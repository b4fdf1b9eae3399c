//! Baton's shells: everything that touches the world, and the program.

pub mod app;
pub mod bridge;
pub mod cli;
pub mod config;
pub mod http;
pub mod ingress;
pub mod net;
pub mod observe;
pub mod softphone;
pub mod store;
