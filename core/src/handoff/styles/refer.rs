//! Blind transfer: REFER in the dialog, its outcome by NOTIFY (RFC 3515, RFC 5589 §6).
//!
//! ```text
//!               202            NOTIFY 1xx            NOTIFY 2xx            our BYE
//! Unanswered ─────────► Accepted ─────────► Accepted ──────────► transferred
//!     │ 3xx-6xx             │ NOTIFY 3xx-6xx, silence
//!     ▼                     ▼
//!   failed                failed          terminated without a word ► Unsettled ─ grace ► failed
//!                                         far end's BYE             ► HungUp ──── grace ► unconfirmed
//! ```
//!
//! NOTIFY may overtake the 202 and may follow either side's BYE, so every state knows it. That the refer-handler
//! was asked for the key is proof that the far end is carrying the transfer out, but not that it is done: it
//! decides only when nothing better comes.

use std::time::Instant;

use super::Verdict;
use crate::handoff::config::Timeouts;
use crate::handoff::{Evidence, FailureKind, HandoffState, Input};
use crate::sip::message::reason_phrase;
use crate::vocab::Timers;

/// The transferor's side of one REFER.
#[derive(Debug)]
pub(in crate::handoff) struct Refer {
    state: State,
    proof: Proof,
    timers: Timers<Timer>,
    timeouts: Timeouts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No final answer to the REFER yet.
    Unanswered,
    /// The far end took it on.
    Accepted,
    /// The subscription ended without saying how.
    Unsettled,
    /// The far end hung up before the REFER was answered.
    HungUpUnanswered,
    /// The far end hung up after it had accepted.
    HungUp,
}

/// What the refer-handler has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    None,
    KeyRead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The REFER's final answer.
    Answer,
    /// The next NOTIFY.
    Notify,
    /// Everything.
    Total,
    /// Late proof.
    Grace,
}

impl Refer {
    /// The REFER leaves now.
    pub(in crate::handoff) fn sent(now: Instant, timeouts: Timeouts) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Answer, now + timeouts.refer);
        timers.set(Timer::Total, now + timeouts.total);
        Self {
            state: State::Unanswered,
            proof: Proof::None,
            timers,
            timeouts,
        }
    }

    pub(super) fn handle_input(&mut self, now: Instant, input: &Input) -> Option<Verdict> {
        match input {
            Input::ReferAnswered { status, reason } => self.answered(now, *status, reason),
            Input::Notified { sipfrag, last } => self.notified(now, sipfrag.as_ref(), *last),
            Input::KeyRead => self.key_read(),
            Input::Bye { reason } => self.hung_up(now, reason.as_deref()),
            Input::NotSent { why } => {
                Some(Verdict::Failed(FailureKind::Refused, Evidence::reason(why)))
            }
            Input::DialogLost { why } => {
                Some(self.gone(FailureKind::CallEnded, Evidence::reason(why)))
            }
            // The BYE is ours only after the outcome; the rest belongs to what came before the REFER.
            Input::ByeAnswered { .. } | Input::Committed(_) | Input::Marked { .. } => None,
        }
    }

    fn answered(&mut self, now: Instant, status: u16, reason: &str) -> Option<Verdict> {
        let accepted = (200..300).contains(&status);
        match (self.state, accepted) {
            (State::Unanswered, true) => {
                self.accept(now);
                Some(Verdict::Progress(
                    HandoffState::Trying,
                    Evidence::status(status, reason),
                ))
            }
            (State::Unanswered, false) if status == 408 => Some(Verdict::Failed(
                FailureKind::NoAnswer,
                Evidence::status(status, reason),
            )),
            (State::Unanswered, false) => Some(Verdict::Failed(
                FailureKind::Refused,
                Evidence::status(status, reason),
            )),
            (State::HungUpUnanswered, true) => {
                self.state = State::HungUp;
                self.timers.set(Timer::Grace, now + self.timeouts.grace);
                None
            }
            // The REFER crossed the caller's BYE: 481 as a rule.
            (State::HungUpUnanswered, false) => Some(Verdict::FailedAndGone(
                FailureKind::CallerHungUp,
                Evidence::status(status, reason),
            )),
            // A NOTIFY has told more already.
            (State::Accepted | State::Unsettled | State::HungUp, _) => None,
        }
    }

    fn accept(&mut self, now: Instant) {
        self.state = State::Accepted;
        self.timers.cancel(Timer::Answer);
        self.timers.set(Timer::Notify, now + self.timeouts.notify);
    }

    fn notified(
        &mut self,
        now: Instant,
        sipfrag: Option<&(u16, String)>,
        last: bool,
    ) -> Option<Verdict> {
        match sipfrag {
            Some((status @ 200..=299, phrase)) => {
                let evidence = Evidence::sipfrag(*status, phrase);
                Some(if self.is_gone() {
                    Verdict::TransferredAndGone(evidence)
                } else {
                    Verdict::Transferred(evidence)
                })
            }
            Some((status @ 300.., phrase)) => {
                Some(self.target_failed(Evidence::sipfrag(*status, phrase)))
            }
            Some(_) | None if last => self.unsettled(now),
            Some((status, phrase)) => self.progress(now, *status, phrase),
            // No status line, more to come: it says that somebody is there, and nothing else.
            None => {
                self.restart_progress(now);
                None
            }
        }
    }

    fn target_failed(&self, evidence: Evidence) -> Verdict {
        if self.is_gone() {
            Verdict::FailedAndGone(FailureKind::TargetFailed, evidence)
        } else {
            Verdict::Failed(FailureKind::TargetFailed, evidence)
        }
    }

    fn progress(&mut self, now: Instant, status: u16, phrase: &str) -> Option<Verdict> {
        self.restart_progress(now);
        let state = match status {
            180 | 183 => HandoffState::Ringing,
            _ => HandoffState::Trying,
        };
        (!self.is_gone()).then(|| Verdict::Progress(state, Evidence::sipfrag(status, phrase)))
    }

    /// A NOTIFY before the 202 says that the REFER has arrived, which is what the 202 would say.
    fn restart_progress(&mut self, now: Instant) {
        match self.state {
            State::Unanswered => self.accept(now),
            State::HungUpUnanswered => {
                self.state = State::HungUp;
                return;
            }
            State::Accepted => {}
            State::Unsettled | State::HungUp => return,
        }
        self.timers.set(Timer::Notify, now + self.timeouts.progress);
    }

    /// The last NOTIFY says nothing: a BYE may still tell, if the key was read (RFC 5589 leaves this open).
    fn unsettled(&mut self, now: Instant) -> Option<Verdict> {
        match self.state {
            State::Unanswered | State::Accepted => {
                self.state = State::Unsettled;
                self.timers = Timers::default();
                self.timers.set(Timer::Grace, now + self.timeouts.grace);
            }
            State::HungUpUnanswered => self.state = State::HungUp,
            State::Unsettled | State::HungUp => {}
        }
        None
    }

    fn key_read(&mut self) -> Option<Verdict> {
        self.proof = Proof::KeyRead;
        self.is_gone()
            .then(|| Verdict::TransferredAndGone(Evidence::key_read()))
    }

    fn hung_up(&mut self, now: Instant, reason: Option<&str>) -> Option<Verdict> {
        if self.proof == Proof::KeyRead {
            return Some(Verdict::TransferredAndGone(Evidence::key_read()));
        }
        tracing::debug!(?reason, "the far end hung up during its transfer");
        self.state = match self.state {
            State::Unanswered | State::HungUpUnanswered => State::HungUpUnanswered,
            State::Accepted | State::Unsettled | State::HungUp => State::HungUp,
        };
        self.timers = Timers::default();
        self.timers.set(Timer::Grace, now + self.timeouts.grace);
        None
    }

    /// The verdict when the dialog is gone and nothing more can come.
    fn gone(&self, kind: FailureKind, evidence: Evidence) -> Verdict {
        match (self.proof, self.state) {
            (Proof::KeyRead, _) => Verdict::TransferredAndGone(Evidence::key_read()),
            (Proof::None, State::Unanswered | State::HungUpUnanswered) => {
                Verdict::FailedAndGone(kind, evidence)
            }
            (Proof::None, State::Accepted | State::Unsettled | State::HungUp) => {
                Verdict::Unconfirmed(evidence)
            }
        }
    }

    const fn is_gone(&self) -> bool {
        matches!(self.state, State::HungUp | State::HungUpUnanswered)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Verdict> {
        let timer = self.timers.expire(now)?;
        if self.is_gone() {
            let why = "the far end hung up and never said how the transfer went";
            return Some(self.gone(FailureKind::CallerHungUp, Evidence::reason(why)));
        }
        if self.proof == Proof::KeyRead {
            return Some(Verdict::Transferred(Evidence::key_read()));
        }
        let (kind, why) = match timer {
            Timer::Answer => (FailureKind::NoAnswer, "no answer to the REFER"),
            Timer::Notify => (FailureKind::Silent, "accepted, then no NOTIFY"),
            Timer::Total => (
                FailureKind::Silent,
                "no outcome within the time for a handoff",
            ),
            Timer::Grace => (
                FailureKind::Silent,
                "the subscription ended without an outcome",
            ),
        };
        Some(Verdict::Failed(kind, Evidence::reason(why)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Evidence {
    fn status(status: u16, phrase: &str) -> Self {
        Self {
            sip_status: Some(status),
            reason: Some(spoken(status, phrase)),
            sipfrag: None,
        }
    }

    fn sipfrag(status: u16, phrase: &str) -> Self {
        let phrase = spoken(status, phrase);
        Self {
            sip_status: Some(status),
            sipfrag: Some(format!("SIP/2.0 {status} {phrase}")),
            reason: Some(phrase),
        }
    }

    fn key_read() -> Self {
        Self::reason("the refer-handler was asked for the key")
    }
}

/// The peer's own phrase, bounded; RFC 3261's when it has none.
fn spoken(status: u16, phrase: &str) -> String {
    let phrase = phrase.trim();
    if phrase.is_empty() {
        reason_phrase(status).into()
    } else {
        phrase.chars().take(200).collect()
    }
}
