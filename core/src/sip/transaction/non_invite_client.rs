//! Non-INVITE client transaction: RFC 3261 §17.1.2, figure 6.
//!
//! ```text
//!            request / send
//!                  │
//!     E / resend   ▼               F / tell
//!            Trying, Proceeding ──────────────► Terminated
//!                  │ 200-699 / pass up
//!                  ▼
//!              Completed ── K ──► Terminated       any response / absorb
//! ```
//!
//! Proceeding differs from Trying in one thing: it repeats every T2. Where another server can be asked
//! ([`NonInviteClient::with_patience`]), Trying ends after 8·T1.

use std::time::Instant;

use bytes::Bytes;

use super::{Backoff, Step, Timing};

/// The client's side of one request other than INVITE and ACK.
#[derive(Debug)]
pub struct NonInviteClient {
    state: State,
    timing: Timing,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    Pending {
        request: Bytes,
        repeat: Option<Backoff>,
        /// When another server is asked, if nothing at all came back.
        patience: Option<Instant>,
        give_up: Instant,
    },
    Completed {
        until: Instant,
    },
    Terminated,
}

impl NonInviteClient {
    /// `request` has been sent.
    pub fn new(now: Instant, timing: Timing, reliable: bool, request: Bytes) -> Self {
        Self {
            state: State::Pending {
                request,
                repeat: (!reliable).then(|| Backoff::new(now, timing.t1, timing.t2)),
                patience: None,
                give_up: now + timing.give_up(),
            },
            timing,
            reliable,
        }
    }

    /// Silence is told at this instant already, not only at timer F.
    #[must_use]
    pub fn with_patience(mut self, until: Option<Instant>) -> Self {
        if let State::Pending { patience, .. } = &mut self.state {
            *patience = until;
        }
        self
    }

    /// A response came.
    pub fn handle_response(&mut self, now: Instant, status: u16) -> Step {
        let State::Pending {
            repeat, patience, ..
        } = &mut self.state
        else {
            return Step::Idle;
        };
        if status < 200 {
            *patience = None;
            if let Some(repeat) = repeat {
                repeat.flatten();
            }
            return Step::Idle;
        }
        let until = now + self.timing.absorb(self.reliable);
        self.state = if until > now {
            State::Completed { until }
        } else {
            State::Terminated
        };
        Step::Deliver
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Pending {
                patience, give_up, ..
            } if patience.unwrap_or(*give_up) <= now => {
                self.state = State::Terminated;
                Step::TimedOut
            }
            State::Pending {
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
            State::Completed { until } if *until <= now => {
                self.state = State::Terminated;
                Step::Idle
            }
            // Woken early, or nothing to wait for.
            State::Pending { .. } | State::Completed { .. } | State::Terminated => Step::Idle,
        }
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Pending {
                repeat,
                patience,
                give_up,
                ..
            } => {
                let end = patience.unwrap_or(*give_up);
                Some(repeat.map_or(end, |repeat| repeat.next().min(end)))
            }
            State::Completed { until } => Some(*until),
            State::Terminated => None,
        }
    }

    /// It waits for a final response.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
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

    const BYE: Bytes = Bytes::from_static(b"BYE");

    fn repeats(t0: Instant, client: &mut NonInviteClient) -> (Vec<u128>, Duration) {
        let mut at = Vec::new();
        loop {
            let now = client.deadline().unwrap();
            let step = client.handle_timeout(now);
            if step != Step::Send(BYE) {
                assert_eq!(step, Step::TimedOut);
                return (at, now - t0);
            }
            at.push((now - t0).as_millis());
        }
    }

    #[test]
    fn silence_is_asked_again_until_timer_f() {
        let t0 = t0();
        let mut client = NonInviteClient::new(t0, Timing::default(), false, BYE);
        let (at, end) = repeats(t0, &mut client);
        assert_eq!(
            at,
            [
                500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
            ]
        );
        assert_eq!(end, Duration::from_secs(32));
        assert!(client.is_terminated());
    }

    #[test]
    fn a_provisional_slows_the_repeats_down() {
        let t0 = t0();
        let mut client = NonInviteClient::new(t0, Timing::default(), false, BYE);
        assert_eq!(client.handle_response(t0, 100), Step::Idle);
        let (at, _) = repeats(t0, &mut client);
        assert_eq!(&at[..3], [500, 4500, 8500]);
    }

    #[test]
    fn the_first_final_response_is_passed_up_and_its_repeats_absorbed() {
        let t0 = t0();
        let mut client = NonInviteClient::new(t0, Timing::default(), false, BYE);
        assert_eq!(client.handle_response(t0, 200), Step::Deliver);
        assert_eq!(client.handle_response(t0, 200), Step::Idle);
        assert!(!client.is_pending());
        let end = t0 + Duration::from_secs(5);
        assert_eq!(client.deadline(), Some(end));
        assert_eq!(client.handle_timeout(end), Step::Idle);
        assert!(client.is_terminated());
    }

    #[test]
    fn on_a_stream_it_asks_once_and_ends_with_the_answer() {
        let t0 = t0();
        let mut client = NonInviteClient::new(t0, Timing::default(), true, BYE);
        assert_eq!(client.deadline(), Some(t0 + Duration::from_secs(32)));
        assert_eq!(client.handle_response(t0, 481), Step::Deliver);
        assert!(client.is_terminated());
    }

    #[test]
    fn with_another_server_to_ask_silence_lasts_four_seconds_and_any_response_is_worth_the_full_time()
     {
        let t0 = t0();
        let patience = Some(t0 + Timing::default().server_patience());
        let silent =
            || NonInviteClient::new(t0, Timing::default(), false, BYE).with_patience(patience);
        let (at, end) = repeats(t0, &mut silent());
        assert_eq!(at, [500, 1500, 3500]);
        assert_eq!(end, Duration::from_secs(4));
        let mut trying = silent();
        trying.handle_response(t0, 100);
        let (_, end) = repeats(t0, &mut trying);
        assert_eq!(end, Duration::from_secs(32));
    }
}
