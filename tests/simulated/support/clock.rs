//! Virtual time: it moves only when a test lets it.
#![expect(
    clippy::disallowed_methods,
    reason = "an epoch for virtual time has to come from somewhere"
)]

use std::time::{Duration, Instant};

use baton_core::vocab::PTIME;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What time it is in one simulated world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: Instant,
    now: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let epoch = Instant::now();
        Self { epoch, now: epoch }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// Moves on; never back.
    pub(crate) fn advance_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
    }

    /// Since the beginning of the world.
    pub(crate) fn since_epoch(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    /// The next tick of the frame clock: whole multiples of 20 ms, as a media shard has it.
    pub(crate) fn next_tick(&self) -> Instant {
        let frames = self.since_epoch(self.now).as_nanos() / PTIME.as_nanos() + 1;
        self.epoch + PTIME * u32::try_from(frames).unwrap_or(u32::MAX)
    }
}
