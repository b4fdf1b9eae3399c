//! A history store in memory that a test may stop, break and mend.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use baton_core::history::{
    Backend, BackendError, BoxFuture, Durability, Event, Listed, Memory, Session,
};
use baton_core::vocab::HandoffKey;

/// How the store behaves from now on, what was asked of it before included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    /// It takes everything and answers nothing.
    Hangs,
    Fails(BackendError),
}

#[derive(Debug)]
pub(crate) struct Store {
    memory: Memory,
    mood: Mutex<Mood>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::default(),
            mood: Mutex::new(Mood::Works),
        }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    pub(crate) fn is_well(&self) -> bool {
        self.mood() == Mood::Works
    }

    fn mood(&self) -> Mood {
        self.mood
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What a human would read now; `None` when nothing was ever written.
    pub(crate) fn session(&self, key: HandoffKey) -> Option<Session> {
        let events = now_or_never(self.memory.read(key))?.ok()??;
        Some(Session::fold(key, &events))
    }
}

impl Backend for Store {
    fn append(
        &self,
        key: HandoffKey,
        first_seq: u64,
        events: Vec<Event>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(poll_fn(move |_| match self.mood() {
            Mood::Hangs => Poll::Pending,
            Mood::Fails(error) => Poll::Ready(Err(error)),
            Mood::Works => {
                let stored = self
                    .memory
                    .append(key, first_seq, events.clone(), durability);
                now_or_never(stored).map_or(Poll::Pending, Poll::Ready)
            }
        }))
    }

    fn read(&self, key: HandoffKey) -> BoxFuture<'_, Result<Option<Vec<Event>>, BackendError>> {
        self.memory.read(key)
    }

    fn sessions(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Listed>, BackendError>> {
        self.memory.sessions(limit)
    }
}

/// Polls once; whoever drives the world asks again.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
