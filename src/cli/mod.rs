//! Ring 5: the commands, as `baton --help` lists them.

pub mod call;
pub mod ladder_view;
pub mod load;
