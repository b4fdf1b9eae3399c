//! Baton's shells: everything that touches the world, and the program.

pub mod net;
pub mod softphone;
