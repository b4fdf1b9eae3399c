//! Writes one call's history as `src/bridge/historian.rs` does: at most one append and one commit under way, a failed
//! append again after a second. Polled instead of awaited, since here time is in the test's hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use baton_core::history::{
    Backend, BackendError, CommitError, Durability, Event, HistoryReceipt, Journal, commit,
};
use baton_core::vocab::{HandoffId, HandoffKey};

use super::store::Store;

const BATCH: usize = 64;
const RETRY: Duration = Duration::from_secs(1);

type Pending<T> = Pin<Box<dyn Future<Output = (u64, T)> + Send>>;

pub(crate) struct Historian {
    store: Arc<Store>,
    journal: Journal,
    append: Option<Pending<Result<(), BackendError>>>,
    commit: Option<Pending<Result<HistoryReceipt, CommitError>>>,
    retry_at: Option<Instant>,
}

impl Historian {
    pub(crate) fn new(store: Arc<Store>, key: HandoffKey) -> Self {
        Self {
            store,
            journal: Journal::new(key),
            append: None,
            commit: None,
            retry_at: None,
        }
    }

    pub(crate) fn record(&mut self, event: Event) {
        self.journal.record(event);
    }

    pub(crate) fn commit(&mut self, handoff: HandoffId) {
        let pending = self.journal.pending(handoff);
        let end = pending.first_seq + pending.events.len() as u64;
        let store = Arc::clone(&self.store);
        self.commit = Some(Box::pin(
            async move { (end, commit(&*store, pending).await) },
        ));
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(crate) fn is_done(&self) -> bool {
        self.append.is_none() && self.commit.is_none() && self.journal.is_empty()
    }

    /// Writes what can be written now; returns a commit that ended.
    pub(crate) fn write(&mut self, now: Instant) -> Option<Result<HistoryReceipt, CommitError>> {
        let ended = poll(&mut self.commit).map(|(end, result)| {
            if result.is_ok() {
                self.journal.stored(end);
            }
            result
        });
        self.start(now);
        while let Some((end, result)) = poll(&mut self.append) {
            match result {
                Ok(()) => self.journal.stored(end),
                Err(BackendError::Expired) => self.journal.stored(u64::MAX),
                Err(_) => self.retry_at = Some(now + RETRY),
            }
            self.start(now);
        }
        ended
    }

    fn start(&mut self, now: Instant) {
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
            let stored = store.append(key, first, events, Durability::Buffered);
            (end, stored.await)
        }));
    }
}

/// The result, once; a future that has ended is gone.
fn poll<T>(future: &mut Option<Pending<T>>) -> Option<(u64, T)> {
    let mut cx = Context::from_waker(Waker::noop());
    match future.as_mut()?.as_mut().poll(&mut cx) {
        Poll::Pending => None,
        Poll::Ready(result) => {
            *future = None;
            Some(result)
        }
    }
}
