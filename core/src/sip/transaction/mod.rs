//! Transactions (RFC 3261 §17, RFC 6026): one request, its retransmissions and its responses.
//!
//! Four machines, four types, each stated as its figure in the RFC. A machine holds its own deadlines and the octets
//! it may have to repeat, nothing else: no parsed message, no address, no user. Whoever owns it keeps a table of
//! [`deadline`](InviteServer::deadline)s and does what each [`Step`] says.
//!
//! | figure | type | ends after |
//! |---|---|---|
//! | 5 | [`InviteClient`] | D (3xx-6xx), M (2xx), B (silence) |
//! | 6 | [`NonInviteClient`] | K, F (silence) |
//! | 7 | [`InviteServer`] | I or H (3xx-6xx), L (2xx) |
//! | 8 | [`NonInviteServer`] | J |

mod invite_client;
mod invite_server;
mod key;
mod non_invite_client;
mod non_invite_server;
mod timers;

use bytes::Bytes;

pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use key::{ClientKey, MergeKey, ServerKey};
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;
pub use timers::{Backoff, Timing};

/// What a machine wants done after an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the input was absorbed, or only changed the state.
    Idle,
    /// Put these octets on the wire (again).
    Send(Bytes),
    /// Hand the message to the transaction's user.
    Deliver,
    /// Hand the message up, and put these octets on the wire: the ACK of a 3xx-6xx.
    DeliverAndSend(Bytes),
    /// Nobody answered in time: tell the user.
    TimedOut,
}

/// A response that the state of its server transaction forbids: a second final one, or one after the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the transaction has had its final response")]
pub struct AlreadyAnswered;

/// A transaction by number, never reused on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u64);
