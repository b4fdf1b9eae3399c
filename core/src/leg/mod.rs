//! One call's media: the caller's RTP to the agent's dialect and back, without a socket.

pub mod event;

pub use event::{Command, Event};
