//! Every way to the end. Whoever ended it, the history says so before the leg closes, and the last action is
//! [`Action::Ended`].

use std::time::Instant;

use super::{Action, Agent, Call, Ended, Final, LINGER, Leg, Milestone, Phase, State, Timer};
use crate::agent::prompts::Prompt;
use crate::handoff;
use crate::history::{EndBy, Kind};
use crate::leg;
use crate::leg::event::Summary;
use crate::sip::endpoint::Command;
use crate::vocab::Timers;

impl Call {
    /// The caller's BYE outside a running handoff.
    pub(super) fn caller_hung_up(&mut self, now: Instant, reason: Option<&str>) {
        self.reach(now, Milestone::ByeReceived);
        let ended = if self.was_transferred() {
            Ended::transferred() // the far end carried a transfer out that we had given up on
        } else {
            Ended::caller_hung_up(reason)
        };
        self.close(now, ended);
    }

    /// The dialog died; nothing can be said in it any more.
    pub(super) fn dialog_lost(&mut self, now: Instant, by: EndBy, why: &str) {
        let ended = Ended::failed(by, why);
        if self.phase_of() == Phase::HandingOff {
            self.gone_while_handing_off(ended);
            self.feed_handoff(now, handoff::Input::DialogLost { why: why.into() });
        } else {
            self.close(now, ended);
        }
    }

    /// Refuses an INVITE.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        status: u16,
        headers: Vec<(String, String)>,
        ended: Ended,
    ) {
        self.say(Command::Reject { status, headers });
        self.reach(now, Milestone::Rejected(status));
        self.close(now, ended);
    }

    /// Hangs up.
    pub(super) fn hang_up(&mut self, now: Instant, ended: Ended) {
        self.hang_up_with(now, ended, Vec::new());
    }

    pub(super) fn hang_up_with(
        &mut self,
        now: Instant,
        ended: Ended,
        headers: Vec<(String, String)>,
    ) {
        self.say(Command::Bye { headers });
        self.reach(now, Milestone::ByeSent);
        self.close(now, ended);
    }

    /// Says goodbye, then hangs up.
    pub(super) fn leave(&mut self, now: Instant, ended: Ended) {
        if !matches!(self.leg, Leg::Open) {
            self.hang_up(now, ended);
            return;
        }
        if self.agent != Agent::Gone {
            self.detach_agent(&ended.reason);
        }
        self.tell_leg(leg::Command::Prompt(Prompt::Goodbye));
        self.timers.set(Timer::Prompt, now + self.config.prompt_max);
        self.state = State::Leaving(ended);
    }

    /// The goodbye was heard, or took too long.
    pub(super) fn prompt_ended(&mut self, now: Instant) {
        if let State::Leaving(ended) = &self.state {
            let ended = ended.clone();
            self.hang_up(now, ended);
        }
    }

    /// Signalling is over: writes the end, closes the leg.
    pub(super) fn close(&mut self, now: Instant, ended: Ended) {
        let turn = self.transcript.flush();
        self.record_turn(now, turn);
        self.record(
            now,
            Kind::Ended {
                kind: ended.kind,
                by: ended.by,
                reason: ended.reason.clone(),
            },
        );
        self.close_leg(&ended.reason);
        self.agent = Agent::Gone;
        self.timers = Timers::default();
        self.timers.set(Timer::Linger, now + LINGER);
        self.state = State::Ending(ended);
        if matches!(self.leg, Leg::None | Leg::Closed(_)) {
            self.finish(now);
        }
    }

    pub(super) fn close_leg(&mut self, reason: &str) {
        self.tell_leg(leg::Command::Close {
            reason: reason.into(),
        });
        if matches!(self.leg, Leg::Open) {
            self.leg = Leg::Closing;
        }
    }

    /// The leg is closed, or had its time.
    pub(super) fn finish(&mut self, now: Instant) {
        let State::Ending(ended) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        self.timers = Timers::default();
        let media = match std::mem::replace(&mut self.leg, Leg::None) {
            Leg::Closed(summary) => *summary,
            Leg::None | Leg::Open | Leg::Closing => Summary::default(),
        };
        tracing::debug!(kind = ended.kind.as_str(), took = ?now.saturating_duration_since(self.facts.invited_at), "call ended");
        self.actions.push_back(Action::Ended(Box::new(Final {
            ended,
            milestones: std::mem::take(&mut self.milestones),
            media,
        })));
    }
}
