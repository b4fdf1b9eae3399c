//! What is in the file, and every operation on it as a function of one transaction.
//!
//! | table | key | value |
//! |---|---|---|
//! | `events` | history key, sequence number | one event as JSON |
//! | `sessions` | history key | lowest sequence number, its time, when the session expires |
//! | `by_start` | start, history key | nothing: the newest sessions, from its end |
//! | `by_expiry` | expiry, history key | nothing: what to sweep, from its beginning |
//!
//! Times are Unix milliseconds. A session whose row has expired is unreadable at once and swept later.

use redb::{
    CommitError, ReadTransaction, ReadableTable, StorageError, TableDefinition, TableError,
    TransactionError, WriteTransaction,
};

use baton_core::history::{BackendError, Event, Listed, UnixMillis};
use baton_core::vocab::HandoffKey;

use super::writer::Append;

/// A history key as the file has it.
pub(super) type Key = [u8; HandoffKey::LEN];

const EVENTS: TableDefinition<'_, (Key, u64), &[u8]> = TableDefinition::new("events");
const SESSIONS: TableDefinition<'_, Key, (u64, u64, u64)> = TableDefinition::new("sessions");
const BY_START: TableDefinition<'_, (u64, Key), ()> = TableDefinition::new("by_start");
const BY_EXPIRY: TableDefinition<'_, (u64, Key), ()> = TableDefinition::new("by_expiry");

/// Events one sweep removes: a few milliseconds of work, so that no commit waits long behind it.
const SWEEP_EVENTS: usize = 512;
/// Sessions one sweep looks at.
const SWEEP_SESSIONS: usize = 64;

/// What went wrong below.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Event(#[from] BackendError),
    #[error("the store could not be opened again: {0}")]
    Closed(String),
}

impl Fault {
    /// In the port's words.
    pub(super) fn into_backend_error(self) -> BackendError {
        let why = self.to_string();
        let storage = match self {
            Self::Storage(error)
            | Self::Table(TableError::Storage(error))
            | Self::Transaction(TransactionError::Storage(error))
            | Self::Commit(CommitError::Storage(error)) => Some(error),
            Self::Event(error) => return error,
            Self::Table(_) | Self::Transaction(_) | Self::Commit(_) | Self::Closed(_) => None,
        };
        match storage {
            Some(StorageError::Corrupted(_)) => BackendError::Corrupt { why },
            Some(StorageError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
                BackendError::Full
            }
            _ => BackendError::Unavailable { why },
        }
    }
}

/// The key's octets.
pub(super) fn key(key: HandoffKey) -> Key {
    let mut octets = [0; HandoffKey::LEN];
    octets.copy_from_slice(key.as_str().as_bytes());
    octets
}

/// Makes the tables, so that readers of a fresh store find them.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), Fault> {
    transaction.open_table(EVENTS)?;
    transaction.open_table(SESSIONS)?;
    transaction.open_table(BY_START)?;
    transaction.open_table(BY_EXPIRY)?;
    Ok(())
}

/// Whether an append was done or came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    Done,
    Expired,
}

/// Adds events. A sequence number that is there already keeps its first event.
pub(super) fn append(
    transaction: &WriteTransaction,
    append: &Append,
    now: UnixMillis,
    ttl: u64,
) -> Result<Appended, Fault> {
    let Some((first_at, _)) = append.events.first() else {
        return Ok(Appended::Done);
    };
    let mut sessions = transaction.open_table(SESSIONS)?;
    let known = sessions.get(append.key)?.map(|row| row.value());
    if known.is_some_and(|(_, _, expires)| expires <= now.0) {
        return Ok(Appended::Expired);
    }
    let expires = now.0.saturating_add(ttl);
    let row = match known {
        // The index is moved only when it matters: a call writes often, and its expiry is hours away.
        Some((seq, at, old)) => {
            let moved = if expires > old.saturating_add(ttl / 64) {
                expires
            } else {
                old
            };
            if append.first_seq < seq {
                (append.first_seq, first_at.0, moved)
            } else {
                (seq, at, moved)
            }
        }
        None => (append.first_seq, first_at.0, expires),
    };
    if known != Some(row) {
        sessions.insert(append.key, row)?;
        reindex(transaction, append.key, known, row)?;
    }
    let mut events = transaction.open_table(EVENTS)?;
    for (seq, (_, event)) in (append.first_seq..).zip(&append.events) {
        if events.get((append.key, seq))?.is_none() {
            events.insert((append.key, seq), event.as_slice())?;
        }
    }
    Ok(Appended::Done)
}

fn reindex(
    transaction: &WriteTransaction,
    key: Key,
    old: Option<(u64, u64, u64)>,
    (_, at, expires): (u64, u64, u64),
) -> Result<(), Fault> {
    let mut by_start = transaction.open_table(BY_START)?;
    let mut by_expiry = transaction.open_table(BY_EXPIRY)?;
    if let Some((_, old_at, old_expires)) = old {
        by_start.remove((old_at, key))?;
        by_expiry.remove((old_expires, key))?;
    }
    by_start.insert((at, key), ())?;
    by_expiry.insert((expires, key), ())?;
    Ok(())
}

/// All readable events of a key; `None` when there is no such session, or no longer.
///
/// An event that cannot be read is left out and logged: the person who takes the call over is better served by the
/// rest of the conversation than by an error.
pub(super) fn read(
    snapshot: &ReadTransaction,
    session: HandoffKey,
    now: UnixMillis,
) -> Result<Option<Vec<Event>>, Fault> {
    let key = key(session);
    let row = snapshot.open_table(SESSIONS)?.get(key)?;
    if row.is_none_or(|row| row.value().2 <= now.0) {
        return Ok(None);
    }
    let mut events = Vec::new();
    for entry in snapshot
        .open_table(EVENTS)?
        .range((key, 0)..=(key, u64::MAX))?
    {
        let (at, event) = entry?;
        match Event::decode(event.value()) {
            Ok(event) => events.push(event),
            Err(error) => {
                let seq = at.value().1;
                tracing::warn!(?session, seq, %error, "an event of a history cannot be read");
            }
        }
    }
    Ok(Some(events))
}

/// The newest sessions that have not expired.
pub(super) fn sessions(
    snapshot: &ReadTransaction,
    limit: usize,
    now: UnixMillis,
) -> Result<Vec<Listed>, Fault> {
    let sessions = snapshot.open_table(SESSIONS)?;
    let mut listed = Vec::new();
    for entry in snapshot
        .open_table(BY_START)?
        .range::<(u64, Key)>(..)?
        .rev()
    {
        if listed.len() >= limit {
            break;
        }
        let (started_at, octets) = entry?.0.value();
        let alive = sessions
            .get(octets)?
            .is_some_and(|row| row.value().2 > now.0);
        let key = std::str::from_utf8(&octets)
            .ok()
            .and_then(|text| text.parse().ok());
        if let (true, Some(key)) = (alive, key) {
            listed.push(Listed {
                key,
                started_at: UnixMillis(started_at),
            });
        }
    }
    Ok(listed)
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    /// Nothing had expired.
    Nothing,
    /// Everything that had expired is gone.
    All,
    /// Some of it is gone, and there is more.
    Some,
}

/// Removes some of what has expired.
pub(super) fn sweep(transaction: &WriteTransaction, now: UnixMillis) -> Result<Swept, Fault> {
    let mut by_expiry = transaction.open_table(BY_EXPIRY)?;
    let mut by_start = transaction.open_table(BY_START)?;
    let mut sessions = transaction.open_table(SESSIONS)?;
    let mut events = transaction.open_table(EVENTS)?;
    let due: Vec<(u64, Key)> = by_expiry
        .range(..=(now.0, [u8::MAX; HandoffKey::LEN]))?
        .take(SWEEP_SESSIONS)
        .map(|entry| entry.map(|(at, _)| at.value()))
        .collect::<Result<_, _>>()?;
    let mut room = SWEEP_EVENTS;
    for (expires, key) in &due {
        let seqs: Vec<u64> = events
            .range((*key, 0)..=(*key, u64::MAX))?
            .take(room)
            .map(|entry| entry.map(|(at, _)| at.value().1))
            .collect::<Result<_, _>>()?;
        for seq in &seqs {
            events.remove((*key, *seq))?;
        }
        room -= seqs.len();
        if room == 0 {
            return Ok(Swept::Some);
        }
        let row = sessions.remove(*key)?.map(|row| row.value());
        if let Some((_, at, _)) = row {
            by_start.remove((at, *key))?;
        }
        by_expiry.remove((*expires, *key))?;
    }
    Ok(match due.len() {
        0 => Swept::Nothing,
        SWEEP_SESSIONS => Swept::Some,
        _ => Swept::All,
    })
}
