//! The program: everything is put together here, once.

pub mod build;
mod node;
mod observer;
pub mod run;

pub use build::StartError;
pub use node::Node;
