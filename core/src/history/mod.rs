//! Session history: what happened in a call, kept so that the human who takes over sees all of it.
//!
//! A history is a list of [`Event`]s under one [`HandoffKey`](crate::vocab::HandoffKey). It only grows; the
//! [`Session`] that people and programs read is folded from it. No handoff leaves before the events behind it
//! are durable, and [`HistoryReceipt`] is the value that proves it:
//!
//! ```text
//!  call ──Event──► Journal ──append(Buffered)──► Backend          turns, digits, context: as they happen
//!                     └────commit()──append(Durable)──► Backend   a handoff: waits, and gets a HistoryReceipt
//!  human, refer-handler ◄── Session::fold ◄──read── Backend
//! ```

pub mod backend;
pub mod commit;
pub mod event;
pub mod journal;
pub mod memory;
pub mod outcome;
pub mod session;
pub mod time;
pub mod turn;

pub use backend::{Backend, BackendError, BoxFuture, Durability, Listed, WITNESS_SEQ};
pub use commit::{CommitError, HistoryReceipt, Pending, commit};
pub use event::{CallFacts, Event, HandoffStep, Kind};
pub use journal::Journal;
pub use memory::Memory;
pub use outcome::{EndBy, EndKind, FailureKind, HandoffState};
pub use session::Session;
pub use time::{UnixMillis, WallClock};
pub use turn::{Role, Turn};
