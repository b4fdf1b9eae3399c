//! The one thread that writes: takes what is queued, writes it as a group, answers.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the writer's thread and the wall clock that expiry is measured with"
)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use baton_core::history::{BackendError, Durability, UnixMillis};

use super::layout::{self, Appended, Fault, Key, Swept};
use super::open::Reopening;
use super::{Clock, Config, QUEUE};

/// Buffered events reach the disk this long after they came, at the latest.
const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// How often expired sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Pause between two sweeps while there is more to sweep: commits go first.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// Buffered appends kept to be written again should the disk fail before they reach it.
const UNFLUSHED_MAX: usize = 1024;

/// Wall time now.
pub(super) fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// Events of one session, encoded.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) key: Key,
    pub(super) first_seq: u64,
    pub(super) events: Vec<(UnixMillis, Vec<u8>)>,
}

/// An append and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) append: Append,
    pub(super) durability: Durability,
    pub(super) reply: oneshot::Sender<Result<(), BackendError>>,
    /// Given back once the request is answered.
    pub(super) _place: OwnedSemaphorePermit,
}

/// The thread and the way to it. Dropping it flushes and waits for the thread.
pub(super) struct Writer {
    queue: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        database: Arc<Reopening>,
        config: Config,
        clock: Clock,
    ) -> io::Result<Self> {
        let (queue, requests) = sync_channel(QUEUE);
        let ttl = u64::try_from(config.history_ttl.as_millis()).unwrap_or(u64::MAX);
        let work = Work {
            database,
            clock,
            ttl,
            unflushed: Vec::new(),
            flush_at: None,
            sweep_at: Instant::now() + SWEEP_PAUSE,
            broken: false,
        };
        let thread = thread::Builder::new()
            .name("baton-store".into())
            .spawn(move || work.run(&requests))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Hands a request over. There is always a place: the semaphore has as many as the queue.
    pub(super) fn send(&self, request: Request) -> Result<(), BackendError> {
        self.queue
            .as_ref()
            .and_then(|queue| queue.try_send(request).ok())
            .ok_or_else(|| BackendError::Unavailable {
                why: "the store's writer has stopped".into(),
            })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

struct Work {
    database: Arc<Reopening>,
    clock: Clock,
    ttl: u64,
    /// Answered, but not on disk yet.
    unflushed: Vec<Append>,
    flush_at: Option<Instant>,
    sweep_at: Instant,
    /// The last write failed; the file has to be opened again before the next.
    broken: bool,
}

impl Work {
    fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let wake = self
                .flush_at
                .map_or(self.sweep_at, |at| at.min(self.sweep_at));
            let wait = wake.saturating_duration_since(Instant::now());
            match requests.recv_timeout(wait) {
                Ok(first) => {
                    let group = std::iter::once(first).chain(requests.try_iter().take(QUEUE - 1));
                    self.write(group.collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.serve_timers(Instant::now());
        }
        if self.flush_at.is_some() {
            self.flush();
        }
    }

    fn serve_timers(&mut self, now: Instant) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
        if self.sweep_at <= now {
            self.sweep_at = now + self.sweep();
        }
    }

    /// Writes a group in one transaction; on disk at once if one of it asks for that.
    fn write(&mut self, group: Vec<Request>) {
        let durable = group
            .iter()
            .any(|request| request.durability == Durability::Durable)
            || self.unflushed.len() + group.len() > UNFLUSHED_MAX;
        match self.commit(&group, durable) {
            Ok(outcomes) => self.answer(group, &outcomes, durable),
            Err(fault) => {
                tracing::warn!(error = %fault, "the history store could not write");
                self.broken = true;
                let error = fault.into_backend_error();
                for request in group {
                    // Nobody waits any more: the caller gave up, and will repeat if it matters.
                    let _ = request.reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn commit(&mut self, group: &[Request], durable: bool) -> Result<Vec<Appended>, Fault> {
        self.mend()?;
        let (now, ttl) = ((self.clock)(), self.ttl);
        self.database
            .write(redb_durability(durable), |transaction| {
                group
                    .iter()
                    .map(|request| layout::append(transaction, &request.append, now, ttl))
                    .collect()
            })
    }

    fn answer(&mut self, group: Vec<Request>, outcomes: &[Appended], durable: bool) {
        if durable {
            self.unflushed.clear();
            self.flush_at = None;
        } else {
            self.flush_at
                .get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        }
        for (request, outcome) in group.into_iter().zip(outcomes) {
            let answer = match outcome {
                Appended::Done => Ok(()),
                Appended::Expired => Err(BackendError::Expired),
            };
            let _ = request.reply.send(answer);
            if !durable {
                self.unflushed.push(request.append);
            }
        }
    }

    /// Brings what was answered as buffered to the disk. A failure is tried again in half a second.
    fn flush(&mut self) {
        let flushed = self
            .mend()
            .and_then(|()| self.database.write(redb::Durability::Immediate, |_| Ok(())));
        match flushed {
            Ok(()) => {
                self.unflushed.clear();
                self.flush_at = None;
            }
            Err(fault) => {
                tracing::warn!(error = %fault, "the history store could not flush");
                self.broken = true;
                self.flush_at = Some(Instant::now() + FLUSH_AFTER);
            }
        }
    }

    /// After a failure: opens the file again and repeats what was answered but not on disk. Repeating is safe,
    /// for a sequence number that is there keeps its event.
    fn mend(&mut self) -> Result<(), Fault> {
        if !self.broken {
            return Ok(());
        }
        self.database.reopen()?;
        let (now, ttl) = ((self.clock)(), self.ttl);
        self.database
            .write(redb::Durability::Immediate, |transaction| {
                layout::prepare(transaction)?;
                for append in &self.unflushed {
                    layout::append(transaction, append, now, ttl)?;
                }
                Ok(())
            })?;
        self.broken = false;
        self.unflushed.clear();
        self.flush_at = None;
        tracing::info!("the history store writes again");
        Ok(())
    }

    /// Removes a little of what has expired; returns when to look again.
    fn sweep(&mut self) -> Duration {
        if self.broken {
            return SWEEP_EVERY;
        }
        let now = (self.clock)();
        let swept = self.database.write(redb::Durability::None, |transaction| {
            layout::sweep(transaction, now)
        });
        if matches!(swept, Ok(Swept::Some | Swept::All)) {
            // Room in the file comes back with the next commit on disk.
            self.flush_at
                .get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        }
        match swept {
            Ok(Swept::Some) => SWEEP_PAUSE,
            Ok(Swept::All | Swept::Nothing) => SWEEP_EVERY,
            Err(fault) => {
                tracing::warn!(error = %fault, "the history store could not sweep");
                self.broken = true;
                SWEEP_EVERY
            }
        }
    }
}

fn redb_durability(durable: bool) -> redb::Durability {
    if durable {
        redb::Durability::Immediate
    } else {
        redb::Durability::None
    }
}
