#![expect(
    clippy::disallowed_methods,
    reason = "shell: owns the media threads, their clock and their sockets"
)]
//! One thread per core that carries voice: the RTP sockets, the frame clock and the agent links of its calls.
//!
//! ```text
//!              one thread, one current-thread runtime
//!  ┌──────────────────────────────────────────────────────────┐
//!  │ frame clock, one for all ──tick──► leg, leg, leg, …      │──► RTP, straight from the tick
//!  │ caller's packet ──► its leg ──► its agent's WebSocket    │    one wake-up, no queue between
//!  │ agent's message ──► its leg (plays at the next ticks)    │
//!  └──────────────────────────────────────────────────────────┘
//!       ▲ commands (64, the call waits)       │ events (64)
//!       └──────────────── the call's task ◄───┘
//! ```
//!
//! What a leg *does* is unknown here: it is a sans-IO core behind [`MediaLeg`]. Sockets stay on their thread from the
//! first packet to the last, audio never crosses a queue or a lock, and a call never changes its shard. The inside of
//! this module may be replaced by a batched engine (recvmmsg, `io_uring`) without a leg noticing.
//!
//! When things are full: a command waits for room (the call waits for the node). An event that the call does not
//! take in time is dropped if a later one makes it obsolete ([`MediaLeg::is_obsolete_soon`]), and otherwise waits in
//! a backlog of 256; a call that leaves even that unread is dead and its leg is ended. The shard never waits.

mod clock;
mod hosted;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use baton_core::agent::{LinkOutput, LinkRequest, Message};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use clock::Clock;
use hosted::Hosted;

/// Commands and events between a call and its leg, each way.
pub const QUEUE: usize = 64;

/// Calls on their way to one shard.
const INTAKE: usize = 64;

/// What a shard carries: one call's media as a sans-IO core. Made on the call's side, moved to its shard once.
///
/// After every `handle_*` the shard drains `poll_transmit`, `poll_link` and `poll_event`.
pub trait MediaLeg: Send + 'static {
    /// What the call tells it.
    type Command: Send + 'static;
    /// What it tells the call.
    type Event: Send + 'static;

    /// A datagram on the RTP socket; not known to be RTP.
    fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]);
    /// The agent's socket is open. Never called for a leg without a link.
    fn handle_link_open(&mut self, now: Instant);
    /// A message of the agent.
    fn handle_link_message(&mut self, now: Instant, message: Message<'_>);
    /// The link could not be opened, broke, or was closed by the agent. Not called after the leg's own
    /// [`LinkOutput::Close`].
    fn handle_link_closed(&mut self, now: Instant, clean: bool, why: String);
    /// The agent does not keep up: `messages` of audio were dropped.
    fn handle_link_behind(&mut self, now: Instant, messages: u64) {
        let _ = (now, messages);
    }
    /// The call wants something.
    fn handle_command(&mut self, now: Instant, command: Self::Command);
    /// The frame clock: every 20 ms. After a stall, one call stands for all that were missed.
    fn handle_tick(&mut self, now: Instant);
    /// Fires what is due.
    fn handle_timeout(&mut self, now: Instant);
    /// The earliest deadline. Served to the millisecond.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next RTP packet to send.
    fn poll_transmit(&mut self) -> Option<(SocketAddr, &[u8])>;
    /// The next thing for the agent's socket.
    fn poll_link(&mut self) -> Option<LinkOutput<'_>>;
    /// The next thing to tell the call.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// Nothing more will come of it: its sockets may be closed. What is queued is still delivered.
    fn is_finished(&self) -> bool;

    /// Whether a later event makes this one worthless (a level, a statistic): it may be dropped when the call is slow.
    fn is_obsolete_soon(event: &Self::Event) -> bool {
        let _ = event;
        false
    }
}

/// A leg and all it needs.
pub struct LegOpen<L: MediaLeg> {
    /// The core.
    pub leg: L,
    /// Its RTP socket, bound; see [`super::ports::RtpPorts`].
    pub rtp_socket: UdpSocket,
    /// Where its agent is; `None` for one that lives inside Baton.
    pub link: Option<LinkRequest>,
    /// Name resolution, TCP, TLS and upgrade together.
    pub connect_timeout: Duration,
    /// Where its events go; bound it by [`QUEUE`]. A receiver that is dropped ends the leg.
    pub events: mpsc::Sender<L::Event>,
}

impl<L: MediaLeg> fmt::Debug for LegOpen<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegOpen")
            .field("rtp_socket", &self.rtp_socket)
            .finish_non_exhaustive()
    }
}

/// The media threads have ended: the node is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media threads have ended")]
pub struct ShardsGone;

/// Counters of one shard; each has one writer.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Calls now.
    pub legs: AtomicUsize,
    /// Datagrams received.
    pub received: AtomicU64,
    /// Datagrams sent.
    pub sent: AtomicU64,
    /// Datagrams that the system did not take.
    pub send_errors: AtomicU64,
    /// Frame ticks served.
    pub ticks: AtomicU64,
    /// Frame ticks skipped because the thread was late by a whole frame or more.
    pub ticks_skipped: AtomicU64,
    /// Events dropped or legs ended because a call did not listen.
    pub events_dropped: AtomicU64,
    /// Legs that panicked and were ended; each is a bug.
    pub panics: AtomicU64,
}

/// Adds to a counter that only this thread writes.
fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

struct Incoming<L: MediaLeg> {
    open: LegOpen<L>,
    commands: mpsc::Receiver<L::Command>,
    seat: Seat,
}

/// One call's place on a shard: counted from the choice of the shard to the end of the leg.
struct Seat(Arc<ShardStats>);

impl Seat {
    fn take(stats: &Arc<ShardStats>) -> Self {
        stats.legs.fetch_add(1, Ordering::Relaxed);
        Self(stats.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.legs.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Shard<L: MediaLeg> {
    intake: mpsc::Sender<Incoming<L>>,
    stats: Arc<ShardStats>,
}

/// The way to the media threads; clone it freely.
pub struct ShardHandle<L: MediaLeg> {
    shards: Arc<Vec<Shard<L>>>,
}

impl<L: MediaLeg> Clone for ShardHandle<L> {
    fn clone(&self) -> Self {
        Self {
            shards: self.shards.clone(),
        }
    }
}

impl<L: MediaLeg> fmt::Debug for ShardHandle<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardHandle")
            .field("shards", &self.shards.len())
            .finish()
    }
}

impl<L: MediaLeg> ShardHandle<L> {
    /// Puts a leg on the least loaded shard, for its whole life.
    ///
    /// Returns where its commands go (64; the call waits when it is full). Dropping the sender ends the leg: nobody is
    /// left to care for it.
    ///
    /// # Errors
    /// [`ShardsGone`] when the media threads have ended.
    pub async fn open(&self, open: LegOpen<L>) -> Result<mpsc::Sender<L::Command>, ShardsGone> {
        let shard = self
            .shards
            .iter()
            .min_by_key(|s| s.stats.legs.load(Ordering::Relaxed))
            .ok_or(ShardsGone)?;
        let (sender, commands) = mpsc::channel(QUEUE);
        let incoming = Incoming {
            open,
            commands,
            seat: Seat::take(&shard.stats),
        };
        shard.intake.send(incoming).await.map_err(|_| ShardsGone)?;
        Ok(sender)
    }

    /// Each shard's counters.
    pub fn stats(&self) -> impl Iterator<Item = &ShardStats> {
        self.shards.iter().map(|s| &*s.stats)
    }
}

/// The media threads. They end when every [`ShardHandle`] is gone and the last leg has finished.
#[derive(Debug)]
pub struct Shards<L: MediaLeg> {
    handle: ShardHandle<L>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl<L: MediaLeg> Shards<L> {
    /// Starts `threads` media threads, at least one.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(threads: usize) -> io::Result<Self> {
        let mut shards = Vec::new();
        let mut joins = Vec::new();
        for index in 0..threads.max(1) {
            let (intake, incoming) = mpsc::channel(INTAKE);
            let stats = Arc::new(ShardStats::default());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let join = std::thread::Builder::new()
                .name(format!("media-{index}"))
                .spawn({
                    let stats = stats.clone();
                    move || LocalSet::new().block_on(&runtime, serve(incoming, stats))
                })?;
            shards.push(Shard { intake, stats });
            joins.push(join);
        }
        Ok(Self {
            handle: ShardHandle {
                shards: Arc::new(shards),
            },
            threads: joins,
        })
    }

    /// The way in.
    pub fn handle(&self) -> ShardHandle<L> {
        self.handle.clone()
    }

    /// Waits for every leg to finish and the threads to end; blocks. Drop all other handles first.
    pub fn join(self) {
        drop(self.handle);
        for thread in self.threads {
            // A panic was printed where it happened; there is nobody left to save.
            let _ = thread.join();
        }
    }
}

/// One shard's life: takes legs in, runs the clock, ends with the last leg.
async fn serve<L: MediaLeg>(mut incoming: mpsc::Receiver<Incoming<L>>, stats: Arc<ShardStats>) {
    let clock = Rc::new(Clock::new(stats));
    // The clock serves all legs in one poll: tokio's budget, made for one task's fairness, would cut it short.
    let ticking = tokio::task::spawn_local(tokio::task::unconstrained(clock.clone().run()));
    let mut legs = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            next = incoming.recv() => match next {
                Some(incoming) => {
                    legs.spawn_local(Hosted::run(incoming, clock.clone()));
                }
                None => break,
            },
            Some(_ended) = legs.join_next(), if !legs.is_empty() => {}
        }
    }
    while legs.join_next().await.is_some() {}
    ticking.abort();
}

#[cfg(test)]
mod tests;
