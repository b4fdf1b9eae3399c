//! The program: everything is put together here, once.

pub mod build;
mod observer;
pub mod run;

pub use build::{Node, StartError};
