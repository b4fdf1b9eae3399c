//! Calls in progress: what they are, and how the rest of the program reaches them.

pub mod registry;
