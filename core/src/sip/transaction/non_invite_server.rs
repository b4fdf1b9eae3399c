//! Non-INVITE server transaction: RFC 3261 §17.2.2, figure 8.
//!
//! ```text
//!     request / pass up
//!            │
//!            ▼  200-699 / send
//!         Trying ─────────────► Completed ── J ──► Terminated
//!     repeat / absorb           repeat / resend
//! ```
//!
//! There is no Proceeding: we never send a 1xx to these (RFC 4320 §4.1 says so too). One thing is added: a request
//! that its user never answers is forgotten after 64·T1, when its sender has given up (timer F) and RFC 4320 §4.2
//! forbids a late answer.

use std::time::Instant;

use bytes::Bytes;

use super::{AlreadyAnswered, Step, Timing};

/// The server's side of one request other than INVITE and ACK.
#[derive(Debug)]
pub struct NonInviteServer {
    state: State,
    timing: Timing,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    Trying { give_up: Instant },
    Completed { response: Bytes, until: Instant },
    Terminated,
}

impl NonInviteServer {
    /// A request came.
    pub fn new(now: Instant, timing: Timing, reliable: bool) -> Self {
        Self {
            state: State::Trying {
                give_up: now + timing.give_up(),
            },
            timing,
            reliable,
        }
    }

    /// The same request came again.
    pub fn handle_repeat(&self) -> Step {
        match &self.state {
            State::Completed { response, .. } => Step::Send(response.clone()),
            State::Trying { .. } | State::Terminated => Step::Idle,
        }
    }

    /// The user answers, once, with a final response.
    ///
    /// # Errors
    /// [`AlreadyAnswered`] the second time, and after the end.
    pub fn respond(&mut self, now: Instant, response: &Bytes) -> Result<Step, AlreadyAnswered> {
        if !matches!(self.state, State::Trying { .. }) {
            return Err(AlreadyAnswered);
        }
        let until = now + self.timing.linger(self.reliable);
        self.state = if until > now {
            State::Completed {
                response: response.clone(),
                until,
            }
        } else {
            State::Terminated
        };
        Ok(Step::Send(response.clone()))
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        match self.state {
            State::Trying { give_up } if give_up <= now => {
                self.state = State::Terminated;
                Step::TimedOut
            }
            State::Completed { until, .. } if until <= now => {
                self.state = State::Terminated;
                Step::Idle
            }
            // Woken early.
            State::Trying { .. } | State::Completed { .. } | State::Terminated => Step::Idle,
        }
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Trying { give_up } => Some(give_up),
            State::Completed { until, .. } => Some(until),
            State::Terminated => None,
        }
    }

    /// It can be forgotten.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::t0;

    const OK: Bytes = Bytes::from_static(b"200");

    #[test]
    fn a_repeat_is_absorbed_until_there_is_an_answer_and_gets_it_then() {
        let t0 = t0();
        let mut server = NonInviteServer::new(t0, Timing::default(), false);
        assert_eq!(server.handle_repeat(), Step::Idle);
        assert_eq!(server.respond(t0, &OK), Ok(Step::Send(OK)));
        assert_eq!(server.handle_repeat(), Step::Send(OK));
        assert_eq!(server.respond(t0, &OK), Err(AlreadyAnswered));
        assert_eq!(server.deadline(), Some(t0 + Duration::from_secs(32)));
        assert_eq!(
            server.handle_timeout(t0 + Duration::from_secs(32)),
            Step::Idle
        );
        assert!(server.is_terminated());
    }

    #[test]
    fn on_a_stream_the_answer_ends_it() {
        let mut server = NonInviteServer::new(t0(), Timing::default(), true);
        assert!(server.respond(t0(), &OK).is_ok());
        assert!(server.is_terminated());
    }

    #[test]
    fn an_unanswered_request_is_forgotten_when_its_sender_has_given_up() {
        let t0 = t0();
        let mut server = NonInviteServer::new(t0, Timing::default(), false);
        assert_eq!(
            server.handle_timeout(t0 + Duration::from_secs(31)),
            Step::Idle
        );
        assert_eq!(
            server.handle_timeout(t0 + Duration::from_secs(32)),
            Step::TimedOut
        );
        assert_eq!(
            server.respond(t0 + Duration::from_secs(33), &OK),
            Err(AlreadyAnswered)
        );
    }
}
