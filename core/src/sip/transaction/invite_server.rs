//! INVITE server transaction: RFC 3261 §17.2.1, figure 7, with the Accepted state of RFC 6026 §7.1.
//!
//! ```text
//!               INVITE / pass up, 100
//!                        │
//!          1xx / send ┌──▼───────┐ 2xx / send
//!        repeat / 1xx └Proceeding┴──────────────► Accepted ── L ──► Terminated
//!                        │ 300-699 / send           repeat / absorb, ACK / pass up
//!            G / resend  ▼
//!        repeat / resend Completed ── H / tell ──► Terminated
//!                        │ ACK
//!                        ▼
//!                     Confirmed ── I ──► Terminated      repeat, ACK / absorb
//! ```
//!
//! Repeating a 2xx until its ACK is not done here: it is the dialog's work (§13.3.1.4).

use std::time::Instant;

use bytes::Bytes;

use super::{AlreadyAnswered, Backoff, Step, Timing};

/// The server's side of one INVITE.
#[derive(Debug)]
pub struct InviteServer {
    state: State,
    timing: Timing,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    Proceeding {
        /// What a repeated INVITE is answered with.
        provisional: Bytes,
    },
    Accepted {
        until: Instant,
    },
    Completed {
        response: Bytes,
        repeat: Option<Backoff>,
        give_up: Instant,
    },
    Confirmed {
        until: Instant,
    },
    Terminated,
}

impl InviteServer {
    /// An INVITE came and `provisional`, a 100, has been sent.
    pub fn new(timing: Timing, reliable: bool, provisional: Bytes) -> Self {
        Self {
            state: State::Proceeding { provisional },
            timing,
            reliable,
        }
    }

    /// The same INVITE came again.
    pub fn handle_repeat(&self) -> Step {
        match &self.state {
            State::Proceeding { provisional } => Step::Send(provisional.clone()),
            State::Completed { response, .. } => Step::Send(response.clone()),
            State::Accepted { .. } | State::Confirmed { .. } | State::Terminated => Step::Idle,
        }
    }

    /// An ACK came that belongs here: with our branch, or for our 2xx by a peer that reuses it.
    pub fn handle_ack(&mut self, now: Instant) -> Step {
        match self.state {
            State::Accepted { .. } => Step::Deliver,
            State::Completed { .. } => {
                let until = now + self.timing.absorb(self.reliable);
                self.state = if until > now {
                    State::Confirmed { until }
                } else {
                    State::Terminated
                };
                Step::Idle
            }
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => Step::Idle,
        }
    }

    /// The user answers.
    ///
    /// * `status`: 100-699. A 2xx may be given again while Accepted.
    ///
    /// # Errors
    /// [`AlreadyAnswered`] once a final response was given.
    pub fn respond(
        &mut self,
        now: Instant,
        status: u16,
        response: &Bytes,
    ) -> Result<Step, AlreadyAnswered> {
        let step = Step::Send(response.clone());
        let give_up = now + self.timing.give_up();
        self.state = match (&self.state, status) {
            (State::Proceeding { .. }, ..200) => State::Proceeding {
                provisional: response.clone(),
            },
            (State::Proceeding { .. }, 200..300) => State::Accepted { until: give_up },
            (State::Proceeding { .. }, _) => State::Completed {
                response: response.clone(),
                repeat: (!self.reliable).then(|| Backoff::new(now, self.timing.t1, self.timing.t2)),
                give_up,
            },
            (State::Accepted { .. }, 200..300) => return Ok(step),
            // A second final response, or any after the end.
            _ => return Err(AlreadyAnswered),
        };
        Ok(step)
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Accepted { until } | State::Confirmed { until } if *until <= now => {
                self.state = State::Terminated;
                Step::Idle
            }
            State::Completed { give_up, .. } if *give_up <= now => {
                self.state = State::Terminated;
                Step::TimedOut
            }
            State::Completed {
                repeat: Some(repeat),
                response,
                ..
            } => {
                if repeat.is_due(now) {
                    Step::Send(response.clone())
                } else {
                    Step::Idle
                }
            }
            // Woken early, or nothing to wait for.
            State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Confirmed { .. }
            | State::Terminated => Step::Idle,
        }
    }

    /// The earliest deadline; `None` while Proceeding, which lasts as long as the user likes.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Proceeding { .. } | State::Terminated => None,
            State::Accepted { until } | State::Confirmed { until } => Some(*until),
            State::Completed {
                repeat, give_up, ..
            } => Some(repeat.map_or(*give_up, |repeat| repeat.next().min(*give_up))),
        }
    }

    /// No final response yet.
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
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

    const TRYING: Bytes = Bytes::from_static(b"100");
    const RINGING: Bytes = Bytes::from_static(b"180");
    const OK: Bytes = Bytes::from_static(b"200");
    const BUSY: Bytes = Bytes::from_static(b"486");

    fn server(reliable: bool) -> InviteServer {
        InviteServer::new(Timing::default(), reliable, TRYING)
    }

    #[test]
    fn a_repeated_invite_gets_the_last_provisional() {
        let mut server = server(false);
        assert_eq!(server.handle_repeat(), Step::Send(TRYING));
        assert_eq!(server.respond(t0(), 180, &RINGING), Ok(Step::Send(RINGING)));
        assert_eq!(server.handle_repeat(), Step::Send(RINGING));
        assert_eq!(server.deadline(), None);
    }

    #[test]
    fn after_a_2xx_repeats_are_absorbed_and_acks_passed_up() {
        let (t0, mut server) = (t0(), server(false));
        assert_eq!(server.respond(t0, 200, &OK), Ok(Step::Send(OK)));
        assert_eq!(server.handle_repeat(), Step::Idle);
        assert_eq!(server.handle_ack(t0), Step::Deliver);
        assert_eq!(server.respond(t0, 200, &OK), Ok(Step::Send(OK)));
        assert_eq!(server.respond(t0, 486, &BUSY), Err(AlreadyAnswered));
        assert_eq!(server.deadline(), Some(t0 + Duration::from_secs(32)));
        assert_eq!(
            server.handle_timeout(t0 + Duration::from_secs(32)),
            Step::Idle
        );
        assert!(server.is_terminated());
    }

    #[test]
    fn a_refusal_is_repeated_until_its_ack() {
        let (t0, mut server) = (t0(), server(false));
        assert_eq!(server.respond(t0, 486, &BUSY), Ok(Step::Send(BUSY)));
        let mut repeats = 0;
        let mut now = t0;
        while repeats < 3 {
            now = server.deadline().unwrap();
            assert_eq!(server.handle_timeout(now), Step::Send(BUSY));
            repeats += 1;
        }
        assert_eq!(now - t0, Duration::from_millis(3500));
        assert_eq!(server.handle_repeat(), Step::Send(BUSY));
        assert_eq!(server.handle_ack(now), Step::Idle);
        assert_eq!(server.handle_repeat(), Step::Idle);
        assert_eq!(server.handle_ack(now), Step::Idle);
        assert_eq!(server.deadline(), Some(now + Duration::from_secs(5)));
        assert_eq!(
            server.handle_timeout(now + Duration::from_secs(5)),
            Step::Idle
        );
        assert!(server.is_terminated());
    }

    #[test]
    fn a_refusal_nobody_acknowledges_ends_after_timer_h() {
        let (t0, mut server) = (t0(), server(false));
        assert!(server.respond(t0, 603, &BUSY).is_ok());
        let mut sent = 0;
        let last = loop {
            let now = server.deadline().unwrap();
            let step = server.handle_timeout(now);
            if step != Step::Send(BUSY) {
                break (now, step);
            }
            sent += 1;
        };
        assert_eq!(last, (t0 + Duration::from_secs(32), Step::TimedOut));
        assert_eq!(sent, 10);
        assert!(server.is_terminated());
    }

    #[test]
    fn on_a_stream_nothing_is_repeated_and_the_ack_ends_it() {
        let (t0, mut server) = (t0(), server(true));
        assert!(server.respond(t0, 486, &BUSY).is_ok());
        assert_eq!(server.deadline(), Some(t0 + Duration::from_secs(32)));
        assert_eq!(server.handle_ack(t0), Step::Idle);
        assert!(server.is_terminated());
    }

    #[test]
    fn an_ack_out_of_nowhere_changes_nothing() {
        let mut server = server(false);
        assert_eq!(server.handle_ack(t0()), Step::Idle);
        assert!(server.is_proceeding());
    }
}
