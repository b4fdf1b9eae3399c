//! INVITE client transaction: RFC 3261 §17.1.1, figure 5, with the Accepted state of RFC 6026 §7.2.
//!
//! ```text
//!             INVITE / send
//!                  │
//!     A / resend   ▼          B / tell
//!               Calling ───────────────────────────► Terminated
//!                  │ 1xx / pass up   │ 2xx / pass up
//!                  ▼                 ▼
//!              Proceeding ───────► Accepted ── M ──► Terminated     2xx / pass up
//!                  │ 300-699 / pass up, ACK
//!                  ▼
//!              Completed ── D ──► Terminated                        300-699 / ACK
//! ```
//!
//! A 2xx is acknowledged by the dialog, not here. Proceeding has no timer of its own, a phone may ring for long;
//! after a CANCEL it waits 64·T1 at most (§9.1).
//!
//! Where another server can be asked ([`InviteClient::with_patience`]), Calling ends after 8·T1 in Abandoned: nothing is
//! sent any more, and what still comes back until timer B is handled as in Calling, so that its user can end it.

use std::time::Instant;

use bytes::Bytes;

use super::{Backoff, Step, Timing};

/// The client's side of one INVITE.
#[derive(Debug)]
pub struct InviteClient {
    state: State,
    timing: Timing,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    Calling {
        request: Bytes,
        repeat: Option<Backoff>,
        /// When another server is asked.
        patience: Option<Instant>,
        give_up: Instant,
    },
    /// Another server has been asked.
    Abandoned {
        until: Instant,
    },
    Proceeding {
        /// Set by a CANCEL.
        give_up: Option<Instant>,
    },
    Accepted {
        until: Instant,
    },
    Completed {
        ack: Bytes,
        until: Instant,
    },
    Terminated,
}

impl InviteClient {
    /// `request` has been sent.
    pub fn new(now: Instant, timing: Timing, reliable: bool, request: Bytes) -> Self {
        let give_up = now + timing.give_up();
        Self {
            state: State::Calling {
                request,
                // Timer A has no cap but B.
                repeat: (!reliable).then(|| Backoff::new(now, timing.t1, timing.give_up())),
                patience: None,
                give_up,
            },
            timing,
            reliable,
        }
    }

    /// Silence is told at this instant already, not only at timer B.
    #[must_use]
    pub fn with_patience(mut self, until: Option<Instant>) -> Self {
        if let State::Calling { patience, .. } = &mut self.state {
            *patience = until;
        }
        self
    }

    /// No other server is going to be asked: timer B counts.
    pub fn handle_last(&mut self) {
        if let State::Calling { patience, .. } = &mut self.state {
            *patience = None;
        }
    }

    /// A response came.
    ///
    /// * `ack`: makes the ACK; called for the first 300-699 only.
    pub fn handle_response(
        &mut self,
        now: Instant,
        status: u16,
        ack: impl FnOnce() -> Bytes,
    ) -> Step {
        match (&self.state, status) {
            (State::Calling { .. } | State::Abandoned { .. }, ..200) => {
                self.state = State::Proceeding { give_up: None };
                Step::Deliver
            }
            (
                State::Calling { .. } | State::Abandoned { .. } | State::Proceeding { .. },
                200..300,
            ) => {
                self.state = State::Accepted {
                    until: now + self.timing.give_up(),
                };
                Step::Deliver
            }
            (State::Proceeding { .. }, ..200) | (State::Accepted { .. }, 200..300) => Step::Deliver,
            (State::Calling { .. } | State::Abandoned { .. } | State::Proceeding { .. }, _) => {
                self.complete(now, ack())
            }
            (State::Completed { ack, .. }, 300..) => Step::Send(ack.clone()),
            // 1xx after a final response, a refusal after a 2xx, anything after the end.
            _ => Step::Idle,
        }
    }

    fn complete(&mut self, now: Instant, ack: Bytes) -> Step {
        let until = now + self.timing.linger(self.reliable);
        self.state = if until > now {
            State::Completed {
                ack: ack.clone(),
                until,
            }
        } else {
            State::Terminated
        };
        Step::DeliverAndSend(ack)
    }

    /// A CANCEL for it has been sent: whoever does not answer now never will.
    pub fn handle_cancelled(&mut self, now: Instant) {
        if let State::Proceeding { give_up } = &mut self.state {
            *give_up = Some(now + self.timing.give_up());
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Calling { give_up, .. }
            | State::Abandoned { until: give_up }
            | State::Proceeding {
                give_up: Some(give_up),
            } if *give_up <= now => {
                self.state = State::Terminated;
                Step::TimedOut
            }
            State::Calling {
                patience: Some(patience),
                give_up,
                ..
            } if *patience <= now => {
                self.state = State::Abandoned { until: *give_up };
                Step::TimedOut
            }
            State::Calling {
                request,
                repeat: Some(repeat),
                ..
            } => {
                if repeat.is_due(now) {
                    Step::Send(request.clone())
                } else {
                    Step::Idle
                }
            }
            State::Accepted { until } | State::Completed { until, .. } if *until <= now => {
                self.state = State::Terminated;
                Step::Idle
            }
            // Woken early, or nothing to wait for.
            State::Calling { .. }
            | State::Abandoned { .. }
            | State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => Step::Idle,
        }
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Calling {
                repeat,
                patience,
                give_up,
                ..
            } => {
                let end = patience.map_or(*give_up, |patience| patience.min(*give_up));
                Some(repeat.map_or(end, |repeat| repeat.next().min(end)))
            }
            State::Proceeding { give_up } => *give_up,
            State::Abandoned { until }
            | State::Accepted { until }
            | State::Completed { until, .. } => Some(*until),
            State::Terminated => None,
        }
    }

    /// Nothing has come back yet, so a CANCEL would have to wait (§9.1).
    pub fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling { .. })
    }

    /// It has been given up: a CANCEL is on its way.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.state, State::Proceeding { give_up: Some(_) })
    }

    /// It waits for a final response.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding { .. })
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

    const INVITE: Bytes = Bytes::from_static(b"INVITE");
    const ACK: Bytes = Bytes::from_static(b"ACK");

    fn client(now: Instant, reliable: bool) -> InviteClient {
        InviteClient::new(now, Timing::default(), reliable, INVITE)
    }

    fn no_ack() -> Bytes {
        panic!("no ACK belongs here")
    }

    #[test]
    fn silence_is_asked_again_seven_times_and_given_up_after_timer_b() {
        let t0 = t0();
        let mut client = client(t0, false);
        let mut at = Vec::new();
        let end = loop {
            let now = client.deadline().unwrap();
            let step = client.handle_timeout(now);
            if step != Step::Send(INVITE) {
                break (now - t0, step);
            }
            at.push((now - t0).as_millis());
        };
        assert_eq!(at, [500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(end, (Duration::from_secs(32), Step::TimedOut));
        assert!(client.is_terminated());
    }

    #[test]
    fn a_provisional_stops_the_repeats() {
        let t0 = t0();
        let mut client = client(t0, false);
        assert!(client.is_calling());
        assert_eq!(client.handle_response(t0, 180, no_ack), Step::Deliver);
        assert_eq!(client.deadline(), None);
        assert_eq!(client.handle_response(t0, 183, no_ack), Step::Deliver);
    }

    #[test]
    fn every_2xx_is_passed_up_until_timer_m() {
        let t0 = t0();
        let mut client = client(t0, false);
        assert_eq!(client.handle_response(t0, 200, no_ack), Step::Deliver);
        assert_eq!(client.handle_response(t0, 200, no_ack), Step::Deliver);
        assert_eq!(client.handle_response(t0, 180, no_ack), Step::Idle);
        assert_eq!(client.handle_response(t0, 486, no_ack), Step::Idle);
        let end = t0 + Duration::from_secs(32);
        assert_eq!(client.deadline(), Some(end));
        assert_eq!(client.handle_timeout(end), Step::Idle);
        assert!(client.is_terminated());
    }

    #[test]
    fn a_refusal_is_acknowledged_each_time_it_comes() {
        let t0 = t0();
        let mut client = client(t0, false);
        let step = client.handle_response(t0, 486, || ACK);
        assert_eq!(step, Step::DeliverAndSend(ACK));
        assert_eq!(client.handle_response(t0, 486, no_ack), Step::Send(ACK));
        assert_eq!(client.handle_response(t0, 200, no_ack), Step::Idle);
        assert_eq!(client.deadline(), Some(t0 + Duration::from_secs(32)));
    }

    #[test]
    fn on_a_stream_a_refusal_ends_it() {
        let t0 = t0();
        let mut client = client(t0, true);
        assert_eq!(client.deadline(), Some(t0 + Duration::from_secs(32)));
        assert_eq!(
            client.handle_response(t0, 404, || ACK),
            Step::DeliverAndSend(ACK)
        );
        assert!(client.is_terminated());
    }

    #[test]
    fn a_cancelled_call_that_never_ends_is_given_up() {
        let t0 = t0();
        let mut client = client(t0, false);
        client.handle_response(t0, 180, no_ack);
        client.handle_cancelled(t0);
        let end = t0 + Duration::from_secs(32);
        assert_eq!(client.deadline(), Some(end));
        assert_eq!(client.handle_timeout(end), Step::TimedOut);
    }

    #[test]
    fn with_another_server_to_ask_silence_is_told_after_four_seconds_and_late_responses_are_still_ours()
     {
        let t0 = t0();
        let until = t0 + Timing::default().server_patience();
        let abandoned = || {
            let mut client = client(t0, false).with_patience(Some(until));
            let mut sent = 0;
            while client.handle_timeout(client.deadline().unwrap()) == Step::Send(INVITE) {
                sent += 1;
            }
            assert_eq!(sent, 3, "after 0.5, 1.5 and 3.5 s");
            assert!(!client.is_terminated() && !client.is_calling());
            client
        };
        let mut client = abandoned();
        let end = t0 + Duration::from_secs(32);
        assert_eq!(client.deadline(), Some(end));
        assert_eq!(client.handle_timeout(end), Step::TimedOut);
        assert!(client.is_terminated());

        let mut client = abandoned();
        assert_eq!(client.handle_response(until, 180, no_ack), Step::Deliver);
        assert!(!client.is_cancelled());
        client.handle_cancelled(until);
        assert!(client.is_cancelled());
        assert_eq!(
            client.handle_response(until, 487, || ACK),
            Step::DeliverAndSend(ACK)
        );
        assert_eq!(
            abandoned().handle_response(until, 200, no_ack),
            Step::Deliver
        );
        assert_eq!(
            abandoned().handle_response(until, 503, || ACK),
            Step::DeliverAndSend(ACK)
        );
    }

    #[test]
    fn who_has_no_other_server_after_all_waits_for_timer_b() {
        let t0 = t0();
        let mut client = client(t0, true).with_patience(Some(t0 + Duration::from_secs(4)));
        client.handle_last();
        assert_eq!(client.deadline(), Some(t0 + Duration::from_secs(32)));
    }
}
