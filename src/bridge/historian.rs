//! Writes one call's history: events in the order they happened, in batches, and durable before a handoff.
//!
//! At most one append and one commit are under way. A store that fails is asked again; what waits meanwhile is
//! bounded by the [`Journal`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::history::{
    Backend, BackendError, CommitError, Durability, Event, HistoryReceipt, Journal, commit,
};
use baton_core::vocab::{HandoffId, HandoffKey};

/// Events written at once.
const BATCH: usize = 64;
/// After a failed append.
const RETRY: Duration = Duration::from_secs(1);

/// How long a handoff waits for its own `committed` to be on disk: the history behind it is there already.
const SETTLE: Duration = Duration::from_millis(500);

type Pending<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// One call's writer.
pub(super) struct Historian {
    store: Arc<dyn Backend>,
    journal: Journal,
    append: Option<Pending<(u64, Result<(), BackendError>)>>,
    commit: Option<Pending<(u64, Result<HistoryReceipt, CommitError>)>>,
    retry_at: Option<Instant>,
}

/// Something the historian waited for.
pub(super) enum Wrote {
    /// Events are stored, or will be tried again.
    Batch,
    /// A commit ended.
    Commit(Result<HistoryReceipt, CommitError>),
}

impl Historian {
    pub(super) fn new(store: Arc<dyn Backend>, key: HandoffKey) -> Self {
        Self {
            store,
            journal: Journal::new(key),
            append: None,
            commit: None,
            retry_at: None,
        }
    }

    /// Takes an event; it is written by [`Historian::wrote`].
    pub(super) fn record(&mut self, event: Event) {
        self.journal.record(event);
    }

    /// Begins to make everything recorded so far durable. A handoff asks one at a time.
    pub(super) fn commit(&mut self, handoff: HandoffId) {
        let pending = self.journal.pending(handoff);
        let end = pending.first_seq + pending.events.len() as u64;
        let store = Arc::clone(&self.store);
        self.commit = Some(Box::pin(
            async move { (end, commit(&*store, pending).await) },
        ));
    }

    /// Makes durable that a commit succeeded, so that whoever reads after a crash knows that the handoff may have left.
    /// What it commits is safe: a store that fails or stalls now holds nothing back.
    pub(super) async fn settle(&mut self) {
        let Some((first, events)) = self.journal.batch(usize::MAX) else {
            return;
        };
        let end = first + events.len() as u64;
        let append = self
            .store
            .append(self.journal.key(), first, events, Durability::Durable);
        match tokio::time::timeout(SETTLE, append).await {
            Ok(Ok(())) => self.journal.stored(end),
            Ok(Err(error)) => tracing::warn!(%error, "a handoff leaves before its step is durable"),
            Err(_) => tracing::warn!("a handoff leaves before its step is durable: slow store"),
        }
    }

    /// Forgets what is under way, because waiting for it has broken its call. What was not stored is still in the
    /// journal, and storing it twice is storing it once.
    pub(super) fn drop_pending(&mut self) {
        self.append = None;
        self.commit = None;
    }

    /// When a failed append is tried again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Begins the next append, if one is due and none is under way.
    pub(super) fn start(&mut self, now: Instant) {
        if self.append.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        let Some((first, events)) = self.journal.batch(BATCH) else {
            return;
        };
        let end = first + events.len() as u64;
        let (store, key) = (Arc::clone(&self.store), self.journal.key());
        self.append = Some(Box::pin(async move {
            (
                end,
                store.append(key, first, events, Durability::Buffered).await,
            )
        }));
    }

    /// Waits for what is under way; for ever when nothing is. Safe to drop and call again.
    pub(super) async fn wrote(&mut self, clock: fn() -> Instant) -> Wrote {
        tokio::select! {
            (end, result) = ready(&mut self.commit) => {
                self.commit = None;
                if result.is_ok() {
                    self.journal.stored(end);
                }
                Wrote::Commit(result)
            }
            (end, result) = ready(&mut self.append) => {
                self.append = None;
                match result {
                    Ok(()) => self.journal.stored(end),
                    // Nothing is added to an expired session, now or later.
                    Err(BackendError::Expired) => self.journal.stored(u64::MAX),
                    Err(error) => {
                        tracing::warn!(%error, "history not written; trying again");
                        self.retry_at = Some(clock() + RETRY);
                    }
                }
                Wrote::Batch
            }
        }
    }

    /// Whether all that was recorded is with the store.
    pub(super) fn is_done(&self) -> bool {
        self.append.is_none() && self.commit.is_none() && self.journal.is_empty()
    }
}

async fn ready<T>(future: &mut Option<Pending<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
