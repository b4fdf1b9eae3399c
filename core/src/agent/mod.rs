//! Voice agents, seen from a call: what we tell one, what one tells us, and the dialects that say it.
//!
//! ```text
//!  leg ──Command, audio──► dialect ──Message──► the agent's socket
//!  leg ◄──Event, audio──── dialect ◄──Message── the agent's socket
//! ```
//!
//! A new agent is one file here, one line in [`Kind`], and the conformance suite.

pub mod command;
pub mod config;
pub mod dialect;
pub mod echo;
pub mod event;
pub mod handoff_frame;
pub mod native;
pub mod prompts;
pub mod scripted;
mod secret;
pub mod twilio_streams;

#[cfg(test)]
pub(crate) mod tests;

pub use command::{CallInfo, Command, HandoffUpdate, Start};
pub use config::{Config, Kind, build};
pub use dialect::{
    Audio, AudioFormat, Dialect, LinkOutput, LinkRequest, Message, MessageKind, Outbox,
};
pub use event::{Event, HandoffRequest, HeadersIn, Role};
pub use handoff_frame::{HandoffFault, HandoffFrame};
pub use secret::Secret;

/// Octets of a mark's name: an agent's own label, kept until its audio was heard.
pub const MAX_MARK: usize = 256;
