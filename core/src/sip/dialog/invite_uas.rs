//! The UAS's work after a 2xx (RFC 3261 §13.3.1.4): repeat it until its ACK comes, on streams too, because a proxy
//! between us and the caller may lose what a stream delivered.

use std::time::Instant;

use bytes::Bytes;

use crate::sip::transaction::{Backoff, Timing};

/// A 2xx of ours that has not been acknowledged. One for the INVITE, one for each re-INVITE.
#[derive(Debug)]
pub struct Unacknowledged {
    cseq: u32,
    response: Bytes,
    repeat: Backoff,
    give_up: Instant,
}

/// What is due for an unacknowledged 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send it again.
    Repeat(Bytes),
    /// 64·T1 have passed: hang up.
    GiveUp,
}

impl Unacknowledged {
    /// `response`, a 2xx to the INVITE numbered `cseq`, has been sent.
    pub fn new(now: Instant, timing: Timing, cseq: u32, response: Bytes) -> Self {
        Self {
            cseq,
            response,
            repeat: Backoff::new(now, timing.t1, timing.t2),
            give_up: now + timing.give_up(),
        }
    }

    /// Whether an ACK with this `CSeq` number is the one waited for.
    pub fn is_acknowledged_by(&self, cseq: u32) -> bool {
        self.cseq == cseq
    }

    /// What is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        if self.give_up <= now {
            Due::GiveUp
        } else if self.repeat.is_due(now) {
            Due::Repeat(self.response.clone())
        } else {
            Due::Nothing
        }
    }

    /// When to look again.
    pub fn deadline(&self) -> Instant {
        self.repeat.next().min(self.give_up)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::t0;

    #[test]
    fn a_2xx_is_repeated_ten_times_and_then_given_up() {
        let t0 = t0();
        let response = Bytes::from_static(b"200");
        let mut waiting = Unacknowledged::new(t0, Timing::default(), 7, response.clone());
        assert!(waiting.is_acknowledged_by(7));
        assert!(!waiting.is_acknowledged_by(6));
        assert_eq!(waiting.handle_timeout(t0), Due::Nothing);
        let mut repeats = 0;
        let end = loop {
            let now = waiting.deadline();
            let due = waiting.handle_timeout(now);
            if due != Due::Repeat(response.clone()) {
                break (now - t0, due);
            }
            repeats += 1;
        };
        assert_eq!(repeats, 10);
        assert_eq!(end, (Duration::from_secs(32), Due::GiveUp));
    }
}
