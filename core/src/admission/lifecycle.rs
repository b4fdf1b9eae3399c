//! The node's own state: it takes calls, lets the last ones end, ends them, or is done.
//!
//! ```text
//! Ready ── told ──► Draining ── drain_timeout ──► Ending ── its time ──► Stopped
//!                      │ told again, no call left    │ told again, no call left ▲
//!                      └─────────────────────────────┴──────────────────────────┘
//! ```

use std::time::{Duration, Instant};

/// There is no way back in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifecycle {
    /// Takes calls.
    #[default]
    Ready,
    /// Takes none; those that run may end by themselves until then.
    Draining {
        /// When the rest is ended.
        until: Instant,
        /// How long that may take.
        ending: Duration,
    },
    /// Each call that is left hands its caller over, or says goodbye.
    Ending {
        /// When what is left is hung up.
        until: Instant,
    },
    /// No call is left; any that is must hang up at once.
    Stopped,
}

/// How long a node that is told to stop waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For calls to end by themselves: `drain_timeout`.
    pub drain: Duration,
    /// For calls to hand their caller over, or to say goodbye.
    pub ending: Duration,
}

impl Default for Patience {
    /// A minute; then two prompts of ten seconds at most, or a REFER and its outcome from a trunk that is well.
    fn default() -> Self {
        Self {
            drain: Duration::from_mins(1),
            ending: Duration::from_secs(20),
        }
    }
}

impl Lifecycle {
    /// Whether new calls are taken: what `/readyz` and OPTIONS answer.
    pub const fn takes_calls(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether nothing more is waited for.
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped)
    }

    /// Somebody wants the node to stop. Who says it twice is in a hurry.
    pub fn handle_stop(&mut self, now: Instant, patience: Patience) {
        *self = match *self {
            Self::Ready => Self::Draining {
                until: now + patience.drain,
                ending: patience.ending,
            },
            Self::Draining { .. } | Self::Ending { .. } | Self::Stopped => Self::Stopped,
        };
    }

    /// How many calls there are. A node that was told to stop is done with the last of them.
    pub fn handle_calls(&mut self, calls: usize) {
        if calls == 0 && !self.takes_calls() {
            *self = Self::Stopped;
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        *self = match *self {
            Self::Draining { until, ending } if until <= now => Self::Ending {
                until: now + ending,
            },
            Self::Ending { until } if until <= now => Self::Stopped,
            state @ (Self::Ready | Self::Draining { .. } | Self::Ending { .. } | Self::Stopped) => {
                state
            }
        };
    }

    /// The earliest deadline.
    pub const fn poll_timeout(self) -> Option<Instant> {
        match self {
            Self::Draining { until, .. } | Self::Ending { until } => Some(until),
            Self::Ready | Self::Stopped => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    const PATIENCE: Patience = Patience {
        drain: Duration::from_mins(1),
        ending: Duration::from_secs(20),
    };

    fn draining() -> (Lifecycle, Instant) {
        let (mut node, now) = (Lifecycle::default(), t0());
        node.handle_stop(now, PATIENCE);
        (node, now)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_node_that_nobody_stops_takes_calls_however_few_there_are() {
        let mut node = Lifecycle::default();
        node.handle_calls(0);
        node.handle_timeout(t0() + secs(86_400));
        assert!(node.takes_calls());
        assert_eq!(node.poll_timeout(), None);
    }

    #[test]
    fn draining_takes_no_calls_and_ends_with_the_last_one() {
        let (mut node, _) = draining();
        assert!(!node.takes_calls());
        node.handle_calls(1);
        assert!(!node.is_stopped());
        node.handle_calls(0);
        assert!(node.is_stopped());
    }

    #[test]
    fn calls_that_outlive_the_drain_have_their_time_to_be_handed_over() {
        let (mut node, now) = draining();
        assert_eq!(node.poll_timeout(), Some(now + secs(60)));
        node.handle_timeout(now + secs(59));
        assert!(matches!(node, Lifecycle::Draining { .. }));
        node.handle_timeout(now + secs(60));
        assert_eq!(node.poll_timeout(), Some(now + secs(80)));
        assert!(matches!(node, Lifecycle::Ending { .. }) && !node.takes_calls());
        node.handle_calls(1);
        node.handle_timeout(now + secs(79));
        assert!(!node.is_stopped());
        node.handle_timeout(now + secs(80));
        assert!(node.is_stopped());
        assert_eq!(node.poll_timeout(), None);
    }

    #[test]
    fn ending_ends_with_the_last_call_too() {
        let (mut node, now) = draining();
        node.handle_timeout(now + secs(60));
        node.handle_calls(0);
        assert!(node.is_stopped());
    }

    #[test]
    fn who_says_stop_twice_waits_for_nothing() {
        for age in [0, 60] {
            let (mut node, now) = draining();
            node.handle_timeout(now + secs(age));
            node.handle_stop(now + secs(age), PATIENCE);
            assert!(node.is_stopped(), "after {age} s");
            node.handle_stop(now + secs(age), PATIENCE);
            node.handle_calls(3);
            assert!(node.is_stopped(), "there is no way back");
        }
    }

    #[test]
    fn a_clock_that_jumps_over_both_deadlines_still_gives_callers_their_goodbye() {
        let (mut node, now) = draining();
        node.handle_timeout(now + secs(3600));
        assert_eq!(node.poll_timeout(), Some(now + secs(3620)));
    }

    #[test]
    fn with_no_drain_at_all_calls_are_handed_over_at_once() {
        let (mut node, now) = (Lifecycle::default(), t0());
        let patience = Patience {
            drain: Duration::ZERO,
            ..PATIENCE
        };
        node.handle_stop(now, patience);
        node.handle_timeout(now);
        assert_eq!(
            node,
            Lifecycle::Ending {
                until: now + secs(20)
            }
        );
    }
}
