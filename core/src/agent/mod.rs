//! Voice agents, seen from a call: what we tell one, what one tells us, and the dialects that say it.
//!
//! ```text
//!  leg ──Command, audio──► dialect ──Message──► the agent's socket
//!  leg ◄──Event, audio──── dialect ◄──Message── the agent's socket
//! ```
//!
//! A new agent is one file here, one line in [`Kind`], and the conformance suite.

pub mod command;
pub mod dialect;
pub mod event;

pub use command::{CallInfo, Command, HandoffUpdate, Start};
pub use dialect::{Audio, AudioFormat, Dialect, LinkRequest, Message, Outbox};
pub use event::{Event, HandoffRequest, Role};
