//! Baton's shells: everything that touches the world, and the program.

pub mod cli;
pub mod net;
pub mod observe;
pub mod softphone;
