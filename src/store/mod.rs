//! Where session histories are kept: adapters to the ports of `baton_core`.

pub mod embedded;

pub use embedded::{Config, Embedded, OpenError};
