//! Provisional responses that must arrive (RFC 3262), both ends, without wires.
//!
//! ```text
//! UAC                          UAS
//!  │── INVITE, Require: 100rel ─►│
//!  │◄───────── 180, RSeq: 7 ─────│  again after T1, 2·T1, 4·T1 ... until
//!  │── PRACK, RAck: 7 1 INVITE ─►│  or 64·T1, when the INVITE is refused
//!  │◄──────────────── 200 ───────│  one at a time: the next waits for this
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::sip::message::{Headers, Method, Name};
use crate::sip::transaction::{Backoff, Timing};

/// The option tag.
pub const TAG: &str = "100rel";
/// Provisionals that wait behind one that is not acknowledged.
const QUEUED: usize = 4;

/// `RAck`: which response a PRACK acknowledges (§7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RAck {
    /// `RSeq` of the response.
    pub rseq: u32,
    /// `CSeq` number of the request it answered.
    pub cseq: u32,
    /// Its method.
    pub method: Method,
}

impl RAck {
    /// Reads it; `None` when it is missing or no `RAck`.
    pub fn of(headers: &Headers) -> Option<Self> {
        let mut words = headers.get(Name::RAck)?.split_ascii_whitespace();
        let (rseq, cseq, method) = (words.next()?, words.next()?, words.next()?);
        let is_whole = words.next().is_none();
        is_whole.then_some(Self {
            rseq: number(rseq)?,
            cseq: number(cseq)?,
            method: Method::new(method),
        })
    }
}

/// `RSeq` of a provisional that must be acknowledged; `None` for an ordinary one.
pub fn rseq_of(headers: &Headers) -> Option<u32> {
    let required = headers.lists(Name::Require, TAG);
    required
        .then(|| headers.get(Name::RSeq).and_then(number))
        .flatten()
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The UAS's end, for one INVITE whose sender requires it.
#[derive(Debug)]
pub struct Reliable {
    /// `CSeq` number of the INVITE.
    cseq: u32,
    /// `RSeq` of the last one.
    rseq: u32,
    waiting: Option<Waiting>,
    queue: VecDeque<(u16, Bytes)>,
    /// A session description of ours has been acknowledged.
    settled: bool,
}

#[derive(Debug)]
struct Waiting {
    status: u16,
    response: Bytes,
    described: bool,
    /// `None` once the INVITE has its final response: PRACK is still understood, nothing is repeated (§3).
    repeat: Option<(Backoff, Instant)>,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send this response again.
    Repeat(u16, Bytes),
    /// 64·T1 without PRACK: refuse the INVITE.
    GiveUp,
}

/// There are as many provisionals in the queue as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl Reliable {
    /// For the INVITE numbered `cseq`; `first` is random (§3) and at least 1.
    pub fn new(cseq: u32, first: u32) -> Self {
        Self {
            cseq,
            rseq: first.max(1) - 1,
            waiting: None,
            queue: VecDeque::new(),
            settled: false,
        }
    }

    /// Whether the next provisional must wait.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether a 2xx must wait: what describes the session has not arrived yet (§3).
    pub fn holds_answer(&self) -> bool {
        self.waiting.as_ref().is_some_and(|one| one.described)
    }

    /// Whether the session has been described in a provisional that arrived.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The `RSeq` of the response to be sent now.
    pub fn next_rseq(&mut self) -> u32 {
        self.rseq += 1; // from below 2^31, by one per response: it cannot overflow
        self.rseq
    }

    /// A response has been sent.
    ///
    /// * `described`: it holds SDP.
    pub fn handle_sent(
        &mut self,
        now: Instant,
        timing: Timing,
        (status, response): (u16, Bytes),
        described: bool,
    ) {
        let give_up = now + timing.give_up();
        self.waiting = Some(Waiting {
            status,
            response,
            described,
            repeat: Some((Backoff::new(now, timing.t1, timing.give_up()), give_up)),
        });
    }

    /// A response that waits for the one before it.
    ///
    /// # Errors
    /// Too many wait.
    pub fn queue(&mut self, status: u16, body: Bytes) -> Result<(), QueueFull> {
        if self.queue.len() == QUEUED {
            return Err(QueueFull);
        }
        self.queue.push_back((status, body));
        Ok(())
    }

    /// A PRACK came.
    ///
    /// * returns whether it acknowledges what waits, and if so whether that described the session.
    pub fn handle_prack(&mut self, rack: &RAck) -> Option<bool> {
        let is_it =
            rack.rseq == self.rseq && rack.cseq == self.cseq && rack.method == Method::Invite;
        let waiting = self.waiting.take_if(|_| is_it)?;
        self.settled |= waiting.described;
        Some(waiting.described)
    }

    /// The next of the queue, once nothing waits.
    pub fn take_next(&mut self) -> Option<(u16, Bytes)> {
        if self.is_waiting() {
            return None;
        }
        self.queue.pop_front()
    }

    /// The INVITE has its final response.
    pub fn handle_final(&mut self) {
        self.queue.clear();
        if let Some(waiting) = &mut self.waiting {
            waiting.repeat = None;
        }
    }

    /// What is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        let Some(waiting) = &mut self.waiting else {
            return Due::Nothing;
        };
        let Some((repeat, give_up)) = &mut waiting.repeat else {
            return Due::Nothing;
        };
        if *give_up <= now {
            self.waiting = None;
            Due::GiveUp
        } else if repeat.is_due(now) {
            Due::Repeat(waiting.status, waiting.response.clone())
        } else {
            Due::Nothing
        }
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        let (repeat, give_up) = self.waiting.as_ref()?.repeat.as_ref()?;
        Some(repeat.next().min(*give_up))
    }
}

/// The UAC's end: how far one early dialog's provisionals have been taken (§4).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Taken(Option<u32>);

impl Taken {
    /// Whether this `RSeq` is the next. Repeats are done with, and what comes after a gap will come again.
    pub fn takes(&mut self, rseq: u32) -> bool {
        let is_next = self.0.is_none_or(|last| last.checked_add(1) == Some(rseq));
        if is_next {
            self.0 = Some(rseq);
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::message::Message;
    use crate::testing::t0;

    fn headers(lines: &str) -> Headers {
        let text = format!("PRACK sip:a@h SIP/2.0\r\n{lines}\r\n\r\n");
        Message::parse(&Bytes::from(text))
            .unwrap()
            .headers()
            .clone()
    }

    fn rack(rseq: u32, cseq: u32) -> RAck {
        RAck {
            rseq,
            cseq,
            method: Method::Invite,
        }
    }

    fn sent(t0: Instant, described: bool) -> Reliable {
        let mut reliable = Reliable::new(1, 776_656);
        assert_eq!(reliable.next_rseq(), 776_656);
        let response = (180, Bytes::from_static(b"180"));
        reliable.handle_sent(t0, Timing::default(), response, described);
        reliable
    }

    #[test]
    fn a_rack_is_three_words() {
        let of = |value: &str| RAck::of(&headers(&format!("RAck: {value}")));
        assert_eq!(of("776656 1  INVITE"), Some(rack(776_656, 1)));
        for wrong in [
            "",
            "1 INVITE",
            "1 1 INVITE x",
            "+1 1 INVITE",
            "1 4294967296 INVITE",
            "a 1 INVITE",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(RAck::of(&headers("X: y")), None);
    }

    #[test]
    fn only_what_is_required_and_numbered_is_acknowledged() {
        assert_eq!(rseq_of(&headers("Require: 100rel\r\nRSeq: 5")), Some(5));
        assert_eq!(rseq_of(&headers("Supported: 100rel\r\nRSeq: 5")), None);
        assert_eq!(rseq_of(&headers("Require: 100rel")), None);
        assert_eq!(rseq_of(&headers("Require: 100rel\r\nRSeq: -5")), None);
    }

    #[test]
    fn it_is_repeated_with_doubling_gaps_and_then_given_up() {
        let t0 = t0();
        let mut reliable = sent(t0, false);
        let mut at = Vec::new();
        let end = loop {
            let now = reliable.deadline().unwrap();
            match reliable.handle_timeout(now) {
                Due::Repeat(180, _) => at.push((now - t0).as_millis()),
                due @ (Due::Repeat(..) | Due::GiveUp | Due::Nothing) => break (now - t0, due),
            }
        };
        assert_eq!(at, [500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(end, (Duration::from_secs(32), Due::GiveUp));
        assert_eq!(reliable.deadline(), None);
    }

    #[test]
    fn only_the_prack_for_the_one_that_waits_ends_it() {
        let t0 = t0();
        let mut reliable = sent(t0, true);
        assert!(reliable.holds_answer());
        for wrong in [rack(776_655, 1), rack(776_657, 1), rack(776_656, 2)] {
            assert_eq!(reliable.handle_prack(&wrong), None);
        }
        let mut update = rack(776_656, 1);
        update.method = Method::Update;
        assert_eq!(reliable.handle_prack(&update), None);
        assert_eq!(reliable.handle_prack(&rack(776_656, 1)), Some(true));
        assert!(reliable.is_settled() && !reliable.holds_answer());
        assert_eq!(reliable.handle_prack(&rack(776_656, 1)), None, "once");
    }

    #[test]
    fn the_next_waits_for_the_one_before_and_the_queue_has_an_end() {
        let t0 = t0();
        let mut reliable = sent(t0, false);
        assert!(!reliable.holds_answer());
        for _ in 0..QUEUED {
            assert_eq!(reliable.queue(183, Bytes::new()), Ok(()));
        }
        assert_eq!(reliable.queue(183, Bytes::new()), Err(QueueFull));
        assert_eq!(reliable.take_next(), None);
        reliable.handle_prack(&rack(776_656, 1));
        assert_eq!(reliable.take_next(), Some((183, Bytes::new())));
        assert_eq!(reliable.next_rseq(), 776_657);
    }

    #[test]
    fn after_the_final_response_nothing_is_repeated_and_the_prack_is_still_understood() {
        let t0 = t0();
        let mut reliable = sent(t0, false);
        reliable.handle_final();
        assert_eq!(reliable.deadline(), None);
        assert_eq!(
            reliable.handle_timeout(t0 + Duration::from_mins(1)),
            Due::Nothing
        );
        assert_eq!(reliable.handle_prack(&rack(776_656, 1)), Some(false));
    }

    #[test]
    fn provisionals_are_taken_in_order() {
        let mut taken = Taken::default();
        assert!(taken.takes(7));
        assert!(!taken.takes(7), "a repeat");
        assert!(!taken.takes(9), "a gap");
        assert!(taken.takes(8));
        assert!(!taken.takes(7), "an old one");
        let mut last = Taken(Some(u32::MAX));
        assert!(!last.takes(0), "it never wraps");
    }
}
