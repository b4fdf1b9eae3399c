//! The default store: one redb file in a directory of its own, nothing to install.
//!
//! ```text
//!  append ──(256 places)──► writer thread ──► one transaction per group ──► baton.redb
//!                              │  Durable: the group is committed with fsync and answered
//!                              └─ Buffered: committed in memory, answered, on disk 500 ms later at the latest
//!  read ──► blocking pool ──► a snapshot, never waits for the writer
//! ```
//!
//! A full queue makes appends wait; a store that fails answers with an error, and is opened again on the next
//! append (a disk that was full may have room now). Nothing that was answered is lost by that.

mod layout;
mod open;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use baton_core::history::{
    Backend, BackendError, BoxFuture, Durability, Event, Listed, UnixMillis,
};
use baton_core::vocab::HandoffKey;

pub use open::OpenError;

use open::Reopening;
use writer::{Append, Request, Writer};

/// Appends waiting for the writer; the next one waits before the queue.
const QUEUE: usize = 256;

/// How the embedded store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// A session is kept this long after its last event.
    pub history_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            history_ttl: Duration::from_hours(24),
        }
    }
}

/// Wall time, as the store should see it; a test brings its own.
type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The embedded store. Dropping it writes what is buffered and frees the file.
pub struct Embedded {
    writer: Option<Writer>,
    places: Arc<Semaphore>,
    database: Arc<Reopening>,
    clock: Clock,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded")
            .field(&self.database.path())
            .finish()
    }
}

impl Embedded {
    /// Opens the store in `dir`, which is made if it is not there, and proves by writing that it can be written.
    ///
    /// # Errors
    /// [`OpenError`] names the path, the cause and what to do.
    pub fn open(dir: impl AsRef<Path>, config: Config) -> Result<Self, OpenError> {
        Self::start(
            Reopening::in_dir(dir.as_ref())?,
            config,
            Arc::new(writer::wall_clock),
        )
    }

    fn start(database: Reopening, config: Config, clock: Clock) -> Result<Self, OpenError> {
        let database = Arc::new(database);
        let writer =
            Writer::start(Arc::clone(&database), config, Arc::clone(&clock)).map_err(|source| {
                OpenError::NoThread {
                    path: database.path().to_owned(),
                    source,
                }
            })?;
        Ok(Self {
            writer: Some(writer),
            places: Arc::new(Semaphore::new(QUEUE)),
            database,
            clock,
        })
    }

    async fn enqueue(&self, append: Append, durability: Durability) -> Result<(), BackendError> {
        let stopped = || BackendError::Unavailable {
            why: "the store's writer has stopped".into(),
        };
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| stopped())?;
        let (reply, answer) = oneshot::channel();
        let writer = self.writer.as_ref().ok_or_else(stopped)?;
        writer.send(Request {
            append,
            durability,
            reply,
            _place: place,
        })?;
        answer.await.map_err(|_| stopped())?
    }

    async fn snapshot<T: Send + 'static>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction, UnixMillis) -> Result<T, layout::Fault>
        + Send
        + 'static,
    ) -> Result<T, BackendError> {
        let database = Arc::clone(&self.database);
        let now = (self.clock)();
        tokio::task::spawn_blocking(move || database.read(|snapshot| read(snapshot, now)))
            .await
            .map_err(|error| BackendError::Unavailable {
                why: error.to_string(),
            })?
    }
}

impl Backend for Embedded {
    fn append(
        &self,
        key: HandoffKey,
        first_seq: u64,
        events: Vec<Event>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), BackendError>> {
        let events = events
            .iter()
            .map(|event| (event.at, event.encode()))
            .collect();
        let append = Append {
            key: layout::key(key),
            first_seq,
            events,
        };
        Box::pin(self.enqueue(append, durability))
    }

    fn read(&self, key: HandoffKey) -> BoxFuture<'_, Result<Option<Vec<Event>>, BackendError>> {
        Box::pin(self.snapshot(move |snapshot, now| layout::read(snapshot, key, now)))
    }

    fn sessions(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Listed>, BackendError>> {
        Box::pin(self.snapshot(move |snapshot, now| layout::sessions(snapshot, limit, now)))
    }
}

#[cfg(test)]
mod tests;
