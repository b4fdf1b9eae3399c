//! Handing a caller over: a machine that never forgets where the caller is.
//!
//! ```text
//! requested ─► Saying ─► Committing ─► Attempting(style) ─► Over
//!              say_first  history        REFER or BYE        transferred | returned | unconfirmed
//!                 │      durable?           │ failed: the next style commits again
//!                 └─────────┴───────────────┴──────────────► failed: the agent resumes, or we hang up
//! ```
//!
//! * Nothing is sent before the history is durable: [`Action::Refer`] and [`Action::HangUpAndReturn`] carry the
//!   [`HistoryReceipt`] that only a finished commit makes.
//! * A 202 is no outcome. `transferred` needs proof: a NOTIFY with 2xx, or the refer-handler asked for the key.
//! * Every wait is bounded, and each end has a next step.
//!
//! The machine knows neither SIP transactions nor agents: the call routes [`Input`]s in and [`Action`]s out.

pub mod config;
pub mod context;
pub mod event;
pub mod plan;
pub mod styles;

use std::collections::VecDeque;
use std::time::Instant;

pub use config::{Config, KeyPlacement, OnFailure, Timeouts};
pub use context::{Context, ContextError, Refer, check_header, parse_target, read_key};
pub use event::{Action, Caller, Evidence, Input, Outcome, Request, RequestError};
pub use plan::{Plan, Style, UnknownStyle};

use crate::history::{FailureKind, HandoffState, HandoffStep, HistoryReceipt};
use crate::vocab::{HandoffId, Timers};
use styles::{Attempt, Verdict};

/// One handoff.
#[derive(Debug)]
pub struct Handoff {
    id: HandoffId,
    context: Context,
    plan: Plan,
    style: Style,
    on_failure: OnFailure,
    timeouts: Timeouts,
    state: State,
    timers: Timers<Timer>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum State {
    /// The agent finishes its sentence.
    Saying { mark: String },
    /// The history is being written; nothing has been sent to the peer.
    Committing,
    /// It has been sent.
    Attempting(Attempt),
    /// Nothing but late proof can follow.
    Over(HandoffState, Option<FailureKind>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The agent's last words.
    SayFirst,
    /// The store's answer.
    Commit,
}

impl Handoff {
    /// Begins a handoff: the request is checked, reported, and either waits for the agent's last words or for
    /// the commit.
    ///
    /// # Errors
    /// The request cannot be carried out; nothing has been reported or sent.
    pub fn begin(
        now: Instant,
        id: HandoffId,
        config: &Config,
        request: &Request,
        caller: &Caller<'_>,
    ) -> Result<Self, RequestError> {
        let wanted = request.style.as_deref().map(str::parse).transpose()?;
        let context = Context::new(config, request, caller.key, caller.placement, caller.us)?;
        let plan = Plan::new(wanted, &config.styles, caller.allows_refer);
        Ok(Self::with(now, id, config, request, context, plan))
    }

    /// Sends a caller on who has not been answered yet.
    ///
    /// # Errors
    /// As [`Handoff::begin`].
    pub fn redirect(
        now: Instant,
        id: HandoffId,
        config: &Config,
        request: &Request,
        caller: &Caller<'_>,
    ) -> Result<Self, RequestError> {
        let context = Context::new(config, request, caller.key, caller.placement, caller.us)?;
        let plan = Plan::new(Some(Style::Redirect), &[], true);
        Ok(Self::with(now, id, config, request, context, plan))
    }

    fn with(
        now: Instant,
        id: HandoffId,
        config: &Config,
        request: &Request,
        context: Context,
        mut plan: Plan,
    ) -> Self {
        let mut handoff = Self {
            id,
            context,
            style: plan.next_style().unwrap_or(Style::Refer),
            plan,
            on_failure: config.on_failure,
            timeouts: config.timeouts,
            state: State::Committing,
            timers: Timers::default(),
            actions: VecDeque::new(),
        };
        handoff.report_request(request);
        handoff.state = match &request.say_first {
            Some(mark) => handoff.wait_for(now, mark.clone()),
            None => handoff.commit(now),
        };
        handoff
    }

    /// Which.
    pub const fn id(&self) -> &HandoffId {
        &self.id
    }

    /// There is nobody any more to give the caller back to: when it fails, nothing is said to resume.
    pub const fn forbid_resume(&mut self) {
        self.on_failure = OnFailure::Hangup;
    }

    /// Whether it still may send something.
    pub const fn is_running(&self) -> bool {
        !matches!(self.state, State::Over(..))
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = std::mem::replace(&mut self.state, State::Committing);
        self.state = match (state, input) {
            (State::Saying { mark }, Input::Marked { name }) if name == mark => self.commit(now),
            (State::Saying { .. } | State::Committing, Input::Bye { reason }) => {
                let reason = reason.as_deref().unwrap_or("the caller hung up");
                self.fail_and_go(FailureKind::CallerHungUp, Evidence::reason(reason))
            }
            (State::Saying { .. } | State::Committing, Input::DialogLost { why }) => {
                self.fail_and_go(FailureKind::CallEnded, Evidence::reason(&why))
            }
            (State::Committing, Input::Committed(Ok(receipt))) => self.attempt(now, receipt),
            (State::Committing, Input::Committed(Err(error))) => self.give_up(
                FailureKind::NotDurable,
                Evidence::reason(&error.to_string()),
            ),
            (State::Attempting(mut attempt), input) => {
                let verdict = attempt.handle_input(now, &input);
                self.judge(now, attempt, verdict)
            }
            (State::Over(state, kind), input) => self.late(state, kind, &input),
            // Other marks; answers to what has not been sent.
            (state @ (State::Saying { .. } | State::Committing), _) => state,
        };
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            let state = std::mem::replace(&mut self.state, State::Committing);
            self.state = match (state, timer) {
                // An agent that cannot finish its sentence must not keep the caller from the human.
                (State::Saying { .. }, Timer::SayFirst) => self.commit(now),
                (State::Committing, Timer::Commit) => self.give_up(
                    FailureKind::NotDurable,
                    Evidence::reason("the store did not answer"),
                ),
                (state, _) => state,
            };
        }
        if let State::Attempting(attempt) = &mut self.state
            && let Some(verdict) = attempt.handle_timeout(now)
            && let State::Attempting(attempt) =
                std::mem::replace(&mut self.state, State::Committing)
        {
            self.state = self.judge(now, attempt, Some(verdict));
        }
    }

    /// The earliest deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let attempt = match &self.state {
            State::Attempting(attempt) => attempt.poll_timeout(),
            State::Saying { .. } | State::Committing | State::Over(..) => None,
        };
        self.timers.next().into_iter().chain(attempt).min()
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn wait_for(&mut self, now: Instant, mark: String) -> State {
        self.timers
            .set(Timer::SayFirst, now + self.timeouts.say_first);
        State::Saying { mark }
    }

    fn commit(&mut self, now: Instant) -> State {
        self.timers.cancel(Timer::SayFirst);
        self.timers.set(Timer::Commit, now + self.timeouts.commit);
        self.actions.push_back(Action::Commit);
        State::Committing
    }

    fn attempt(&mut self, now: Instant, receipt: HistoryReceipt) -> State {
        self.timers.cancel(Timer::Commit);
        self.report(HandoffState::Committed, None, Evidence::default());
        State::Attempting(match self.style {
            Style::Redirect => {
                let contact = self.context.redirect_contact();
                self.actions.push_back(Action::Redirect(receipt, contact));
                let evidence = Evidence {
                    sip_status: Some(302),
                    ..Evidence::default()
                };
                return self.finish(HandoffState::Unconfirmed, evidence, Outcome::Redirected);
            }
            Style::Refer => {
                let refer = Box::new(self.context.refer());
                self.actions.push_back(Action::Refer(receipt, refer));
                Attempt::Refer(styles::refer::Refer::sent(now, self.timeouts))
            }
            Style::Hangup => {
                let headers = self.context.bye_headers(styles::hangup::TARGET_HEADER);
                self.actions
                    .push_back(Action::HangUpAndReturn(receipt, headers));
                Attempt::Hangup(styles::hangup::Hangup)
            }
        })
    }

    fn judge(&mut self, now: Instant, attempt: Attempt, verdict: Option<Verdict>) -> State {
        let Some(verdict) = verdict else {
            return State::Attempting(attempt);
        };
        match verdict {
            Verdict::Progress(state, evidence) => {
                self.report(state, None, evidence);
                State::Attempting(attempt)
            }
            Verdict::Transferred(evidence) => {
                self.finish(HandoffState::Transferred, evidence, Outcome::Transferred)
            }
            Verdict::TransferredAndGone(evidence) => self.finish(
                HandoffState::Transferred,
                evidence,
                Outcome::TransferredAndGone,
            ),
            Verdict::Returned(evidence) => {
                self.finish(HandoffState::Returned, evidence, Outcome::Returned)
            }
            Verdict::Unconfirmed(evidence) => {
                self.finish(HandoffState::Unconfirmed, evidence, Outcome::Unconfirmed)
            }
            Verdict::Failed(kind, evidence) => self.next_style(now, kind, evidence),
            Verdict::FailedAndGone(kind, evidence) => self.fail_and_go(kind, evidence),
        }
    }

    /// The next style costs a receipt of its own, so the failure of this one is durable before it begins.
    fn next_style(&mut self, now: Instant, kind: FailureKind, evidence: Evidence) -> State {
        match self.plan.next_style() {
            Some(style) => {
                self.report(HandoffState::Failed, Some(kind), evidence);
                self.style = style;
                self.report(HandoffState::Requested, None, Evidence::default());
                self.commit(now)
            }
            None => self.give_up(kind, evidence),
        }
    }

    fn give_up(&mut self, kind: FailureKind, evidence: Evidence) -> State {
        self.timers = Timers::default();
        self.report(HandoffState::Failed, Some(kind), evidence);
        if self.on_failure == OnFailure::Resume {
            self.report(HandoffState::Resumed, None, Evidence::default());
        }
        self.actions
            .push_back(Action::Finish(Outcome::Failed(self.on_failure)));
        State::Over(HandoffState::Failed, Some(kind))
    }

    fn fail_and_go(&mut self, kind: FailureKind, evidence: Evidence) -> State {
        self.timers = Timers::default();
        self.report(HandoffState::Failed, Some(kind), evidence);
        self.actions
            .push_back(Action::Finish(Outcome::FailedAndGone));
        State::Over(HandoffState::Failed, Some(kind))
    }

    fn finish(&mut self, state: HandoffState, evidence: Evidence, outcome: Outcome) -> State {
        self.report(state, None, evidence);
        self.actions.push_back(Action::Finish(outcome));
        State::Over(state, None)
    }

    /// After we gave up waiting the far end may still carry the transfer out. It is the truth then, and the
    /// agent that has resumed talks to nobody: hang up.
    fn late(&mut self, state: HandoffState, kind: Option<FailureKind>, input: &Input) -> State {
        let gave_up = matches!(kind, Some(FailureKind::NoAnswer | FailureKind::Silent));
        match input {
            Input::Notified {
                sipfrag: Some((status @ 200..=299, phrase)),
                ..
            } if gave_up => {
                let evidence = Evidence {
                    sip_status: Some(*status),
                    reason: Some("late".into()),
                    sipfrag: Some(format!("SIP/2.0 {status} {phrase}")),
                };
                self.finish(HandoffState::Transferred, evidence, Outcome::Transferred)
            }
            // The far end is at it; its BYE will follow. Ours might cut it short.
            Input::KeyRead if gave_up => {
                let evidence = Evidence::reason("late: the refer-handler was asked for the key");
                self.report(HandoffState::Transferred, None, evidence);
                State::Over(HandoffState::Transferred, None)
            }
            Input::Committed(_)
            | Input::Marked { .. }
            | Input::ReferAnswered { .. }
            | Input::Notified { .. }
            | Input::KeyRead
            | Input::Bye { .. }
            | Input::ByeAnswered { .. }
            | Input::NotSent { .. }
            | Input::DialogLost { .. } => State::Over(state, kind),
        }
    }

    /// Whether it ended in a transfer, with proof.
    pub const fn is_transferred(&self) -> bool {
        matches!(self.state, State::Over(HandoffState::Transferred, _))
    }

    fn report_request(&mut self, request: &Request) {
        self.report(
            HandoffState::Requested,
            None,
            Evidence {
                reason: request.reason.clone(),
                ..Evidence::default()
            },
        );
        if let Some(Action::Report(_, step)) = self.actions.back_mut() {
            step.summary.clone_from(&request.summary);
        }
    }

    fn report(&mut self, state: HandoffState, failure: Option<FailureKind>, evidence: Evidence) {
        let step = HandoffStep {
            id: self.id.clone(),
            state,
            style: self.style.as_str().into(),
            target: self.context.target(),
            sip_status: evidence.sip_status,
            reason: evidence.reason,
            sipfrag: evidence.sipfrag,
            summary: None,
            failure,
        };
        self.actions
            .push_back(Action::Report(self.style, Box::new(step)));
    }
}

#[cfg(test)]
mod tests;
