//! The node's own state: it takes calls, lets the last ones end, or is done.

use std::time::{Duration, Instant};

/// `Ready → Draining → Stopped`; there is no way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifecycle {
    /// Takes calls.
    #[default]
    Ready,
    /// Takes none; those that run may end by themselves until then.
    Draining {
        /// When the rest is ended.
        until: Instant,
    },
    /// No call is left, or their time is over.
    Stopped,
}

impl Lifecycle {
    /// Whether new calls are taken: what `/readyz` and OPTIONS answer.
    pub const fn takes_calls(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Begins to drain. Asked again it may only become shorter: the second Ctrl-C is an impatient one.
    pub fn drain(&mut self, now: Instant, timeout: Duration) {
        *self = match *self {
            Self::Ready => Self::Draining {
                until: now + timeout,
            },
            Self::Draining { until } => Self::Draining {
                until: until.min(now + timeout),
            },
            Self::Stopped => Self::Stopped,
        };
    }

    /// How many calls run. Draining ends with the last of them.
    pub fn handle_calls(&mut self, calls: usize) {
        if calls == 0 && matches!(self, Self::Draining { .. }) {
            *self = Self::Stopped;
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(*self, Self::Draining { until } if until <= now) {
            *self = Self::Stopped;
        }
    }

    /// The earliest deadline.
    pub const fn poll_timeout(self) -> Option<Instant> {
        match self {
            Self::Draining { until } => Some(until),
            Self::Ready | Self::Stopped => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn draining_takes_no_calls_and_ends_with_the_last_one() {
        let mut node = Lifecycle::default();
        assert!(node.takes_calls());
        node.handle_calls(0);
        assert_eq!(node, Lifecycle::Ready);
        node.drain(t0(), MINUTE);
        assert!(!node.takes_calls());
        node.handle_calls(1);
        assert_ne!(node, Lifecycle::Stopped);
        node.handle_calls(0);
        assert_eq!(node, Lifecycle::Stopped);
    }

    #[test]
    fn draining_ends_at_its_deadline_however_many_calls_are_left() {
        let (mut node, now) = (Lifecycle::default(), t0());
        node.drain(now, MINUTE);
        assert_eq!(node.poll_timeout(), Some(now + MINUTE));
        node.handle_timeout(now + Duration::from_secs(59));
        assert_ne!(node, Lifecycle::Stopped);
        node.handle_timeout(now + MINUTE);
        assert_eq!(node, Lifecycle::Stopped);
        assert_eq!(node.poll_timeout(), None);
    }

    #[test]
    fn asked_to_drain_again_it_only_becomes_more_urgent() {
        let (mut node, now) = (Lifecycle::default(), t0());
        node.drain(now, MINUTE);
        node.drain(now, Duration::from_hours(1));
        assert_eq!(node.poll_timeout(), Some(now + MINUTE));
        node.drain(now, Duration::ZERO);
        assert_eq!(node.poll_timeout(), Some(now));
        node.handle_timeout(now);
        node.drain(now, MINUTE);
        assert_eq!(node, Lifecycle::Stopped);
    }
}
