//! One call: composes dialog, media, agent, history and handoff, and implements none of them.
//!
//! ```text
//! Offered ─► Ringing ─► Answering ─► Talking ◄────── resumed ──────┐
//!    │          │           │           ├─► HandingOff(handoff) ───┤
//!    │          │           │           ├─► Leaving (last prompt)  │
//!    └──────────┴───────────┴───────────┴─► Ending ─► Ended ◄──────┘
//! ```
//!
//! | | |
//! |---|---|
//! | Offered | the INVITE came; nothing is said but 100 |
//! | Ringing | 180 sent, the agent connects |
//! | Answering | 200 sent, no ACK yet; the caller is in the agent's care already |
//! | Talking | the conversation |
//! | `HandingOff` | a [`Handoff`] decides; the agent stays attached, so that it can go on |
//! | Leaving | a last prompt plays, then we hang up |
//! | Ending | signalling is over; the leg closes |
//! | Ended | nothing more comes |
//!
//! CANCEL, BYE and the agent's loss are inputs in every state; [`Call::handle_input`] has an arm for each.
//! Files: `opening` (offer to answer, re-INVITE), `talking` (what the agent, the caller and the operator want),
//! `passing` (the handoff's actions and outcomes), `closing` (every way to the end), `stopping` (the node is stopped).

mod closing;
pub mod config;
pub mod ended;
pub mod event;
pub mod milestones;
mod opening;
mod passing;
mod stopping;
mod talking;
mod turns;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use config::{AnswerPolicy, BargeIn, Config, OnAgentFailure, OnClose};
pub use ended::{Ended, Final};
pub use event::{Action, Input, LegSetup, Operator, Route, Setup, Stopping};
pub use milestones::{Milestone, Milestones};
pub use opening::is_owed_audio;

use crate::handoff::{self, Handoff, KeyPlacement};
use crate::history::{self, CallFacts, EndBy, WallClock};
use crate::leg::event::Summary;
use crate::sip::endpoint::{Command, DialogEvent};
use crate::vocab::{Entropy, HandoffKey, Timers};
use crate::{agent, leg, sdp};
use turns::Transcript;

/// One call's decisions. Methods: [`Call::new`] and `handle_*` tell it what happened; then [`Call::poll_action`] is
/// drained and [`Call::poll_timeout`] asked.
#[derive(Debug)]
pub struct Call {
    state: State,
    facts: Facts,
    config: Config,
    handoff_config: handoff::Config,
    media: Media,
    leg: Leg,
    agent: Agent,
    /// The node is being stopped: whatever fails from here on, there is no agent to go back to.
    is_stopping: bool,
    transcript: Transcript,
    milestones: Milestones,
    entropy: Entropy,
    timers: Timers<Timer>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum State {
    Offered,
    Ringing,
    Answering,
    /// `past`: the last handoff that failed. Proof of it may still come.
    Talking {
        past: Option<Box<Handoff>>,
    },
    HandingOff {
        handoff: Box<Handoff>,
        meanwhile: Meanwhile,
    },
    Leaving(Ended),
    Ending(Ended),
    Ended,
}

/// [`State`] without what it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offered,
    Ringing,
    Answering,
    Talking,
    HandingOff,
    Leaving,
    Ending,
    Ended,
}

/// What happened to the call while a handoff ran.
#[derive(Debug)]
enum Meanwhile {
    Nothing,
    /// The caller's RTP stopped. Far ends do that while they transfer, so it ends the call only if the handoff fails.
    MediaLost,
    /// The call is over; the handoff waits for proof.
    Gone(Ended),
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    key: HandoffKey,
    clock: WallClock,
    invited_at: Instant,
    start: agent::Start,
    call: CallFacts,
    allows_refer: bool,
    placement: KeyPlacement,
    /// Our own URI towards the caller.
    us: Option<String>,
}

/// Offer and answer.
#[derive(Debug)]
struct Media {
    session: sdp::Session,
    /// The body of our 200.
    body: String,
    awaits: Awaits,
    held: bool,
    /// When it was answered: the media clock's zero.
    answered_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Nothing,
    /// Our offer is out; the answer comes in an ACK.
    Answer,
}

#[derive(Debug)]
enum Leg {
    None,
    Open,
    Closing,
    Closed(Box<Summary>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    /// No leg yet.
    Absent,
    Connecting,
    Open,
    /// Unreachable, broken, closed, or taken off the call.
    Gone,
}

/// Why a call wakes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The agent should be open by now.
    Connect,
    /// Ring again, so that no proxy's Timer C fires (RFC 3261 §13.3.1.1).
    Ring,
    /// The last prompt should be over.
    Prompt,
    /// The leg should be closed.
    Linger,
    /// The caller interrupted and fell silent again, and the agent said nothing to it: go on.
    FalseAlarm,
}

/// Between two 180s.
const RING_INTERVAL: Duration = Duration::from_mins(1);
/// After the caller's interruption: how long a paused agent may think about it. Longer would be dead air.
const FALSE_ALARM: Duration = Duration::from_secs(2);
/// How long the end waits for the leg.
const LINGER: Duration = Duration::from_secs(5);

impl Call {
    /// A call from its INVITE. It rings, answers or refuses at once: drain the actions.
    pub fn new(now: Instant, setup: Setup) -> Self {
        let mut call = Self {
            state: State::Offered,
            facts: Facts::new(now, &setup),
            config: setup.config,
            handoff_config: setup.handoff,
            media: Media {
                session: sdp::Session::new(setup.local),
                body: String::new(),
                awaits: Awaits::Nothing,
                held: false,
                answered_at: None,
            },
            leg: Leg::None,
            agent: Agent::Absent,
            is_stopping: false,
            transcript: Transcript::default(),
            milestones: Milestones::default(),
            entropy: setup.entropy,
            timers: Timers::default(),
            actions: VecDeque::new(),
        };
        call.reach(now, Milestone::Invited);
        let facts = Box::new(call.facts.call.clone());
        call.record(now, history::Kind::SessionStarted(facts));
        call.offered(now, &setup.invited.offer);
        call
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Sip(event) => self.handle_sip(now, event),
            Input::Leg(event) => self.handle_leg(now, event),
            Input::Committed(result) => self.feed_handoff(now, handoff::Input::Committed(result)),
            Input::Operator(operator) => self.handle_operator(now, operator),
            Input::KeyRead => self.feed_handoff(now, handoff::Input::KeyRead),
            Input::NotSent { why } => self.feed_handoff(now, handoff::Input::NotSent { why }),
            Input::Stopping(Stopping::Gently) => self.stop_gently(now),
            Input::Stopping(Stopping::AtOnce) => self.stop_at_once(now),
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Connect => self.agent_gone(now, false, "the agent did not open in time"),
                Timer::Ring => self.ring(now),
                Timer::Prompt => self.prompt_ended(now),
                Timer::Linger => self.finish(now),
                Timer::FalseAlarm => self.tell_leg(leg::Command::ResumePlayout),
            }
        }
        if let State::HandingOff { handoff, .. } = &mut self.state {
            handoff.handle_timeout(now);
            self.serve_handoff(now);
        }
    }

    /// The earliest deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let handoff = match &self.state {
            State::HandingOff { handoff, .. } => handoff.poll_timeout(),
            State::Offered
            | State::Ringing
            | State::Answering
            | State::Talking { .. }
            | State::Leaving(_)
            | State::Ending(_)
            | State::Ended => None,
        };
        self.timers.next().into_iter().chain(handoff).min()
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The key of its history.
    pub const fn key(&self) -> HandoffKey {
        self.facts.key
    }

    /// Who, from where, to where.
    pub const fn facts(&self) -> &CallFacts {
        &self.facts.call
    }

    /// When what happened, so far.
    pub const fn milestones(&self) -> &Milestones {
        &self.milestones
    }

    /// Its state in one word, for the console.
    pub fn phase(&self) -> &'static str {
        match self.phase_of() {
            Phase::Offered => "offered",
            Phase::Ringing => "ringing",
            Phase::Answering => "answering",
            Phase::Talking => "talking",
            Phase::HandingOff => "handing_off",
            Phase::Leaving => "leaving",
            Phase::Ending => "ending",
            Phase::Ended => "ended",
        }
    }

    #[expect(
        clippy::match_same_arms,
        reason = "a table: each row says why it does what it does"
    )]
    fn handle_sip(&mut self, now: Instant, event: DialogEvent) {
        use Phase::{
            Answering, Ended as Over, Ending, HandingOff, Leaving, Offered, Ringing, Talking,
        };
        match (self.phase_of(), event) {
            // The dialog has nothing more to say to a call that is over.
            (Ending | Over, _) => {}
            (
                Offered | Ringing,
                DialogEvent::Cancelled { reason } | DialogEvent::Bye { reason },
            ) => {
                self.close(now, Ended::cancelled(reason.as_deref()));
            }
            // Only a redirect is under way before the answer; its 302 has lost the race.
            (HandingOff, DialogEvent::Cancelled { reason }) if !self.is_answered() => {
                let why = reason.clone().unwrap_or_else(|| "cancelled".into());
                self.gone_while_handing_off(Ended::cancelled(reason.as_deref()));
                self.feed_handoff(now, handoff::Input::DialogLost { why });
            }
            // Our 200 was first; the endpoint has answered, and a BYE will follow.
            (Answering | Talking | HandingOff | Leaving, DialogEvent::Cancelled { .. }) => {}
            (Answering | Talking | Leaving, DialogEvent::Bye { reason }) => {
                self.caller_hung_up(now, reason.as_deref());
            }
            (HandingOff, DialogEvent::Bye { reason }) => {
                self.reach(now, Milestone::ByeReceived);
                self.gone_while_handing_off(Ended::caller_hung_up(reason.as_deref()));
                self.feed_handoff(now, handoff::Input::Bye { reason });
            }
            (_, DialogEvent::Acknowledged { body }) => self.acknowledged(now, &body),
            (_, DialogEvent::NeverAcknowledged) => {
                self.dialog_lost(now, EndBy::Caller, "our answer was never acknowledged");
            }
            (_, DialogEvent::Lost { why }) => self.dialog_lost(now, EndBy::Bridge, &why),
            (_, DialogEvent::Reinvited { offer }) => self.reinvited(now, &offer),
            (_, DialogEvent::ReferAnswered { status, reason }) => {
                self.feed_handoff(now, handoff::Input::ReferAnswered { status, reason });
            }
            (_, DialogEvent::Notified { sipfrag, state }) => {
                let last = state == crate::sip::endpoint::NotifyState::Terminated;
                self.feed_handoff(now, handoff::Input::Notified { sipfrag, last });
            }
            (_, DialogEvent::ByeAnswered { status }) => {
                self.feed_handoff(now, handoff::Input::ByeAnswered { status });
            }
            // We transfer callers; nobody transfers us.
            (_, DialogEvent::Referred { .. }) => self.say(Command::AnswerRefer { status: 603 }),
            (_, DialogEvent::Info { content_type, body }) => self.info(now, &content_type, &body),
            // A UAS never hears these.
            (
                _,
                DialogEvent::Progress { .. }
                | DialogEvent::Answered { .. }
                | DialogEvent::Refused { .. }
                | DialogEvent::ReinviteEnded { .. }
                | DialogEvent::NotifyAnswered { .. },
            ) => {}
        }
    }

    const fn phase_of(&self) -> Phase {
        match self.state {
            State::Offered => Phase::Offered,
            State::Ringing => Phase::Ringing,
            State::Answering => Phase::Answering,
            State::Talking { .. } => Phase::Talking,
            State::HandingOff { .. } => Phase::HandingOff,
            State::Leaving(_) => Phase::Leaving,
            State::Ending(_) => Phase::Ending,
            State::Ended => Phase::Ended,
        }
    }

    const fn is_answered(&self) -> bool {
        self.media.answered_at.is_some()
    }

    /// Media time: since the answer.
    fn media_time(&self, now: Instant) -> Duration {
        self.media
            .answered_at
            .map(|zero| now.saturating_duration_since(zero))
            .unwrap_or_default()
    }

    fn say(&mut self, command: Command) {
        self.actions.push_back(Action::Sip(command));
    }

    /// Tells the leg; nobody listens before it is open and after it closes.
    fn tell_leg(&mut self, command: leg::Command) {
        if matches!(self.leg, Leg::Open) {
            self.actions.push_back(Action::Leg(command));
        }
    }

    fn tell_agent(&mut self, command: agent::Command) {
        if self.agent == Agent::Open {
            self.tell_leg(leg::Command::Agent(command));
        }
    }

    fn record(&mut self, now: Instant, kind: history::Kind) {
        let event = history::Event::new(self.facts.clock.at(now), kind);
        self.actions.push_back(Action::Record(event));
    }

    fn record_turn(&mut self, now: Instant, turn: Option<history::Turn>) {
        if let Some(turn) = turn {
            self.record(now, history::Kind::Turn(turn));
        }
    }

    fn reach(&mut self, now: Instant, what: Milestone) {
        let at = now.saturating_duration_since(self.facts.invited_at);
        self.milestones.reach(at, what.clone());
        self.actions.push_back(Action::Milestone { at, what });
    }

    fn reach_first(&mut self, now: Instant, what: Milestone) {
        if self.milestones.first(&what).is_none() {
            self.reach(now, what);
        }
    }
}

#[cfg(test)]
mod tests;
