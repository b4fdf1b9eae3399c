//! The port to whatever keeps histories: implemented by the embedded store, Redis, PostgreSQL and [`super::Memory`],
//! held to its rules by one conformance suite.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Event, UnixMillis};
use crate::vocab::HandoffKey;

/// A future on the heap, free of any runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sequence numbers of events that somebody else than the call's own node writes begin here: the refer-handler
/// may run anywhere. It writes at `WITNESS_SEQ` plus the wall-clock milliseconds, so that two writers never meet.
pub const WITNESS_SEQ: u64 = 1 << 48;

/// How safe the events must be before an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Taken; the loss of the machine may lose at most the last second.
    Buffered,
    /// On disk (fsync) or acknowledged by the database, **together with every earlier append of that key**.
    Durable,
}

/// A session among the recent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: HandoffKey,
    /// When its first event was written.
    pub started_at: UnixMillis,
}

/// Keeps session histories.
///
/// Rules for implementations:
/// * events of a key are ordered by sequence number, whatever the order of appends;
/// * a sequence number that is there already keeps its first event, so that a repeated append changes nothing;
/// * gaps are allowed; a key exists from its first append until it expires;
/// * an append that was answered with an error may have happened or not; repeating it is safe.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Adds `events` at `first_seq`, `first_seq + 1`, …
    fn append(
        &self,
        key: HandoffKey,
        first_seq: u64,
        events: Vec<Event>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), BackendError>>;

    /// All events of a key in order; `None` when there is none, or it has expired.
    fn read(&self, key: HandoffKey) -> BoxFuture<'_, Result<Option<Vec<Event>>, BackendError>>;

    /// The most recent sessions, newest first, at most `limit`.
    fn sessions(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Listed>, BackendError>>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It cannot be reached, or did not answer in time. Repeating may help.
    #[error("the history store is unavailable: {why}")]
    Unavailable {
        /// For people.
        why: String,
    },
    /// It has no room.
    #[error("the history store is full")]
    Full,
    /// What it holds cannot be read.
    #[error("the history store holds something unreadable: {why}")]
    Corrupt {
        /// For people.
        why: String,
    },
    /// The session's time is over; nothing is added to it any more.
    #[error("the session has expired")]
    Expired,
}
