//! The frame clock of one shard: one timer for all its legs, on an absolute schedule.
//!
//! Ticks are due at t0 + n·20 ms. A late one is served once and the schedule goes on where it should be: skipping
//! is heard as nothing, a burst is heard as a burst. Between ticks the same timer serves deadlines that cannot wait
//! for the next tick (a hole in the jitter buffer), so that a leg never has a timer of its own.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use baton_core::vocab::PTIME;
use tokio::time::{Sleep, sleep_until};

use super::hosted::Hosted;
use super::{MediaLeg, ShardStats, count};

/// Deadlines between ticks are served at most this often: one that stands still must not spin the thread.
const FINEST: Duration = Duration::from_millis(1);

/// A leg on the shard, shared by its own task and the clock; borrowed only within one poll.
pub(super) type Slot<L> = Rc<RefCell<Option<Hosted<L>>>>;

pub(super) struct Clock<L: MediaLeg> {
    legs: RefCell<Vec<Slot<L>>>,
    /// The earliest deadline that a leg has, as far as known.
    due: Cell<Option<Instant>>,
    /// What the timer is set to.
    armed: Cell<Option<Instant>>,
    waker: RefCell<Waker>,
    pub(super) stats: Arc<ShardStats>,
}

impl<L: MediaLeg> Clock<L> {
    pub(super) fn new(stats: Arc<ShardStats>) -> Self {
        Self {
            legs: RefCell::new(Vec::new()),
            due: Cell::new(None),
            armed: Cell::new(None),
            waker: RefCell::new(Waker::noop().clone()),
            stats,
        }
    }

    /// Serves this leg from the next tick on.
    pub(super) fn add(&self, slot: Slot<L>) {
        self.legs.borrow_mut().push(slot);
        self.waker.borrow().wake_by_ref();
    }

    /// A leg has this deadline now; the timer moves only when it is earlier than what it waits for.
    pub(super) fn note(&self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.due.get().is_none_or(|due| deadline < due) {
            self.due.set(Some(deadline));
        }
        if self.armed.get().is_some_and(|armed| deadline < armed) {
            self.waker.borrow().wake_by_ref();
        }
    }

    pub(super) async fn run(self: Rc<Self>) {
        let mut next = Instant::now() + PTIME;
        let mut served = Instant::now();
        let mut timer = pin!(sleep_until(next.into()));
        loop {
            if self.legs.borrow().is_empty() {
                self.idle().await;
                // Nobody listened meanwhile: those ticks were not missed.
                next = after(next, Instant::now()).0;
            }
            self.wait(&mut timer, next, served + FINEST).await;
            let now = Instant::now();
            served = now;
            if now < next {
                self.serve(now, Hosted::timeout);
                continue;
            }
            let (following, skipped) = after(next, now);
            next = following;
            count(&self.stats.ticks, 1);
            count(&self.stats.ticks_skipped, skipped);
            self.serve(now, Hosted::tick);
        }
    }

    /// Until there is a leg.
    async fn idle(&self) {
        self.armed.set(None);
        poll_fn(|cx| {
            self.waker.borrow_mut().clone_from(cx.waker());
            if self.legs.borrow().is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// Until the tick at `next`, or an earlier deadline, but not before `earliest`.
    async fn wait(&self, timer: &mut Pin<&mut Sleep>, next: Instant, earliest: Instant) {
        poll_fn(|cx| {
            self.waker.borrow_mut().clone_from(cx.waker());
            let wake = match self.due.get() {
                Some(due) => due.max(earliest).min(next),
                None => next,
            };
            self.armed.set(Some(wake));
            if timer.deadline() != wake.into() {
                timer.as_mut().reset(wake.into());
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }

    /// Every leg once; those that ended are let go. A leg that panics takes nobody with it.
    fn serve(&self, now: Instant, each: fn(&mut Hosted<L>, Instant)) {
        let mut due = None;
        self.legs.borrow_mut().retain(|slot| {
            let mut hosted = slot.borrow_mut();
            let Some(leg) = hosted.as_mut() else {
                return false;
            };
            if catch_unwind(AssertUnwindSafe(|| each(leg, now))).is_err() {
                count(&self.stats.panics, 1);
                leg.wake();
                *hosted = None;
                return false;
            }
            due = earlier(due, leg.deadline());
            true
        });
        self.due.set(due);
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The first instant of the schedule through `due` that lies after `now`, and how many were passed over.
fn after(due: Instant, now: Instant) -> (Instant, u64) {
    let late = now.saturating_duration_since(due).as_nanos() / PTIME.as_nanos();
    // Beyond 2^32 frames (994 days of standstill) the schedule may as well start anew.
    let skipped = u32::try_from(late).unwrap_or(u32::MAX);
    let following = if due > now {
        due
    } else {
        due + PTIME * skipped + PTIME
    };
    (following, u64::from(skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_tick_skips_forward_on_the_same_schedule() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        assert_eq!(after(at(20), at(20)), (at(40), 0));
        assert_eq!(after(at(20), at(39)), (at(40), 0));
        assert_eq!(after(at(20), at(40)), (at(60), 1));
        assert_eq!(after(at(20), at(125)), (at(140), 5));
        assert_eq!(after(at(20), at(5)), (at(20), 0));
    }
}
