//! The handoff inside the call: its actions are carried out here, and its outcome is the call's next state.

use std::time::Instant;

use super::{Action, Agent, Call, Ended, Meanwhile, Milestone, Phase, State};
use crate::agent::{self, HandoffUpdate};
use crate::handoff::{self, Caller, Handoff, OnFailure, Outcome, Request, RequestError, Style};
use crate::history::{EndBy, FailureKind, HandoffState, HandoffStep, Kind};
use crate::sip::endpoint::Command;
use crate::vocab::HandoffId;

impl Call {
    /// Begins a handoff of an answered call.
    pub(super) fn begin_handoff(
        &mut self,
        now: Instant,
        request: &Request,
    ) -> Result<HandoffId, RequestError> {
        match self.phase_of() {
            Phase::HandingOff => return Err(RequestError::Busy),
            Phase::Offered | Phase::Ringing | Phase::Ending | Phase::Ended => {
                return Err(RequestError::NoCall);
            }
            Phase::Answering | Phase::Talking | Phase::Leaving => {}
        }
        let id = HandoffId::generate(&mut self.entropy);
        let handoff = Handoff::begin(
            now,
            id.clone(),
            &self.handoff_config,
            request,
            &self.caller(),
        )?;
        self.run(now, handoff);
        Ok(id)
    }

    /// Sends the caller on before the answer.
    pub(super) fn begin_redirect(
        &mut self,
        now: Instant,
        request: &Request,
    ) -> Result<(), RequestError> {
        let id = HandoffId::generate(&mut self.entropy);
        let handoff = Handoff::redirect(now, id, &self.handoff_config, request, &self.caller())?;
        self.run(now, handoff);
        Ok(())
    }

    fn caller(&self) -> Caller<'_> {
        Caller {
            key: self.facts.key,
            allows_refer: self.facts.allows_refer,
            placement: self.facts.placement,
            us: self.facts.us.as_deref(),
        }
    }

    fn run(&mut self, now: Instant, handoff: Handoff) {
        self.timers.cancel(super::Timer::Prompt);
        self.timers.cancel(super::Timer::Ring);
        self.state = State::HandingOff {
            handoff: Box::new(handoff),
            meanwhile: Meanwhile::Nothing,
        };
        self.serve_handoff(now);
    }

    /// A handoff that cannot even begin: the agent is told why. The history shows it when the caller could have
    /// been handed over, had it been asked for rightly.
    pub(super) fn refuse_handoff(&mut self, now: Instant, request: &Request, error: &RequestError) {
        tracing::warn!(%error, "handoff refused");
        let id = HandoffId::generate(&mut self.entropy);
        let target = request
            .target
            .as_ref()
            .or(self.handoff_config.target.as_ref());
        let mut target = target.cloned().unwrap_or_default();
        target.truncate(target.floor_char_boundary(200));
        let step = HandoffStep {
            id,
            state: HandoffState::Failed,
            style: Style::Refer.as_str().into(),
            target,
            sip_status: None,
            reason: Some(error.to_string()),
            sipfrag: None,
            summary: None,
            failure: Some(FailureKind::Invalid),
        };
        if matches!(error, RequestError::Busy | RequestError::NoCall) {
            self.tell_agent_of(Style::Refer, &step);
        } else {
            self.report(now, Style::Refer, step);
        }
    }

    /// To the handoff that runs, or to the last one: its proof may come late.
    #[expect(
        clippy::match_same_arms,
        reason = "a table: each row says why it does what it does"
    )]
    pub(super) fn feed_handoff(&mut self, now: Instant, input: handoff::Input) {
        match &mut self.state {
            State::HandingOff { handoff, .. } => handoff.handle_input(now, input),
            State::Talking {
                past: Some(handoff),
            } => handoff.handle_input(now, input),
            State::Offered
            | State::Ringing
            | State::Answering
            | State::Talking { past: None }
            | State::Leaving(_)
            | State::Ending(_)
            | State::Ended => return,
        }
        self.serve_handoff(now);
    }

    pub(super) fn serve_handoff(&mut self, now: Instant) {
        while let Some(action) = self.next_handoff_action() {
            self.carry_out(now, action);
        }
    }

    #[expect(
        clippy::match_same_arms,
        reason = "a table: each row says why it does what it does"
    )]
    fn next_handoff_action(&mut self) -> Option<handoff::Action> {
        match &mut self.state {
            State::HandingOff { handoff, .. } => handoff.poll_action(),
            State::Talking {
                past: Some(handoff),
            } => handoff.poll_action(),
            State::Offered
            | State::Ringing
            | State::Answering
            | State::Talking { past: None }
            | State::Leaving(_)
            | State::Ending(_)
            | State::Ended => None,
        }
    }

    fn carry_out(&mut self, now: Instant, action: handoff::Action) {
        match action {
            handoff::Action::Report(style, step) => self.report(now, style, *step),
            handoff::Action::Commit => {
                let turn = self.transcript.flush();
                self.record_turn(now, turn);
                if let State::HandingOff { handoff, .. } = &self.state {
                    let handoff = handoff.id().clone();
                    self.actions.push_back(Action::Commit { handoff });
                }
            }
            handoff::Action::Refer(receipt, refer) => {
                self.reach(now, Milestone::Referred);
                let mut headers = refer.headers;
                headers.extend(
                    refer
                        .contact_headers
                        .map(|text| ("Contact".to_owned(), text)),
                );
                let refer_to = refer.refer_to;
                let command = Command::Refer { refer_to, headers };
                self.actions.push_back(Action::Refer(receipt, command));
            }
            handoff::Action::HangUpAndReturn(receipt, headers) => {
                self.reach(now, Milestone::ByeSent);
                self.actions
                    .push_back(Action::HangUpAndReturn(receipt, Command::Bye { headers }));
            }
            handoff::Action::Redirect(receipt, contact) => {
                self.reach(now, Milestone::Rejected(302));
                let headers = vec![("Contact".to_owned(), contact)];
                let command = Command::Reject {
                    status: 302,
                    headers,
                };
                self.actions.push_back(Action::Redirect(receipt, command));
            }
            handoff::Action::Finish(outcome) => self.finish_handoff(now, outcome),
        }
    }

    fn report(&mut self, now: Instant, style: Style, step: HandoffStep) {
        let what = Milestone::Handoff {
            state: step.state,
            style: style.as_str(),
            status: step.sip_status,
        };
        self.reach(now, what);
        self.tell_agent_of(style, &step);
        self.record(now, Kind::Handoff(Box::new(step)));
    }

    fn tell_agent_of(&mut self, style: Style, step: &HandoffStep) {
        self.tell_agent(agent::Command::Handoff(HandoffUpdate {
            id: step.id.clone(),
            state: step.state.as_str(),
            style: style.as_str(),
            sip_status: step.sip_status,
            reason: step.reason.clone(),
        }));
    }

    fn finish_handoff(&mut self, now: Instant, outcome: Outcome) {
        let (handoff, meanwhile) = match std::mem::replace(&mut self.state, State::Ended) {
            State::HandingOff { handoff, meanwhile } => (Some(handoff), meanwhile),
            State::Talking { past } => (past, Meanwhile::Nothing),
            state @ (State::Offered
            | State::Ringing
            | State::Answering
            | State::Leaving(_)
            | State::Ending(_)
            | State::Ended) => {
                self.state = state;
                return;
            }
        };
        self.state = State::Talking { past: handoff };
        match outcome {
            Outcome::Transferred => self.hang_up(now, Ended::transferred()),
            Outcome::TransferredAndGone => self.close(now, Ended::transferred()),
            Outcome::Returned => self.close(now, Ended::returned()),
            Outcome::Redirected => {
                self.close(now, Ended::rejected(EndBy::Agent, "sent on with 302"));
            }
            Outcome::Unconfirmed | Outcome::FailedAndGone => {
                let nobody_said =
                    || Ended::failed(EndBy::Bridge, "the far end never confirmed the hang-up");
                self.close(now, meanwhile.gone().unwrap_or_else(nobody_said));
            }
            Outcome::Failed(on_failure) => self.handoff_failed(now, &meanwhile, on_failure),
        }
    }

    fn handoff_failed(&mut self, now: Instant, meanwhile: &Meanwhile, on_failure: OnFailure) {
        let ended = if self.is_stopping {
            Ended::stopped()
        } else {
            Ended::failed(EndBy::Bridge, "the caller could not be handed over")
        };
        if !self.is_answered() {
            let ended = Ended::rejected(EndBy::Bridge, "the caller could not be sent on");
            self.reject(now, 480, Vec::new(), ended);
        } else if matches!(meanwhile, Meanwhile::MediaLost) {
            self.hang_up(now, Ended::lost());
        } else if self.is_stopping {
            self.say_goodbye(now);
        } else if self.agent != Agent::Gone && on_failure == OnFailure::Resume {
            tracing::debug!("the agent has the caller again");
        } else {
            self.leave(now, ended);
        }
    }

    /// The call ended under a running handoff, which may still learn how it went.
    pub(super) fn gone_while_handing_off(&mut self, ended: Ended) {
        if let State::HandingOff { meanwhile, .. } = &mut self.state {
            *meanwhile = Meanwhile::Gone(ended);
        }
        self.close_leg("the call is over");
    }

    pub(super) fn was_transferred(&self) -> bool {
        matches!(&self.state, State::Talking { past: Some(handoff) } if handoff.is_transferred())
    }
}

impl Meanwhile {
    fn gone(self) -> Option<Ended> {
        match self {
            Self::Gone(ended) => Some(ended),
            Self::Nothing | Self::MediaLost => None,
        }
    }
}
