//! The timers of RFC 3261 table 4 and RFC 6026 §7.1, and the doubling interval most of them are made of.
//!
//! | timer | value | use |
//! |---|---|---|
//! | A | T1, doubling | INVITE client repeats, unreliable only |
//! | B | 64·T1 | INVITE client gives up |
//! | D | 32 s, 0 reliable | INVITE client absorbs repeated 3xx-6xx |
//! | E | T1, doubling to T2 | non-INVITE client repeats, unreliable only |
//! | F | 64·T1 | non-INVITE client gives up |
//! | G | T1, doubling to T2 | INVITE server repeats 3xx-6xx, unreliable only |
//! | H | 64·T1 | INVITE server stops waiting for ACK |
//! | I | T4, 0 reliable | INVITE server absorbs repeated ACKs |
//! | J | 64·T1, 0 reliable | non-INVITE server repeats its response on demand |
//! | K | T4, 0 reliable | non-INVITE client absorbs repeated responses |
//! | L, M | 64·T1 | INVITE server and client after a 2xx |

use std::time::{Duration, Instant};

/// The three values that every timer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Round-trip estimate: 500 ms.
    pub t1: Duration,
    /// Longest interval between repeats of anything but INVITE: 4 s.
    pub t2: Duration,
    /// How long a message stays in the network: 5 s.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// 64·T1: timers B, F, H, J, L and M. 32 s by default.
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }

    /// How long a request of the peer may wait for our user's answer: its timer F, less one repeat.
    pub fn patience(&self) -> Duration {
        self.give_up().saturating_sub(self.t2)
    }

    /// How long our user may take to answer an offer in a 2xx, which its sender repeats until then: a quarter of what
    /// the sender waits.
    pub fn answer_due(&self) -> Duration {
        self.give_up() / 4
    }

    /// 8·T1, 4 s by default: how long a server may be silent while another could be asked instead. By UDP the request has
    /// been sent four times then, and who is alive has answered it, an INVITE with 100 within 200 ms (§17.2.1).
    pub fn server_patience(&self) -> Duration {
        self.t1 * 8
    }

    /// T4 on datagrams, nothing on streams: timers I and K.
    pub fn absorb(&self, reliable: bool) -> Duration {
        if reliable { Duration::ZERO } else { self.t4 }
    }

    /// 64·T1 on datagrams, nothing on streams: timers D and J.
    pub fn linger(&self, reliable: bool) -> Duration {
        if reliable {
            Duration::ZERO
        } else {
            self.give_up()
        }
    }
}

/// An interval that doubles with each repeat, up to a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    next: Instant,
    interval: Duration,
    cap: Duration,
}

impl Backoff {
    /// First due `first` from now, never further apart than `cap`.
    pub fn new(now: Instant, first: Duration, cap: Duration) -> Self {
        Self {
            next: now + first,
            interval: first,
            cap,
        }
    }

    /// When the next repeat is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Takes the repeat due at `now`, if one is. A wake-up that comes late causes one repeat, not a burst.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.interval = (self.interval * 2).min(self.cap);
        self.next = now + self.interval;
        true
    }

    /// From now on every repeat comes at the cap: a non-INVITE client that has seen a 1xx (§17.1.2.2).
    pub fn flatten(&mut self) {
        self.interval = self.cap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    #[test]
    fn repeats_double_up_to_the_cap() {
        let t0 = t0();
        let timing = Timing::default();
        let mut backoff = Backoff::new(t0, timing.t1, timing.t2);
        let mut at = Vec::new();
        for _ in 0..6 {
            let next = backoff.next();
            assert!(!backoff.is_due(next.checked_sub(Duration::from_millis(1)).unwrap()));
            assert!(backoff.is_due(next));
            at.push((next - t0).as_millis());
        }
        assert_eq!(at, [500, 1500, 3500, 7500, 11_500, 15_500]);
    }

    #[test]
    fn a_late_wake_repeats_once() {
        let t0 = t0();
        let mut backoff = Backoff::new(t0, Duration::from_secs(1), Duration::from_secs(4));
        let late = t0 + Duration::from_mins(1);
        assert!(backoff.is_due(late));
        assert!(!backoff.is_due(late));
    }

    #[test]
    fn streams_do_not_linger() {
        let timing = Timing::default();
        assert_eq!(timing.linger(true), Duration::ZERO);
        assert_eq!(timing.absorb(true), Duration::ZERO);
        assert_eq!(timing.linger(false), Duration::from_secs(32));
        assert_eq!(timing.absorb(false), Duration::from_secs(5));
    }
}
