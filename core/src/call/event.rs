//! What a call is told, and what it wants done.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Config, Final, Milestone};
use crate::agent::{self, HandoffRequest};
use crate::handoff::{self, KeyPlacement, RequestError};
use crate::history::{self, CommitError, HistoryReceipt, WallClock};
use crate::sip::endpoint::{Command, DialogEvent, Invited};
use crate::vocab::{CallId, Entropy, HandoffId, HandoffKey};
use crate::{leg, sdp};

/// Everything a call is made from. The shell has reserved the RTP port already: it stands in the SDP.
#[derive(Debug)]
pub struct Setup {
    /// Its name.
    pub id: CallId,
    /// Under which its history is kept.
    pub key: HandoffKey,
    /// For the ids of its handoffs.
    pub entropy: Entropy,
    /// Turns `now` into the times of its history.
    pub clock: WallClock,
    /// The INVITE.
    pub invited: Invited,
    /// Our side of the media.
    pub local: sdp::Local,
    /// Who answers.
    pub route: Route,
    /// Policies.
    pub config: Config,
    /// The way to a human.
    pub handoff: handoff::Config,
    /// Where the trunk wants the key.
    pub placement: KeyPlacement,
    /// Name of this node.
    pub node: String,
}

/// What a route decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The agent's name.
    pub agent: String,
    /// Given to the agent.
    pub variables: BTreeMap<String, String>,
}

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// In the caller's dialog.
    Sip(DialogEvent),
    /// In the leg.
    Leg(leg::Event),
    /// A commit that [`Action::Commit`] asked for ended.
    Committed(Result<HistoryReceipt, CommitError>),
    /// Somebody steers the call; each gets one [`Action::Reply`].
    Operator(Operator),
    /// The refer-handler asked for this call's key.
    KeyRead,
    /// The endpoint refused what [`Action::Refer`] or [`Action::HangUpAndReturn`] wanted to say.
    NotSent {
        /// For people.
        why: String,
    },
    /// The node is being stopped: end, but not by leaving the caller in the air.
    Stopping(Stopping),
}

/// How much time a call has that must end because its node is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// Enough to hand the caller over, or to say goodbye.
    Gently,
    /// None.
    AtOnce,
}

/// What a person or a program wants through the HTTP interface.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// Hand over.
    Handoff(HandoffRequest),
    /// Hang up.
    Hangup {
        /// For the history.
        reason: Option<String>,
    },
    /// Digits to the caller's side.
    Dtmf {
        /// `0-9 * # A-D`.
        digits: String,
        /// Each; `None`: the default.
        duration: Option<Duration>,
        /// Between two; `None`: the default.
        gap: Option<Duration>,
    },
}

/// What is to be done, in order.
#[derive(Debug)]
pub enum Action {
    /// Say this in the caller's dialog. Never a REFER, and never a BYE or 302 that carries a target: those are the
    /// three below.
    Sip(Command),
    /// Say this REFER; the receipt is spent with it.
    Refer(HistoryReceipt, Command),
    /// Say this BYE, which carries the target.
    HangUpAndReturn(HistoryReceipt, Command),
    /// Say this 302, which carries the target.
    Redirect(HistoryReceipt, Command),
    /// Open the leg: sockets and the agent's link. First of all actions about it.
    OpenLeg(Box<LegSetup>),
    /// Tell the leg.
    Leg(leg::Command),
    /// Into the history, in this order.
    Record(history::Event),
    /// Make everything recorded so far durable for this handoff; answer with [`Input::Committed`].
    Commit {
        /// Which.
        handoff: HandoffId,
    },
    /// For the console and `GET /v1/events`.
    Milestone {
        /// Since the INVITE.
        at: Duration,
        /// What.
        what: Milestone,
    },
    /// The answer to the oldest [`Input::Operator`] without one.
    Reply(Result<Option<HandoffId>, RequestError>),
    /// The call is over; the last action.
    Ended(Box<Final>),
}

/// What a leg is opened with.
///
/// The leg tells the agent by itself what is on the media's clock: speech, digits, marks, what was cleared, and the
/// `start` when [`leg::Command::Answered`] comes. The call tells it the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct LegSetup {
    /// Where RTP goes, the codec, the payload numbers, who may send.
    pub media: sdp::Negotiated,
    /// For the agent.
    pub start: agent::Start,
}
