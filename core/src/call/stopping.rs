//! The node is being stopped under a call. The caller is handed to a human where there is one to go to, and hears a
//! goodbye where there is none; either way the history says why.

use std::time::Instant;

use super::{Call, Ended, Leg, Meanwhile, Milestone, Phase, State};
use crate::agent::prompts::Prompt;
use crate::handoff;
use crate::leg;
use crate::sip::endpoint::Command;

/// Seconds after which a caller who was ringing may try again: another node, or this one after its restart.
const RETRY_AFTER: u64 = 5;

impl Call {
    /// There is time for a handoff, or for a goodbye. Told twice it counts once.
    #[expect(
        clippy::match_same_arms,
        reason = "a table: each row says why it does what it does"
    )]
    pub(super) fn stop_gently(&mut self, now: Instant) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        match self.phase_of() {
            Phase::Offered | Phase::Ringing => self.send_elsewhere(now),
            Phase::Answering | Phase::Talking => self.pass_on(now),
            // The caller is on the way to a human already; only back to the agent there is no way.
            Phase::HandingOff => {
                if let State::HandingOff { handoff, .. } = &mut self.state {
                    handoff.forbid_resume();
                }
            }
            // The goodbye is being said.
            Phase::Leaving => {}
            Phase::Ending | Phase::Ended => {}
        }
    }

    /// There is no time.
    pub(super) fn stop_at_once(&mut self, now: Instant) {
        self.is_stopping = true;
        match self.phase_of() {
            Phase::Offered | Phase::Ringing => self.send_elsewhere(now),
            Phase::Answering | Phase::Talking | Phase::Leaving => {
                self.hang_up(now, Ended::stopped());
            }
            Phase::HandingOff => self.break_off(now),
            Phase::Ending | Phase::Ended => {}
        }
    }

    /// 503: whoever routes calls knows another node.
    fn send_elsewhere(&mut self, now: Instant) {
        let seconds = RETRY_AFTER + self.entropy.below(RETRY_AFTER + 1);
        let headers = vec![("Retry-After".to_owned(), seconds.to_string())];
        self.reject(now, 503, headers, Ended::stopped());
    }

    /// To a human, with a word to the caller first: the agent falls silent in the middle of its sentence.
    fn pass_on(&mut self, now: Instant) {
        self.detach_agent("the node is being stopped");
        self.handoff_config.on_failure = handoff::OnFailure::Hangup;
        let prompt = Prompt::Connecting;
        let heard = self.is_heard();
        let request = handoff::Request {
            reason: Some("shutdown".into()),
            say_first: heard.then(|| super::talking::prompt_mark(prompt)),
            ..handoff::Request::default()
        };
        if let Err(error) = self.begin_handoff(now, &request) {
            tracing::debug!(%error, "the node stops, and the caller cannot be handed over");
            return self.say_goodbye(now);
        }
        if heard {
            self.tell_leg(leg::Command::Prompt(prompt));
        }
    }

    /// A caller who put us on hold hears nothing, so nothing is said.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        if self.is_heard() {
            self.leave(now, Ended::stopped());
        } else {
            self.hang_up(now, Ended::stopped());
        }
    }

    /// Whether the caller hears what we play.
    const fn is_heard(&self) -> bool {
        matches!(self.leg, Leg::Open) && !self.media.held
    }

    /// A handoff that runs out of time: what is known of it is written down, and the caller is let go.
    fn break_off(&mut self, now: Instant) {
        let ended = Ended::stopped();
        if !self.is_answered() {
            return self.send_elsewhere(now); // a redirect was under way
        }
        let State::HandingOff { meanwhile, .. } = &self.state else {
            return;
        };
        if !matches!(meanwhile, Meanwhile::Gone(_)) {
            self.say(Command::Bye {
                headers: Vec::new(),
            });
            self.reach(now, Milestone::ByeSent);
            self.gone_while_handing_off(ended.clone());
        }
        let why = ended.reason.clone();
        self.feed_handoff(now, handoff::Input::DialogLost { why });
        // A handoff that is its own BYE waits for the answer to it.
        if self.phase_of() == Phase::HandingOff {
            self.close(now, ended);
        }
    }
}
