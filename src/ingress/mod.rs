//! Ways in: an INVITE becomes a call task.

pub mod route;
